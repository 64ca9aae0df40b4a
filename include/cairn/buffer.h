#pragma once
// Views of bytes, and Buffer: bytes that several hold at the same time.

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "cairn/result.h"

namespace cairn {

using ByteView = std::span<const uint8_t>;
using MutableByteView = std::span<uint8_t>;

// Buffers of at least kAlignedBuffer begin at a page, so that a disk can take their bytes from where they lie.
inline constexpr size_t kPageAlignment = 4096;
inline constexpr size_t kAlignedBuffer = 64 * 1024;

// A reference-counted run of bytes: copies share the storage, a slice keeps the whole alive. The storage is not
// zeroed when made. Writable until it is shared; the holder of several references must not write.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : storage_(allocate(size)), data_(storage_.get()), size_(size) {}
  static Buffer copy_of(ByteView view) {
    Buffer buffer(view.size());
    if (!view.empty()) std::memcpy(buffer.data_, view.data(), view.size());
    return buffer;
  }

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteView view() const { return {data_, size_}; }
  MutableByteView span() { return {data_, size_}; }
  operator ByteView() const { return view(); }  // NOLINT(google-explicit-constructor)

  // Shares the storage. offset + length must be within the buffer.
  Buffer slice(size_t offset, size_t length) const {
    CAIRN_ASSERT(offset <= size_ && length <= size_ - offset);
    Buffer part(*this);
    part.data_ += offset;
    part.size_ = length;
    return part;
  }

  // Memory of large buffers that went is kept for the next ones, up to so many bytes in this process: what is mapped
  // anew has to be zeroed, and found by a hypervisor, page by page.
  static constexpr uint64_t kSpareMemory = 32 * 1024 * 1024;
  static void keep_spare_memory(uint64_t bytes);
  // Gives it back: when work is over.
  static void release_spare_memory();

 private:
  static std::shared_ptr<uint8_t[]> allocate(size_t size);
  std::shared_ptr<uint8_t[]> storage_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace cairn
