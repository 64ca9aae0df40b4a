#pragma once
// Backups: snapshots of a machine's files in the volume `backups`, with restic's meanings.
//
// A snapshot is named by the first digits of its ID or by "latest" (or "latest~1": the one before), with ":/folder"
// behind it for a part of it. Texts of the system (paths, host, user, tags) are raw bytes.

#include <set>

#include "cairn/client.h"

namespace cairn {

struct SnapshotSummary {
  uint64_t files_new = 0, files_changed = 0, files_unmodified = 0;
  uint64_t dirs_new = 0, dirs_changed = 0, dirs_unmodified = 0;
  uint64_t data_blobs = 0, tree_blobs = 0;  // chunks of files and nodes of the tree that were new
  uint64_t data_added = 0;                  // their bytes,
  uint64_t data_added_packed = 0;           // and as they are stored, before the erasure code
  uint64_t total_files_processed = 0, total_bytes_processed = 0;
  WallTime backup_start = 0, backup_end = 0;
};
struct SnapshotReport {
  std::string id;                // 64 hex digits
  std::string tree;              // equal for snapshots of equal files
  std::string parent, original;  // IDs, or empty
  WallTime time = 0;
  std::string host, user, set, program_version;
  uint32_t uid = 0, gid = 0;
  std::vector<std::string> paths, tags, excludes;
  bool partial = false;  // of a run that has not ended: the next one goes on from it
  SnapshotSummary summary;
};

// What is empty does not filter.
struct SnapshotFilter {
  std::vector<std::string> hosts;  // one of these
  std::vector<std::string> tags;   // "a,b": all of these; several: one of the lists; "": no tags at all
  std::vector<std::string> paths;  // all of these
};

struct BackupOptions {
  std::vector<std::string> paths;
  std::vector<std::string> files_from, files_from_verbatim, files_from_raw;  // files with more of them; "-": stdin
  // Instead of paths: one file with what `stdin_bytes` gives.
  std::function<Result<size_t>(void* into, size_t size)> stdin_bytes;
  std::string stdin_filename = "stdin";

  std::vector<std::string> excludes, iexcludes, exclude_files, iexclude_files, exclude_if_present;
  bool exclude_caches = false, one_file_system = false;
  std::optional<uint64_t> exclude_larger_than;

  std::string host;  // empty: this machine's name
  std::vector<std::string> tags;
  std::string set;
  std::string parent;            // empty: the last snapshot of the same host, paths and set
  std::optional<WallTime> time;  // of the snapshot; else now
  bool force = false, ignore_ctime = false, ignore_inode = false;
  bool dry_run = false, skip_if_unchanged = false;

  OnProgress on_progress;
  OnFileError on_error;  // also for a file that changed while it was read: Code::conflict, which is no failure
  std::function<void(const std::string& path, const std::string& what, uint64_t size)> on_item;
};
struct BackupReport {
  SnapshotReport snapshot;
  bool saved = false;   // not of a dry run, nor of one that was skipped
  uint64_t errors = 0;  // entries that could not be read
  uint64_t resumed_files = 0;
  uint64_t packs_below_goal = 0;
  uint64_t bytes_sent = 0, bytes_received = 0;
  double seconds = 0;
};

struct RestoreOptions {
  std::string snapshot;  // "latest", "9f2c01aa:/home"
  SnapshotFilter filter;
  std::string target;
  std::vector<std::string> includes, iincludes, excludes, iexcludes;
  enum class Overwrite : uint8_t {
    always,      // what is there is compared byte by byte and written where it differs
    if_changed,  // the same size and mtime are taken for the same content
    if_newer,    // only what is older than in the snapshot
    never,
  } overwrite = Overwrite::always;
  bool remove = false;   // what the snapshot has not, in folders that it has
  bool verify = false;   // reads all that was restored again
  bool dry_run = false;  // only says what would be done
  OnProgress on_progress;
  OnFileError on_error;
  // "restored", "updated" (there was another version), "unchanged", "deleted"
  std::function<void(const std::string& path, const std::string& what, uint64_t size)> on_item;
};
struct RestoreReport {
  SnapshotReport snapshot;
  uint64_t files = 0, bytes = 0;  // of the snapshot, as far as they were asked for
  uint64_t files_restored = 0, bytes_restored = 0;
  uint64_t files_skipped = 0, bytes_skipped = 0;  // were there already, or were not to be written over
  uint64_t files_deleted = 0, directories = 0;
  uint64_t files_verified = 0;
  uint64_t resumed_bytes = 0;
  uint64_t failed = 0;
  uint64_t requests = 0, bytes_received = 0;  // on the wire
  double seconds = 0;
};

// --- snapshots that go, tags ---

struct ForgetOptions {
  std::vector<std::string> names;  // these, whatever a policy says
  SnapshotFilter filter;
  // restic's options: {"keep-daily", "7"}, {"keep-within", "1y6m"}, {"keep-tag", "a,b"}, and {"keep-size", "200G"}.
  std::vector<std::pair<std::string, std::string>> keep;
  std::string group_by = "host,paths";
  bool dry_run = false;
};
struct ForgetReport {
  struct Kept {
    SnapshotReport snapshot;
    std::vector<std::string> reasons;
  };
  struct Group {
    std::string host;
    std::vector<std::string> paths, tags;  // only what it is grouped by
    std::vector<Kept> keep;
    std::vector<SnapshotReport> remove;
  };
  std::vector<Group> groups;  // of a policy
  std::vector<SnapshotReport> removed;
};
struct TagOptions {
  std::vector<std::string> names;
  SnapshotFilter filter;
  std::optional<std::vector<std::string>> set;  // lists "a,b"; a single "": none
  std::vector<std::string> add, remove;
};
struct TagReport {
  std::vector<std::pair<std::string, std::string>> changed;  // IDs before and after
};

struct RewriteOptions {
  std::vector<std::string> names;
  SnapshotFilter filter;
  std::vector<std::string> excludes, iexcludes, exclude_files, iexclude_files;
  std::set<std::string> paths;   // these, as they are
  std::string mark = "rewrite";  // the tag of a snapshot beside the one that it comes from
  std::string new_host;
  std::optional<WallTime> new_time;
  bool forget = false;  // the new one takes the place of the old one; else both are there, and the new one has a tag
  bool dry_run = false;
};
struct RewriteReport {
  std::vector<std::pair<std::string, std::string>> changed;  // IDs before and after ("" of a dry run)
  uint64_t removed_files = 0, removed_bytes = 0;
};

struct CopyOptions {
  std::vector<std::string> names;  // of the source; all that pass the filter when empty
  SnapshotFilter filter;
  bool dry_run = false;
  OnProgress on_progress;
  // Before one is copied, and after: `copy` is empty of a dry run; skipped: the same was there already.
  std::function<void(const SnapshotReport& from)> on_begin;
  std::function<void(const SnapshotReport& from, const std::string& copy, bool skipped)> on_done;
};
struct CopyReport {
  uint64_t copied = 0, skipped = 0;
  SnapshotSummary summary;  // of all that were copied, together
  uint64_t packs_below_goal = 0;
  double seconds = 0;
};

// --- looking into them ---

struct FindOptions {
  std::vector<std::string> patterns;
  bool ignore_case = false;
  std::vector<std::string> names;
  SnapshotFilter filter;
  std::optional<WallTime> oldest, newest;  // mtimes
};
struct StatsOptions {
  std::vector<std::string> names;
  SnapshotFilter filter;
  enum class Mode : uint8_t {
    restore_size,       // what a restore of each would write
    files_by_contents,  // each content once
    raw_data,           // each chunk once, as it is stored before the erasure code
  } mode = Mode::restore_size;
};
struct StatsReport {
  uint64_t snapshots = 0, files = 0, blobs = 0;
  uint64_t size = 0, uncompressed_size = 0;
};
struct DiffChange {
  std::string path;      // folders end in '/'
  std::string modifier;  // "+", "-", "T" (another type), "M" (content), "U" (metadata), or of these together
};
struct DiffFigures {
  uint64_t files = 0, dirs = 0, others = 0;
  uint64_t blobs = 0, bytes = 0;  // chunks of the files that differ, which the other side's have not
};
struct DiffReport {
  SnapshotReport before, after;
  uint64_t changed_files = 0;
  DiffFigures added, removed;
};

// --- checking ---

struct CheckFault {
  std::string volume, snapshot;  // a snapshot's name; empty: the volume as it is now
  std::string path;              // raw; empty: the tree as a whole
  std::string what;
};
struct CheckOptions {
  std::vector<std::string> volumes;  // all of mine when empty
  bool read_data = false;
  // With read_data: which packs (hex ID, bytes); all when empty.
  std::function<bool(const std::string& pack, uint64_t bytes)> choose;
  std::function<void(const CheckFault&)> on_fault;
  std::function<void(const std::string& volume, const char* phase, uint64_t done, uint64_t total)> on_progress;
};
struct CheckReport {
  uint64_t volumes = 0, trees = 0, entries = 0, extents = 0;
  uint64_t packs = 0, packs_at_goal = 0, packs_below_goal = 0, packs_lost = 0;
  uint64_t packs_read = 0, packs_damaged = 0, chunks_read = 0, bytes_read = 0;  // with read_data
  std::vector<std::string> below_goal, lost, damaged;                           // IDs of packs
  std::vector<std::string> volume_names;
  uint64_t faults = 0;  // that were told: of structure, and files that damage touches
};

struct RepairOptions {
  CheckOptions check;   // what is looked for, and where
  bool forget = false;  // a snapshot with lost files is replaced by one without them; else that one is made beside it
  bool dry_run = false;
};
struct RepairReport {
  CheckReport before;
  uint64_t packs_completed = 0, shards_placed = 0;
  uint64_t packs_left = 0;                                     // still below their goal
  std::vector<std::pair<std::string, std::string>> rewritten;  // snapshots: IDs before and after ("" of a dry run)
  uint64_t files_dropped = 0;                                  // lost ones, from these
  uint64_t files_lost = 0;  // in volumes as they are now: named by the check, and left
};

class Backups {
 public:
  // The client outlives it, and runs its work.
  explicit Backups(Client& client) : client_(client) {}

  // Errors: those of the pool; of single files it tells on_error. Code::not_found when nothing could be read.
  Result<BackupReport> backup(const BackupOptions& options);

  // Oldest first. `names`: only these.
  Result<std::vector<SnapshotReport>> snapshots(const SnapshotFilter& filter,
                                                const std::vector<std::string>& names = {});
  // Code::not_found; Code::bad_input when the digits fit several.
  Result<SnapshotReport> snapshot(const std::string& name, const SnapshotFilter& filter = {});

  // The entries of a snapshot, depth first by name; of all folders when none is named, else what is in these (with all
  // below when `recursive`). on_snapshot comes first. Returning false ends it.
  Status list(const std::string& name, const SnapshotFilter& filter, const std::vector<std::string>& folders,
              bool recursive, const std::function<void(const SnapshotReport&)>& on_snapshot,
              const std::function<bool(const FileStatus&)>& visit);

  // Errors: those that concern all; of single entries it tells on_error and goes on.
  Result<RestoreReport> restore(const RestoreOptions& options);

  // Removes the snapshots that are named, or those that the policy does not keep. Code::bad_input for an empty policy;
  // Code::denied, and nothing is removed, when none of a group would be left.
  Result<ForgetReport> forget(const ForgetOptions& options);
  Result<TagReport> tag(const TagOptions& options);
  Result<RewriteReport> rewrite(const RewriteOptions& options);
  // Snapshots of another client's volume of backups (of this pool or another one) into this one's. `from`: another
  // client, be it of the same home.
  Result<CopyReport> copy(Client& from, const CopyOptions& options);

  // Entries whose path fits a pattern to its end. on_snapshot comes before its matches, and for those without any too.
  Status find(const FindOptions& options, const std::function<void(const SnapshotReport&)>& on_snapshot,
              const std::function<bool(const FileStatus&)>& visit);
  Result<StatsReport> stats(const StatsOptions& options);
  // Of volumes of any kind. Damage is no error, it is told. Code::not_found for a volume that is not there.
  Result<CheckReport> check(const CheckOptions& options);
  // Checks, completes packs that lack shards, and takes files that cannot be read out of snapshots.
  Result<RepairReport> repair(const RepairOptions& options);
  // `before`, `after`: of one folder each where they are named "ID:/folder". Changes come in the order of paths.
  Result<DiffReport> diff(const std::string& before, const std::string& after, bool metadata,
                          const std::function<bool(const DiffChange&)>& visit);
  // A file's bytes, or a folder as a tar archive (pax), or a zip archive.
  Status dump(const std::string& name, const SnapshotFilter& filter, const std::string& path, bool zip,
              const Client::WriteBytes& write);

 private:
  Client& client_;
};

}  // namespace cairn
