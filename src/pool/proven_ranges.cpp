#include "pool/proven_ranges.h"

#include <algorithm>

namespace cairn::pool {

void ProvenRanges::put(const PackId& pack, uint8_t slot, uint32_t offset, Buffer bytes) {
  const Key key{pack, slot, offset};
  const auto there = ranges_.find(key);
  if (there != ranges_.end()) {
    if (there->second.size() >= bytes.size()) return;
    bytes_ -= there->second.size();
    there->second = std::move(bytes);
    bytes_ += there->second.size();
  } else {
    bytes_ += bytes.size();
    ranges_.emplace(key, std::move(bytes));
    order_.push_back(key);
  }
  while (bytes_ > max_bytes_) {
    const auto oldest = ranges_.find(order_.front());
    order_.pop_front();
    bytes_ -= oldest->second.size();
    ranges_.erase(oldest);
  }
}

std::optional<Buffer> ProvenRanges::find(const PackId& pack, uint8_t slot, uint32_t offset, uint32_t length) const {
  auto at = ranges_.upper_bound({pack, slot, offset});
  if (at == ranges_.begin()) return std::nullopt;
  --at;
  // How much of what is wanted from `offset + done` on this range has.
  const auto has = [&](uint32_t done) -> uint32_t {
    if (at == ranges_.end() || at->first.pack != pack || at->first.slot != slot) return 0;
    const uint64_t from = uint64_t{offset} + done, end = uint64_t{at->first.offset} + at->second.size();
    if (at->first.offset > from || end <= from) return 0;
    return static_cast<uint32_t>(std::min<uint64_t>(length - done, end - from));
  };
  if (has(0) == length) return at->second.slice(offset - at->first.offset, length);
  Buffer whole(length);
  for (uint32_t done = 0; done < length; ++at) {
    const uint32_t part = has(done);
    if (part == 0) return std::nullopt;
    std::memcpy(whole.data() + done, at->second.data() + (offset + done - at->first.offset), part);
    done += part;
  }
  return whole;
}

}  // namespace cairn::pool
