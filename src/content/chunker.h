#pragma once
// Chunkers: where a run of bytes is cut.

#include "base/bytes.h"
#include "crypto/hash.h"

namespace cairn::content {

// Cuts are found as bytes arrive; bytes stay with the caller.
class Chunker {
 public:
  virtual ~Chunker() = default;
  // Looks at `bytes`, the continuation of the current chunk whose first `seen` bytes were looked at before. Returns how
  // many of `bytes` belong to the current chunk, when it ends within them; otherwise nothing (all belong, go on).
  virtual std::optional<size_t> find_cut(ByteView bytes, size_t seen) = 0;
  virtual size_t max_size() const = 0;
};

// Every `size` bytes.
std::unique_ptr<Chunker> make_fixed_chunker(size_t size);

struct CdcSizes {
  size_t min, average, max;
  // Bits that a border needs more before the average and fewer behind it. With more of it the sizes scatter less, but
  // each chunk then ends where its own begin says so, and behind a change it takes longer until the borders are the
  // old ones again.
  int normalisation = 2;
};
// FastCDC (Xia 2016) with a gear table derived from `key`, so that chunk sizes tell nothing
// about known files to who does not have it.
std::unique_ptr<Chunker> make_keyed_chunker(const crypto::Key& key, CdcSizes sizes);

}  // namespace cairn::content
