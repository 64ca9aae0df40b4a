#pragma once
// Reads frames from a stream: small parts through one buffer, large payloads straight to where they belong.

#include "env/network.h"
#include "peer/limits.h"
#include "wire/frame.h"

namespace cairn::peer {

// One reader at a time; the stream outlives it. A call that is destroyed half-way has lost its place: end the session.
class FrameReader {
 public:
  explicit FrameReader(env::Stream& stream) : stream_(stream), buffer_(kFirstReadBuffer) {}

  // The next header, checked against the method's limits. Code::closed at the end of the stream, else those of
  // FrameHeader::decode and Stream::read_some.
  env::Task<Result<wire::FrameHeader>> header();
  // Fills `into`, which outlives the call.
  env::Task<Status> read(MutableByteView into);
  env::Task<Status> skip(uint64_t length);
  uint64_t total() const { return total_; }  // bytes that came from the stream

 private:
  env::Task<Status> fill(size_t least);  // until `least` bytes are buffered

  env::Stream& stream_;
  Bytes buffer_;
  size_t begin_ = 0, end_ = 0;
  bool was_full_ = false;  // the last read took all there was room for
  uint64_t total_ = 0;
};

}  // namespace cairn::peer
