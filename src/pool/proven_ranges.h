#pragma once
// ProvenRanges: bytes of a pack's lanes that a decoding had to fetch or brought to light beside what was asked for.
//
// Who reads a file through reads the pack's other lanes next: then no holder is asked for them again. Only bytes that
// were checked against the pack's header come here. Bounded; the oldest go first. Strand only.

#include <deque>
#include <map>
#include <optional>

#include "base/ids.h"

namespace cairn::pool {

class ProvenRanges {
 public:
  explicit ProvenRanges(size_t max_bytes) : max_bytes_(max_bytes) {}
  void put(const PackId& pack, uint8_t slot, uint32_t offset, Buffer bytes);
  // Nothing unless all of it is there. More than one range: copied together.
  std::optional<Buffer> find(const PackId& pack, uint8_t slot, uint32_t offset, uint32_t length) const;

 private:
  struct Key {
    PackId pack;
    uint8_t slot = 0;
    uint32_t offset = 0;
    auto operator<=>(const Key&) const = default;
  };
  size_t max_bytes_, bytes_ = 0;
  std::map<Key, Buffer> ranges_;
  std::deque<Key> order_;  // oldest first
};

}  // namespace cairn::pool
