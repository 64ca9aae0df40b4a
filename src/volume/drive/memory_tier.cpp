#include "volume/drive/memory_tier.h"

namespace cairn::volume {

std::optional<MemoryTier::Hit> MemoryTier::read(const ChunkId& chunk, uint32_t offset, uint32_t length) {
  const auto place = places_.find(chunk);
  if (place == places_.end()) return std::nullopt;
  Entry& entry = *place->second;
  no_longer_ahead(entry);
  const bool again = offset < entry.read_to;
  entry.again |= again;
  entry.read_to = std::max(entry.read_to, offset + std::min(length, UINT32_MAX - offset));
  return Hit{entry.plain, again};
}

void MemoryTier::put(const ChunkId& chunk, Buffer plain, std::optional<Time> ahead) {
  if (places_.contains(chunk)) return;
  fresh_.entries.push_back({.chunk = chunk, .plain = std::move(plain), .ahead = ahead});
  places_.emplace(chunk, std::prev(fresh_.entries.end()));
  fresh_.bytes += cost(fresh_.entries.back());
  if (ahead) ahead_bytes_ += cost(fresh_.entries.back());
  while (bytes() > max_bytes_) evict();
}

void MemoryTier::evict() {
  const bool from_fresh =
      !fresh_.entries.empty() && (main_.entries.empty() || fresh_.bytes > max_bytes_ / kMemoryFreshPart);
  Queue& from = from_fresh ? fresh_ : main_;
  const auto oldest = from.entries.begin();
  const size_t size = cost(*oldest);
  from.bytes -= size;
  if (oldest->again) {
    oldest->again = false;
    main_.entries.splice(main_.entries.end(), from.entries, oldest);
    main_.bytes += size;
    return;
  }
  no_longer_ahead(*oldest);
  places_.erase(oldest->chunk);
  from.entries.erase(oldest);
}

void MemoryTier::no_longer_ahead(Entry& entry) {
  if (!entry.ahead) return;
  entry.ahead.reset();
  ahead_bytes_ -= cost(entry);
}

void MemoryTier::forget_ahead(Time time) {
  for (Entry& entry : fresh_.entries) {
    if (entry.ahead && *entry.ahead < time) no_longer_ahead(entry);
  }
}

}  // namespace cairn::volume
