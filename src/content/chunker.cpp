#include "content/chunker.h"

#include <bit>

namespace cairn::content {

namespace {

class FixedChunker final : public Chunker {
 public:
  explicit FixedChunker(size_t size) : size_(size) { CAIRN_ASSERT(size > 0); }
  std::optional<size_t> find_cut(ByteView bytes, size_t seen) override {
    CAIRN_ASSERT(seen < size_);
    if (bytes.size() < size_ - seen) return std::nullopt;
    return size_ - seen;
  }
  size_t max_size() const override { return size_; }

 private:
  size_t size_;
};

// The gear hash shifts by one bit per byte, so its highest bits depend on the last 64 bytes: masks take those.
uint64_t top_bits(int count) {
  return ~uint64_t{0} << (64 - count);
}

class KeyedChunker final : public Chunker {
 public:
  KeyedChunker(const crypto::Key& key, CdcSizes sizes) : sizes_(sizes) {
    CAIRN_ASSERT(sizes.min > 0 && sizes.min < sizes.average && sizes.average < sizes.max && sizes.average >= 256);
    const int bits = std::bit_width(sizes.average) - 1;
    early_mask_ = top_bits(bits + sizes.normalisation);
    late_mask_ = top_bits(bits - sizes.normalisation);
    for (size_t i = 0; i < gear_.size(); i += 4) {
      const auto row = static_cast<uint8_t>(i / 4);
      const Hash words = crypto::hmac_sha256(key, {as_bytes("cairn/v1/gear"), ByteView(&row, 1)});
      for (size_t j = 0; j < 4; ++j) gear_[i + j] = read_le<uint64_t>(words.bytes.data() + 8 * j);
    }
  }

  std::optional<size_t> find_cut(ByteView bytes, size_t seen) override {
    CAIRN_ASSERT(seen < sizes_.max);
    if (seen == 0) hash_ = 0;
    const size_t end = std::min(bytes.size(), sizes_.max - seen);  // within `bytes`
    size_t at = seen < sizes_.min ? std::min(sizes_.min - seen, end) : 0;
    if (seen < sizes_.average) {
      const size_t early_end = std::min(sizes_.average - seen, end);
      if (scan(bytes, at, early_end, early_mask_)) return at;
    }
    if (scan(bytes, at, end, late_mask_)) return at;
    if (seen + end == sizes_.max) return end;
    return std::nullopt;
  }
  size_t max_size() const override { return sizes_.max; }

 private:
  // Rolls over bytes [at, end) and stops behind the first byte whose hash has none of the mask's bits.
  bool scan(ByteView bytes, size_t& at, size_t end, uint64_t mask) {
    const uint8_t* data = bytes.data();
    uint64_t hash = hash_;
    size_t i = at;
    bool cut = false;
    // Four bytes at a time. Each hash follows from the one before all four, so that the steps need not wait for each
    // other: this is the loop that a backup spends its time in.
    for (; i + 4 <= end; i += 4) {
      const uint64_t g0 = gear_[data[i]];
      const uint64_t g1 = (g0 << 1) + gear_[data[i + 1]];
      const uint64_t g2 = (g1 << 1) + gear_[data[i + 2]];
      const uint64_t g3 = (g2 << 1) + gear_[data[i + 3]];
      const std::array<uint64_t, 4> hashes = {(hash << 1) + g0, (hash << 2) + g1, (hash << 3) + g2, (hash << 4) + g3};
      if ((hashes[0] & mask) == 0 || (hashes[1] & mask) == 0 || (hashes[2] & mask) == 0 || (hashes[3] & mask) == 0) {
        break;  // the loop below finds which
      }
      hash = hashes[3];
    }
    while (!cut && i < end) {
      hash = (hash << 1) + gear_[data[i++]];
      cut = (hash & mask) == 0;
    }
    at = i;
    hash_ = hash;
    return cut;
  }

  CdcSizes sizes_;
  uint64_t early_mask_ = 0, late_mask_ = 0;
  uint64_t hash_ = 0;  // of the current chunk, from its byte number sizes_.min on
  std::array<uint64_t, 256> gear_{};
};

}  // namespace

std::unique_ptr<Chunker> make_fixed_chunker(size_t size) {
  return std::make_unique<FixedChunker>(size);
}

std::unique_ptr<Chunker> make_keyed_chunker(const crypto::Key& key, CdcSizes sizes) {
  return std::make_unique<KeyedChunker>(key, sizes);
}

}  // namespace cairn::content
