// A fuzz target without libFuzzer: its seeds, and a number of mutations of them that are the same in every run.
// Usage: <target> [mutations] [seed]

#include <cstdio>
#include <cstdlib>

#include "env/random.h"
#include "fuzz/fuzz.h"

namespace {

using cairn::Bytes;
using cairn::env::Prng;

void mutate(Bytes& bytes, const std::vector<Bytes>& seeds, Prng& prng) {
  const size_t at = prng.below(bytes.size() + 1);
  const size_t run = prng.below(std::min<size_t>(bytes.size() - at, 64) + 1);
  const auto place = bytes.begin() + static_cast<ptrdiff_t>(at);
  switch (prng.below(7)) {
    case 0:  // a bit
      if (at < bytes.size()) bytes[at] ^= static_cast<uint8_t>(1 << prng.below(8));
      break;
    case 1:  // a byte, often one of those at a border
      if (at < bytes.size()) {
        constexpr std::array<uint8_t, 6> kBorders = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
        bytes[at] = prng.chance(0.7) ? kBorders[prng.below(kBorders.size())] : static_cast<uint8_t>(prng.next());
      }
      break;
    case 2:
      bytes.erase(place, place + static_cast<ptrdiff_t>(run));
      break;
    case 3: {
      Bytes more(1 + prng.below(16));
      prng.fill(more);
      bytes.insert(place, more.begin(), more.end());
      break;
    }
    case 4:
      bytes.resize(at);
      break;
    case 5: {  // the rest of another
      const Bytes& other = seeds[prng.below(seeds.size())];
      const size_t from = prng.below(other.size() + 1);
      bytes.resize(at);
      bytes.insert(bytes.end(), other.begin() + static_cast<ptrdiff_t>(from), other.end());
      break;
    }
    default:  // a run of one byte
      std::fill_n(place, run, static_cast<uint8_t>(prng.next()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t mutations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 3000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  std::vector<Bytes> seeds = cairn::fuzz::seeds();
  seeds.emplace_back();
  for (const Bytes& start : seeds) cairn::fuzz::run_one(start);
  Prng prng(seed);
  for (uint64_t round = 0; round < mutations; ++round) {
    Bytes input = seeds[prng.below(seeds.size())];
    for (uint64_t steps = 1 + prng.below(4); steps > 0; --steps) mutate(input, seeds, prng);
    cairn::fuzz::run_one(input);
  }
  std::printf("%zu seeds and %llu mutations (seed %llu)\n", seeds.size(), static_cast<unsigned long long>(mutations),
              static_cast<unsigned long long>(seed));
  return 0;
}
