#include "crypto/phrase.h"

#include <catch2/catch.hpp>

#include "crypto/wordlist.h"
#include "env/random.h"

namespace cairn::crypto {

namespace {

std::vector<std::string> words_of(std::string_view phrase) {
  std::vector<std::string> words;
  for (size_t at = 0; at < phrase.size();) {
    const size_t end = std::min(phrase.find(' ', at), phrase.size());
    words.emplace_back(phrase.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::string join(const std::vector<std::string>& words, std::string_view between = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : std::string(between)) + word;
  return text;
}

bool refused(std::string_view phrase) {
  const auto result = secret_from_phrase(phrase);
  return !result && result.error().code == Code::wrong_phrase;
}

// The vectors with 256 bits of https://github.com/trezor/python-mnemonic/blob/master/vectors.json, which BIP-39 names.
const std::vector<std::pair<std::string_view, std::string_view>> kVectors = {
    {"0000000000000000000000000000000000000000000000000000000000000000",
     "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon "
     "abandon abandon abandon abandon abandon abandon abandon abandon abandon art"},
    {"7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
     "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner "
     "thank year wave sausage worth title"},
    {"8080808080808080808080808080808080808080808080808080808080808080",
     "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid "
     "letter advice cage absurd amount doctor acoustic bless"},
    {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
     "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote"},
    {"68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
     "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis maple "
     "dilemma loan word shrug inflict delay length"},
    {"9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
     "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich alcohol speed nation flash "
     "devote "
     "level hobby quick inner drive ghost inside"},
    {"066dca1a2bb7e8a1db2832148ce9933eea0f3ac9548d793112d9a95c9407efad",
     "all hour make first leader extend hole alien behind guard gospel lava path output census museum junior mass "
     "reopen famous sing advance salt reform"},
    {"f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
     "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group "
     "space point ten exist slush involve unfold"},
};

}  // namespace

TEST_CASE("phrases are those of BIP-39") {
  for (const auto& [hex, phrase] : kVectors) {
    AccountSecret secret;
    std::ranges::copy(*from_hex(hex), secret.begin());
    CHECK(phrase_from_secret(secret) == phrase);
    const auto back = secret_from_phrase(phrase);
    REQUIRE(back);
    CHECK(*back == secret);
  }
}

TEST_CASE("the word list is sorted and four letters tell its words apart") {
  CHECK(kWordlist.front() == "abandon");
  CHECK(kWordlist.back() == "zoo");
  for (size_t i = 1; i < kWordlist.size(); ++i) CHECK(kWordlist[i - 1].substr(0, 4) < kWordlist[i].substr(0, 4));
}

TEST_CASE("any secret survives, in any case and spacing, by four letters") {
  env::Prng prng(24);
  for (int round = 0; round < 200; ++round) {
    AccountSecret secret;
    prng.fill(secret);
    std::vector<std::string> words = words_of(phrase_from_secret(secret));
    REQUIRE(words.size() == 24);
    for (std::string& word : words) {
      if (prng.chance(0.5)) word = word.substr(0, 4 + prng.below(3));
      if (prng.chance(0.3)) std::ranges::transform(word, word.begin(), [](char c) { return std::toupper(c); });
    }
    const auto back = secret_from_phrase("\n " + join(words, " \t\r\n") + "  ");
    REQUIRE(back);
    CHECK(*back == secret);
  }
}

TEST_CASE("a mistaken phrase is refused with the reason") {
  const std::string phrase(kVectors[4].second);
  std::vector<std::string> words = words_of(phrase);
  CHECK(refused(""));
  CHECK(refused("   "));
  CHECK(refused(phrase + " zoo"));
  CHECK(refused(phrase.substr(0, phrase.rfind(' '))));

  auto unknown = words;
  unknown[6] = "privat3";
  const auto result = secret_from_phrase(join(unknown));
  REQUIRE_FALSE(result);
  CHECK(result.error().context.find("word 7 ") != std::string::npos);
  CHECK(result.error().context.find("privat3") == std::string::npos);  // secrets stay out of messages

  auto too_short = words;
  too_short[0] = "ham";
  CHECK(refused(join(too_short)));
  auto too_long = words;
  too_long[0] = "hamsters";
  CHECK(refused(join(too_long)));
  auto swapped = words;
  std::swap(swapped[0], swapped[1]);
  CHECK(refused(join(swapped)));
  CHECK(refused(std::string(1 << 20, 'a')));
  CHECK(refused(std::string("hamster\0diagram", 15)));
}

TEST_CASE("a wrong last word is refused unless its checksum fits") {
  auto words = words_of(kVectors[0].second);
  size_t accepted = 0;
  for (const std::string_view word : kWordlist) {
    words.back() = word;
    if (!refused(join(words))) ++accepted;
  }
  CHECK(accepted == 8);  // 3 bits of the last word are secret, 8 are the checksum
}

TEST_CASE("scrypt gives the values of RFC 7914") {
  // Its outputs are 64 bytes long, of which ours are the first 32.
  const auto first = scrypt("", {}, {.log_n = 4, .r = 1, .p = 1});
  REQUIRE(first);
  CHECK(to_hex(*first) == "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442");
  const auto third = scrypt("pleaseletmein", as_bytes("SodiumChloride"), {.log_n = 14, .r = 8, .p = 1});
  REQUIRE(third);
  CHECK(to_hex(*third) == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

TEST_CASE("scrypt works with its default parameters and refuses those out of bounds") {
  CHECK(scrypt("passphrase", as_bytes("salt"), {}));
  for (const ScryptParameters bad :
       {ScryptParameters{0, 8, 1}, ScryptParameters{21, 8, 1}, ScryptParameters{10, 0, 1}, ScryptParameters{10, 17, 1},
        ScryptParameters{10, 8, 0}, ScryptParameters{10, 8, 5}, ScryptParameters{0xffffffff, 8, 1}}) {
    const auto result = scrypt("passphrase", as_bytes("salt"), bad);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Code::bad_input);
  }
}

}  // namespace cairn::crypto
