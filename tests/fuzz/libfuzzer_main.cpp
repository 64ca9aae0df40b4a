// A fuzz target under libFuzzer: seeds come from the target itself and not from a folder of files.

#include "env/random.h"
#include "fuzz/fuzz.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  cairn::fuzz::run_one({data, size});
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  static const std::vector<cairn::Bytes> all = cairn::fuzz::seeds();
  cairn::env::Prng prng(seed);
  if (!all.empty() && prng.chance(size <= 1 ? 0.9 : 0.02)) {
    const cairn::Bytes& start = all[prng.below(all.size())];
    size = std::min(start.size(), max_size);
    if (size > 0) std::memcpy(data, start.data(), size);
    if (prng.chance(0.5)) return size;
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
