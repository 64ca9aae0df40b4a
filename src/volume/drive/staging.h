#pragma once
// Staging: bytes that were written to a drive and are not in the pool yet, on the local disk.
//
// Append-only segment files in one folder, preallocated. A segment is deleted once no extent shows a byte of it and
// nobody reads it. What was appended since the last sync() may be gone after a power loss; it then reads as zeros,
// never as another file's bytes. Strand only.
//
// Who makes staged extents cuts them at multiples of kExtentSize of the file: what becomes one chunk lies in one extent
// or in several, but no extent becomes two (the items that edits were made upon keep their keys through a commit).

#include "env/world.h"
#include "volume/drive/staged.h"

namespace cairn::volume {

class Staging {
 public:
  virtual ~Staging() = default;
  // Code::no_space when the limit or the disk is full; nothing is accepted then.
  virtual env::Task<Result<StagedPlace>> append(Buffer bytes) = 0;
  // `length` bytes from `place` on. Fewer never come: what a power loss took reads as zeros.
  virtual env::Task<Result<Buffer>> read(StagedPlace place, size_t length) = 0;
  // While the token lives no segment goes: to be taken before extents are looked up whose bytes are then read.
  virtual std::shared_ptr<void> hold() = 0;
  // Everything appended before the call is durable when it returns.
  virtual env::Task<Status> sync() = 0;
  // Extents show so many bytes of a segment more (less): Pending::on_staged().
  virtual void use(uint64_t segment, int64_t bytes) = 0;

  virtual uint64_t used_bytes() const = 0;  // that extents show
  virtual uint64_t disk_bytes() const = 0;  // that the segments take
};

}  // namespace cairn::volume
