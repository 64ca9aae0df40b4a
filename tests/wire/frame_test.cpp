// Frames: the header's form, and that no length gets past its method's limit.

#include "wire/frame.h"

#include <catch2/catch.hpp>

#include "wire/limits.h"

namespace cairn::wire {
namespace {

constexpr Method kAll[] = {
    Method::ping,          Method::join,         Method::gossip,      Method::shard_put,        Method::shard_get,
    Method::pack_header,   Method::claims_query, Method::claims_push, Method::register_prepare, Method::register_accept,
    Method::register_peek, Method::admin_status, Method::introduce};

FrameHeader header_of(FrameKind kind, Method method, uint32_t body = 0, uint32_t payload = 0) {
  return {.kind = kind, .method = method, .body_length = body, .payload_length = payload, .request_id = 7};
}

}  // namespace

TEST_CASE("a header has the documented bytes and reads back the same") {
  const FrameHeader header{.kind = FrameKind::request,
                           .method = Method::shard_put,
                           .body_length = 0x1234,
                           .payload_length = 0x00400000,
                           .request_id = 0x1122334455667788,
                           .deadline_ms = 30000};
  const auto raw = header.encode();
  CHECK(to_hex(raw) ==
        "12ca020a"
        "34120000"
        "00004000"
        "8877665544332211"
        "30750000");
  const auto read = FrameHeader::decode(raw);
  REQUIRE(read);
  CHECK(read->kind == header.kind);
  CHECK(read->method == header.method);
  CHECK(read->body_length == header.body_length);
  CHECK(read->payload_length == header.payload_length);
  CHECK(read->request_id == header.request_id);
  CHECK(read->deadline_ms == header.deadline_ms);
}

TEST_CASE("what is not a frame is refused as corrupt") {
  auto raw = header_of(FrameKind::request, Method::ping).encode();
  raw[0] ^= 1;
  CHECK(FrameHeader::decode(raw).error().code == Code::corrupt);
  for (const int kind : {0, 6, 255}) {
    raw = header_of(FrameKind::request, Method::ping).encode();
    raw[2] = static_cast<uint8_t>(kind);
    CHECK(FrameHeader::decode(raw).error().code == Code::corrupt);
  }
  raw = header_of(FrameKind::hello, Method::ping).encode();
  CHECK(FrameHeader::decode(raw).error().code == Code::corrupt);
}

TEST_CASE("an unknown method is told apart from garbage") {
  auto raw = header_of(FrameKind::request, Method::ping).encode();
  raw[3] = 99;
  CHECK(FrameHeader::decode(raw).error().code == Code::unsupported);
  raw[3] = 0;  // only HELLO and the refusal of a session have none
  CHECK(FrameHeader::decode(raw).error().code == Code::unsupported);
}

TEST_CASE("every length beyond its method's limit is refused, the limit itself passes") {
  for (const Method method : kAll) {
    INFO(static_cast<int>(method));
    const auto limits = limits_of(method);
    REQUIRE(limits);
    CHECK(limits->request_payload <= kMaxShardSize);
    CHECK(limits->response_payload <= kMaxShardSize);
    const auto code = [&](FrameKind kind, uint32_t body, uint32_t payload) -> std::optional<Code> {
      const auto read = FrameHeader::decode(header_of(kind, method, body, payload).encode());
      return read ? std::nullopt : std::optional(read.error().code);
    };
    CHECK(code(FrameKind::request, limits->request_body, limits->request_payload) == std::nullopt);
    CHECK(code(FrameKind::request, limits->request_body + 1, 0) == Code::too_large);
    CHECK(code(FrameKind::request, 0, limits->request_payload + 1) == Code::too_large);
    CHECK(code(FrameKind::response, limits->response_body, limits->response_payload) == std::nullopt);
    CHECK(code(FrameKind::response, limits->response_body + 1, 0) == Code::too_large);
    CHECK(code(FrameKind::response, 0, limits->response_payload + 1) == Code::too_large);
    CHECK(code(FrameKind::failure, kMaxFailureBody + 1, 0) == Code::too_large);
    CHECK(code(FrameKind::cancel, 0, 0) == std::nullopt);
    CHECK(code(FrameKind::cancel, 1, 0) == Code::too_large);
    for (const auto kind : {FrameKind::request, FrameKind::response, FrameKind::failure, FrameKind::cancel}) {
      CHECK(code(kind, 0xFFFFFFFF, 0) == Code::too_large);
      CHECK(code(kind, 0, 0xFFFFFFFF) == Code::too_large);
    }
  }
  CHECK(limits_of(Method::join)->request_body == 4 * kKiB);
  CHECK(FrameHeader::decode(header_of(FrameKind::hello, Method::none, kMaxHelloBody + 1).encode()).error().code ==
        Code::too_large);
}

}  // namespace cairn::wire
