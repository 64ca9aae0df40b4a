#include "wire/frame.h"

#include <fmt/format.h>

#include "wire/limits.h"

namespace cairn::wire {

std::optional<MethodLimits> limits_of(Method method) {
  switch (method) {
    case Method::none:
      return std::nullopt;
    case Method::ping:
      return MethodLimits{kMaxSmallBody, 0, kMaxSmallBody, 0};
    case Method::join:
      return MethodLimits{kMaxJoinBody, 0, kMaxJoinAnswer, 0};
    case Method::introduce:
      return MethodLimits{kMaxIntroduceBody, 0, kMaxSmallBody, 0};
    case Method::gossip:
      return MethodLimits{kMaxGossipBody, 0, kMaxGossipBody, 0};
    case Method::swim:
      return MethodLimits{kMaxSwimBody, 0, kMaxSwimBody, 0};
    case Method::shard_put:
      return MethodLimits{kMaxPackBody, kMaxShardSize, kMaxSmallBody, 0};
    case Method::shard_get:
      return MethodLimits{kMaxSmallBody, 0, kMaxProofBody, kMaxShardSize};
    case Method::pack_header:
      return MethodLimits{kMaxSmallBody, 0, kMaxPackBody, 0};
    case Method::claims_query:
    case Method::claims_push:
    case Method::tombstones:
      return MethodLimits{kMaxClaimsBody, 0, kMaxClaimsBody, 0};
    case Method::repair_intent:
      return MethodLimits{kMaxSmallBody, 0, kMaxIntentAnswer, 0};
    case Method::audit:
      return MethodLimits{kMaxAuditBody, 0, kMaxAuditBody, kMaxAuditChallenges * kLeafSize};
    case Method::reconcile:
      return MethodLimits{kMaxPackBody, 0, kMaxClaimsBody, 0};
    case Method::register_prepare:
    case Method::register_accept:
      return MethodLimits{kMaxRegisterBody, 0, kMaxRegisterBody, 0};
    case Method::register_peek:
    case Method::register_retained:
      return MethodLimits{kMaxSmallBody, 0, kMaxRegisterBody, 0};
    case Method::shard_move:
      return MethodLimits{kMaxPackBody, 0, kMaxSmallBody, 0};
    case Method::admin_status:
      return MethodLimits{kMaxSmallBody, 0, kMaxAdminBody, 0};
    case Method::admin_members:
      return MethodLimits{kMaxSmallBody, 0, kMaxSmallBody, 0};
  }
  return std::nullopt;
}

std::array<uint8_t, kFrameHeaderSize> FrameHeader::encode() const {
  std::array<uint8_t, kFrameHeaderSize> raw{};
  write_le<uint16_t>(raw.data(), kFrameMagic);
  raw[2] = static_cast<uint8_t>(kind);
  raw[3] = static_cast<uint8_t>(method);
  write_le<uint32_t>(raw.data() + 4, body_length);
  write_le<uint32_t>(raw.data() + 8, payload_length);
  write_le<uint64_t>(raw.data() + 12, request_id);
  write_le<uint32_t>(raw.data() + 20, deadline_ms);
  return raw;
}

namespace {

struct PartLimits {
  uint32_t body = 0, payload = 0;  // bytes
};

Result<PartLimits> limits_for(FrameKind kind, Method method) {
  if (kind == FrameKind::hello) {
    if (method != Method::none) return fail(Code::corrupt, "a HELLO names a method");
    return PartLimits{kMaxHelloBody, 0};
  }
  // Without a method: why the session itself is refused.
  if (kind == FrameKind::failure && method == Method::none) return PartLimits{kMaxFailureBody, 0};
  const auto limits = limits_of(method);
  if (!limits) return fail(Code::unsupported, fmt::format("unknown method {}", static_cast<unsigned>(method)));
  switch (kind) {
    case FrameKind::request:
      return PartLimits{limits->request_body, limits->request_payload};
    case FrameKind::response:
      return PartLimits{limits->response_body, limits->response_payload};
    case FrameKind::failure:
      return PartLimits{kMaxFailureBody, 0};
    case FrameKind::cancel:
      return PartLimits{};
    case FrameKind::hello:
      break;
  }
  return fail(Code::corrupt, fmt::format("unknown frame kind {}", static_cast<unsigned>(kind)));
}

}  // namespace

Result<FrameHeader> FrameHeader::decode(std::span<const uint8_t, kFrameHeaderSize> raw) {
  if (read_le<uint16_t>(raw.data()) != kFrameMagic) return fail(Code::corrupt, "not a frame of Cairn");
  FrameHeader header;
  header.kind = static_cast<FrameKind>(raw[2]);
  header.method = static_cast<Method>(raw[3]);
  header.body_length = read_le<uint32_t>(raw.data() + 4);
  header.payload_length = read_le<uint32_t>(raw.data() + 8);
  header.request_id = read_le<uint64_t>(raw.data() + 12);
  header.deadline_ms = read_le<uint32_t>(raw.data() + 20);
  if (raw[2] < static_cast<uint8_t>(FrameKind::hello) || raw[2] > static_cast<uint8_t>(FrameKind::cancel)) {
    return fail(Code::corrupt, fmt::format("unknown frame kind {}", raw[2]));
  }
  const auto limits = limits_for(header.kind, header.method);
  if (!limits) return fail(limits.error());
  if (header.body_length > limits->body) {
    return fail(Code::too_large,
                fmt::format("a message of {} bytes where {} are allowed", header.body_length, limits->body));
  }
  if (header.payload_length > limits->payload) {
    return fail(Code::too_large,
                fmt::format("a payload of {} bytes where {} are allowed", header.payload_length, limits->payload));
  }
  return header;
}

}  // namespace cairn::wire
