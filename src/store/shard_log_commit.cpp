// ShardLog: commit(), the only way in which a running store changes.

#include "store/shard_log.h"

namespace cairn::store {

namespace {

constexpr size_t kPartsPerWrite = 512;
constexpr std::array<uint8_t, kBlockSize> kZeros{};
static_assert(trailer_blocks(kBlockAlignedPayload - 1) == 0);

}  // namespace

// One commit: what would change lies here until the index has taken it.
struct ShardLog::Commit {
  ShardLog& log;
  uint64_t room_blocks;
  std::map<uint32_t, SegmentInfo> infos;                 // those that change
  std::map<ShardId, std::optional<IndexEntry>> entries;  // those that changed
  IndexBatch batch;
  std::optional<uint32_t> active = log.active_;
  uint64_t allocated_end = log.allocated_end_;
  int64_t held_change = 0;  // blocks
  int64_t fs_blocks = 0;    // that may still be taken from the file system
  bool meta_changed = false;
  bool sync = false;
  uint64_t appended = 0;       // bytes
  std::set<uint32_t> removed;  // segments

  // Written but not yet synced records: [flush_from, info(active).end).
  struct Pending {
    PutChange* put;
    Status* result;
    Bytes header;
    Bytes trailer;
  };
  std::vector<Pending> pending;
  uint32_t flush_from = 0;

  SegmentInfo& info(uint32_t number) {
    auto [it, fresh] = infos.try_emplace(number);
    if (fresh) {
      if (auto known = log.segments_.find(number); known != log.segments_.end()) it->second = known->second;
    }
    return it->second;
  }
  Result<std::optional<IndexEntry>> find(const ShardId& shard) {
    if (auto it = entries.find(shard); it != entries.end()) return it->second;
    return log.find(shard);
  }
  uint64_t tail_blocks() { return active ? allocated_end / kBlockSize - info(*active).end : 0; }
  uint64_t held_blocks() const { return log.totals_.held_blocks + static_cast<uint64_t>(held_change); }

  Status begin_segment();
  Status seal();
  Status trim();
  Status reserve(env::File& file, uint64_t end);
  Status flush();
  Status write_pending(env::File& file);
  static Status write_large(env::File& file, uint64_t offset, const Pending& one, uint64_t whole);
  void put(PutChange& change, Status& result);
  void placed(Pending& put);
  void forget(const ShardId& shard, const IndexEntry& entry);
  Status drop(const DropChange& change);
  Status verified(const VerifiedChange& change);
  Status holes(const HolesChange& change);
  Status remove_segment(const SegmentChange& change);
  void apply(Change& change);
};

Status ShardLog::Commit::begin_segment() {
  const uint32_t number = log.meta_.high_water + 1;
  auto file = log.files_.create(number);
  if (!file) {
    log.broken_ = true;  // it may be there or not
    return fail(std::move(file.error()));
  }
  log.meta_.high_water = number;
  meta_changed = true;
  active = number;
  info(number) = {};
  allocated_end = 0;
  flush_from = 0;
  return {};
}

// Gives back what was preallocated, so that a sealed segment takes exactly what it holds.
Status ShardLog::Commit::seal() {
  auto file = log.files_.get(*active);
  if (!file) return fail(std::move(file.error()), "segment");
  Status status = cut_off(**file, uint64_t{info(*active).end} * kBlockSize);
  if (status) status = (*file)->sync();
  if (!status) {
    log.broken_ = true;
    return status;
  }
  info(*active).sealed = true;
  sync = true;
  active.reset();
  allocated_end = 0;
  return {};
}

// Where the file ends behind its last record means nothing to a start: no sync.
Status ShardLog::Commit::trim() {
  if (tail_blocks() == 0) return {};
  auto file = log.files_.get(*active);
  if (!file) return fail(std::move(file.error()), "segment");
  const uint64_t end = uint64_t{info(*active).end} * kBlockSize;
  CAIRN_TRY(cut_off(**file, end));
  allocated_end = end;
  return {};
}

Status ShardLog::Commit::reserve(env::File& file, uint64_t end) {
  if (end <= allocated_end) return {};
  const uint64_t need = end - allocated_end;
  // What is reserved ahead of need must leave room for the index entries of the records that will fill it.
  const uint64_t room = (room_blocks - std::min(room_blocks, held_blocks())) * 15 / 16;
  const uint64_t ahead = std::min<uint64_t>(room, static_cast<uint64_t>(std::max<int64_t>(0, fs_blocks)));
  uint64_t grow = std::max(need, preallocation_step(log.options_.limit));
  grow = std::min(grow, need + ahead * kBlockSize);
  grow = std::min(grow, uint64_t{log.segment_blocks_} * kBlockSize - allocated_end);
  auto status = file.allocate(allocated_end, grow);
  if (!status && grow > need) {
    grow = need;
    status = file.allocate(allocated_end, grow);
  }
  CAIRN_TRY(std::move(status));
  CAIRN_TRY(file.truncate(allocated_end + grow));  // appends then leave the size alone
  allocated_end += grow;
  return {};
}

Status ShardLog::Commit::write_pending(env::File& file) {
  CAIRN_TRY(reserve(file, uint64_t{info(*active).end} * kBlockSize));
  std::vector<ByteView> parts;
  uint64_t offset = uint64_t{flush_from} * kBlockSize;
  uint64_t length = 0;
  for (size_t i = 0; i < pending.size(); ++i) {
    const Pending& one = pending[i];
    const uint32_t payload_length = one.put->header.payload_length;
    const uint64_t whole = uint64_t{one.put->header.blocks()} * kBlockSize;
    if (payload_length >= kBlockAlignedPayload) {
      if (!parts.empty()) CAIRN_TRY(file.write_at(offset, parts));
      parts.clear();
      offset += std::exchange(length, 0);
      CAIRN_TRY(write_large(file, offset, one, whole));
      offset += whole;
      continue;
    }
    parts.push_back(one.header);
    parts.push_back(one.put->payload.view());
    parts.push_back(ByteView(kZeros).first(whole - one.header.size() - payload_length));
    length += whole;
    if (parts.size() + 3 > kPartsPerWrite) {
      CAIRN_TRY(file.write_at(offset, parts));
      offset += std::exchange(length, 0);
      parts.clear();
    }
  }
  if (!parts.empty()) CAIRN_TRY(file.write_at(offset, parts));
  return file.sync();
}

// From where the payload lies; only what stands around it is put together.
Status ShardLog::Commit::write_large(env::File& file, uint64_t offset, const Pending& one, uint64_t whole) {
  const ByteView payload = one.put->payload.view();
  const ByteView blocks = payload.first(payload.size() / kBlockSize * kBlockSize);
  const ByteView tail = payload.subspan(blocks.size());
  const size_t before = payload_start(static_cast<uint32_t>(one.header.size()), one.put->header.payload_length);
  const size_t behind = whole - before - blocks.size();
  // One piece of memory, aligned as the disk wants it whatever its size.
  Buffer around(std::max(before + behind, kAlignedBuffer));
  const MutableByteView front = around.span().first(before);
  const MutableByteView back = around.span().subspan(before, behind);
  std::ranges::fill(front, uint8_t{0});
  std::ranges::fill(back, uint8_t{0});
  std::ranges::copy(one.header, front.begin());
  std::ranges::copy(tail, back.begin());
  const size_t trailer = size_t{trailer_blocks(one.put->header.payload_length)} * kBlockSize;
  std::ranges::copy(one.trailer, back.end() - static_cast<ptrdiff_t>(trailer));
  const std::array<ByteView, 3> parts = {front, blocks, back};
  return file.write_past_cache(offset, parts);
}

// Makes the pending records durable, or takes all of them back.
Status ShardLog::Commit::flush() {
  if (pending.empty()) return {};
  auto file = log.files_.get(*active);
  Status status = file ? write_pending(**file) : Status(fail(file.error(), "segment"));
  if (status) {
    for (Pending& one : pending) placed(one);
    pending.clear();
    flush_from = info(*active).end;
    return {};
  }
  log.world_.log.warning("store_write_failed", "path={} error=\"{}\"", log.options_.path, to_string(status.error()));
  for (Pending& one : pending) *one.result = fail(status.error());
  pending.clear();
  // None of it may come back at the next start: it was refused.
  held_change -= info(*active).end - flush_from;
  info(*active).end = flush_from;
  const uint64_t end = uint64_t{flush_from} * kBlockSize;
  Status undone = file ? cut_off(**file, end) : Status(fail(file.error()));
  if (undone) undone = (*file)->sync();
  if (undone) {
    allocated_end = end;
  } else {
    log.broken_ = true;
  }
  return status;
}

void ShardLog::Commit::placed(Pending& one) {
  PutChange& change = *one.put;
  const Place place = change.header.place();
  IndexEntry entry{place, change.verified};
  if (change.moved_from) {
    auto old = find(change.header.shard);
    if (old && *old) {
      entry.verified = (*old)->verified;
      forget(change.header.shard, **old);
    }
  }
  SegmentInfo& in = info(place.segment);
  in.held += place.blocks;
  in.live += place.blocks;
  ++in.records;
  if (!entry.verified) {
    ++in.unverified;
    batch.put_unverified(place, change.header.shard);
  }
  batch.put_shard(change.header.shard, entry);
  entries[change.header.shard] = entry;
  change.stored = true;
  *one.result = {};
}

void ShardLog::Commit::put(PutChange& change, Status& result) {
  auto there = find(change.header.shard);
  if (!there && there.error().code != Code::corrupt) {
    result = fail(std::move(there.error()));
    return;
  }
  const bool held = there && *there;
  if (change.moved_from ? !held || (*there)->place != *change.moved_from : held) {
    result = change.moved_from ? Status(fail(Code::not_found, "the shard has gone")) : Status();
    return;
  }
  for (const Pending& one : pending) {
    if (one.put->header.shard == change.header.shard) {
      result = fail(Code::conflict, "the same shard twice at once");
      return;
    }
  }
  const uint32_t blocks = change.header.blocks();
  if (held_blocks() + blocks > room_blocks) {
    result = fail(Code::no_space, "the store is full");
    return;
  }
  if (active && uint64_t{info(*active).end} + blocks > log.segment_blocks_) {
    auto status = flush();
    if (status) status = seal();
    if (!status) {
      result = fail(std::move(status.error()));
      return;
    }
  }
  if (fs_blocks < static_cast<int64_t>(blocks)) {
    result = fail(Code::no_space, "the disk has no more than what it is to keep free");
    return;
  }
  if (!active) {
    if (auto status = begin_segment(); !status) {
      result = fail(std::move(status.error()));
      return;
    }
  }
  SegmentInfo& in = info(*active);
  if (pending.empty()) flush_from = in.end;
  change.header.segment = *active;
  change.header.block = in.end;
  in.end += blocks;
  held_change += blocks;
  fs_blocks -= blocks;
  appended += uint64_t{blocks} * kBlockSize;
  pending.push_back({&change, &result, change.header.encode(log.marker_.stamp), std::move(change.trailer)});
}

// Its blocks become a hole.
void ShardLog::Commit::forget(const ShardId& shard, const IndexEntry& entry) {
  batch.remove_shard(shard);
  entries[shard] = std::nullopt;
  if (!log.segments_.contains(entry.place.segment) && !infos.contains(entry.place.segment)) return;
  SegmentInfo& in = info(entry.place.segment);
  in.live -= std::min(in.live, entry.place.blocks);
  in.records -= std::min(in.records, 1U);
  if (!entry.verified) {
    in.unverified -= std::min(in.unverified, 1U);
    batch.remove_unverified(entry.place);
  }
  batch.put_hole({entry.place.segment, entry.place.block, entry.place.blocks});
}

Status ShardLog::Commit::drop(const DropChange& change) {
  auto there = find(change.shard);
  if (!there) {
    if (there.error().code != Code::corrupt) return fail(std::move(there.error()));
    batch.remove_shard(change.shard);  // where it lay is unknown: the rebuild that is due will find it
    entries[change.shard] = std::nullopt;
    sync = true;
    return {};
  }
  if (!*there || (change.only_at && (*there)->place != *change.only_at)) return fail(Code::not_found);
  forget(change.shard, **there);
  if (change.rotten) {
    ++log.meta_.corrupt;
    meta_changed = true;
  }
  sync = true;
  return {};
}

Status ShardLog::Commit::verified(const VerifiedChange& change) {
  auto there = find(change.shard);
  if (!there) return fail(std::move(there.error()));
  if (!*there || (*there)->place != change.place) {
    batch.remove_unverified(change.place);  // left over from an index entry that was damaged
    return fail(Code::not_found);
  }
  if ((*there)->verified) return {};
  if (const uint32_t blocks = trailer_blocks(change.place.payload_length); blocks != 0) {
    Bytes trailer;
    trailer.reserve(change.leaves.size() * Hash::kSize);
    for (const Hash& leaf : change.leaves) append(trailer, leaf.view());
    auto file = log.files_.get(change.place.segment);
    // Not synced: a trailer that does not fit the root is computed anew.
    Status status = file ? (*file)->write_at(change.place.end() - uint64_t{blocks} * kBlockSize, trailer)
                         : Status(fail(file.error()));
    if (!status) return status;
  }
  IndexEntry entry = **there;
  entry.verified = true;
  batch.put_shard(change.shard, entry);
  batch.remove_unverified(entry.place);
  entries[change.shard] = entry;
  info(entry.place.segment).unverified -= 1;
  return {};
}

Status ShardLog::Commit::holes(const HolesChange& change) {
  for (const Hole& hole : change.holes) {
    batch.remove_hole(hole);
    if (!change.punched || !(log.segments_.contains(hole.segment) || infos.contains(hole.segment))) continue;
    SegmentInfo& in = info(hole.segment);
    const uint32_t blocks = std::min(in.held, hole.blocks);
    in.held -= blocks;
    held_change -= blocks;
  }
  return {};
}

Status ShardLog::Commit::remove_segment(const SegmentChange& change) {
  if (!log.segments_.contains(change.segment)) return fail(Code::not_found);
  SegmentInfo& in = info(change.segment);
  if (!in.sealed || in.live != 0) return fail(Code::conflict, "the segment is in use");
  auto holes = log.index_->holes_of(change.segment);
  if (!holes) return fail(std::move(holes.error()));
  for (const Hole& hole : *holes) batch.remove_hole(hole);
  batch.remove_segment(change.segment);
  sync = true;
  return {};
}

void ShardLog::Commit::apply(Change& change) {
  if (log.broken_) {
    change.result = fail(Code::io, "the store is being opened anew");
    return;
  }
  if (auto* put_change = std::get_if<PutChange>(&change.what)) return put(*put_change, change.result);
  (void)flush();  // the others look at what lies where: records must have their place first
  if (const auto* what = std::get_if<DropChange>(&change.what)) change.result = drop(*what);
  if (const auto* what = std::get_if<VerifiedChange>(&change.what)) change.result = verified(*what);
  if (const auto* what = std::get_if<HolesChange>(&change.what)) change.result = holes(*what);
  if (const auto* what = std::get_if<SealChange>(&change.what)) {
    change.result = active == what->segment ? seal() : Status();
  }
  if (std::holds_alternative<TrimChange>(change.what)) change.result = trim();
  if (const auto* what = std::get_if<SegmentChange>(&change.what)) {
    change.result = remove_segment(*what);
    if (change.result) removed.insert(what->segment);
  }
}

void ShardLog::commit(std::span<Change* const> changes, uint64_t room_blocks) {
  const auto fail_all = [&](const Error& error) {
    for (Change* change : changes) change->result = fail(error);
  };
  if (broken_) return fail_all({Code::io, "the store is being opened anew"});
  if (auto status = mounted(); !status) return fail_all(status.error());

  Commit commit{.log = *this, .room_blocks = room_blocks};
  auto space = world_.disk.space(options_.path);
  if (space) totals_.space = *space;
  if (!has_reserve_) hold_reserve();
  const uint64_t keep = keep_free(totals_.space);
  if (space && space->available >= keep) {
    commit.fs_blocks = static_cast<int64_t>((space->available - keep) / kBlockSize + commit.tail_blocks());
  }

  for (Change* change : changes) commit.apply(*change);
  (void)commit.flush();  // each put was told

  for (const auto& [number, info] : commit.infos) {
    if (!commit.removed.contains(number)) commit.batch.put_segment(number, info);
  }
  if (commit.meta_changed) commit.batch.put_meta(meta_);
  bytes_since_checkpoint_ += commit.appended;
  records_since_checkpoint_ += static_cast<uint32_t>(changes.size());
  const bool due = bytes_since_checkpoint_ >= kCheckpointBytes || records_since_checkpoint_ >= kCheckpointRecords;
  if (!commit.batch.empty()) {
    if (auto status = write_index(commit.batch, commit.sync || due); !status) {
      world_.log.error("store_index_failed", "path={} error=\"{}\"", options_.path, to_string(status.error()));
      broken_ = true;
      return fail_all({status.error().code == Code::no_space ? Code::no_space : Code::io, "store index"});
    }
  }
  for (const auto& [number, info] : commit.infos) {
    SegmentInfo& known = segments_[number];
    totals_.held_blocks += info.held - uint64_t{known.held};
    totals_.live_blocks += info.live - uint64_t{known.live};
    totals_.records += info.records - uint64_t{known.records};
    totals_.unverified += info.unverified - uint64_t{known.unverified};
    known = info;
  }
  for (const uint32_t number : commit.removed) {
    totals_.held_blocks -= segments_[number].held;
    segments_.erase(number);
    if (auto status = files_.remove(number); !status) {
      world_.log.warning("store_segment_remove", "segment={} error=\"{}\"", number, to_string(status.error()));
    }
  }
  active_ = commit.active;
  allocated_end_ = commit.allocated_end;
  totals_.tail_blocks = active_ ? allocated_end_ / kBlockSize - segments_[*active_].end : 0;
  totals_.corrupt = meta_.corrupt;
  if (due || commit.sync) {
    bytes_since_checkpoint_ = 0;
    records_since_checkpoint_ = 0;
  }
  if (due) measure_index();
  if (!commit.infos.empty()) note_garbage();
}

Status ShardLog::checkpoint() {
  if (broken_ || !index_) return {};
  IndexBatch batch;
  batch.put_meta(meta_);
  return index_->write(batch, true);
}

void ShardLog::note_garbage() {
  totals_.empty_segments.clear();
  totals_.compaction_candidate.reset();
  totals_.active = active_;
  uint32_t most = 0;
  for (const auto& [number, info] : segments_) {
    if (info.sealed && info.live == 0) totals_.empty_segments.push_back(number);
    const uint32_t dead = info.held - std::min(info.held, info.live);
    if (dead <= most || uint64_t{dead} * 100 < uint64_t{info.held} * kCompactDeadPercent) continue;
    totals_.compaction_candidate = number;
    most = dead;
  }
}

}  // namespace cairn::store
