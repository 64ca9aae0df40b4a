#pragma once
// The machine's files as a source of backups: walked folder by folder in the order of names, one statx for each entry.

#include "backup/patterns.h"
#include "backup/source.h"
#include "backup/targets.h"

namespace cairn::client {

struct ScanRules {
  backup::Patterns excludes, iexcludes;
  bool one_file_system = false;
  bool exclude_caches = false;  // what is in a folder with a CACHEDIR.TAG, but for that file
  // The same for folders that hold a file of this name, with this at its beginning.
  struct Mark {
    std::string name, header;
  };
  std::vector<Mark> if_present;
  std::optional<uint64_t> larger_than;
};

// "NAME" or "NAME:HEADER". Code::bad_input.
Result<ScanRules::Mark> parse_mark(const std::string& text);

// `targets` outlives it.
std::unique_ptr<backup::Source> make_local_source(const backup::Targets& targets, ScanRules rules);

}  // namespace cairn::client
