#pragma once
// What a backup was told to take, and where in the snapshot it goes: restic's rules. Pure.
//
// An absolute path is found in the snapshot under the same path, with the folders above it. A relative one is found
// under itself, without leading "..": `backup work` gives /work, `backup ../other/x` gives /other/x, `backup .` puts
// what is in the current folder at the snapshot's root.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace cairn::backup {

// A folder of the snapshot that leads to what was named, or, `whole`, something that was named.
struct TargetNode {
  std::string local;  // on the machine, absolute
  bool whole = false;
  std::map<std::string, std::unique_ptr<TargetNode>> below;  // when it is not whole
};

class Targets {
 public:
  // `current`: the current folder, absolute.
  explicit Targets(std::string current);
  // Code::bad_input when another one has its place in the snapshot.
  Status add(const std::string& path);
  const TargetNode& root() const { return root_; }
  // What was named, absolute, sorted, each once.
  std::vector<std::string> paths() const;
  bool empty() const { return paths_.empty(); }

 private:
  std::string current_;
  TargetNode root_;
  std::vector<std::string> paths_;
};

}  // namespace cairn::backup
