// Eviction of the disk cache: one segment at a time.

#include <algorithm>

#include "volume/drive/disk_cache.h"

namespace cairn::volume {

env::Task<Status> DiskCache::evict() {
  const Queue& probation = queue(CacheQueue::probation);
  const bool from_probation = !probation.slots.empty() && (queue(CacheQueue::main).slots.empty() ||
                                                           probation.bytes * 100 > limit_ * kProbationPercent);
  Queue& from = from_probation ? queue(CacheQueue::probation) : queue(CacheQueue::main);
  const uint16_t slot = from.slots.front();
  if (from.slots.size() == 1) from.growing = false;

  uint64_t wanted = 0;  // bytes that were read again
  for (const Print print : segments_[slot].prints) {
    const DiskIndex::Entry* entry = index_.find(print);
    if (entry != nullptr && entry->segment == slot && entry->uses > 0) wanted += entry->length();
  }
  const bool enough = limit_ >= kMinCacheLimit && live_ <= kMaxCacheEntries && !paused();
  if (enough && wanted * 2 >= segments_[slot].info.size && wanted > 0) {
    auto kept = co_await keep_whole(slot);
    co_return kept;
  }
  if (enough && wanted > 0 && bytes() + wanted <= limit_) {
    auto moved = co_await move_survivors(slot);
    if (!moved) world_.log.debug("chunk_cache_move", "error=\"{}\"", to_string(moved.error()));
  }
  auto removed = co_await remove(slot);
  co_return removed;
}

// Nothing is copied: the segment begins anew in the main queue. Each such round takes uses away, so it ends.
env::Task<Status> DiskCache::keep_whole(uint16_t slot) {
  Segment& segment = segments_[slot];
  const bool was_new = segment.info.queue == CacheQueue::probation;
  for (const Print print : segment.prints) {
    DiskIndex::Entry* entry = index_.find(print);
    if (entry != nullptr && entry->segment == slot && entry->uses > 0) entry->uses = was_new ? 0 : entry->uses - 1;
  }
  Queue& from = queue(segment.info.queue);
  Queue& main = queue(CacheQueue::main);
  from.slots.pop_front();
  from.bytes -= segment.info.size;
  segment.info.queue = CacheQueue::main;
  segment.info.order = next_order_++;
  // Before the one that is written to, which stays the youngest.
  if (main.growing && !main.slots.empty()) {
    main.slots.insert(main.slots.end() - 1, slot);
  } else {
    main.slots.push_back(slot);
  }
  main.bytes += segment.info.size;
  const CacheSegmentInfo info = segment.info;
  auto noted = co_await world_.workers.run([&] { return files_.note(info); });
  co_return noted;
}

env::Task<Status> DiskCache::move_survivors(uint16_t slot) {
  const bool was_new = segments_[slot].info.queue == CacheQueue::probation;
  const std::shared_ptr<env::File> file = segments_[slot].info.file;
  const std::vector<Print> prints = segments_[slot].prints;
  size_t next = 0;
  while (next < prints.size()) {
    std::vector<DiskIndex::Entry> batch;
    for (uint64_t total = 0; next < prints.size() && total < kCacheBatch / 2; ++next) {
      const DiskIndex::Entry* entry = index_.find(prints[next]);
      if (entry == nullptr || entry->segment != slot || entry->uses == 0) continue;
      batch.push_back(*entry);
      total += entry->length();
    }
    std::vector<CacheRecord> records;
    std::vector<uint64_t> uses;
    auto read = [&]() -> Status {
      for (const DiskIndex::Entry& entry : batch) {
        auto record = read_record(*file, entry.offset(), entry.length());
        if (!record || DiskIndex::print_of(record->chunk) != entry.print) continue;
        records.push_back(std::move(*record));
        uses.push_back(was_new ? 0 : entry.uses - 1);
      }
      return {};
    };
    CAIRN_CO_TRY(co_await world_.workers.run(read));
    if (records.empty()) continue;
    counters_.moved += records.size();
    CAIRN_CO_TRY(co_await append(CacheQueue::main, std::move(records), std::move(uses)));
  }
  co_return Status{};
}

env::Task<Status> DiskCache::remove(uint16_t slot) {
  Segment segment = std::exchange(segments_[slot], {});
  Queue& from = queue(segment.info.queue);
  std::erase(from.slots, slot);
  from.bytes -= segment.info.size;
  for (const Print print : segment.prints) {
    const DiskIndex::Entry* entry = index_.find(print);
    if (entry != nullptr && entry->segment == slot) erase(print, segment.info.queue == CacheQueue::probation);
  }
  // Whatever becomes of the file: nothing is looked for in it any more.
  auto removed = co_await world_.workers.run([&] { return files_.remove(segment.info.number, segment.offsets); });
  co_return removed;
}

}  // namespace cairn::volume
