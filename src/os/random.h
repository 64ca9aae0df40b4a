#pragma once
// OsRandom: OpenSSL's generator (one per thread, reseeded from the kernel).

#include "env/random.h"

namespace cairn::os {

class OsRandom final : public env::SecureRandom {
 public:
  // Ends the process when the generator fails: nothing may go on without it.
  void fill(MutableByteView out) override;
};

}  // namespace cairn::os
