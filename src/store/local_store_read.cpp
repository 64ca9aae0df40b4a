// LocalShardStore: reading, listing, the scrub.

#include "store/local_store.h"

namespace cairn::store {

namespace {

// The leaves that cover a range of a shard.
struct Leaves {
  uint32_t first, last;
};
Result<Leaves> leaves_of(const Place& place, uint32_t offset, uint32_t length) {
  if (offset > place.payload_length || length > place.payload_length - offset) {
    return fail(Code::bad_input, "the range is not within the shard");
  }
  const uint32_t end = length == 0 ? offset : offset + length - 1;
  const uint32_t most = leaf_count(place.payload_length) - 1;
  return Leaves{std::min(offset / kLeafSize, most), std::min(end / kLeafSize, most)};
}

Result<content::PackHeader> parse_pack(const RecordHeader& header) {
  auto pack = content::PackHeader::read(header.pack_header);
  if (!pack) return fail(Code::corrupt, std::move(pack.error().context));
  if (pack->id != header.shard.pack || header.shard.slot >= pack->roots.size()) {
    return fail(Code::corrupt, "the header of another pack");
  }
  return pack;
}

}  // namespace

env::Task<void> LocalShardStore::drop_rotten(ShardId shard, Rot rot) {
  auto dropped = co_await submit({DropChange{shard, rot.place, true}, {}});
  if (!dropped && dropped.error().code != Code::not_found) {
    world_.log.warning("store_rot_kept", "pack={} error=\"{}\"", shard.pack.short_hex(), to_string(dropped.error()));
  }
}

env::Task<Result<Buffer>> LocalShardStore::read(ShardId shard, uint32_t offset, uint32_t length) {
  const Counted foreground(foreground_);
  Rot rot;
  auto bytes = co_await with_log([&]() -> Result<Buffer> {
    return located(shard, rot, [&](const IndexEntry& entry) -> Result<Buffer> {
      auto leaves = leaves_of(entry.place, offset, length);
      if (!leaves) return fail(std::move(leaves.error()));
      auto header = log_.read_header(shard, entry.place);
      if (!header) return fail(std::move(header.error()));
      auto all = log_.read_leaves(*header, leaves->first, leaves->last);
      if (!all) return fail(std::move(all.error()));
      return all->slice(offset - leaves->first * kLeafSize, length);
    });
  });
  if (rot.found) co_await drop_rotten(shard, rot);
  co_return bytes;
}

env::Task<Result<ShardStore::ProvenRange>> LocalShardStore::read_proven(ShardId shard, uint32_t offset,
                                                                        uint32_t length) {
  const Counted foreground(foreground_);
  Rot rot;
  auto proven = co_await with_log([&]() -> Result<ProvenRange> {
    return located(shard, rot, [&](const IndexEntry& entry) -> Result<ProvenRange> {
      auto leaves = leaves_of(entry.place, offset, length);
      if (!leaves) return fail(std::move(leaves.error()));
      auto header = log_.read_header(shard, entry.place);
      if (!header) return fail(std::move(header.error()));
      auto pack = parse_pack(*header);
      if (!pack) return fail(std::move(pack.error()));
      auto bytes = log_.read_leaves(*header, leaves->first, leaves->last);
      if (!bytes) return fail(std::move(bytes.error()));
      auto tree = log_.tree(*header, pack->roots[shard.slot]);
      if (!tree) return fail(std::move(tree.error()));
      return ProvenRange{leaves->first * kLeafSize, std::move(*bytes), tree->prove(leaves->first, leaves->last)};
    });
  });
  if (rot.found) co_await drop_rotten(shard, rot);
  co_return proven;
}

Result<StoredShard> LocalShardStore::read_stored(const ShardId& shard, const IndexEntry& entry) {
  auto header = log_.read_header(shard, entry.place);
  if (!header) return fail(std::move(header.error()));
  auto pack = parse_pack(*header);
  if (!pack) return fail(std::move(pack.error()));
  return StoredShard{std::move(*pack), shard.slot, entry.verified, std::move(header->siblings)};
}

env::Task<Result<StoredShard>> LocalShardStore::describe(ShardId shard) {
  Rot rot;
  auto stored = co_await with_log([&]() -> Result<StoredShard> {
    return located(shard, rot, [&](const IndexEntry& entry) { return read_stored(shard, entry); });
  });
  if (rot.found) co_await drop_rotten(shard, rot);
  co_return stored;
}

env::Task<Result<std::vector<bool>>> LocalShardStore::holds(std::vector<ShardId> shards) {
  auto held = co_await with_log([&]() -> Result<std::vector<bool>> {
    CAIRN_TRY(log_.mounted());
    return log_.index().which(shards);
  });
  co_return held;
}

env::Task<std::vector<std::optional<StoredShard>>> LocalShardStore::describe_all(std::vector<ShardId> shards) {
  std::vector<std::optional<StoredShard>> described(shards.size());
  auto read = co_await with_log([&]() -> Status {
    for (size_t i = 0; i < shards.size(); ++i) {
      auto entry = log_.find(shards[i]);
      if (!entry || !*entry) continue;
      if (auto stored = read_stored(shards[i], **entry)) described[i] = std::move(*stored);
    }
    return {};
  });
  static_cast<void>(read);  // while the store is opened anew nothing is described
  co_return described;
}

env::Task<std::vector<ShardStore::PackHere>> LocalShardStore::describe_packs(std::vector<PackId> packs) {
  auto found = co_await with_log([&]() -> Result<std::vector<PackHere>> {
    if (!there()) return std::vector<PackHere>(packs.size());
    auto held = log_.index().entries_of(packs);
    if (!held) return fail(std::move(held.error()));
    std::vector<PackHere> here(packs.size());
    for (size_t i = 0; i < packs.size(); ++i) {
      for (const auto& [slot, entry] : (*held)[i]) here[i].slots.push_back(slot);
      if (here[i].slots.empty()) continue;
      const auto& [slot, entry] = (*held)[i].front();
      auto header = log_.read_header({packs[i], slot}, entry.place);
      if (!header) continue;
      auto pack = parse_pack(*header);
      if (!pack) continue;
      here[i].header = std::move(*pack);
      here[i].siblings = std::move(header->siblings);
    }
    return here;
  });
  if (found) co_return std::move(*found);
  world_.log.warning("store_list", "path={} error=\"{}\"", options_.path, to_string(found.error()));
  co_return std::vector<PackHere>(packs.size());
}

env::Task<std::vector<uint8_t>> LocalShardStore::slots_of(PackId pack) {
  auto slots = co_await with_log([&]() -> Result<std::vector<uint8_t>> {
    if (!there()) return std::vector<uint8_t>();
    return log_.index().slots_of(pack);
  });
  if (slots) co_return std::move(*slots);
  world_.log.warning("store_list", "path={} error=\"{}\"", options_.path, to_string(slots.error()));
  co_return std::vector<uint8_t>();
}

env::Task<std::vector<ShardId>> LocalShardStore::list(std::optional<ShardId> after, size_t limit) {
  auto shards = co_await with_log([&] { return log_.index().shards(after, limit); });
  if (shards) co_return std::move(*shards);
  world_.log.warning("store_list", "path={} error=\"{}\"", options_.path, to_string(shards.error()));
  co_return std::vector<ShardId>();
}

// What one shard counts as at the least.
uint64_t LocalShardStore::scrub_least(uint64_t bytes_per_second) const {
  const auto seconds = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(kScrubSeeks).count());
  const uint64_t shards = std::max<uint64_t>(1, totals_.records);
  return std::clamp<uint64_t>(seconds * bytes_per_second / shards, kBlockSize, kScrubSeek);
}

env::Task<Status> LocalShardStore::scrub(uint64_t bytes_per_second) {
  if (bytes_per_second == 0) co_return fail(Code::bad_input, "a rate of 0 never ends");
  std::optional<ShardId> after;
  Status outcome;
  uint64_t unpaid = 0;  // bytes read since the last pause
  while (!closing_) {
    auto shards = co_await with_log([&] { return log_.index().shards(after, kWalkStep); });
    if (!shards) co_return fail(std::move(shards.error()));
    if (shards->empty()) co_return outcome;
    // Small ones together: a job for each would cost more than reading it.
    const auto at_once = static_cast<uint64_t>(static_cast<double>(bytes_per_second) * kScrubPause);
    const uint64_t least = scrub_least(bytes_per_second);
    for (size_t at = 0; at < shards->size() && !closing_;) {
      co_await stand_back();
      Rot rot;
      uint64_t bytes = 0;
      auto read = co_await with_log([&]() -> Status {
        Status failed;
        do {
          after = (*shards)[at++];
          auto one = located(*after, rot, [&](const IndexEntry& entry) -> Result<uint64_t> {
            auto header = log_.read_header(*after, entry.place, true);
            if (!header) return fail(std::move(header.error()));
            auto leaves = log_.read_leaves(*header, 0, static_cast<uint32_t>(header->leaf_crcs.size()) - 1);
            if (!leaves) return fail(std::move(leaves.error()));
            return uint64_t{entry.place.blocks} * kBlockSize;
          });
          bytes += std::max(one ? *one : 0, least);
          if (!one && !rot.found && one.error().code != Code::not_found) failed = fail(std::move(one.error()));
        } while (at < shards->size() && bytes < at_once && !rot.found);
        return failed;
      });
      if (rot.found) co_await drop_rotten(*after, rot);
      if (!read) outcome = fail(read.error());
      if (bytes == 0) {  // the store is being opened anew
        after = (*shards)[at++];
        bytes = least;
      }
      unpaid += bytes;
      const double seconds = static_cast<double>(unpaid) / static_cast<double>(bytes_per_second);
      if (seconds < kScrubPause) continue;
      co_await env::sleep_for(world_.clock,
                              std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)));
      unpaid = 0;
    }
  }
  co_return fail(Code::cancelled, "the store is being closed");
}

}  // namespace cairn::store
