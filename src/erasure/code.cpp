#include "erasure/code.h"

#include <erasurecode.h>
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>

#include "base/limits.h"
#include "base/vector_state.h"
#include "erasure/limits.h"

namespace cairn::erasure {

namespace {

constexpr size_t kHeaderSize = sizeof(fragment_header_t);
constexpr size_t kHeaderChecksummed = sizeof(fragment_metadata_t);
static_assert(kHeaderSize == 80 && kHeaderChecksummed == 59);
// A piece in scratch memory is a header that ends, and a payload that begins, on a border of kAlignment.
constexpr size_t kPieceFront = 2 * kAlignment;
static_assert(kHeaderSize <= kPieceFront && (kPieceFront - kHeaderSize) % 16 == 0);

size_t round_up(size_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

// What one call of the library works on, in bytes per shard.
size_t block_size(uint32_t k, uint32_t m) {
  return std::clamp(kWorkingSet / (2 * (k + m)) / kAlignment * kAlignment, kMinBlock, kMaxBlock);
}

std::unexpected<Error> library_failed(std::string_view call, int code) {
  return fail(cairn::Code::io, fmt::format("liberasurecode: {} returned {}", call, code));
}

struct EncodedPieces {
  int descriptor;
  char** data = nullptr;
  char** parity = nullptr;
  uint64_t length = 0;  // of a piece with its header
  explicit EncodedPieces(int of) : descriptor(of) {}
  EncodedPieces(const EncodedPieces&) = delete;
  EncodedPieces& operator=(const EncodedPieces&) = delete;
  ~EncodedPieces() {
    if (data != nullptr) liberasurecode_encode_cleanup(descriptor, data, parity);
  }
};

// A descriptor of the library and the header that it writes in front of slot 0 of a piece.
struct Descriptor {
  int number = 0;
  fragment_header_t header{};
};

Result<Descriptor> make_descriptor(uint32_t k, uint32_t m) {
  ec_args args{};
  args.k = static_cast<int>(k);
  args.m = static_cast<int>(m);
  args.hd = static_cast<int>(m);
  args.ct = CHKSUM_NONE;
  Descriptor made;
  made.number = liberasurecode_instance_create(EC_BACKEND_ISA_L_RS_CAUCHY, &args);
  if (made.number <= 0) return library_failed("instance_create", made.number);
  const Bytes sample(size_t{k} * kAlignment, 0);
  EncodedPieces pieces(made.number);
  const int status = liberasurecode_encode(made.number, reinterpret_cast<const char*>(sample.data()), sample.size(),
                                           &pieces.data, &pieces.parity, &pieces.length);
  if (status != 0) return library_failed("encode", status);
  std::memcpy(&made.header, pieces.data[0], kHeaderSize);
  return made;
}

// The library crashes when descriptors are created and destroyed at the same time: each is made once, under a lock, and
// lives as long as the process.
class Descriptors {
 public:
  Result<const Descriptor*> get(uint32_t k, uint32_t m) {
    std::atomic<const Descriptor*>& place = made_[k][m];
    if (const auto* found = place.load(std::memory_order_acquire)) return found;
    const std::lock_guard lock(making_);
    if (const auto* found = place.load(std::memory_order_acquire)) return found;
    auto descriptor = make_descriptor(k, m);
    if (!descriptor) return fail(descriptor.error());
    owned_.push_back(std::make_unique<Descriptor>(*descriptor));
    place.store(owned_.back().get(), std::memory_order_release);
    return owned_.back().get();
  }

 private:
  std::mutex making_;
  std::vector<std::unique_ptr<Descriptor>> owned_;
  std::array<std::array<std::atomic<const Descriptor*>, kMaxSlots + 1>, kMaxSlots + 1> made_{};
};

Descriptors& descriptors() {
  static auto* all = new Descriptors;  // never destroyed: threads may still encode while the process ends
  return *all;
}

// Memory that a thread keeps for its next block. What it holds is old or zeros.
class Scratch {
 public:
  uint8_t* get(size_t size) {
    if (size > size_) {
      memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(kAlignment, round_up(size))));
      CAIRN_ASSERT(memory_ != nullptr);
      size_ = round_up(size);
      std::memset(memory_.get(), 0, size_);
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  size_t size_ = 0;
};

uint8_t* scratch(size_t size) {
  thread_local Scratch memory;
  return memory.get(size);
}

// CRC-32 of zlib (RFC 1952), which the library's headers carry.
uint32_t crc32(const void* data, size_t size) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); ++i) {
      table[i] = i;
      for (int bit = 0; bit < 8; ++bit) table[i] = table[i] >> 1 ^ ((table[i] & 1) != 0 ? 0xedb88320U : 0U);
    }
    return table;
  }();
  uint32_t state = 0xffffffff;
  for (const auto* at = static_cast<const uint8_t*>(data); size > 0; --size) {
    state = state >> 8 ^ kTable[(state ^ *at++) & 255];
  }
  return ~state;
}

// Puts the header that the library expects in front of a payload of slot `slot`.
void write_header(uint8_t* payload, fragment_header_t header, uint32_t slot, uint32_t k, size_t size) {
  header.meta.idx = slot;
  header.meta.size = static_cast<uint32_t>(size);
  header.meta.orig_data_size = uint64_t{k} * size;
  header.metadata_chksum = crc32(&header.meta, kHeaderChecksummed);
  std::memcpy(payload - kHeaderSize, &header, kHeaderSize);
}

// data: the first k * size bytes of `block`, one shard's part after the other; the parts of parity go to `parity`.
Status encode_block(const Descriptor& descriptor, uint32_t k, const uint8_t* block, size_t size,
                    std::span<const MutableByteView> parity, size_t offset, size_t wanted) {
  EncodedPieces pieces(descriptor.number);
  const int status = liberasurecode_encode(descriptor.number, reinterpret_cast<const char*>(block), k * size,
                                           &pieces.data, &pieces.parity, &pieces.length);
  leave_vector_code();
  if (status != 0) return library_failed("encode", status);
  // The layout is ours only if the library cut the block where we did.
  CAIRN_ASSERT(pieces.length == size + kHeaderSize);
  for (size_t i = 0; i < parity.size(); ++i) {
    std::memcpy(parity[i].data() + offset, pieces.parity[i] + kHeaderSize, wanted);
  }
  return {};
}

}  // namespace

Result<erasure::Code> Code::get(uint32_t k, uint32_t m) {
  if (k < 1 || k > kMaxSlots || m > kMaxSlots || k + m > kMaxSlots) {
    return fail(cairn::Code::bad_input, fmt::format("no code with {} data and {} parity shards", k, m));
  }
  if (k == 1 || m == 0) return erasure::Code(k, m, nullptr);  // copies need no library
  auto descriptor = descriptors().get(k, m);
  if (!descriptor) return fail(descriptor.error());
  return erasure::Code(k, m, *descriptor);
}

Status Code::encode(std::span<const ByteView> data, std::span<const MutableByteView> parity) const {
  if (data.size() != k_ || parity.size() != m_) return fail(cairn::Code::bad_input, "wrong number of shards");
  const size_t length = data[0].size();
  const auto fits = [&](const auto& view) { return view.size() == length; };
  if (!std::ranges::all_of(data, fits) || !std::ranges::all_of(parity, fits)) {
    return fail(cairn::Code::bad_input, "shards of unequal length");
  }
  if (length == 0 || m_ == 0) return {};
  if (k_ == 1) {
    for (const MutableByteView copy : parity) std::memcpy(copy.data(), data[0].data(), length);
    return {};
  }
  const size_t most = std::min(block_size(k_, m_), round_up(length));
  uint8_t* block = scratch(k_ * most);
  for (size_t offset = 0; offset < length; offset += most) {
    const size_t wanted = std::min(most, length - offset);
    const size_t size = round_up(wanted);  // what is beyond `wanted` does not touch the bytes before it
    for (uint32_t i = 0; i < k_; ++i) std::memcpy(block + i * size, data[i].data() + offset, wanted);
    CAIRN_TRY(encode_block(*static_cast<const Descriptor*>(descriptor_), k_, block, size, parity, offset, wanted));
  }
  return {};
}

Status Code::decode(std::span<const Present> present, uint32_t wanted, MutableByteView out) const {
  if (present.size() != k_ || wanted >= k_ + m_) return fail(cairn::Code::bad_input, "wrong number of shards");
  uint32_t seen = 0;
  for (const Present& shard : present) {
    if (shard.slot >= k_ + m_ || (seen >> shard.slot & 1) != 0 || shard.bytes.size() != out.size()) {
      return fail(cairn::Code::bad_input, "shards of unequal length, doubled or unknown");
    }
    seen |= 1U << shard.slot;
  }
  if (out.empty()) return {};
  for (const Present& shard : present) {
    if (k_ == 1 || shard.slot == wanted) {
      std::memcpy(out.data(), shard.bytes.data(), out.size());
      return {};
    }
  }
  // k distinct slots of k + m without `wanted`, so m > 0 and k > 1: there is a descriptor.
  const auto& descriptor = *static_cast<const Descriptor*>(descriptor_);
  const size_t most = std::min(block_size(k_, m_), round_up(out.size()));
  const size_t stride = kPieceFront + most;
  uint8_t* memory = scratch((k_ + 1) * stride);
  std::array<char*, kMaxSlots> pieces{};
  size_t headers_for = 0;
  for (size_t offset = 0; offset < out.size(); offset += most) {
    const size_t take = std::min(most, out.size() - offset);
    const size_t size = round_up(take);
    for (uint32_t i = 0; i < k_; ++i) {
      uint8_t* payload = memory + i * stride + kPieceFront;
      if (headers_for != size) write_header(payload, descriptor.header, present[i].slot, k_, size);
      std::memcpy(payload, present[i].bytes.data() + offset, take);
      pieces[i] = reinterpret_cast<char*>(payload - kHeaderSize);
    }
    headers_for = size;
    uint8_t* rebuilt = memory + k_ * stride + kPieceFront;
    const int status =
        liberasurecode_reconstruct_fragment(descriptor.number, pieces.data(), static_cast<int>(k_), size + kHeaderSize,
                                            static_cast<int>(wanted), reinterpret_cast<char*>(rebuilt - kHeaderSize));
    leave_vector_code();
    if (status != 0) return library_failed("reconstruct_fragment", status);
    std::memcpy(out.data() + offset, rebuilt, take);
  }
  return {};
}

}  // namespace cairn::erasure
