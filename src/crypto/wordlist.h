#pragma once
// The English word list of BIP-39, from Debian's python3-mnemonic (see wordlist.NOTICE).

#include <array>
#include <string_view>

namespace cairn::crypto {

// Sorted; the first four letters of a word tell it from all others.
extern const std::array<std::string_view, 2048> kWordlist;

}  // namespace cairn::crypto
