#pragma once
// Where Buffer gets the memory of its largest blocks from: by default the C library, in a real process the system
// itself (os/memory.h). For composition roots, before any other thread runs.

#include <cstddef>

namespace cairn {

// Blocks of at least so many bytes: the size of a huge page where pages are of 4 KiB.
inline constexpr size_t kLargeBlock = 2 * 1024 * 1024;

struct LargeMemory {
  void* (*take)(size_t size);  // at a page's begin; never null
  void (*give)(void* memory, size_t size);
};
void set_large_memory(LargeMemory source);

}  // namespace cairn
