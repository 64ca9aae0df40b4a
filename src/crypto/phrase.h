#pragma once
// The recovery phrase: 24 BIP-39 words that are the 256-bit account secret with an 8-bit checksum.

#include <string>

#include "crypto/hash.h"

namespace cairn::crypto {

using AccountSecret = Key;

std::string phrase_from_secret(const AccountSecret& secret);
// Any white space between words, any case; four letters of a word are enough, as in BIP-39. Code::wrong_phrase says
// which word is unknown, or that the checksum is wrong.
Result<AccountSecret> secret_from_phrase(std::string_view phrase);

// scrypt (RFC 7914). N = 2^log_n. Code::bad_input for parameters over log_n 20, r 16, p 4.
struct ScryptParameters {
  uint32_t log_n = 15, r = 8, p = 1;  // about 100 ms and 32 MiB here
};
Result<Key> scrypt(std::string_view passphrase, ByteView salt, ScryptParameters parameters);

}  // namespace cairn::crypto
