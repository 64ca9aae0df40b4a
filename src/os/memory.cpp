#include "os/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/large_memory.h"

namespace cairn::os {

namespace {

size_t whole_pages(size_t size) {
  return (size + kPageAlignment - 1) / kPageAlignment * kPageAlignment;
}

// At a huge page's begin, so that the system can use them: a block of 4 MiB then costs two page faults, not a thousand.
void* map(size_t size) {
  const size_t wanted = whole_pages(size);
  const size_t all = wanted + kLargeBlock;
  void* const mapped = ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CAIRN_ASSERT(mapped != MAP_FAILED);
  auto* const begin = static_cast<uint8_t*>(mapped);
  const size_t before = (kLargeBlock - reinterpret_cast<uintptr_t>(begin) % kLargeBlock) % kLargeBlock;
  uint8_t* const block = begin + before;
  if (before > 0) ::munmap(begin, before);
  if (before + wanted < all) ::munmap(block + wanted, all - before - wanted);
  ::madvise(block, wanted, MADV_HUGEPAGE);  // where there are none it works as well
  return block;
}

void unmap(void* memory, size_t size) {
  ::munmap(memory, whole_pages(size));
}

}  // namespace

void tune_allocator() {
  constexpr int kLargestHeapBlock = 32 << 20;  // glibc's own upper bound for this setting (DEFAULT_MMAP_THRESHOLD_MAX)
  constexpr int kKeptAtTop = 64 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kLargestHeapBlock);
  ::mallopt(M_TRIM_THRESHOLD, kKeptAtTop);
  static const bool once = [] {
    set_large_memory({.take = map, .give = unmap});
    return true;
  }();
  static_cast<void>(once);
}

void release_memory() {
  Buffer::release_spare_memory();
  ::malloc_trim(0);
}

}  // namespace cairn::os
