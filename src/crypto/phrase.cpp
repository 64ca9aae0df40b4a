#include "crypto/phrase.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "crypto/wordlist.h"

namespace cairn::crypto {

namespace {

constexpr size_t kWords = 24;
constexpr size_t kBitsPerWord = 11;
constexpr size_t kUniqueLetters = 4;     // so many letters of a word tell it from all others
constexpr size_t kChecksummedSize = 33;  // 256 bits of secret and 8 of checksum: 24 words of 11 bits
static_assert(kWords * kBitsPerWord == kChecksummedSize * 8);

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// The word's number, given in full or by at least four of its letters.
std::optional<uint32_t> find_word(std::string_view word) {
  const auto* found = std::ranges::lower_bound(kWordlist, word);
  if (found == kWordlist.end()) return std::nullopt;
  if (*found != word && (word.size() < kUniqueLetters || !found->starts_with(word))) return std::nullopt;
  return static_cast<uint32_t>(found - kWordlist.begin());
}

}  // namespace

std::string phrase_from_secret(const AccountSecret& secret) {
  std::array<uint8_t, kChecksummedSize> bits;
  std::ranges::copy(secret, bits.begin());
  bits.back() = sha256(secret).bytes[0];
  std::string phrase;
  uint32_t pending = 0;
  size_t count = 0;
  for (const uint8_t byte : bits) {
    pending = (pending << 8 | byte) & 0x7ffff;  // at most 10 bits left over and 8 new ones
    count += 8;
    if (count < kBitsPerWord) continue;
    count -= kBitsPerWord;
    if (!phrase.empty()) phrase += ' ';
    phrase += kWordlist[pending >> count & 2047];
  }
  return phrase;
}

Result<AccountSecret> secret_from_phrase(std::string_view phrase) {
  std::array<uint8_t, kChecksummedSize> bits{};
  size_t words = 0;
  for (size_t at = 0; at < phrase.size();) {
    if (is_space(phrase[at])) {
      ++at;
      continue;
    }
    std::string word;
    for (; at < phrase.size() && !is_space(phrase[at]); ++at) {
      if (word.size() < 16) word += lower(phrase[at]);  // no word of the list is that long
    }
    if (words == kWords) return fail(Code::wrong_phrase, "a recovery phrase has 24 words, and there are more");
    const auto number = find_word(word);
    // The word itself is a part of the secret and stays out of the message.
    if (!number) return fail(Code::wrong_phrase, fmt::format("word {} is not a word of recovery phrases", words + 1));
    for (size_t bit = 0; bit < kBitsPerWord; ++bit) {
      const size_t place = words * kBitsPerWord + bit;
      if ((*number >> (kBitsPerWord - 1 - bit) & 1) != 0) bits[place / 8] |= static_cast<uint8_t>(0x80 >> place % 8);
    }
    ++words;
  }
  if (words != kWords) {
    return fail(Code::wrong_phrase, fmt::format("a recovery phrase has 24 words, and there are {}", words));
  }
  AccountSecret secret;
  std::copy_n(bits.begin(), secret.size(), secret.begin());
  if (sha256(secret).bytes[0] != bits.back()) {
    return fail(Code::wrong_phrase, "the checksum is wrong: a word is mistaken or two are swapped");
  }
  return secret;
}

Result<Key> scrypt(std::string_view passphrase, ByteView salt, ScryptParameters parameters) {
  const auto [log_n, r, p] = parameters;
  if (log_n < 1 || log_n > 20 || r < 1 || r > 16 || p < 1 || p > 4) {
    return fail(Code::bad_input, "scrypt parameters out of bounds");
  }
  const uint64_t n = uint64_t{1} << log_n;
  const uint64_t memory = 128 * r * (n + p + 2);
  Key key;
  if (EVP_PBE_scrypt(passphrase.data(), passphrase.size(), salt.data(), salt.size(), n, r, p, memory, key.data(),
                     key.size()) != 1) {
    return fail(Code::bad_input, "scrypt refused its parameters");
  }
  return key;
}

}  // namespace cairn::crypto
