#include "base/crc32c.h"

#include <isa-l/crc.h>

#include "base/vector_state.h"

namespace cairn {

uint32_t crc32c(ByteView bytes, uint32_t so_far) {
  uint32_t state = ~so_far;
  while (!bytes.empty()) {
    const size_t step = std::min<size_t>(bytes.size(), 1U << 30);  // ISA-L counts in int
    state = crc32_iscsi(const_cast<unsigned char*>(bytes.data()), static_cast<int>(step), state);
    bytes = bytes.subspan(step);
  }
  leave_vector_code();
  return ~state;
}

}  // namespace cairn
