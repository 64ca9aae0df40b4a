// LocalShardStore: the check of Merkle roots behind, and giving space back.

#include "store/local_store.h"

namespace cairn::store {

struct LocalShardStore::Checked {
  bool fits = false;
  NodeId writer;
  std::vector<NodeId> siblings;
  std::vector<Hash> leaves;
};

Result<LocalShardStore::Checked> LocalShardStore::check_root(const ShardId& shard, const Place& place) {
  auto header = log_.read_header(shard, place);
  if (!header) return fail(std::move(header.error()));
  auto payload = log_.read_leaves(*header, 0, static_cast<uint32_t>(header->leaf_crcs.size()) - 1);
  if (!payload) return fail(std::move(payload.error()));
  auto pack = content::PackHeader::read(header->pack_header);
  if (!pack || pack->id != shard.pack || shard.slot >= pack->roots.size()) {
    return fail(Code::corrupt, "pack header");
  }
  auto tree = content::MerkleTree::over(payload->view());
  return Checked{tree.root() == pack->roots[shard.slot], pack->writer, std::move(header->siblings), tree.leaves()};
}

// Lets callers go first, but not for ever.
env::Task<void> LocalShardStore::stand_back() {
  for (Duration waited{}; waited < kStandBack; waited += kStandBackStep) {
    if (foreground_ == 0 || settling_ > 0 || closing_) co_return;
    co_await env::sleep_for(world_.clock, kStandBackStep);
  }
}

// Success, also when the shard has gone or was dropped; an error means that it is still to be checked.
env::Task<Status> LocalShardStore::verify(Place place, ShardId shard) {
  Rot rot;
  std::optional<Place> at;
  auto checked = co_await with_log([&]() -> Result<Checked> {
    return located(shard, rot, [&](const IndexEntry& entry) -> Result<Checked> {
      at = entry.place;
      return check_root(shard, entry.place);
    });
  });
  if (rot.found) {
    auto dropped = co_await submit({DropChange{shard, rot.place, true}, {}});
    if (!dropped && dropped.error().code != Code::not_found) co_return dropped;
    co_return Status();
  }
  if (!checked && checked.error().code != Code::not_found) co_return fail(std::move(checked.error()));
  if (!checked || *at != place) {  // gone or moved: only the note is left
    auto cleared = co_await submit({VerifiedChange{shard, place, {}}, {}});
    if (!cleared && cleared.error().code != Code::not_found) co_return cleared;
    co_return Status();
  }
  Status changed;
  if (checked->fits) {
    changed = co_await submit({VerifiedChange{shard, place, std::move(checked->leaves)}, {}});
  } else {
    changed = co_await submit({DropChange{shard, place}, {}});
    world_.log.warning("store_wrong_root", "pack={} slot={} writer={}", shard.pack.short_hex(), shard.slot,
                       checked->writer.short_hex());
  }
  if (!changed && changed.error().code != Code::not_found) co_return changed;
  if (changed && verified_) {
    verified_(Verified{shard, checked->fits, checked->writer, std::move(checked->siblings)});
  }
  co_return Status();
}

env::Task<void> LocalShardStore::verify_loop() {
  uint32_t segment = 0;  // where to go on
  uint32_t block = 0;
  bool skipped = false;
  while (!closing_) {
    verify_wanted_ = false;
    auto next = co_await with_log([&] { return log_.index().unverified(segment, block, kWalkStep); });
    if (!next && next.error().code == Code::corrupt) log_.index_damaged();
    if (next && !next->empty()) {
      for (const auto& [place, shard] : *next) {
        if (closing_) break;
        segment = place.segment;
        block = place.block + 1;
        co_await stand_back();
        auto status = co_await verify(place, shard);
        skipped |= !status;
      }
      continue;
    }
    // All was looked at once.
    if (next && !skipped && segment != 0) {
      segment = block = 0;  // compaction may have moved some to where we had been
      continue;
    }
    verify_stalled_ = !next || skipped;
    if (!verify_wanted_) {
      verify_idle_ = true;
      settled_.notify_all();
    }
    while (!verify_wanted_ && !closing_) co_await verify_signal_.wait();
    segment = block = 0;
    skipped = verify_stalled_ = false;
  }
  --background_;
  work_.notify_all();
}

env::Task<Status> LocalShardStore::settle() {
  const Counted settling(settling_);
  verify_wanted_ = true;
  verify_idle_ = false;
  verify_signal_.notify_all();
  while (!verify_idle_ && !closing_) co_await settled_.wait();
  if (verify_stalled_) co_return fail(Code::io, "not all shards could be read");
  co_return Status();
}

env::Task<void> LocalShardStore::reclaim_loop() {
  while (!closing_) {
    reclaiming_ = true;
    reclaim_wanted_ = false;
    auto more = co_await reclaim_some();
    if (!more) {
      world_.log.warning("store_reclaim", "path={} error=\"{}\"", options_.path, to_string(more.error()));
    } else if (*more) {
      continue;
    }
    reclaiming_ = false;
    space_changed_.notify_all();
    while (!reclaim_wanted_ && !closing_) co_await reclaim_signal_.wait();
  }
  reclaiming_ = reclaim_wanted_ = false;
  space_changed_.notify_all();
  --background_;
  work_.notify_all();
}

// One step; false when nothing is left to give back.
env::Task<Result<bool>> LocalShardStore::reclaim_some() {
  if (!totals_.empty_segments.empty()) {
    const uint32_t segment = totals_.empty_segments.front();
    auto removed = co_await submit({SegmentChange{segment}, {}});
    if (!removed) co_return fail(std::move(removed.error()));
    co_return true;
  }
  auto holes = co_await with_log([&] { return log_.index().holes(kHolesPerJob); });
  if (!holes) {
    if (holes.error().code == Code::corrupt) log_.index_damaged();
    co_return fail(std::move(holes.error()));
  }
  if (!holes->empty()) {
    auto punched = co_await with_log([&]() -> Result<bool> {
      CAIRN_TRY(log_.mounted());
      return log_.punch(*holes);
    });
    if (!punched) co_return fail(std::move(punched.error()));
    can_punch_ = *punched;
    auto noted = co_await submit({HolesChange{std::move(*holes), *punched}, {}});
    if (!noted) co_return fail(std::move(noted.error()));
    co_return true;
  }
  if (can_punch_ || !totals_.compaction_candidate) co_return false;
  auto compacted = co_await compact(*totals_.compaction_candidate);
  co_return compacted;
}

// The next record of the segment that is still in use, as a change that moves it (or drops it when it is rotten).
Result<std::optional<Change>> LocalShardStore::next_to_move(SegmentScanner& scanner) {
  uint64_t budget = kScanStepBytes;
  auto record = scanner.next(budget);
  if (!record) return fail(std::move(record.error()));
  if (!*record) return std::optional<Change>();
  const ShardId shard = (*record)->shard;
  const Place place = (*record)->place();
  auto entry = log_.find(shard);
  if (!entry && entry.error().code != Code::corrupt) return fail(std::move(entry.error()));
  if (!entry || !*entry || (*entry)->place != place) return std::optional<Change>();
  auto payload = log_.read_leaves(**record, 0, static_cast<uint32_t>((*record)->leaf_crcs.size()) - 1);
  if (!payload && payload.error().code == Code::corrupt) return Change{DropChange{shard, place, true}, {}};
  if (!payload) return fail(std::move(payload.error()));
  auto trailer = log_.read_trailer(place);
  if (!trailer) return fail(std::move(trailer.error()));
  return Change{PutChange{std::move(**record), std::move(*payload), place, std::move(*trailer)}, {}};
}

// Copies what a segment still holds to the end of the log; the segment is then empty and goes.
env::Task<Result<bool>> LocalShardStore::compact(uint32_t segment) {
  if (totals_.active == segment) {
    auto sealed = co_await submit({SealChange{segment}, {}});
    if (!sealed) co_return fail(std::move(sealed.error()));
  }
  auto scanner = co_await with_log([&] { return log_.scanner(segment); });
  if (!scanner) co_return fail(std::move(scanner.error()));
  while (!scanner->at_end() && !closing_) {
    auto change = co_await with_log([&] { return next_to_move(*scanner); });
    if (!change) co_return fail(std::move(change.error()));
    if (!*change) continue;
    auto moved = co_await submit(std::move(**change));
    if (!moved && moved.error().code != Code::not_found) co_return fail(std::move(moved.error()));
  }
  if (closing_) co_return false;
  const auto& empty = totals_.empty_segments;
  if (!std::count(empty.begin(), empty.end(), segment)) {
    co_return fail(Code::corrupt, "a segment could not be copied whole");
  }
  co_return true;
}

}  // namespace cairn::store
