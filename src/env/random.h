#pragma once
// SecureRandom for keys and nonces; Prng, seeded, for everything that may be known: jitter, sampling, simulation.

#include "base/bytes.h"
#include "base/ids.h"

namespace cairn::env {

// Thread-safe.
class SecureRandom {
 public:
  virtual ~SecureRandom() = default;
  virtual void fill(MutableByteView out) = 0;

  template <class IdType>
  IdType id() {
    IdType made;
    fill(made.bytes);
    return made;
  }
  uint64_t u64() {
    uint8_t raw[8];
    fill(raw);
    return read_le<uint64_t>(raw);
  }
};

// xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64. Same seed, same numbers, on every machine.
class Prng {
 public:
  explicit Prng(uint64_t seed);
  uint64_t next();
  uint64_t below(uint64_t bound);  // uniform in [0, bound); bound > 0
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  double unit();  // uniform in [0, 1)
  bool chance(double probability) { return unit() < probability; }
  void fill(MutableByteView out);
  template <class Container>
  void shuffle(Container& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  uint64_t state_[4];
};

}  // namespace cairn::env
