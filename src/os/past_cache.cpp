#include "os/past_cache.h"

#include <fcntl.h>

#include <climits>
#include <cstdio>

namespace cairn::os {

namespace {

bool whole_pages(uint64_t offset, ByteView bytes) {
  return (offset | reinterpret_cast<uintptr_t>(bytes.data()) | bytes.size()) % kPageAlignment == 0;
}

}  // namespace

int PastCache::descriptor_of(int file) {
  const std::lock_guard lock(mutex_);
  if (refused_) return -1;
  if (!descriptor_) {
    // Of the very file that is open, whatever has become of its name.
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    const int flags = ::fcntl(file, F_GETFL);
    descriptor_ =
        Descriptor(retry_interrupted([&] { return ::open(path, (flags & O_ACCMODE) | O_DIRECT | O_CLOEXEC); }));
    refused_ = !descriptor_;
  }
  return descriptor_.get();
}

size_t PastCache::write(int file, uint64_t offset, std::span<const ByteView> parts) {
  std::vector<iovec> vectors;
  vectors.reserve(parts.size());
  size_t total = 0;
  for (const ByteView part : parts) {
    if (!whole_pages(offset, part)) return 0;
    if (!part.empty()) vectors.push_back({const_cast<uint8_t*>(part.data()), part.size()});
    total += part.size();
  }
  if (vectors.empty() || vectors.size() > IOV_MAX) return 0;
  const int descriptor = descriptor_of(file);
  if (descriptor < 0) return 0;
  const ssize_t count = retry_interrupted([&] {
    return ::pwritev(descriptor, vectors.data(), static_cast<int>(vectors.size()), static_cast<off_t>(offset));
  });
  if (count < 0 && errno == EINVAL) {  // larger pages than ours are wanted
    const std::lock_guard lock(mutex_);
    refused_ = true;
  }
  return count < 0 ? 0 : std::min(static_cast<size_t>(count), total);
}

size_t PastCache::read(int file, uint64_t offset, MutableByteView into) {
  if (into.empty() || !whole_pages(offset, into)) return 0;
  const int descriptor = descriptor_of(file);
  if (descriptor < 0) return 0;
  const ssize_t count =
      retry_interrupted([&] { return ::pread(descriptor, into.data(), into.size(), static_cast<off_t>(offset)); });
  if (count < 0 && errno == EINVAL) {
    const std::lock_guard lock(mutex_);
    refused_ = true;
  }
  return count < 0 ? 0 : static_cast<size_t>(count);
}

}  // namespace cairn::os
