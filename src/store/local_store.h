#pragma once
// LocalShardStore: ShardStore over a ShardLog. Everything here lives on the strand; the log is called from Workers.
//
// One task commits (group commit: what arrives while a commit runs makes up the next), one checks the Merkle roots
// that were not found to fit at the put (a crash may come between), one gives space back. Only the committing task
// changes the log.

#include <deque>

#include "store/shard_log.h"
#include "store/shard_store.h"

namespace cairn::store {

class LocalShardStore final : public ShardStore {
 public:
  LocalShardStore(env::World world, StoreOptions options, Marker marker, std::unique_ptr<env::DiskLock> lock);
  ~LocalShardStore() override;
  // Loads the log and starts the background tasks.
  env::Task<Status> start();

  StoreId id() const override { return marker_.id; }
  const StoreOptions& options() const override { return options_; }
  StoreFigures figures() const override;
  Status set_limits(uint64_t limit, uint64_t keep_free, double keep_free_share) override;
  void set_taking(bool taking) override;
  env::Task<Status> put(content::PackHeader header, uint8_t slot, uint32_t crc32c, Buffer bytes,
                        std::vector<NodeId> siblings) override;
  env::Task<Result<Buffer>> read(ShardId shard, uint32_t offset, uint32_t length) override;
  env::Task<Result<ProvenRange>> read_proven(ShardId shard, uint32_t offset, uint32_t length) override;
  env::Task<Result<StoredShard>> describe(ShardId shard) override;
  env::Task<Result<std::vector<bool>>> holds(std::vector<ShardId> shards) override;
  env::Task<std::vector<std::optional<StoredShard>>> describe_all(std::vector<ShardId> shards) override;
  env::Task<std::vector<PackHere>> describe_packs(std::vector<PackId> packs) override;
  env::Task<std::vector<uint8_t>> slots_of(PackId pack) override;
  env::Task<Status> remove(ShardId shard) override;
  env::Task<Status> trim() override;
  env::Task<std::vector<ShardId>> list(std::optional<ShardId> after, size_t limit) override;
  void on_verified(std::move_only_function<void(const Verified&)> handler) override { verified_ = std::move(handler); }
  void on_rot(std::move_only_function<void(ShardId)> handler) override { rot_ = std::move(handler); }
  env::Task<Status> scrub(uint64_t bytes_per_second) override;
  env::Task<Status> settle() override;
  env::Task<void> close() override;

 private:
  // A put on its way: no second one of the same shard, and room that is spoken for.
  class Ticket {
   public:
    Ticket(LocalShardStore& store, const ShardId& shard) : store_(store), shard_(shard) {
      store_.in_flight_.insert(shard_);
    }
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket() {
      store_.in_flight_.erase(shard_);
      store_.reserved_blocks_ -= blocks_;
      store_.reserved_shards_ -= blocks_ == 0 ? 0 : 1;
      store_.flight_ended_.notify_all();
      store_.space_changed_.notify_all();
    }
    void reserve(uint32_t blocks) {
      blocks_ = blocks;
      store_.reserved_blocks_ += blocks;
      ++store_.reserved_shards_;
    }

   private:
    LocalShardStore& store_;
    const ShardId shard_;
    uint32_t blocks_ = 0;
  };
  struct Work {
    Change change;
    env::OneShot<Status> done;
    std::unique_ptr<Ticket> ticket;     // puts
    env::Semaphore::Permit queue_room;  // puts
    NodeId writer;                      // puts
  };
  // Where rot was found; `place` is unknown when the index itself is damaged.
  struct Rot {
    bool found = false;
    std::optional<Place> place;
  };
  struct Checked;  // what the check of a Merkle root found
  // Counts up while it lives.
  class Counted {
   public:
    Counted(uint64_t& count, env::Signal* at_zero = nullptr) : count_(count), at_zero_(at_zero) { ++count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() {
      if (--count_ == 0 && at_zero_ != nullptr) at_zero_->notify_all();
    }

   private:
    uint64_t& count_;
    env::Signal* at_zero_;
  };

  // Runs f, which returns a Result or Status, on a worker beside commits; Code::io while the log is being reopened.
  template <class F>
  env::Task<std::invoke_result_t<F&>> with_log(F f) {
    if (!ready_) co_return fail(Code::io, "the store is being opened anew");
    const Counted reader(readers_, &readers_gone_);
    co_return co_await world_.workers.run(std::move(f));
  }
  // f(entry) with the shard's place; asks again when the shard was moved meanwhile. On a worker.
  template <class F>
  auto located(const ShardId& shard, Rot& rot, F f) -> std::invoke_result_t<F&, const IndexEntry&>;
  Status there() const;

  env::OneShot<Status> enqueue(Change change, std::unique_ptr<Ticket> ticket = {}, env::Semaphore::Permit room = {},
                               NodeId writer = {});
  env::Task<Status> submit(Change change);
  env::Task<void> drop_rotten(ShardId shard, Rot rot);

  bool fits(uint32_t blocks, uint64_t limit) const;
  uint64_t index_bytes(uint64_t shards) const;
  uint64_t put_limit() const;
  uint64_t room_blocks(size_t puts) const;
  uint64_t scrub_least(uint64_t bytes_per_second) const;
  Result<StoredShard> read_stored(const ShardId& shard, const IndexEntry& entry);
  bool space_is_coming() const { return reclaiming_ || reclaim_wanted_; }

  env::Task<Status> load();
  env::Task<void> reopen();
  env::Task<void> commit_loop();
  std::vector<std::unique_ptr<Work>> next_batch();
  void publish(std::vector<std::unique_ptr<Work>> batch);
  env::Task<void> verify_loop();
  env::Task<Status> verify(Place place, ShardId shard);
  Result<Checked> check_root(const ShardId& shard, const Place& place);
  env::Task<void> stand_back();
  env::Task<void> reclaim_loop();
  env::Task<Result<bool>> reclaim_some();
  env::Task<Result<bool>> compact(uint32_t segment);
  Result<std::optional<Change>> next_to_move(SegmentScanner& scanner);

  env::World world_;
  StoreOptions options_;
  const uint64_t layout_limit_;  // as of the opening: sizes the index
  bool taking_ = true;
  const Marker marker_;
  std::unique_ptr<env::DiskLock> lock_;
  ShardLog log_;
  LogTotals totals_;  // as of the last commit

  std::deque<std::unique_ptr<Work>> queue_;
  env::Semaphore queue_room_;
  std::set<ShardId> in_flight_;
  uint64_t reserved_blocks_ = 0;
  uint64_t reserved_shards_ = 0;

  bool ready_ = false;
  bool closing_ = false;
  bool closed_ = false;      // nothing commits any more
  uint64_t readers_ = 0;     // jobs that use the log beside commits
  uint64_t foreground_ = 0;  // puts and reads of callers
  uint64_t settling_ = 0;
  uint32_t background_ = 0;  // tasks that may still submit
  mutable bool look_at_space_ = false;
  mutable Time looked_at_space_;

  bool verify_wanted_ = true;
  bool verify_idle_ = false;
  bool verify_stalled_ = false;
  bool reclaim_wanted_ = true;
  bool reclaiming_ = false;
  bool can_punch_ = true;

  std::move_only_function<void(const Verified&)> verified_;
  std::move_only_function<void(ShardId)> rot_;

  mutable env::Signal work_;
  env::Signal flight_ended_;
  env::Signal space_changed_;
  env::Signal readers_gone_;
  env::Signal verify_signal_;
  env::Signal settled_;
  env::Signal reclaim_signal_;
  env::TaskGroup group_;  // last: ends first
};

// Whether its disk is. Cheaper than ShardLog::mounted(), which also knows another disk at the same place.
inline Status LocalShardStore::there() const {
  auto found = world_.disk.exists(Marker::path_in(options_.path));
  if (!found) return fail(std::move(found.error()));
  if (!*found) return fail(Code::io, options_.path + " has no cairn-store file: is the disk not mounted?");
  return {};
}

template <class F>
auto LocalShardStore::located(const ShardId& shard, Rot& rot, F f) -> std::invoke_result_t<F&, const IndexEntry&> {
  CAIRN_TRY(there());
  auto entry = log_.find(shard);
  while (true) {
    if (!entry) {
      rot.found = entry.error().code == Code::corrupt;
      return fail(std::move(entry.error()));
    }
    if (!*entry) return fail(Code::not_found, "no such shard here");
    auto result = f(**entry);
    if (result || (result.error().code != Code::corrupt && result.error().code != Code::not_found)) return result;
    // Removed or moved while we read, the disk gone, or rot.
    auto again = log_.find(shard);
    if (again && *again && (*again)->place == (*entry)->place) {
      if (auto status = log_.mounted(); !status) return fail(std::move(status.error()));
      rot = {true, (*entry)->place};
      return fail(Code::corrupt, std::move(result.error().context));
    }
    entry = std::move(again);
  }
}

}  // namespace cairn::store
