#pragma once
// The demo's built-in tree, and the digest with which two trees are compared.

#include <cstdint>
#include <map>
#include <string>

#include "cairn/result.h"

namespace cairn::tools {

// Writes a small zoo of files below `root`: about 200 files and 40 MiB, with links, odd names, sparse and empty files.
Status write_demo_tree(const std::string& root);

// Path below the root -> what it is: type, permissions, size, mtime in ns, and SHA-256 of the content or the link's
// target.
struct TreeDigest {
  std::map<std::string, std::string> entries;
  uint64_t files = 0, bytes = 0;
};
Result<TreeDigest> digest_tree(const std::string& root);

}  // namespace cairn::tools
