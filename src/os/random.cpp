#include "os/random.h"

#include <openssl/rand.h>

#include <climits>

namespace cairn::os {

void OsRandom::fill(MutableByteView out) {
  while (!out.empty()) {
    const size_t count = std::min<size_t>(out.size(), INT_MAX);
    CAIRN_ASSERT(RAND_bytes(out.data(), static_cast<int>(count)) == 1);
    out = out.subspan(count);
  }
}

}  // namespace cairn::os
