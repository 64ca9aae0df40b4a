#pragma once
// SHA-256, HMAC-SHA256 and HKDF-SHA256 (RFC 5869).

#include "base/bytes.h"
#include "base/ids.h"

namespace cairn::crypto {

Hash sha256(ByteView bytes);
Hash sha256(std::initializer_list<ByteView> parts);  // of the parts one after the other
// The hash of each of the pieces of `piece` bytes (at most 65,535) that `bytes` consists of; the last may be shorter.
// Side by side where the processor can: several times as fast as one after the other.
void sha256_pieces(ByteView bytes, size_t piece, std::span<Hash> out);
Hash hmac_sha256(ByteView key, std::initializer_list<ByteView> parts);

// 32 bytes of output keying material with an empty salt. info: "cairn/v1/<use>" and what binds it.
using Key = std::array<uint8_t, 32>;
Key hkdf_sha256(ByteView input_key, std::initializer_list<ByteView> info);

// True when equal, in time that does not depend on where they differ.
bool constant_time_equal(ByteView a, ByteView b);

}  // namespace cairn::crypto
