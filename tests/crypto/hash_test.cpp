#include "crypto/hash.h"

#include <catch2/catch.hpp>

namespace cairn::crypto {

TEST_CASE("SHA-256 gives the values of FIPS 180") {
  CHECK(sha256(ByteView{}).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256(as_bytes("abc")).hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")).hex() ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(Bytes(1'000'000, 'a')).hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("a hash of parts is the hash of their concatenation") {
  CHECK(sha256({as_bytes("a"), ByteView{}, as_bytes("bc")}) == sha256(as_bytes("abc")));
  CHECK(sha256(std::initializer_list<ByteView>{}) == sha256(ByteView{}));
}

TEST_CASE("the hash does not depend on how bytes are split or aligned") {
  Bytes bytes(20'000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 31 + i / 256);
  for (const size_t from : {0, 1, 2, 3, 7}) {
    for (const size_t size : {1023, 1024, 4096, 4097, 8191, 8193, 19'000}) {
      const ByteView view = ByteView(bytes).subspan(from, size);
      Bytes aligned = to_bytes(view);
      const Hash expected = sha256(aligned);
      const Hash expected_mac = hmac_sha256(as_bytes("key"), {aligned});
      for (const size_t split : {0, 1, 63, 64, 65, 1000}) {
        const std::initializer_list<ByteView> parts = {view.first(split), view.subspan(split)};
        CHECK(sha256(parts) == expected);
        CHECK(hmac_sha256(as_bytes("key"), parts) == expected_mac);
      }
    }
  }
  // Computed with Python's hashlib.
  CHECK(sha256(ByteView(bytes)).hex() == "a314ebb6f22500a53272dd94e42c80ddff1cc88ce7034381e56fc15e7c8e5ac2");
  CHECK(sha256({ByteView(bytes).first(1), ByteView(bytes).subspan(1)}).hex() ==
        "a314ebb6f22500a53272dd94e42c80ddff1cc88ce7034381e56fc15e7c8e5ac2");
}

TEST_CASE("pieces hashed side by side have the hashes that they have alone") {
  Bytes bytes(70 * 4096 + 5);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761U >> 13);
  for (const size_t piece : {1, 55, 56, 63, 64, 65, 192, 4096, 32768, 65535}) {
    for (const size_t pieces : {size_t{0}, size_t{1}, size_t{2}, size_t{15}, size_t{16}, size_t{17}, size_t{70}}) {
      for (const size_t more : {size_t{0}, size_t{1}, piece - 1}) {
        const size_t size = std::min(bytes.size() - 3, pieces * piece + more);
        const ByteView view = ByteView(bytes).subspan(3, size);
        std::vector<Hash> out((size + piece - 1) / piece);
        sha256_pieces(view, piece, out);
        for (size_t i = 0; i < out.size(); ++i)
          REQUIRE(out[i] == sha256(view.subspan(i * piece, std::min(piece, size - i * piece))));
      }
    }
  }
}

TEST_CASE("HMAC-SHA256 gives the values of RFC 4231") {
  CHECK(hmac_sha256(Bytes(20, 0x0b), {as_bytes("Hi There")}).hex() ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hmac_sha256(as_bytes("Jefe"), {as_bytes("what do ya want "), as_bytes("for nothing?")}).hex() ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hmac_sha256(Bytes(20, 0xaa), {Bytes(50, 0xdd)}).hex() ==
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  CHECK(hmac_sha256(Bytes(131, 0xaa), {as_bytes("Test Using Larger Than Block-Size Key - Hash Key First")}).hex() ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("HKDF gives the value of RFC 5869 without a salt, and binds its info") {
  // Test case 3; its output is 42 bytes long, of which ours are the first 32.
  CHECK(to_hex(hkdf_sha256(Bytes(22, 0x0b), {})) == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
  Bytes input(80);
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<uint8_t>(i);
  const Bytes binding = {1, 2, 3};
  // Computed with Python's hmac module from the formulas of RFC 5869.
  CHECK(to_hex(hkdf_sha256(input, {as_bytes("cairn/v1/member"), binding})) ==
        "f5d77de2ba29f117e9e137271f1e91eb31a57e9cddd5d456f4193bdfeb144ea2");
  CHECK(hkdf_sha256(input, {as_bytes("cairn/v1/id")}) != hkdf_sha256(input, {as_bytes("cairn/v1/enc")}));
  CHECK(hkdf_sha256(input, {as_bytes("ab"), as_bytes("c")}) == hkdf_sha256(input, {as_bytes("abc")}));
}

TEST_CASE("constant-time comparison compares") {
  const Bytes a = {1, 2, 3};
  CHECK(constant_time_equal(a, Bytes{1, 2, 3}));
  CHECK_FALSE(constant_time_equal(a, Bytes{1, 2, 4}));
  CHECK_FALSE(constant_time_equal(a, Bytes{1, 2}));
  CHECK(constant_time_equal({}, {}));
}

}  // namespace cairn::crypto
