#include "base/bytes.h"

#include <atomic>
#include <cstdlib>
#include <deque>
#include <mutex>

#include "base/large_memory.h"

namespace cairn {

namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAIRN_SANITIZED 1
#endif
#endif
#if defined(CAIRN_SANITIZED)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

namespace {

void* take_from_library(size_t size) {
  void* memory = nullptr;
  CAIRN_ASSERT(::posix_memalign(&memory, kPageAlignment, size) == 0);
  return memory;
}

// Blocks are given back to where they came from, also when the source was set between.
std::atomic<const LargeMemory*> large_memory = nullptr;

// Memory of large buffers that went, for the next of their sizes. From the C library each would begin with pages that
// the system has to map and zero anew: half a CPU second of a gigabyte stored.
class Spares {
 public:
  // Never destroyed: buffers may go later than any static object.
  static Spares& get() {
    static Spares* const spares = new Spares;
    return *spares;
  }

  struct Block {
    void* memory = nullptr;
    size_t size = 0;
    const LargeMemory* source = nullptr;  // null: the C library
    void free() const { source != nullptr ? source->give(memory, size) : std::free(memory); }
  };

  Block take(size_t size) {
    {
      const std::lock_guard lock(mutex_);
      for (auto it = blocks_.rbegin(); it != blocks_.rend(); ++it) {
        if (it->size != size) continue;
        const Block block = *it;
        bytes_ -= size;
        blocks_.erase(std::next(it).base());
        return block;
      }
    }
    const LargeMemory* const source = !kSanitized && size >= kLargeBlock ? large_memory.load() : nullptr;
    return {source != nullptr ? source->take(size) : take_from_library(size), size, source};
  }

  void give(Block block) {
    cut([&] {
      blocks_.push_back(block);
      bytes_ += block.size;
    });
  }
  void keep(size_t most) {
    cut([&] { most_ = kSanitized ? 0 : most; });
  }
  void release() {
    std::deque<Block> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(blocks_);
      bytes_ = 0;
    }
    for (const Block& block : all) block.free();
  }

 private:
  // Changes something, then frees what is too much: those that nobody wanted for longest.
  template <class Change>
  void cut(Change change) {
    std::vector<Block> over;  // freed without the lock
    {
      const std::lock_guard lock(mutex_);
      change();
      while (bytes_ > most_) {
        bytes_ -= blocks_.front().size;
        over.push_back(blocks_.front());
        blocks_.pop_front();
      }
    }
    for (const Block& gone : over) gone.free();
  }

  std::mutex mutex_;
  size_t most_ = kSanitized ? 0 : Buffer::kSpareMemory;
  std::deque<Block> blocks_;  // the latest at the end
  size_t bytes_ = 0;
};

}  // namespace

std::shared_ptr<uint8_t[]> Buffer::allocate(size_t size) {
  if (size < kAlignedBuffer) return std::make_shared_for_overwrite<uint8_t[]>(size);
  // Rounded, so that buffers of nearly one size serve for each other (a lane and a shard); not where every byte's
  // bounds are watched.
  constexpr size_t kCoarse = 256 * 1024;
  const size_t step = size >= 4 * kCoarse ? kCoarse : kAlignedBuffer;
  const size_t rounded = kSanitized ? size : (size + step - 1) / step * step;
  const Spares::Block block = Spares::get().take(rounded);
  return {static_cast<uint8_t*>(block.memory), [block](uint8_t*) { Spares::get().give(block); }};
}

void set_large_memory(LargeMemory source) {
  large_memory = new LargeMemory(source);  // never destroyed, as the blocks
}

void Buffer::keep_spare_memory(uint64_t bytes) {
  Spares::get().keep(bytes);
}

void Buffer::release_spare_memory() {
  Spares::get().release();
}

std::string to_hex(ByteView bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(Code::bad_input, "hex text of odd length");
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]);
    const int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return fail(Code::bad_input, "not a hex digit");
    bytes.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  return bytes;
}

std::string to_base64(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < left ? bytes[i + j] : 0U);
    for (size_t j = 0; j < 4; ++j) text += j <= left ? kBase64[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

Result<Bytes> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return fail(Code::bad_input, "base64 text of odd length");
  Bytes bytes;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t group = 0;
    size_t padding = 0;
    for (size_t j = 0; j < 4; ++j) {
      const char c = text[i + j];
      if (c == '=' && i + 4 == text.size() && j >= 2) {
        ++padding;
        group <<= 6;
        continue;
      }
      const size_t digit = kBase64.find(c);
      if (digit == std::string_view::npos || padding > 0) return fail(Code::bad_input, "not base64");
      group = group << 6 | static_cast<uint32_t>(digit);
    }
    // One text for each run of bytes: the bits that the padding leaves over are zero.
    if ((group & ((1U << (8 * padding)) - 1)) != 0) return fail(Code::bad_input, "not base64");
    for (size_t j = 0; j < 3 - padding; ++j) bytes.push_back(static_cast<uint8_t>(group >> (16 - 8 * j)));
  }
  return bytes;
}

void append_be64(Bytes& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}
uint64_t read_be64(const uint8_t* from) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | from[i];
  return value;
}
void append_be32(Bytes& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}
uint32_t read_be32(const uint8_t* from) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | from[i];
  return value;
}

}  // namespace cairn
