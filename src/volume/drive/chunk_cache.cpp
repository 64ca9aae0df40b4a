#include "volume/drive/chunk_cache.h"

#include <deque>

#include "volume/drive/disk_cache.h"
#include "volume/drive/memory_tier.h"

namespace cairn::volume {

namespace {

class TieredChunkCache final : public ChunkCache {
 public:
  TieredChunkCache(env::World world, std::shared_ptr<ChunkReader> chunks, const ChunkCacheOptions& options)
      : world_(world),
        chunks_(std::move(chunks)),
        memory_(options.memory_bytes),
        most_ahead_(options.memory_bytes / kMemoryAheadPart),
        group_(world.executor) {
    if (!options.folder.empty()) disk_ = std::make_unique<DiskCache>(world, options.folder, options.disk_bytes);
  }

  env::Task<Result<std::vector<FileReader::Piece>>> read(std::shared_ptr<ItemReader> items,
                                                         std::vector<Extent> extents) override {
    struct Waiting {
      size_t at;
      std::shared_ptr<Fetch> fetch;
    };
    std::vector<FileReader::Piece> pieces(extents.size());
    std::vector<Waiting> waiting;
    Fetches begun;
    for (size_t i = 0; i < extents.size(); ++i) {
      const Extent& extent = extents[i];
      pieces[i].offset = extent.offset;
      if (auto plain = look(extent)) {
        ++counters_.memory_hits;
        auto piece = cut(extent, *plain);
        if (!piece) co_return fail(std::move(piece.error()));
        pieces[i].bytes = std::move(*piece);
      } else {
        waiting.push_back({i, join(extent, {}, begun)});
      }
    }
    if (!begun.empty()) group_.spawn(fetch(std::move(items), std::move(begun)));
    for (Waiting& wait : waiting) {
      while (!wait.fetch->outcome) co_await wait.fetch->ended.wait();
      const Result<Buffer>& outcome = *wait.fetch->outcome;
      if (!outcome) co_return fail(outcome.error());
      const Extent& extent = extents[wait.at];
      look(extent);  // counts as its first reading
      auto piece = cut(extent, *outcome);
      if (!piece) co_return fail(std::move(piece.error()));
      pieces[wait.at].bytes = std::move(*piece);
    }
    co_return pieces;
  }

  void prefetch(std::shared_ptr<ItemReader> items, std::vector<Extent> extents) override {
    const Time now = world_.clock.now();
    if (ahead() >= most_ahead_) memory_.forget_ahead(now - kAheadStale);
    Fetches begun;
    for (const Extent& extent : extents) {
      if (memory_.has(extent.chunk) || under_way_.contains(extent.chunk)) continue;
      if (ahead() >= most_ahead_) break;
      join(extent, now, begun);
    }
    if (!begun.empty()) group_.spawn(fetch(std::move(items), std::move(begun)));
  }

  void add(const ChunkId& chunk, Buffer plain) override {
    if (disk_) {
      disk_->put(chunk, std::move(plain));
    } else {
      memory_.put(chunk, std::move(plain));
    }
  }

  void set_disk_limit(uint64_t bytes) override {
    if (disk_) disk_->set_limit(bytes);
  }

  env::Task<Status> close() override {
    if (!disk_) co_return Status{};
    auto closed = co_await disk_->close();
    co_return closed;
  }

  Counters counters() const override {
    Counters counters = counters_;
    if (disk_) counters.disk_bytes = disk_->counters().bytes;
    return counters;
  }

 private:
  // A chunk on its way into memory: whoever wants it waits for this.
  struct Fetch {
    Fetch(env::Executor& executor, const Extent& wanted) : extent(wanted), ended(executor) {}
    Extent extent;
    std::optional<Time> ahead;  // since when nobody has waited for it
    uint64_t cost = 0;          // that it takes of most_ahead_
    std::optional<Result<Buffer>> outcome;
    env::Signal ended;
  };
  using Fetches = std::vector<std::shared_ptr<Fetch>>;
  // One request to a holder.
  struct Request {
    ReadRun run;
    Fetches fetches;  // of its chunks, in order
    bool ahead() const {
      return std::ranges::all_of(fetches, [](const auto& fetch) { return fetch->ahead.has_value(); });
    }
  };

  size_t ahead() const { return memory_.ahead_bytes() + ahead_under_way_; }

  std::optional<Buffer> look(const Extent& extent) {
    auto hit = memory_.read(extent.chunk, extent.chunk_offset, extent.length);
    if (!hit) return std::nullopt;
    // What stays in memory because it is read again and again is worth its place on the disk too.
    if (hit->again && disk_) disk_->touch(extent.chunk);
    return std::move(hit->plain);
  }

  static Result<Buffer> cut(const Extent& extent, const Buffer& plain) {
    if (uint64_t{extent.chunk_offset} + extent.length > plain.size())
      return fail(Code::corrupt, "extent beyond its chunk");
    return plain.slice(extent.chunk_offset, extent.length);
  }

  // The fetch of the extent's chunk; `begun` has it when it is a new one. `ahead`: nobody waits for it.
  std::shared_ptr<Fetch> join(const Extent& extent, std::optional<Time> ahead, Fetches& begun) {
    auto& fetch = under_way_[extent.chunk];
    if (!fetch) {
      fetch = std::make_shared<Fetch>(world_.executor, extent);
      fetch->ahead = ahead;
      if (ahead) fetch->cost = std::max(extent.sealed_length, extent.length);
      ahead_under_way_ += fetch->cost;
      begun.push_back(fetch);
    } else if (!ahead) {
      want(*fetch);
    }
    return fetch;
  }
  // Somebody waits for it now.
  void want(Fetch& fetch) {
    fetch.ahead.reset();
    ahead_under_way_ -= std::exchange(fetch.cost, 0);
    const auto request = std::ranges::find_if(later_, [](const Request& one) { return !one.ahead(); });
    if (request == later_.end()) return;
    urgent_.push_back(std::move(*request));
    later_.erase(request);
    begin_requests();
  }

  void end(Fetch& fetch, Result<Buffer> outcome) {
    if (fetch.outcome) return;
    if (outcome) memory_.put(fetch.extent.chunk, *outcome, fetch.ahead);
    ahead_under_way_ -= std::exchange(fetch.cost, 0);
    fetch.outcome = std::move(outcome);
    fetch.ended.notify_all();
    under_way_.erase(fetch.extent.chunk);
  }

  env::Task<void> fetch(std::shared_ptr<ItemReader> items, Fetches fetches) {
    Fetches from_pool, from_disk;
    for (auto& fetch : fetches) (disk_ && disk_->has(fetch->extent.chunk) ? from_disk : from_pool).push_back(fetch);
    // The pool is asked while the disk is read.
    if (!from_disk.empty()) group_.spawn(read_disk(items, std::move(from_disk)));
    if (!from_pool.empty()) co_await plan(std::move(items), std::move(from_pool));
  }

  env::Task<void> read_disk(std::shared_ptr<ItemReader> items, Fetches fetches) {
    Fetches missing;
    for (size_t next = 0; next < fetches.size();) {
      Fetches batch;
      std::vector<ChunkId> wanted;
      for (uint64_t total = 0; next < fetches.size() && total < kCacheBatch; ++next) {
        total += fetches[next]->extent.sealed_length;
        wanted.push_back(fetches[next]->extent.chunk);
        batch.push_back(fetches[next]);
      }
      auto found = co_await disk_->read(std::move(wanted));
      for (size_t i = 0; i < batch.size(); ++i) {
        if (found[i]) {
          ++counters_.disk_hits;
          end(*batch[i], std::move(*found[i]));
        } else {
          missing.push_back(batch[i]);
        }
      }
    }
    if (!missing.empty()) co_await plan(std::move(items), std::move(missing));
  }

  // Into requests to the pool.
  env::Task<void> plan(std::shared_ptr<ItemReader> items, Fetches fetches) {
    std::vector<Extent> extents;
    extents.reserve(fetches.size());
    for (const auto& fetch : fetches) extents.push_back(fetch->extent);
    auto runs = co_await chunks_->plan(items, std::move(extents));
    if (!runs && fetches.size() > 1) {  // one bad extent does not harm the others
      for (const auto& fetch : fetches) co_await plan(items, Fetches{fetch});
      co_return;
    }
    if (!runs) {
      end(*fetches.front(), fail(std::move(runs.error())));
      co_return;
    }
    auto next = fetches.begin();
    for (ReadRun& run : *runs) {
      const auto last = next + static_cast<ptrdiff_t>(run.extents.size());
      Request request{.run = std::move(run), .fetches = Fetches(next, last)};
      next = last;
      (request.ahead() ? later_ : urgent_).push_back(std::move(request));
    }
    begin_requests();
  }

  void begin_requests() {
    while (!urgent_.empty() && requests_ < kRunsUnderWay) begin(urgent_);
    const Time stale = world_.clock.now() - kAheadStale;
    while (!later_.empty() && requests_ < kRunsAhead) {
      // Who asked for it has gone elsewhere long ago.
      if (const Request& oldest = later_.front(); *oldest.fetches.front()->ahead < stale) {
        for (const auto& fetch : oldest.fetches) end(*fetch, fail(Code::cancelled, "not wanted any more"));
        later_.pop_front();
      } else {
        begin(later_);
      }
    }
  }
  void begin(std::deque<Request>& from) {
    ++requests_;
    group_.spawn(serve(std::move(from.front())));
    from.pop_front();
  }

  env::Task<void> serve(Request request) {
    auto opened = co_await chunks_->read_chunks(request.run);
    --requests_;
    const bool bad = !opened && (opened.error().code == Code::damaged || opened.error().code == Code::corrupt);
    for (size_t i = 0; i < request.fetches.size(); ++i) {
      Fetch& fetch = *request.fetches[i];
      if (opened) {
        fetched(fetch, std::move((*opened)[i].plain));
      } else if (bad && request.fetches.size() > 1) {  // one bad chunk does not harm its neighbours
        urgent_.push_back({.run = {.pack = request.run.pack,
                                   .extents = {fetch.extent},
                                   .offset = fetch.extent.pack_offset,
                                   .length = fetch.extent.sealed_length},
                           .fetches = {request.fetches[i]}});
      } else {
        end(fetch, fail(opened.error()));
      }
    }
    begin_requests();
  }
  void fetched(Fetch& fetch, Buffer plain) {
    ++counters_.misses;
    counters_.fetched_bytes += plain.size();
    if (disk_) disk_->put(fetch.extent.chunk, plain);
    end(fetch, std::move(plain));
  }

  env::World world_;
  std::shared_ptr<ChunkReader> chunks_;
  MemoryTier memory_;
  std::unique_ptr<DiskCache> disk_;
  size_t most_ahead_;
  size_t ahead_under_way_ = 0;
  std::unordered_map<ChunkId, std::shared_ptr<Fetch>> under_way_;
  std::deque<Request> urgent_, later_;  // not yet begun
  size_t requests_ = 0;                 // under way
  Counters counters_;
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace

std::unique_ptr<ChunkCache> make_chunk_cache(env::World world, std::shared_ptr<ChunkReader> chunks,
                                             ChunkCacheOptions options) {
  return std::make_unique<TieredChunkCache>(world, std::move(chunks), options);
}

}  // namespace cairn::volume
