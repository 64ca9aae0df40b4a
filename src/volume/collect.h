#pragma once
// Collection of a volume's garbage: finds what no head and no snapshot refers to, and gives its packs tombstones. Any
// device of the owner may do it at any time, several at once, while others write: see pool/GARBAGE.md.

#include "volume/transaction_impl.h"

namespace cairn::volume {

struct CollectProgress {
  enum class Phase : uint8_t { marking, copying, asking, burying } phase = Phase::marking;
  uint64_t done = 0, total = 0;  // nodes walked; bytes copied; packs told
};

// Which packs are written anew for the sake of their code (pool::fit_of): none; those that are weak; all that are not
// what the number of domains wants.
enum class Recode : uint8_t { none, weak, all };

struct CollectOptions {
  bool dry_run = false;
  Recode recode = Recode::weak;
  uint64_t max_recode_bytes = UINT64_MAX;  // of live bytes in one go, at most (but for a single pack)
  // Bytes that nothing refers to may stay in packs that are live up to here: a share of what is stored, or so many.
  double max_unused_share = 0.05;
  std::optional<uint64_t> max_unused_bytes;
  uint64_t max_copy_bytes = UINT64_MAX;  // that are copied into new packs in one go, at most
  uint64_t copy_rate = 0;                // bytes a second, read and written; 0: as fast as it goes
  bool copy_small = false;               // small packs are put together even where little is gained
  // Packs are dead for so long before they get their tombstone: two collections then. 0: at once, the trash is the
  // grace.
  Duration grace{};
  // For packs that no head ever had: uploads whose commit may still come.
  Duration orphan_grace = std::chrono::hours(24 * 7);
  // Forgotten snapshots keep their packs for so long.
  Duration keep_forgotten{};
  // Whether holders are asked which packs they have.
  bool ask_holders = true;
  std::function<void(const CollectProgress&)> on_progress;
};

// Bytes of packs are those of their k data shards.
struct CollectReport {
  uint64_t packs = 0, bytes = 0;                  // before
  uint64_t live_packs = 0;                        // of these, the ones with something live in them
  uint64_t live_bytes = 0;                        // sealed bytes that something refers to
  uint64_t dead_packs = 0, dead_bytes = 0;        // with nothing live in them: buried
  uint64_t copied_packs = 0, copied_bytes = 0;    // taken apart; what was live in them
  uint64_t unused_bytes = 0;                      // left in live packs
  uint64_t recoded_packs = 0, recoded_bytes = 0;  // of those that were copied: for their code
  // By their code: live packs that are not as the number of domains wants them (weak ones, or all: as recode says), and
  // that could be. Those that were recoded are no longer among them.
  uint64_t unfit_packs = 0, unfit_bytes = 0;
  uint64_t orphans_seen = 0;  // packs at holders that no head has had; they wait
  uint64_t orphans_buried = 0;
  uint64_t told = 0;       // packs of which enough holders know the tombstone
  uint64_t snapshots = 0;  // forgotten ones whose packs went
  uint64_t commits = 0;
};

// The host outlives it.
env::Task<Result<CollectReport>> collect_garbage(VolumeHost& host, CollectOptions options);

}  // namespace cairn::volume
