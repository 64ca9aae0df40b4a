#include "volume/drive/disk_cache.h"

#include <algorithm>

namespace cairn::volume {

DiskCache::DiskCache(env::World world, std::string folder, uint64_t limit)
    : world_(world), limit_(limit), files_(world, std::move(folder)), changed_(world.executor), group_(world.executor) {
  group_.spawn(run());
}

DiskCache::~DiskCache() = default;

DiskCache::Counters DiskCache::counters() const {
  Counters counters = counters_;
  counters.bytes = bytes();
  counters.chunks = live_;
  counters.memory = index_.memory() + ghosts_.size() * sizeof(Print);
  for (const Segment& segment : segments_)
    counters.memory += segment.prints.capacity() * sizeof(Print) + segment.offsets.capacity() * sizeof(uint32_t);
  counters.loaded = loaded_;
  return counters;
}

uint64_t DiskCache::segment_bytes() const {
  return std::clamp(limit_ / kCacheSegmentParts, kMinCacheSegment, kMaxCacheSegment);
}

// A segment's room stays free for what moves out of one that goes; while something waits, also the next batch's.
bool DiskCache::too_much() const {
  if (bytes() == 0 && live_ == 0 && queues_[0].slots.empty() && queues_[1].slots.empty()) return false;
  if (limit_ < kMinCacheLimit || live_ > kMaxCacheEntries) return true;
  return bytes() + (waiting_.empty() ? 0 : kCacheBatch) > limit_ - segment_bytes();
}

void DiskCache::put(const ChunkId& chunk, Buffer plain) {
  if (unusable_ || closing_ || plain.size() > kMaxChunkSize || limit_ < kMinCacheLimit || has(chunk)) return;
  if (queued_ + plain.size() > kCacheQueueBytes || paused()) {
    ++counters_.dropped;
    return;
  }
  queued_ += plain.size();
  waiting_.push_back(chunk);
  waiting_bytes_.emplace(chunk, std::move(plain));
  changed_.notify_all();
}

bool DiskCache::has(const ChunkId& chunk) const {
  if (waiting_bytes_.contains(chunk)) return true;
  const DiskIndex::Entry* entry = index_.find(DiskIndex::print_of(chunk));
  return entry != nullptr && !entry->ghost();
}

void DiskCache::touch(const ChunkId& chunk) {
  DiskIndex::Entry* entry = index_.find(DiskIndex::print_of(chunk));
  if (entry != nullptr && !entry->ghost() && entry->uses < DiskIndex::kMaxUses) ++entry->uses;
}

env::Task<std::vector<std::optional<Buffer>>> DiskCache::read(std::vector<ChunkId> chunks) {
  struct Wanted {
    size_t at;
    DiskIndex::Entry entry;
    std::shared_ptr<env::File> file;
    Result<CacheRecord> record = fail(Code::not_found);
  };
  std::vector<std::optional<Buffer>> found(chunks.size());
  std::vector<Wanted> wanted;
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (const auto waits = waiting_bytes_.find(chunks[i]); waits != waiting_bytes_.end()) {
      found[i] = waits->second;
      continue;
    }
    const DiskIndex::Entry* entry = index_.find(DiskIndex::print_of(chunks[i]));
    if (entry != nullptr && !entry->ghost())
      wanted.push_back({.at = i, .entry = *entry, .file = segments_[entry->segment].info.file});
  }
  if (wanted.empty()) co_return found;
  auto read_all = [&]() -> Status {
    for (Wanted& want : wanted) want.record = read_record(*want.file, want.entry.offset(), want.entry.length());
    return {};
  };
  auto done = co_await world_.workers.run(read_all);
  CAIRN_ASSERT(done);
  for (Wanted& want : wanted) {
    DiskIndex::Entry* entry = index_.find(want.entry.print);
    const bool same = entry != nullptr && entry->segment == want.entry.segment && entry->place == want.entry.place;
    if (want.record && want.record->chunk == chunks[want.at]) {
      found[want.at] = std::move(want.record->plain);
      if (same && entry->uses < DiskIndex::kMaxUses) ++entry->uses;
    } else if (!want.record) {
      ++counters_.damaged;
      if (same) erase(want.entry.print, false);
    }
  }
  co_return found;
}

void DiskCache::set_limit(uint64_t bytes) {
  limit_ = bytes;
  if (limit_ < kMinCacheLimit) drop_waiting();
  changed_.notify_all();
}

env::Task<Status> DiskCache::close() {
  closing_ = true;
  changed_.notify_all();
  while (!unusable_ && (!waiting_.empty() || busy_)) co_await changed_.wait();
  co_return Status{};
}

env::Task<void> DiskCache::run() {
  busy_ = true;
  auto status = co_await load();
  if (!status && status.error().code == Code::corrupt) {
    world_.log.warning("chunk_cache_emptied", "error=\"{}\"", to_string(status.error()));
    forget_all();
    auto empty = co_await world_.workers.run([this] { return files_.reset(); });
    if (empty) {
      auto again = co_await load();
      status = std::move(again);
    } else {
      status = std::move(empty);
    }
  }
  if (!status) {
    world_.log.warning("chunk_cache_unusable", "error=\"{}\"", to_string(status.error()));
    forget_all();
    drop_waiting();
    unusable_ = true;
    busy_ = false;
    changed_.notify_all();
    co_return;
  }
  loaded_ = true;
  for (;;) {
    if (waiting_.empty() && !too_much()) {
      busy_ = false;
      changed_.notify_all();
      co_await changed_.wait();
      busy_ = true;
      continue;
    }
    Status outcome;
    if (too_much()) {
      auto evicted = co_await evict();
      outcome = std::move(evicted);
    } else {
      if (queued_ < kCacheBatch && !closing_) co_await env::sleep_for(world_.clock, kCacheLinger);
      if (waiting_.empty() || too_much()) continue;
      auto written = co_await write_queue();
      outcome = std::move(written);
    }
    if (!outcome) {
      if (!paused()) world_.log.warning("chunk_cache_failed", "error=\"{}\"", to_string(outcome.error()));
      pause_until_ = world_.clock.now() + kCachePause;
      drop_waiting();
    }
  }
}

env::Task<Status> DiskCache::load() {
  auto segments = co_await world_.workers.run([this] { return files_.open(); });
  if (!segments) co_return fail(std::move(segments.error()));
  std::unordered_map<uint32_t, uint16_t> slots;
  for (CacheSegmentInfo& info : *segments) {
    info.size = (info.size + kCacheAlign - 1) / kCacheAlign * kCacheAlign;
    next_number_ = std::max(next_number_, info.number + 1);
    next_order_ = std::max(next_order_, info.order + 1);
    const uint32_t number = info.number;
    const bool growing = info.file != nullptr && info.size < segment_bytes();
    Queue& into = queue(info.queue);
    const uint16_t slot = add_segment(std::move(info));
    into.slots.push_back(slot);
    into.growing = growing;
    slots.emplace(number, slot);
  }
  std::optional<CacheRun> after;
  for (;;) {
    auto page = co_await world_.workers.run([&] { return files_.runs(after ? &*after : nullptr, kCacheLoadPage); });
    if (!page) co_return fail(std::move(page.error()));
    if (page->empty()) co_return Status{};
    for (const CacheRun& run : *page) {
      const auto slot = slots.find(run.number);
      if (slot == slots.end()) continue;
      segments_[slot->second].offsets.push_back(run.offset);
      uint64_t offset = run.offset;
      for (const auto& [chunk, size] : run.records) {
        if (offset + size <= segments_[slot->second].info.size)
          add_record(slot->second, DiskIndex::print_of(chunk), offset, size, 0);
        offset += size;
      }
    }
    after = std::move(page->back());
  }
}

env::Task<Status> DiskCache::write_queue() {
  // What was here lately and comes again is worth the main queue.
  const auto goes_to = [this](const ChunkId& chunk) {
    return index_.find(DiskIndex::print_of(chunk)) != nullptr ? CacheQueue::main : CacheQueue::probation;
  };
  const CacheQueue queue = goes_to(waiting_.front());
  std::vector<CacheRecord> records;
  uint64_t total = 0;
  for (const ChunkId& chunk : waiting_) {
    const Buffer& plain = waiting_bytes_.at(chunk);
    const uint64_t size = cache_record_size(plain.size());
    if (goes_to(chunk) != queue || (!records.empty() && total + size > kCacheBatch)) break;
    total += size;
    records.push_back({chunk, plain});
  }
  const std::vector<ChunkId> written(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(records.size()));
  auto status = co_await append(queue, std::move(records), std::vector<uint64_t>(written.size(), 0));
  if (!status) co_return status;  // the caller drops all that waits
  counters_.written += written.size();
  for (const ChunkId& chunk : written) {
    if (waiting_.empty() || waiting_.front() != chunk) break;  // dropped meanwhile
    const auto done = waiting_bytes_.find(chunk);
    queued_ -= done->second.size();
    waiting_bytes_.erase(done);
    waiting_.pop_front();
  }
  co_return status;
}

env::Task<Status> DiskCache::append(CacheQueue queue_name, std::vector<CacheRecord> records,
                                    std::vector<uint64_t> uses) {
  CacheRun run;
  uint64_t total = 0;
  for (const CacheRecord& record : records) {
    const uint64_t size = cache_record_size(record.plain.size());
    run.records.emplace_back(record.chunk, static_cast<uint32_t>(size));
    total += size;
  }
  auto slot = co_await segment_for(queue_name, total);
  if (!slot) co_return fail(std::move(slot.error()));
  const CacheSegmentInfo info = segments_[*slot].info;
  run.number = info.number;
  run.offset = static_cast<uint32_t>(info.size);
  auto status = co_await world_.workers.run([&] { return files_.append(*info.file, run, records); });
  if (!status) {
    queue(queue_name).growing = false;
    co_return status;
  }
  Segment& segment = segments_[*slot];
  segment.info.size += total;
  segment.offsets.push_back(run.offset);
  queue(queue_name).bytes += total;
  uint64_t offset = run.offset;
  for (size_t i = 0; i < records.size(); ++i) {
    add_record(*slot, DiskIndex::print_of(records[i].chunk), offset, run.records[i].second, uses[i]);
    offset += run.records[i].second;
  }
  co_return status;
}

env::Task<Result<uint16_t>> DiskCache::segment_for(CacheQueue queue_name, uint64_t bytes) {
  Queue& into = queue(queue_name);
  if (into.growing && !into.slots.empty()) {
    const Segment& youngest = segments_[into.slots.back()];
    if (youngest.info.size == 0 || youngest.info.size + bytes <= segment_bytes()) co_return into.slots.back();
  }
  CacheSegmentInfo info{.number = next_number_++, .queue = queue_name, .order = next_order_++, .file = nullptr};
  auto file = co_await world_.workers.run([&] { return files_.create(info); });
  if (!file) co_return fail(std::move(file.error()));
  info.file = std::move(*file);
  const uint16_t slot = add_segment(std::move(info));
  into.slots.push_back(slot);
  into.growing = true;
  co_return slot;
}

uint16_t DiskCache::add_segment(CacheSegmentInfo info) {
  const auto free = std::ranges::find_if(segments_, [](const Segment& segment) { return !segment.used; });
  const auto slot = static_cast<uint16_t>(free - segments_.begin());
  if (free == segments_.end()) segments_.emplace_back();
  queue(info.queue).bytes += info.size;
  segments_[slot] = {.info = std::move(info), .prints = {}, .offsets = {}, .used = true};
  return slot;
}

void DiskCache::add_record(uint16_t slot, Print print, uint64_t offset, uint64_t length, uint64_t uses) {
  const DiskIndex::Entry* there = index_.find(print);
  if (there == nullptr || there->ghost()) ++live_;
  index_.put({.print = print,
              .segment = slot,
              .place = static_cast<uint32_t>(offset / kCacheAlign),
              .units = static_cast<uint32_t>(length / kCacheAlign),
              .uses = uses});
  segments_[slot].prints.push_back(print);
}

void DiskCache::erase(Print print, bool leave_ghost) {
  DiskIndex::Entry* entry = index_.find(print);
  if (entry == nullptr || entry->ghost()) return;
  --live_;
  if (!leave_ghost) {
    index_.erase(print);
    return;
  }
  *entry = {.print = print, .segment = DiskIndex::kGhost};
  ghosts_.push_back(print);
  while (ghosts_.size() > std::min(kMaxGhosts, live_ + 1)) {
    const DiskIndex::Entry* oldest = index_.find(ghosts_.front());
    if (oldest != nullptr && oldest->ghost()) index_.erase(ghosts_.front());
    ghosts_.pop_front();
  }
}

void DiskCache::drop_waiting() {
  counters_.dropped += waiting_.size();
  waiting_.clear();
  waiting_bytes_.clear();
  queued_ = 0;
}

void DiskCache::forget_all() {
  index_.clear();
  segments_.clear();
  for (Queue& queue : queues_) queue = {};
  ghosts_.clear();
  live_ = 0;
}

}  // namespace cairn::volume
