// Messages: bounded decoding, and the numbers of error codes.

#include "wire/message.h"

#include <catch2/catch.hpp>
#include <set>

#include "proto/common.pb.h"
#include "proto/membership.pb.h"

namespace cairn::wire {

TEST_CASE("a message reads back what was written") {
  PingRequest ping;
  ping.set_echo(77);
  const auto read = decode<PingRequest>(ByteView(encode(ping)));
  REQUIRE(read);
  CHECK(read->echo() == 77);
}

TEST_CASE("cut and malformed messages are corrupt") {
  GossipRequest gossip;
  for (int i = 0; i < 5; ++i) gossip.add_nodes()->set_node(std::string(32, 'n'));
  const Bytes bytes = encode(gossip);
  for (size_t cut = 1; cut < 30; ++cut) {
    CHECK(decode<GossipRequest>(ByteView(bytes).first(bytes.size() - cut)).error().code == Code::corrupt);
  }
  CHECK(decode<GossipRequest>(ByteView(Bytes{0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})).error().code == Code::corrupt);
  // A string must be UTF-8.
  CHECK(decode<Failure>(ByteView(Bytes{0x12, 0x01, 0xFF})).error().code == Code::corrupt);
}

TEST_CASE("deep nesting is refused before it can use up the stack") {
  // An unknown group field nested many times over: 0x7B opens, 0x7C closes field 15.
  Bytes deep(10000, 0x7B);
  deep.insert(deep.end(), 10000, 0x7C);
  CHECK(decode<Empty>(ByteView(deep)).error().code == Code::corrupt);
  Bytes shallow(10, 0x7B);
  shallow.insert(shallow.end(), 10, 0x7C);
  CHECK(decode<Empty>(ByteView(shallow)));
}

TEST_CASE("every code has a number of its own, and unknown numbers are unsupported") {
  std::set<uint32_t> numbers;
  for (int i = 0; i <= static_cast<int>(Code::interrupted); ++i) {
    const auto code = static_cast<Code>(i);
    const uint32_t number = code_number(code);
    CHECK(number != 0);
    CHECK(numbers.insert(number).second);
    CHECK(code_from_number(number) == code);
  }
  CHECK(code_from_number(0) == Code::unsupported);
  CHECK(code_from_number(12345) == Code::unsupported);
  CHECK(code_number(Code::expired) == 16);
  CHECK(code_number(Code::used) == 17);
  CHECK(code_number(Code::denied) == 5);
}

}  // namespace cairn::wire
