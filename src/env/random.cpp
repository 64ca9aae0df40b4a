#include "env/random.h"

#include <bit>

namespace cairn::env {

Prng::Prng(uint64_t seed) {
  for (uint64_t& word : state_) {  // splitmix64
    seed += 0x9e3779b97f4a7c15ULL;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    word = z ^ (z >> 31);
  }
}

uint64_t Prng::next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Prng::below(uint64_t bound) {
  CAIRN_ASSERT(bound > 0);
  const uint64_t threshold = (0 - bound) % bound;  // rejects the uneven rest
  for (;;) {
    const uint64_t value = next();
    if (value >= threshold) return value % bound;
  }
}

double Prng::unit() {
  return static_cast<double>(next() >> 11) * 0x1.0p-53;
}

void Prng::fill(MutableByteView out) {
  for (size_t i = 0; i < out.size(); i += 8) {
    uint64_t word = next();
    for (size_t j = i; j < std::min(i + 8, out.size()); ++j, word >>= 8) out[j] = static_cast<uint8_t>(word);
  }
}

}  // namespace cairn::env
