#pragma once
// Systematic Reed-Solomon through liberasurecode's isa_l_rs_cauchy, with raw shards: no library header is on disk or on
// the wire. The code works byte by byte, so a byte range of a lost shard follows from the same range of any k others.

#include <span>

#include "base/bytes.h"

namespace cairn::erasure {

// k data and m parity shards. Thread-safe. One descriptor per (k, m) lives for the whole process.
class Code {
 public:
  // Code::bad_input unless 1 <= k and k + m <= 32. m = 0 is allowed and (1, m) is a plain copy.
  static Result<Code> get(uint32_t k, uint32_t m);
  uint32_t k() const { return k_; }
  uint32_t m() const { return m_; }

  // data: k views of one length; parity: m places of that length. Code::bad_input for anything else; Code::io when the
  // library fails (out of memory).
  Status encode(std::span<const ByteView> data, std::span<const MutableByteView> parity) const;

  // Rebuilds slot `wanted` from exactly k present slots: the same byte range of each. The caller has checked the
  // hash of every byte given: the library is never fed bytes from outside unchecked. Errors as encode().
  struct Present {
    uint32_t slot;
    ByteView bytes;
  };
  Status decode(std::span<const Present> present, uint32_t wanted, MutableByteView out) const;

 private:
  Code(uint32_t k, uint32_t m, const void* descriptor) : k_(k), m_(m), descriptor_(descriptor) {}
  uint32_t k_, m_;
  const void* descriptor_;  // of the library, with a header of its; none for plain copies
};

}  // namespace cairn::erasure
