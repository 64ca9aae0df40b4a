#include "volume/drive/uploader.h"

#include "volume/drive/limits.h"
#include "volume/volume.h"

namespace cairn::volume {

Uploader::Uploader(VolumeHost& host, Staging& staging, ChunkCache& chunks, const EditMap& active)
    : host_(host),
      staging_(staging),
      chunks_(chunks),
      active_(active),
      turn_(host.world().executor, 1),
      changed_(host.world().executor),
      writer_(host.world(), host.packs(), host.keys(), host.writer(), host.options().compression_level,
              host.options().depth.pack_memory),
      group_(host.world().executor) {
  writer_.set_head_sequence(host.current()->state.sequence);
}

void Uploader::start() {
  if (group_.empty()) group_.spawn(send_early());
}

void Uploader::stop() {
  group_.cancel();
}

std::optional<Extent> Uploader::staged_extent(const std::string& key, const std::optional<std::string>& value,
                                              InodeId* inode) {
  if (!value) return std::nullopt;
  const auto parsed = parse_inode_key(key);
  if (!parsed || parsed->kind != ItemKind::extent) return std::nullopt;
  auto extent = decode_extent(parsed->offset, *value);
  if (!extent || !staged_place(*extent)) return std::nullopt;
  *inode = parsed->inode;
  return std::move(*extent);
}

// What has a part of the staged run, and where in it the run begins; nothing when it was not sent in one piece.
const Uploader::Part* Uploader::find(StagedPlace place, uint64_t length, uint64_t* inside) const {
  auto at = parts_.upper_bound({place.segment, place.offset});
  if (at == parts_.begin()) return nullptr;
  --at;
  if (at->first.first != place.segment) return nullptr;
  *inside = place.offset - at->first.second;
  if (*inside >= at->second.length || length > at->second.length - *inside) return nullptr;
  return &at->second;
}

void Uploader::drop_part(std::map<Place, Part>::iterator at) {
  const auto sent = sent_.find(at->second.chunk);
  if (sent != sent_.end() && --sent->second.parts == 0 && !sent->second.pack.is_zero()) sent_.erase(sent);
  parts_.erase(at);
}

void Uploader::add_part(Place place, Part part) {
  ++sent_[part.chunk].parts;
  for (auto at = parts_.lower_bound(place);
       at != parts_.end() && at->first.first == place.first && at->first.second < place.second + part.length;) {
    const auto old = at++;
    if (old->first.second + old->second.length <= place.second + part.length) drop_part(old);
  }
  parts_[place] = part;
}

void Uploader::note(const EditMap& edits) {
  for (const auto& [key, value] : edits) {
    InodeId inode = 0;
    const auto extent = staged_extent(key, value, &inode);
    // Only with its last byte can a unit be full.
    if (!extent || extent->end() % kExtentSize != 0) continue;
    const Unit unit{inode, extent->offset / kExtentSize};
    if (known_units_.insert(unit).second) full_units_.push_back(unit);
  }
  if (full_units_.size() * kExtentSize >= kEarlyUpload) changed_.notify_all();
}

env::Task<void> Uploader::send_early() {
  for (;;) {
    while (paused_ > 0 || early_failed_ || full_units_.size() * kExtentSize < kEarlyUpload) co_await changed_.wait();
    while (paused_ == 0 && !full_units_.empty()) {
      const Unit unit = full_units_.front();
      full_units_.pop_front();
      known_units_.erase(unit);
      auto status = co_await send_unit(active_, unit, true);
      if (status) continue;
      early_failed_ = true;  // upload() finds out whether it goes again
      break;
    }
    collect();
  }
}

env::Task<Status> Uploader::send_unit(const EditMap& edits, Unit unit, bool only_full) {
  const auto turn = co_await turn_.acquire();
  const auto held = staging_.hold();
  std::vector<Extent> extents;
  uint64_t bytes = 0;
  const uint64_t first = unit.second * kExtentSize;
  const std::string last = extent_key(unit.first, first + kExtentSize);
  for (auto at = edits.lower_bound(extent_key(unit.first, first)); at != edits.end() && at->first < last; ++at) {
    InodeId inode = 0;
    auto extent = staged_extent(at->first, at->second, &inode);
    if (!extent) continue;
    bytes += extent->length;
    uint64_t inside = 0;
    if (find(*staged_place(*extent), extent->length, &inside) == nullptr) extents.push_back(std::move(*extent));
  }
  if (extents.empty() || (only_full && bytes < kExtentSize)) co_return Status{};
  while (!extents.empty()) {
    std::vector<Extent> chunk;
    uint64_t length = 0;
    while (!extents.empty() && (chunk.empty() || length + extents.front().length <= kExtentSize)) {
      length += extents.front().length;
      chunk.push_back(std::move(extents.front()));
      extents.erase(extents.begin());
    }
    CAIRN_CO_TRY(co_await send_chunk(std::move(chunk)));
  }
  co_return Status{};
}

env::Task<Status> Uploader::send_chunk(std::vector<Extent> extents) {
  Buffer plain;
  if (extents.size() == 1) {
    auto bytes = co_await staging_.read(*staged_place(extents[0]), extents[0].length);
    if (!bytes) co_return fail(std::move(bytes.error()));
    plain = std::move(*bytes);
  } else {
    size_t length = 0;
    for (const Extent& extent : extents) length += extent.length;
    plain = Buffer(length);
    length = 0;
    for (const Extent& extent : extents) {
      auto bytes = co_await staging_.read(*staged_place(extent), extent.length);
      if (!bytes) co_return fail(std::move(bytes.error()));
      std::memcpy(plain.data() + length, bytes->data(), bytes->size());
      length += bytes->size();
    }
  }
  const ChunkId chunk = host_.world().random.id<ChunkId>();
  CAIRN_CO_TRY(co_await writer_.add(chunk, plain));
  chunks_.add(chunk, plain);
  under_way_.push_back(chunk);
  uint32_t offset = 0;
  for (const Extent& extent : extents) {
    const StagedPlace place = *staged_place(extent);
    add_part({place.segment, place.offset}, {.length = extent.length, .chunk = chunk, .chunk_offset = offset});
    offset += extent.length;
  }
  co_return Status{};
}

void Uploader::collect() {
  std::deque<ChunkId> left;
  for (const ChunkId& chunk : under_way_) {
    const auto place = writer_.find(chunk);
    if (!place) {
      left.push_back(chunk);
      continue;
    }
    const auto sent = sent_.find(chunk);
    if (sent == sent_.end()) continue;
    if (sent->second.parts == 0) {
      sent_.erase(sent);
      continue;
    }
    sent->second.pack = place->pack;
    sent->second.offset = place->offset;
    sent->second.length = place->length;
  }
  under_way_ = std::move(left);
  for (const pool::PackRef& pack : writer_.packs()) packs_.insert_or_assign(pack.id, pack);
  writer_.forget(writer_.packs().size(), under_way_.empty());
}

env::Task<Status> Uploader::upload(const EditMap& edits) {
  if (early_failed_) {
    CAIRN_CO_TRY(co_await writer_.flush());
    early_failed_ = false;
    changed_.notify_all();
  }
  std::vector<Unit> units;
  for (const auto& [key, value] : edits) {
    InodeId inode = 0;
    const auto extent = staged_extent(key, value, &inode);
    uint64_t inside = 0;
    if (!extent || find(*staged_place(*extent), extent->length, &inside) != nullptr) continue;
    const Unit unit{inode, extent->offset / kExtentSize};
    if (units.empty() || units.back() != unit) units.push_back(unit);
  }
  struct Pause {
    Uploader& owner;
    explicit Pause(Uploader& uploader) : owner(uploader) { ++owner.paused_; }
    ~Pause() {
      if (--owner.paused_ == 0) owner.changed_.notify_all();
    }
  } pause(*this);
  for (const Unit& unit : units) {
    auto status = co_await send_unit(edits, unit, false);
    if (!status) {
      CAIRN_CO_TRY(co_await writer_.flush());  // says why, or clears it
      CAIRN_CO_TRY(co_await send_unit(edits, unit, false));
    }
  }
  collect();
  if (!under_way_.empty()) {
    CAIRN_CO_TRY(co_await writer_.flush());
    collect();
  }
  co_return Status{};
}

Result<Uploader::Placed> Uploader::place(const EditMap& edits) const {
  Placed placed;
  std::set<PackId> named;
  for (const auto& [key, value] : edits) {
    InodeId inode = 0;
    auto extent = staged_extent(key, value, &inode);
    if (!extent) {
      placed.edits.emplace_hint(placed.edits.end(), key, value);
      continue;
    }
    uint64_t inside = 0;
    const Part* part = find(*staged_place(*extent), extent->length, &inside);
    const auto sent = part == nullptr ? sent_.end() : sent_.find(part->chunk);
    if (sent == sent_.end() || sent->second.pack.is_zero()) return fail(Code::damaged, "staged bytes without a place");
    extent->chunk = part->chunk;
    extent->pack = sent->second.pack;
    extent->pack_offset = sent->second.offset;
    extent->sealed_length = sent->second.length;
    extent->chunk_offset = part->chunk_offset + static_cast<uint32_t>(inside);
    if (const auto pack = packs_.find(extent->pack); pack != packs_.end() && named.insert(pack->first).second)
      placed.packs.push_back(pack->second);
    placed.edits.emplace_hint(placed.edits.end(), key, encode_extent(*extent));
  }
  return placed;
}

void Uploader::committed(const std::vector<pool::PackRef>& packs, uint64_t sequence) {
  for (const pool::PackRef& pack : packs) packs_.erase(pack.id);
  writer_.set_head_sequence(sequence);
}

void Uploader::forget(const std::vector<uint64_t>& segments) {
  for (const uint64_t segment : segments) {
    for (auto at = parts_.lower_bound({segment, 0}); at != parts_.end() && at->first.first == segment;) drop_part(at++);
  }
}

uint64_t Uploader::unsent(const EditMap& edits) const {
  uint64_t bytes = 0;
  for (const auto& [key, value] : edits) {
    InodeId inode = 0;
    const auto extent = staged_extent(key, value, &inode);
    uint64_t inside = 0;
    if (extent && find(*staged_place(*extent), extent->length, &inside) == nullptr) bytes += extent->length;
  }
  return bytes;
}

}  // namespace cairn::volume
