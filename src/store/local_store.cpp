#include "store/local_store.h"

#include "base/crc32c.h"

namespace cairn::store {

namespace {

Status check_limits(uint64_t limit, double keep_free_share) {
  if (limit < kMinStoreLimit) return fail(Code::bad_input, "a store needs at least " + format_size(kMinStoreLimit));
  if (!(keep_free_share >= 0 && keep_free_share < 1)) {
    return fail(Code::bad_input, "the share to keep free is from 0 to 1");
  }
  return {};
}

struct Prepared {
  Marker marker;
  std::unique_ptr<env::DiskLock> lock;
};

// The folder, its lock and its marker. Nothing is written below a mount point whose disk is not there: without
// `create` the marker must stand there before anything else is touched.
Result<Prepared> prepare(const env::World& world, const StoreOptions& options, bool create) {
  env::Disk& disk = world.disk;
  auto made = disk.exists(Marker::path_in(options.path));
  if (!made) return fail(std::move(made.error()), "store");
  Prepared prepared;
  if (!*made) {
    if (!create) {
      return fail(Code::io, options.path + " has no cairn-store file: is the disk not mounted?");
    }
    auto segments = disk.list(options.path + "/segments");
    if (segments && !segments->empty()) {
      return fail(Code::io, options.path + " holds segments but no cairn-store file: was it removed?");
    }
    CAIRN_TRY(disk.make_dirs(options.path + "/segments"));
    CAIRN_TRY(disk.make_dirs(options.path + "/index"));
  }
  auto lock = disk.lock(options.path + "/lock");
  if (!lock) return fail(std::move(lock.error()), "the store is in use");
  prepared.lock = std::move(*lock);
  if (create) {
    auto still = disk.exists(Marker::path_in(options.path));
    if (!still) return fail(std::move(still.error()), "store");
    if (!*still) {
      const Marker fresh = Marker::make(world.random);
      CAIRN_TRY(env::write_file(disk, Marker::path_in(options.path), as_bytes(fresh.text())));  // the copy: below
    }
  }
  auto marker = Marker::load(disk, options.path);
  if (!marker) return fail(std::move(marker.error()));
  prepared.marker = *marker;
  // On a full disk the one that is good must do.
  if (auto kept = marker->keep(disk, options.path); !kept) {
    world.log.warning("store_marker_not_kept", "path={} error=\"{}\"", options.path, to_string(kept.error()));
  }
  return prepared;
}

}  // namespace

env::Task<Result<std::unique_ptr<ShardStore>>> ShardStore::open(env::World world, StoreOptions options, bool create) {
  CAIRN_CO_TRY(check_limits(options.limit, options.keep_free_share));
  auto prepared = co_await world.workers.run([&] { return prepare(world, options, create); });
  if (!prepared) co_return fail(std::move(prepared.error()));
  auto store =
      std::make_unique<LocalShardStore>(world, std::move(options), prepared->marker, std::move(prepared->lock));
  auto started = co_await store->start();
  if (!started) co_return fail(std::move(started.error()));
  co_return std::unique_ptr<ShardStore>(std::move(store));
}

LocalShardStore::LocalShardStore(env::World world, StoreOptions options, Marker marker,
                                 std::unique_ptr<env::DiskLock> lock)
    : world_(world),
      options_(std::move(options)),
      layout_limit_(options_.limit),
      marker_(marker),
      lock_(std::move(lock)),
      log_(world, marker, {options_.path, options_.limit, options_.keep_free, options_.keep_free_share}),
      queue_room_(world.executor, kMaxQueuedBytes),
      looked_at_space_(world.clock.now()),
      work_(world.executor),
      flight_ended_(world.executor),
      space_changed_(world.executor),
      readers_gone_(world.executor),
      verify_signal_(world.executor),
      settled_(world.executor),
      reclaim_signal_(world.executor),
      group_(world.executor) {}

LocalShardStore::~LocalShardStore() {
  group_.cancel();
  queue_.clear();
}

env::Task<Status> LocalShardStore::load() {
  ready_ = false;
  while (readers_ > 0) co_await readers_gone_.wait();
  auto loaded = co_await world_.workers.run([this] { return log_.load(); });
  if (!loaded) co_return loaded;
  bool more = true;
  while (more) {
    auto step = co_await world_.workers.run([this] { return log_.scan(); });
    if (!step) co_return fail(std::move(step.error()));
    more = *step;
  }
  totals_ = log_.totals();
  ready_ = true;
  co_return Status();
}

env::Task<Status> LocalShardStore::start() {
  auto loaded = co_await load();
  if (!loaded) co_return loaded;
  background_ = 2;
  group_.spawn(commit_loop());
  group_.spawn(verify_loop());
  group_.spawn(reclaim_loop());
  co_return Status();
}

env::Task<void> LocalShardStore::close() {
  closing_ = true;
  work_.notify_all();
  verify_signal_.notify_all();
  reclaim_signal_.notify_all();
  settled_.notify_all();
  co_await group_.join();
  closed_ = true;
  for (const auto& work : std::exchange(queue_, {})) work->done.set(fail(Code::closed, "the store is closed"));
  space_changed_.notify_all();
  flight_ended_.notify_all();
  ready_ = false;
  while (readers_ > 0) co_await readers_gone_.wait();
  auto closed = co_await world_.workers.run([this]() -> Status {
    auto status = log_.checkpoint();
    log_.unload();
    return status;
  });
  if (!closed) world_.log.warning("store_close", "path={} error=\"{}\"", options_.path, to_string(closed.error()));
  lock_.reset();
}

uint64_t LocalShardStore::index_bytes(uint64_t shards) const {
  return std::max(index_allowance(layout_limit_, shards), totals_.index_bytes) + reserve_bytes(layout_limit_);
}

// Where holes cannot be punched, one segment's worth stays free so that compaction has somewhere to copy to.
uint64_t LocalShardStore::put_limit() const {
  return can_punch_ ? options_.limit : options_.limit - std::min(options_.limit, segment_size(layout_limit_));
}

bool LocalShardStore::fits(uint32_t blocks, uint64_t limit) const {
  const uint64_t shards = totals_.records + reserved_shards_ + 1;
  const uint64_t all = totals_.held_blocks + reserved_blocks_ + blocks;
  return kFixedBytes + index_bytes(shards) + all * kBlockSize <= limit;
}

uint64_t LocalShardStore::room_blocks(size_t puts) const {
  const uint64_t other = kFixedBytes + index_bytes(totals_.records + puts);
  return options_.limit <= other ? 0 : (options_.limit - other) / kBlockSize;
}

StoreFigures LocalShardStore::figures() const {
  StoreFigures figures;
  figures.limit = options_.limit;
  figures.used = kFixedBytes + index_bytes(totals_.records) + (totals_.held_blocks + totals_.tail_blocks) * kBlockSize;
  figures.overhead = kFixedBytes + index_bytes(totals_.records);
  figures.coming = reserved_blocks_ * kBlockSize + (reserved_shards_ > 0 ? preallocation_step(layout_limit_) : 0);
  if (can_punch_)
    figures.going = (totals_.held_blocks - std::min(totals_.held_blocks, totals_.live_blocks)) * kBlockSize;
  figures.shards = totals_.records;
  figures.unverified = totals_.unverified;
  figures.corrupt = totals_.corrupt;

  const uint64_t spoken_for = kFixedBytes + index_bytes(totals_.records + reserved_shards_ + 1) +
                              (totals_.held_blocks + reserved_blocks_) * kBlockSize;
  const uint64_t by_limit = put_limit() - std::min(put_limit(), spoken_for);
  const uint64_t keep = log_.keep_free(totals_.space);
  const uint64_t by_disk =
      totals_.space.available < keep ? 0 : totals_.space.available - keep + totals_.tail_blocks * kBlockSize;
  // A shard needs its header and fills its last block.
  const uint64_t overhead = kMaxRecordHeader;
  figures.free = ready_ && taking_ ? std::min(by_limit, by_disk) : 0;
  figures.free -= std::min(figures.free, overhead);

  if (world_.clock.now() - looked_at_space_ >= kSpaceAge && !closing_) {
    looked_at_space_ = world_.clock.now();
    look_at_space_ = true;
    work_.notify_all();
  }
  return figures;
}

Status LocalShardStore::set_limits(uint64_t limit, uint64_t keep_free, double keep_free_share) {
  CAIRN_TRY(check_limits(limit, keep_free_share));
  options_.limit = limit;
  options_.keep_free = keep_free;
  options_.keep_free_share = keep_free_share;
  log_.set_keep_free(keep_free, keep_free_share);
  look_at_space_ = true;
  work_.notify_all();
  space_changed_.notify_all();
  return {};
}

void LocalShardStore::set_taking(bool taking) {
  taking_ = taking;
  space_changed_.notify_all();
}

env::Task<Status> ShardStore::erase(env::World world, std::string path) {
  auto erased = co_await world.workers.run([&]() -> Status {
    env::Disk& disk = world.disk;
    const auto gone = [](Status removed) {
      return removed || removed.error().code == Code::not_found ? Status{} : removed;
    };
    // The marker goes last: until then it can be told what this was.
    for (const char* folder : {"/segments", "/index"}) {
      auto names = disk.list(path + folder);
      if (!names && names.error().code == Code::not_found) continue;
      if (!names) return fail(std::move(names.error()));
      for (const std::string& name : *names) CAIRN_TRY(gone(disk.remove(path + folder + "/" + name)));
      CAIRN_TRY(gone(disk.remove(path + folder)));
    }
    for (const char* file : {"/reserve", "/index-damaged", "/lock", "/cairn-store.copy", "/cairn-store"}) {
      CAIRN_TRY(gone(disk.remove(path + file)));
    }
    return gone(disk.sync_dir(path));
  });
  co_return erased;
}

env::OneShot<Status> LocalShardStore::enqueue(Change change, std::unique_ptr<Ticket> ticket,
                                              env::Semaphore::Permit room, NodeId writer) {
  env::OneShot<Status> done(world_.executor);
  if (closed_) {
    done.set(fail(Code::closed, "the store is closed"));
    return done;
  }
  queue_.push_back(std::make_unique<Work>(Work{std::move(change), done, std::move(ticket), std::move(room), writer}));
  work_.notify_all();
  return done;
}

env::Task<Status> LocalShardStore::submit(Change change) {
  const env::OneShot<Status> done = enqueue(std::move(change));
  co_return co_await done;
}

env::Task<Status> LocalShardStore::put(content::PackHeader header, uint8_t slot, uint32_t expected_crc, Buffer bytes,
                                       std::vector<NodeId> siblings) {
  const Counted foreground(foreground_);
  if (slot >= header.geometry.k + header.geometry.m || bytes.size() != header.geometry.shard_length) {
    co_return fail(Code::corrupt, "slot or length do not fit the pack's header");
  }
  if (bytes.size() > kMaxShardSize || siblings.size() > kMaxSlots) co_return fail(Code::bad_input, "too large");
  const ShardId shard{header.id, slot};
  PutChange change;
  change.header.shard = shard;
  change.header.payload_length = static_cast<uint32_t>(bytes.size());
  change.header.payload_crc = expected_crc;
  change.header.pack_header = header.serialize();
  change.header.siblings = std::move(siblings);
  if (change.header.pack_header.size() > kMaxPackHeader) co_return fail(Code::bad_input, "pack header too large");

  while (in_flight_.contains(shard)) co_await flight_ended_.wait();
  auto ticket = std::make_unique<Ticket>(*this, shard);
  auto queue_room = co_await queue_room_.acquire(bytes.size());
  auto held = co_await with_log([&]() -> Result<bool> {
    const PayloadSums sums = payload_sums(bytes.view());
    if (sums.whole != expected_crc) return fail(Code::corrupt, "the shard fails its checksum");
    change.header.leaf_crcs = sums.leaves;
    CAIRN_TRY(log_.mounted());
    auto entry = log_.find(shard);
    if (!entry && entry.error().code != Code::corrupt) return fail(std::move(entry.error()));
    if (entry && entry->has_value()) return true;
    // Now, while the bytes are at hand: later they would have to come from the disk. A root that does not fit is the
    // matter of the check behind, which finds whom to blame.
    const auto tree = content::MerkleTree::over(bytes.view());
    change.verified = slot < header.roots.size() && tree.root() == header.roots[slot];
    if (change.verified && trailer_blocks(change.header.payload_length) != 0) {
      for (const Hash& leaf : tree.leaves()) append(change.trailer, leaf.view());
    }
    return false;
  });
  if (!held) co_return fail(std::move(held.error()));
  if (*held) co_return Status();

  const uint32_t blocks = change.header.blocks();
  while (!taking_ || !fits(blocks, put_limit())) {
    if (!taking_ || closed_ || !space_is_coming()) co_return fail(Code::no_space, "the store is full");
    co_await space_changed_.wait();
  }
  ticket->reserve(blocks);
  change.payload = std::move(bytes);
  const env::OneShot<Status> done =
      enqueue({std::move(change), {}}, std::move(ticket), std::move(queue_room), header.writer);
  co_return co_await done;
}

env::Task<Status> LocalShardStore::remove(ShardId shard) {
  auto status = co_await submit({DropChange{shard}, {}});
  co_return status;
}

env::Task<Status> LocalShardStore::trim() {
  if (totals_.tail_blocks == 0) co_return Status();
  auto status = co_await submit({TrimChange{}, {}});
  co_return status;
}

std::vector<std::unique_ptr<LocalShardStore::Work>> LocalShardStore::next_batch() {
  std::vector<std::unique_ptr<Work>> batch;
  uint64_t bytes = 0;
  while (!queue_.empty() && batch.size() < kMaxCommitOps && bytes < kMaxCommitBytes) {
    if (const auto* put = std::get_if<PutChange>(&queue_.front()->change.what)) bytes += put->payload.size();
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return batch;
}

// Hands out what a commit has brought.
void LocalShardStore::publish(std::vector<std::unique_ptr<Work>> batch) {
  totals_ = log_.totals();
  looked_at_space_ = world_.clock.now();
  bool stored = false;
  bool dropped = false;
  for (const auto& work : batch) {
    if (!work->change.result) continue;
    if (const auto* put = std::get_if<PutChange>(&work->change.what)) {
      stored = true;
      if (put->stored && put->verified && verified_) {
        verified_(Verified{put->header.shard, true, work->writer, put->header.siblings});
      }
    }
    const auto* drop = std::get_if<DropChange>(&work->change.what);
    if (drop == nullptr) continue;
    dropped = true;
    if (!drop->rotten) continue;
    world_.log.warning("store_rot", "path={} pack={} slot={}", options_.path, drop->shard.pack.short_hex(),
                       drop->shard.slot);
    if (rot_) rot_(drop->shard);
  }
  if (stored && totals_.unverified > 0) {
    verify_idle_ = false;
    verify_wanted_ = true;
    verify_signal_.notify_all();
  }
  if (dropped || (stored && !totals_.empty_segments.empty())) {
    reclaim_wanted_ = true;
    reclaim_signal_.notify_all();
  }
  for (const auto& work : batch) work->done.set(work->change.result);
  batch.clear();  // reservations end here
  space_changed_.notify_all();
}

// After a failure that leaves memory and disk apart. Tries once; the caller tries again.
env::Task<void> LocalShardStore::reopen() {
  auto loaded = co_await load();
  if (loaded) {
    world_.log.info("store_reopened", "path={}", options_.path);
    verify_wanted_ = reclaim_wanted_ = true;
    verify_signal_.notify_all();
    reclaim_signal_.notify_all();
    co_return;
  }
  world_.log.warning("store_reopen", "path={} error=\"{}\"", options_.path, to_string(loaded.error()));
  while (!queue_.empty()) {
    auto batch = next_batch();
    for (const auto& work : batch) work->done.set(fail(Code::io, loaded.error().context));
  }
  if (!closing_) co_await env::sleep_for(world_.clock, kReopenPause);
}

env::Task<void> LocalShardStore::commit_loop() {
  while (true) {
    const bool ending = closing_ && background_ == 0;
    if (log_.broken() && !(ending && queue_.empty())) {
      co_await reopen();
      continue;
    }
    if (queue_.empty() && !look_at_space_) {
      if (ending) break;
      co_await work_.wait();
      continue;
    }
    look_at_space_ = false;
    auto batch = next_batch();
    std::vector<Change*> changes;
    size_t puts = 0;
    for (auto& work : batch) {
      changes.push_back(&work->change);
      puts += std::holds_alternative<PutChange>(work->change.what) ? 1 : 0;
    }
    const uint64_t room = room_blocks(puts);
    auto committed = co_await world_.workers.run([&]() -> Status {
      log_.commit(changes, room);
      return {};
    });
    (void)committed;  // each change has its own result
    publish(std::move(batch));
  }
}

}  // namespace cairn::store
