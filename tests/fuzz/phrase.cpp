// secret_from_phrase: any text is refused or is a phrase that gives itself back. Input: the text.

#include "crypto/phrase.h"
#include "env/random.h"
#include "fuzz/fuzz.h"

namespace cairn::fuzz {

void run_one(ByteView input) {
  const auto secret = crypto::secret_from_phrase(as_text(input));
  if (!secret) {
    CAIRN_ASSERT(secret.error().code == Code::wrong_phrase);
    return;
  }
  const auto again = crypto::secret_from_phrase(crypto::phrase_from_secret(*secret));
  CAIRN_ASSERT(again && *again == *secret);
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  env::Prng prng(3);
  for (int i = 0; i < 8; ++i) {
    crypto::AccountSecret secret;
    prng.fill(secret);
    all.push_back(to_bytes(crypto::phrase_from_secret(secret)));
  }
  return all;
}

}  // namespace cairn::fuzz
