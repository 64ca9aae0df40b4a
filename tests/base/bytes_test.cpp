// Bytes, hex, base64, buffers, identifiers and CRC-32C.

#include "base/bytes.h"

#include <catch2/catch.hpp>

#include "base/crc32c.h"
#include "base/ids.h"
#include "base/large_memory.h"

namespace cairn {

TEST_CASE("hex text is written in lower case and read in either") {
  CHECK(to_hex({}) == "");
  CHECK(to_hex(Bytes{0x00, 0x7f, 0x80, 0xff}) == "007f80ff");
  CHECK(*from_hex("007F80fF") == Bytes{0x00, 0x7f, 0x80, 0xff});
  CHECK(from_hex("")->empty());
  for (const char* wrong : {"0", "0g", "g0", " 0", "0x00", "00 "}) {
    INFO(wrong);
    auto bytes = from_hex(wrong);
    REQUIRE_FALSE(bytes);
    CHECK(bytes.error().code == Code::bad_input);
  }
}

TEST_CASE("base64 gives the vectors of RFC 4648") {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : vectors) {
    INFO(plain);
    CHECK(to_base64(as_bytes(plain)) == text);
    auto back = from_base64(text);
    REQUIRE(back);
    CHECK(to_string(ByteView(*back)) == plain);
  }
  CHECK(to_base64(Bytes{0xfb, 0xff, 0xbf}) == "+/+/");
  for (const char* wrong : {"Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm=v", "Zm9-", "Zm 9", "Zg==\n", "=Zg="}) {
    INFO(wrong);
    auto bytes = from_base64(wrong);
    REQUIRE_FALSE(bytes);
    CHECK(bytes.error().code == Code::bad_input);
  }
}

TEST_CASE("base64 has one text for each run of bytes: spare bits must be zero") {
  CHECK_FALSE(from_base64("Zh=="));
  CHECK_FALSE(from_base64("Zm9="));
}

TEST_CASE("numbers of fixed width are big- or little-endian as their names say") {
  Bytes out;
  append_be64(out, 0x0102030405060708ULL);
  append_be32(out, 0xa1a2a3a4U);
  append_le<uint32_t>(out, 0xb1b2b3b4U);
  append_le<uint16_t>(out, 0xc1c2);
  append_le<uint64_t>(out, 0xf1f2f3f4f5f6f7f8ULL);
  CHECK(to_hex(out) == "0102030405060708a1a2a3a4b4b3b2b1c2c1f8f7f6f5f4f3f2f1");
  CHECK(read_be64(out.data()) == 0x0102030405060708ULL);
  CHECK(read_be32(out.data() + 8) == 0xa1a2a3a4U);
  CHECK(read_le<uint32_t>(out.data() + 12) == 0xb1b2b3b4U);
  CHECK(read_le<uint16_t>(out.data() + 16) == 0xc1c2);
  CHECK(read_le<uint64_t>(out.data() + 18) == 0xf1f2f3f4f5f6f7f8ULL);
}

TEST_CASE("views are compared by what they show") {
  CHECK(equal({}, {}));
  CHECK(equal(as_bytes("abc"), to_bytes("abc")));
  CHECK_FALSE(equal(as_bytes("abc"), as_bytes("abd")));
  CHECK_FALSE(equal(as_bytes("abc"), as_bytes("ab")));
}

TEST_CASE("a buffer's copies and slices share its bytes and keep them alive") {
  Buffer slice;
  {
    Buffer whole = Buffer::copy_of(as_bytes("0123456789"));
    const Buffer copy = whole;
    CHECK(copy.data() == whole.data());
    slice = whole.slice(3, 4).slice(1, 2);
  }
  CHECK(as_text(slice) == "45");
  CHECK(slice.slice(2, 0).empty());
  CHECK(Buffer().empty());
  CHECK(Buffer::copy_of({}).size() == 0);
}

TEST_CASE("large buffers begin at a page, also when their memory served another before") {
  for (int round = 0; round < 3; ++round) {
    std::vector<Buffer> buffers;
    for (const size_t size : {kAlignedBuffer, kAlignedBuffer + 1, size_t{1} << 20, (size_t{4} << 20) + 17}) {
      Buffer buffer(size);
      REQUIRE(buffer.size() == size);
      CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % kPageAlignment == 0);
      std::memset(buffer.data(), round, size);
      buffers.push_back(std::move(buffer));
    }
    for (const Buffer& buffer : buffers)
      CHECK((buffer.data()[0] == round && buffer.data()[buffer.size() - 1] == round));
    if (round == 1) Buffer::release_spare_memory();
  }
}

namespace {
int taken = 0, given = 0;
}

TEST_CASE("as much memory of buffers that went is kept for the next ones as was asked for") {
  set_large_memory({.take =
                        [](size_t size) {
                          ++taken;
                          return std::aligned_alloc(kPageAlignment, size);
                        },
                    .give =
                        [](void* memory, size_t) {
                          ++given;
                          std::free(memory);
                        }});
  const auto use = [](size_t count) {
    std::vector<Buffer> buffers;
    for (size_t i = 0; i < count; ++i) buffers.emplace_back(kLargeBlock);
  };
  Buffer::release_spare_memory();
  Buffer::keep_spare_memory(10 * kLargeBlock);
  use(12);
  if (taken == 0) return;  // under a sanitizer none is kept
  CHECK(taken == 12);
  CHECK(given == 2);
  use(10);
  CHECK(taken == 12);
  Buffer::keep_spare_memory(4 * kLargeBlock);
  CHECK(given == 8);
  Buffer::release_spare_memory();
  CHECK(given == 12);
  Buffer::keep_spare_memory(Buffer::kSpareMemory);
}

TEST_CASE("CRC-32C gives its known values") {
  CHECK(crc32c({}) == 0);
  CHECK(crc32c(as_bytes("123456789")) == 0xE3069283U);
  // RFC 3720, appendix B.4
  CHECK(crc32c(Bytes(32, 0x00)) == 0x8A9136AAU);
  CHECK(crc32c(Bytes(32, 0xff)) == 0x62A8AB43U);
  Bytes rising(32);
  for (size_t i = 0; i < 32; ++i) rising[i] = static_cast<uint8_t>(i);
  CHECK(crc32c(rising) == 0x46DD794EU);
  Bytes falling(rising.rbegin(), rising.rend());
  CHECK(crc32c(falling) == 0x113FDB5CU);
}

TEST_CASE("a CRC goes on over parts of any size") {
  Bytes bytes(1000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  const uint32_t whole = crc32c(bytes);
  for (size_t cut = 0; cut <= bytes.size(); cut += 37) {
    const ByteView view(bytes);
    CHECK(crc32c(view.subspan(cut), crc32c(view.first(cut))) == whole);
  }
}

TEST_CASE("identifiers are 32 bytes, in order of their bytes, and of types that do not mix") {
  Bytes raw(32);
  raw[0] = 0x12;
  raw[31] = 0xef;
  const auto id = NodeId::from(ByteView(raw));
  REQUIRE(id);
  CHECK(id->short_hex() == "12000000");
  CHECK(id->hex().ends_with("ef"));
  CHECK(*NodeId::from_hex_text(id->hex()) == *id);
  CHECK(*NodeId::from(std::string_view(id->raw())) == *id);
  CHECK_FALSE(NodeId::from(ByteView(raw).first(31)));
  CHECK_FALSE(NodeId::from_hex_text("12"));
  CHECK_FALSE(NodeId::from_hex_text(std::string(64, 'x')));
  CHECK(NodeId{}.is_zero());
  CHECK_FALSE(id->is_zero());
  CHECK(NodeId{} < *id);
  CHECK(id_cast<PackId>(*id).bytes == id->bytes);
  static_assert(!std::is_convertible_v<NodeId, PackId>);
  const PackId pack = id_cast<PackId>(*id);
  CHECK((ShardId{pack, 1} < ShardId{pack, 2}));
  CHECK((ShardId{PackId{}, 9} < ShardId{pack, 0}));
}

}  // namespace cairn
