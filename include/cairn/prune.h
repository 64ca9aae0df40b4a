#pragma once
// Giving back the space of what is gone, and having back what was forgotten.

#include "cairn/backup.h"

namespace cairn {

struct PruneProgress {
  std::string volume;
  std::string phase;  // "marking", "copying", "asking", "burying"
  uint64_t done = 0, total = 0;
};
struct PruneOptions {
  std::vector<std::string> volumes;  // none: all of the member's
  bool dry_run = false;
  // What may stay unused inside of packs that are needed: a share ("5%"), a size ("2G") or "unlimited".
  std::string max_unused = "5%";
  std::optional<uint64_t> max_repack_size;  // bytes copied at most
  bool repack_small = false;
  Duration min_age{};  // snapshots that were forgotten a shorter time ago keep their packs
  std::function<void(const PruneProgress&)> on_progress;
};
// Bytes as they are stored before the erasure code.
struct PruneReport {
  struct Volume {
    std::string name;
    uint64_t packs = 0, bytes = 0;
    uint64_t removed_packs = 0, removed_bytes = 0;    // dead: on their way out
    uint64_t repacked_packs = 0, repacked_bytes = 0;  // taken apart; what was copied out of them
    uint64_t recoded_packs = 0;                       // of the repacked ones: stood fewer losses than they should
    uint64_t unused_bytes = 0;                        // left
    uint64_t waiting_packs = 0;                       // uploads that were never committed, younger than a week
    uint64_t forgotten_snapshots = 0;                 // whose packs went
    uint64_t told_packs = 0;                          // of removed_packs: enough holders know already
  };
  std::vector<Volume> volumes;
};
// May run at any time on any of the member's machines, while others write. What it removes holders keep in their trash
// for three days more. Code::bad_input for an option.
Result<PruneReport> prune(Client& client, const PruneOptions& options);

struct ForgottenReport {
  SnapshotReport snapshot;
  WallTime forgotten = 0;
  bool pruned = false;  // its packs are on their way out: hurry
};
Result<std::vector<ForgottenReport>> forgotten_snapshots(Client& client);
// Snapshots by their IDs' first digits. Code::not_found, bad_input (several fit), damaged (it is too late).
Result<std::vector<SnapshotReport>> undelete(Client& client, const std::vector<std::string>& names);

}  // namespace cairn
