#pragma once
// SHA-256 of many pieces of one length side by side. Internal to the room; hash.h has the face of it.
//
// One SHA-256 is a chain of dependent steps that leaves most of a processor idle. Pieces that do not depend on each
// other fill it: two chains through the SHA instructions, or sixteen through AVX-512.

#include "base/bytes.h"
#include "base/ids.h"

namespace cairn::crypto {

enum class Lanes { one, two, sixteen };

// What this processor has.
bool supported(Lanes lanes);

// As sha256_pieces() in hash.h, by that means and no other; it is supported. `piece` is a multiple of 64, and
// out.size() * piece bytes are there.
void sha256_pieces_by(Lanes lanes, uint8_t prefix, ByteView bytes, size_t piece, std::span<Hash> out);

}  // namespace cairn::crypto
