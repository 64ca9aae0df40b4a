#pragma once
// The C library's allocator, set for buffers of megabytes that come and go. For composition roots.

namespace cairn::os {

// Once, first thing in main(): blocks of up to 32 MiB come from the heap and not from fresh mappings, and the heap
// keeps 64 MiB at its top. Without it every shard buffer is mapped, zeroed by the kernel, and unmapped again: erasure
// coding fell from 19 to 1.4 GB/s.
void tune_allocator();
// Gives unused heap back to the kernel: when a burst of work is over.
void release_memory();

}  // namespace cairn::os
