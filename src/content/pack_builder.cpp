#include <bit>

#include "base/crc32c.h"
#include "content/limits.h"
#include "content/merkle.h"
#include "content/pack.h"

namespace cairn::content {

namespace {

constexpr uint32_t kMaxSealedSize = kMaxChunkSize + kSealOverhead;
static_assert(kMaxSealedSize <= kMaxShardSize);  // so that a lane takes any chunk

// A copy of `from` that is `size` long, or shorter; the rest is not set.
Buffer resized(const Buffer& from, size_t used, size_t size) {
  Buffer to(size);
  if (used > 0) std::memcpy(to.data(), from.data(), std::min(used, size));
  return to;
}

void zero(Buffer& buffer, size_t from, size_t to) {
  if (from < to) std::memset(buffer.data() + from, 0, to - from);
}

struct ShardSums {
  Hash root;
  uint32_t crc;
};
ShardSums sums_of(ByteView shard) {
  return {.root = MerkleTree::over(shard).root(), .crc = crc32c(shard)};
}

}  // namespace

uint64_t padme(uint64_t length) {
  if (length < 2) return length;
  const int exponent = std::bit_width(length) - 1;
  const int kept = std::bit_width(static_cast<uint64_t>(exponent));  // bits of the length that stay
  const uint64_t rest = (uint64_t{1} << (exponent - kept)) - 1;
  return (length + rest) & ~rest;
}

PackBuilder::PackBuilder(uint32_t k, uint32_t m, PackLayout layout) : k_(k), m_(m), layout_(layout) {
  CAIRN_ASSERT(k >= 1 && k <= kMaxSlots && m <= kMaxSlots - k);
}

bool PackBuilder::empty() const {
  return places_.empty();
}
uint64_t PackBuilder::size() const {
  return size_;
}

PackBuilder::Place PackBuilder::place(Ticket ticket) const {
  CAIRN_ASSERT(ticket < places_.size());
  return places_[ticket];
}

uint32_t PackBuilder::capacity_of_lane() const {
  return layout_ == PackLayout::contiguous ? k_ * kMaxShardSize : kMaxShardSize;
}

// Where the next `size` bytes of a lane go; they fit.
uint8_t* PackBuilder::room_in(size_t lane, uint32_t size) {
  Lane& into = lanes_[lane];
  const uint32_t needed = into.used + size;
  if (needed > into.memory.size()) {
    // A pack that has filled a lane will most likely fill the next.
    uint32_t capacity = lane > 0 ? kMaxShardSize : kFirstLaneCapacity;
    while (capacity < needed) capacity = std::min(capacity * kLaneGrowth, capacity_of_lane());
    into.memory = resized(into.memory, into.used, capacity);
  }
  return into.memory.data() + into.used;
}

PackBuilder::Ticket PackBuilder::note(size_t lane, uint32_t size) {
  places_.push_back({.offset = static_cast<uint32_t>(lane) * kMaxShardSize + lanes_[lane].used, .length = size});
  lanes_[lane].used += size;
  size_ += size;
  return places_.size() - 1;
}

std::optional<PackBuilder::Ticket> PackBuilder::place_in_lanes(ByteView sealed) {
  const auto size = static_cast<uint32_t>(sealed.size());
  const size_t most_lanes = layout_ == PackLayout::contiguous ? 1 : k_;
  if (lanes_.empty() || size > capacity_of_lane() - lanes_.back().used) {
    if (lanes_.size() == most_lanes) return std::nullopt;
    lanes_.emplace_back();
  }
  uint8_t* to = room_in(lanes_.size() - 1, size);
  std::memcpy(to, sealed.data(), size);
  return note(lanes_.size() - 1, size);
}

std::optional<PackBuilder::Ticket> PackBuilder::add_sealed(ByteView sealed) {
  CAIRN_ASSERT(!finished_ && !sealed.empty() && sealed.size() <= kMaxSealedSize);
  return place_in_lanes(sealed);
}

std::optional<PackBuilder::Ticket> PackBuilder::add(const VolumeKeys& keys, const ChunkId& id, ChunkType type,
                                                    ByteView plain, int compression_level, env::SecureRandom& random) {
  CAIRN_ASSERT(!finished_ && plain.size() <= kMaxChunkSize);
  const auto most = static_cast<uint32_t>(plain.size() + kSealOverhead);
  if (lanes_.empty()) lanes_.emplace_back();
  if (most <= capacity_of_lane() - lanes_.back().used) {
    uint8_t* to = room_in(lanes_.size() - 1, most);
    const size_t size = seal_chunk_into(keys, id, type, plain, compression_level, random, {to, most});
    return note(lanes_.size() - 1, static_cast<uint32_t>(size));
  }
  // Once per lane: it may still fit when compressed.
  spare_.resize(most);
  const size_t size = seal_chunk_into(keys, id, type, plain, compression_level, random, spare_);
  return place_in_lanes(ByteView(spare_).first(size));
}

uint32_t PackBuilder::longest_chunk() const {
  uint32_t longest = 0;
  for (const Place& place : places_) longest = std::max(longest, place.length);
  return longest;
}

// The least length of k lanes that take all chunks in order, each whole.
uint32_t PackBuilder::least_shard_length() const {
  const auto fits = [&](uint32_t length) {
    uint32_t lane = 0;
    uint32_t used = 0;
    for (const Place& place : places_) {
      if (place.length > length - used) {
        if (++lane == k_) return false;
        used = 0;
      }
      used += place.length;
    }
    return true;
  };
  uint32_t low = std::max(longest_chunk(), static_cast<uint32_t>((size_ + k_ - 1) / k_));
  uint32_t high = kMaxShardSize;  // fits: that is how they were added
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (fits(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Lanes as they were filled, without a copy but where one has less memory than a shard is long.
std::vector<Buffer> PackBuilder::take_lanes(uint32_t shard_length) {
  lanes_.resize(k_);
  std::vector<Buffer> shards;
  for (Lane& lane : lanes_) {
    if (lane.memory.size() < shard_length) lane.memory = resized(lane.memory, lane.used, shard_length);
    zero(lane.memory, lane.used, shard_length);
    shards.push_back(lane.memory.slice(0, shard_length));
  }
  for (Place& place : places_) {
    place.offset = place.offset / kMaxShardSize * shard_length + place.offset % kMaxShardSize;
  }
  return shards;
}

std::vector<Buffer> PackBuilder::lay_out_anew(uint32_t shard_length) {
  std::vector<Buffer> shards(k_);
  for (Buffer& shard : shards) shard = Buffer(shard_length);
  uint32_t lane = 0;
  uint32_t used = 0;
  for (Place& place : places_) {
    if (place.length > shard_length - used) {
      zero(shards[lane], used, shard_length);
      ++lane;
      used = 0;
    }
    const uint8_t* from = lanes_[place.offset / kMaxShardSize].memory.data() + place.offset % kMaxShardSize;
    std::memcpy(shards[lane].data() + used, from, place.length);
    place.offset = lane * shard_length + used;
    used += place.length;
  }
  for (; lane < k_; ++lane, used = 0) zero(shards[lane], used, shard_length);
  return shards;
}

std::vector<Buffer> PackBuilder::cut_contiguous(uint32_t shard_length) {
  Lane& all = lanes_.front();
  const size_t total = size_t{k_} * shard_length;
  if (all.memory.size() < total) all.memory = resized(all.memory, all.used, total);
  zero(all.memory, all.used, total);
  std::vector<Buffer> shards;
  for (size_t i = 0; i < k_; ++i) shards.push_back(all.memory.slice(i * shard_length, shard_length));
  return shards;
}

std::vector<Buffer> PackBuilder::data_shards(uint32_t& shard_length) {
  if (layout_ == PackLayout::contiguous) {
    // Never shorter than a chunk, so that a chunk crosses one border at most.
    shard_length = static_cast<uint32_t>(padme(std::max<uint64_t>((size_ + k_ - 1) / k_, longest_chunk())));
    return cut_contiguous(shard_length);
  }
  uint32_t longest = 0;
  for (const Lane& lane : lanes_) longest = std::max(longest, lane.used);
  const auto as_filled = static_cast<uint32_t>(padme(longest));
  const auto least = static_cast<uint32_t>(padme(least_shard_length()));
  CAIRN_ASSERT(least <= as_filled && as_filled <= kMaxShardSize);
  if (as_filled - least < std::max(as_filled / kRelayoutSaving, 1U)) {
    shard_length = as_filled;
    return take_lanes(shard_length);
  }
  shard_length = least;
  return lay_out_anew(shard_length);
}

Result<EncodedPack> PackBuilder::finish(const VolumeId& volume, uint64_t head_sequence,
                                        const crypto::PrivateKey& writer, env::SecureRandom& random) {
  CAIRN_ASSERT(!finished_);
  if (empty()) return fail(Code::bad_input, "an empty pack");
  const auto code = erasure::Code::get(k_, m_);
  if (!code) return fail(code.error());
  finished_ = true;

  EncodedPack pack;
  uint32_t shard_length = 0;
  pack.shards = data_shards(shard_length);
  lanes_.clear();
  spare_ = {};
  if (k_ == 1) {
    pack.shards.resize(1 + m_, pack.shards.front());  // copies: one memory and one hash do for all
    const ShardSums sums = sums_of(pack.shards.front());
    pack.crcs.assign(1 + m_, sums.crc);
    pack.header.roots.assign(1 + m_, sums.root);
  } else {
    const std::vector<ByteView> data(pack.shards.begin(), pack.shards.end());
    std::vector<MutableByteView> parity;
    for (uint32_t i = 0; i < m_; ++i) parity.push_back(pack.shards.emplace_back(shard_length).span());
    CAIRN_TRY(code->encode(data, parity));
    for (const Buffer& shard : pack.shards) {
      const ShardSums sums = sums_of(shard);
      pack.crcs.push_back(sums.crc);
      pack.header.roots.push_back(sums.root);
    }
  }
  PackHeader::Nonce nonce;
  random.fill(nonce);
  const PackGeometry geometry = {.k = k_, .m = m_, .shard_length = shard_length};
  pack.header = PackHeader::sign(volume, geometry, std::move(pack.header.roots), head_sequence, nonce, writer);
  return pack;
}

}  // namespace cairn::content
