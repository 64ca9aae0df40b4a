#include "os/memory.h"

#include <malloc.h>

#include "base/bytes.h"

namespace cairn::os {

void tune_allocator() {
  constexpr int kLargestHeapBlock = 32 << 20;  // glibc's own upper bound for this setting (DEFAULT_MMAP_THRESHOLD_MAX)
  constexpr int kKeptAtTop = 64 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kLargestHeapBlock);
  ::mallopt(M_TRIM_THRESHOLD, kKeptAtTop);
}

void release_memory() {
  Buffer::release_spare_memory();
  ::malloc_trim(0);
}

}  // namespace cairn::os
