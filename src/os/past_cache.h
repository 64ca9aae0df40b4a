#pragma once
// PastCache: an open file's second descriptor, which moves whole pages between memory and disk past the system's cache
// of pages (O_DIRECT). Internal to the room. Any thread.

#include <sys/uio.h>

#include <mutex>
#include <span>

#include "base/bytes.h"
#include "os/posix.h"

namespace cairn::os {

class PastCache {
 public:
  // How much of it was moved from or to the pages of `file` at `offset`: all, or less when this is not the way (not
  // whole pages, a file system without it, an error, the end of the file): the caller goes on in the ordinary way, and
  // meets the error there.
  size_t write(int file, uint64_t offset, std::span<const ByteView> parts);
  size_t read(int file, uint64_t offset, MutableByteView into);

 private:
  int descriptor_of(int file);  // negative: there is none
  std::mutex mutex_;
  Descriptor descriptor_;
  bool refused_ = false;
};

}  // namespace cairn::os
