#pragma once
// Frames: how messages travel on a stream.
//
// A frame is a fixed header of 24 bytes, a protobuf message of body_length bytes, then payload_length raw bytes:
//   magic u16 = 0xCA12 | kind u8 | method u8 | body_length u32 | payload_length u32 | request_id u64 | deadline_ms u32
// all little-endian. Both lengths are checked against the method's own limits before anything is allocated.

#include <array>
#include <optional>

#include "base/bytes.h"

namespace cairn::wire {

inline constexpr size_t kFrameHeaderSize = 24;
inline constexpr uint16_t kFrameMagic = 0xCA12;

enum class FrameKind : uint8_t {
  hello = 1,
  request = 2,
  response = 3,
  failure = 4,  // body: Failure; with method none and request 0: the session is refused
  cancel = 5,   // the requester no longer wants the answer
};

// Numbers are on the wire: never reuse one.
enum class Method : uint8_t {
  none = 0,
  ping = 1,
  join = 2,
  gossip = 3,
  swim = 4,
  introduce = 5,
  shard_put = 10,
  shard_get = 11,
  pack_header = 12,
  claims_query = 13,
  claims_push = 14,
  repair_intent = 15,
  audit = 16,
  tombstones = 17,
  reconcile = 18,
  register_prepare = 20,
  register_accept = 21,
  register_peek = 22,
  admin_status = 40,
  admin_members = 42,
  shard_move = 50,
  register_retained = 60,
};

struct MethodLimits {
  uint32_t request_body, request_payload, response_body, response_payload;  // bytes
};
// Nothing for a method that this build does not know.
std::optional<MethodLimits> limits_of(Method method);

struct FrameHeader {
  FrameKind kind{};
  Method method{};
  uint32_t body_length = 0;
  uint32_t payload_length = 0;
  uint64_t request_id = 0;
  uint32_t deadline_ms = 0;  // requests: time left for the answer

  std::array<uint8_t, kFrameHeaderSize> encode() const;
  // Code::corrupt (not a frame), Code::unsupported (unknown method), Code::too_large (over the method's limit).
  static Result<FrameHeader> decode(std::span<const uint8_t, kFrameHeaderSize> raw);
};

}  // namespace cairn::wire
