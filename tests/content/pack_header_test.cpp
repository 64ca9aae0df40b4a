#include <catch2/catch.hpp>

#include "content/fixtures.h"
#include "content/limits.h"
#include "content/pack.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::content {

namespace {

PackHeader header_of(uint32_t k, uint32_t m, uint32_t shard_length = 12'345) {
  TestRandom random(k * 100 + m);
  std::vector<Hash> roots(k + m);
  for (Hash& root : roots) root = random.id<Hash>();
  PackHeader::Nonce nonce;
  random.fill(nonce);
  return PackHeader::sign(random.id<VolumeId>(), {.k = k, .m = m, .shard_length = shard_length}, roots, 77, nonce,
                          test_writer());
}

// A header whose body `change` has altered, signed again with the writer's key.
template <class Change>
Bytes signed_again(const PackHeader& header, Change change) {
  auto body = *wire::decode<wire::PackHeader>(header.body);
  change(body);
  PackHeader altered = header;
  altered.body = wire::encode(body);
  const auto signature = test_writer().sign("cairn/v1/pack", altered.body);
  altered.signature.assign(signature.begin(), signature.end());
  return altered.serialize();
}

template <class Change>
std::optional<Code> code_after(Change change) {
  const auto parsed = PackHeader::parse(signed_again(header_of(4, 2), change));
  return parsed ? std::nullopt : std::optional(parsed.error().code);
}

}  // namespace

TEST_CASE("a signed header says the same after parsing") {
  for (const auto& [k, m] :
       std::vector<std::pair<uint32_t, uint32_t>>{{1, 0}, {1, 2}, {4, 2}, {16, 8}, {20, 12}, {32, 0}}) {
    const PackHeader header = header_of(k, m, k == 1 ? kMaxShardSize : 1);
    const Bytes bytes = header.serialize();
    CHECK(bytes.size() <= kMaxPackHeaderSize);
    const auto parsed = PackHeader::parse(bytes);
    REQUIRE(parsed);
    CHECK(parsed->id == header.id);
    CHECK(parsed->id == id_cast<PackId>(crypto::sha256(parsed->body)));
    CHECK(parsed->volume == header.volume);
    CHECK(parsed->writer == header.writer);
    CHECK(parsed->writer == id_cast<NodeId>(crypto::sha256(test_writer().public_key())));
    CHECK(parsed->geometry == header.geometry);
    CHECK(parsed->roots == header.roots);
    CHECK(parsed->head_sequence == 77);
    CHECK(parsed->serialize() == bytes);
  }
}

TEST_CASE("any flipped bit of a header is refused") {
  const Bytes bytes = header_of(2, 1).serialize();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes changed = bytes;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    if (PackHeader::parse(changed)) FAIL("bit " << bit);
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (PackHeader::parse(ByteView(bytes).first(size))) FAIL("cut to " << size);
  }
}

TEST_CASE("what is out of bounds is refused even when it is signed") {
  using Header = wire::PackHeader;
  CHECK(code_after([](Header&) {}) == std::nullopt);
  CHECK(code_after([](Header& h) { h.set_version(2); }) == Code::unsupported);
  CHECK(code_after([](Header& h) { h.set_code(wire::CODE_UNKNOWN); }) == Code::unsupported);
  CHECK(code_after([](Header& h) { h.set_code(static_cast<wire::Code>(7)); }) == Code::unsupported);
  const std::vector<std::function<void(Header&)>> corruptions = {
      [](Header& h) { h.set_volume("short"); },
      [](Header& h) { h.clear_volume(); },
      [](Header& h) { h.set_k(0); },
      [](Header& h) { h.set_k(5); },
      [](Header& h) { h.set_m(3); },
      [](Header& h) { h.set_k(0xffffffff), h.set_m(7); },
      [](Header& h) { h.set_k(7), h.set_m(0xffffffff); },
      [](Header& h) { h.set_shard_length(0); },
      [](Header& h) { h.set_shard_length(kMaxShardSize + 1); },
      [](Header& h) { h.set_shard_length(0xffffffff); },
      [](Header& h) { h.add_roots(std::string(32, 'r')); },
      [](Header& h) { h.mutable_roots()->RemoveLast(); },
      [](Header& h) { h.set_roots(3, std::string(31, 'r')); },
      [](Header& h) { h.set_nonce("short"); },
      [](Header& h) { h.clear_nonce(); },
      [](Header& h) { h.set_writer(std::string(32, 'w')); },
      [](Header& h) { h.clear_writer(); },
      [](Header& h) {
        h.set_k(31), h.set_m(2), h.clear_roots();
        for (int i = 0; i < 33; ++i) h.add_roots(std::string(32, 'r'));
      },
      [](Header& h) {
        for (int i = 0; i < 100; ++i) h.add_roots(std::string(32, 'r'));
      },
  };
  for (size_t i = 0; i < corruptions.size(); ++i) {
    INFO(i);
    CHECK(code_after(corruptions[i]) == Code::corrupt);
  }
}

TEST_CASE("nobody can sign another's header anew as their own") {
  PackHeader header = header_of(4, 2);
  const auto thief = crypto::PrivateKey::from_seed(key_of(66));
  const auto signature = thief.sign("cairn/v1/pack", header.body);
  header.signature.assign(signature.begin(), signature.end());
  header.writer_key = thief.public_key();
  const auto parsed = PackHeader::parse(header.serialize());
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().code == Code::corrupt);
}

TEST_CASE("a signature of another purpose is no pack header") {
  PackHeader header = header_of(4, 2);
  const auto signature = test_writer().sign("cairn/v1/claim", header.body);
  header.signature.assign(signature.begin(), signature.end());
  CHECK_FALSE(PackHeader::parse(header.serialize()));
}

TEST_CASE("a header over the limit is refused before it is decoded") {
  Bytes bytes = header_of(4, 2).serialize();
  // An unknown field of protobuf, which would be ignored.
  bytes.push_back(0x7a);
  const size_t rest = kMaxPackHeaderSize;
  bytes.push_back(static_cast<uint8_t>(0x80 | (rest & 0x7f)));
  bytes.push_back(static_cast<uint8_t>(rest >> 7));
  bytes.resize(bytes.size() + rest, 'x');
  CHECK_FALSE(PackHeader::parse(bytes));
}

}  // namespace cairn::content
