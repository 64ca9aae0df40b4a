#pragma once
// Entries of trees and snapshots as text, and as JSON with restic's field names.

#include "cairn/backup.h"
#include "tools/command.h"

namespace cairn::tools {

const char* type_name(FileType type);
std::string mode_text(const FileStatus& file);  // "drwxr-xr-x"
std::string base_name(const std::string& path);
Json file_json(const FileStatus& file);
// As `ls -l` has it.
std::string file_line(const FileStatus& file, bool full_path);

// RFC 3339 with as many digits of the second as there are.
std::string exact_time(WallTime time);
Json snapshot_json(const SnapshotReport& snapshot);
Json summary_json(const SnapshotSummary& summary);
// A table; `more`: what stands in place of the size.
void print_snapshots(const std::vector<SnapshotReport>& snapshots,
                     const std::function<std::string(const SnapshotReport&)>& more = {});

// --host, --tag, --path.
void declare_filter(CLI::App& app, SnapshotFilter& filter);

}  // namespace cairn::tools
