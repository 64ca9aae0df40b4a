#pragma once
// TrashImpl: Trash over a TrashIndex. Statements and reconciliation are in trash.cpp, what goes on behind is in
// trash_background.cpp.

#include "pool/limits.h"
#include "pool/trash.h"

namespace cairn::pool {

inline Age milliseconds(Duration duration) {
  return static_cast<Age>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

class TrashImpl final : public Trash {
 public:
  TrashImpl(env::World world, peer::Peers& peers, Holder& holder, std::unique_ptr<TrashIndex> index,
            TrashOptions options, Age age, bool complete)
      : world_(world),
        peers_(peers),
        holder_(holder),
        index_(std::move(index)),
        options_(options),
        opened_at_age_(age),
        opened_(world.clock.now()),
        complete_(complete),
        turn_(world.executor, 1),
        idle_(world.executor),
        tasks_(world.executor) {
    peers_.serve(wire::Method::tombstones, peer::Access::members,
                 [this](peer::Request request) { return guarded(&TrashImpl::take, std::move(request)); });
    peers_.serve(wire::Method::reconcile, peer::Access::members,
                 [this](peer::Request request) { return guarded(&TrashImpl::reconcile, std::move(request)); });
    holder_.watch(this);
    tasks_.spawn(work());
  }
  ~TrashImpl() override { holder_.watch(nullptr); }

  env::Task<bool> tombstoned(PackId pack) override {
    auto entry = co_await world_.workers.run([this, pack] { return index_->find(pack); });
    co_return entry && *entry && (*entry)->statement.fate == Fate::dead;
  }
  TrashFigures figures() const override { return with(counters_, index_->sum()); }
  TrashFigures figures(const StoreId& store) const override { return with({}, index_->sum(store)); }
  env::Task<uint64_t> give_up(StoreId store, uint64_t bytes) override;
  env::Task<bool> give_up(PackId pack) override;
  env::Task<size_t> untold_nodes() override {
    auto nodes = co_await world_.workers.run([this] { return index_->untold_nodes(UINT64_MAX); });
    co_return nodes ? nodes->size() : 0;
  }

  env::Task<void> close() override {
    closing_ = true;
    while (at_work_ > 0) co_await idle_.wait();
    tasks_.cancel();
    holder_.watch(nullptr);
    const Age now = age();
    auto saved = co_await world_.workers.run([this, now]() -> Status {
      CAIRN_TRY(index_->note_held(noted_));
      CAIRN_TRY(index_->set_age(now));
      return complete_ ? index_->set_complete_mark() : Status{};
    });
    if (!saved) world_.log.error("trash_index", "error=\"{}\"", to_string(saved.error()));
  }

  // --- HolderWatch ---
  env::Task<bool> refuses(PackId pack, VolumeId volume) override {
    auto entry = co_await world_.workers.run([this, pack] { return index_->find(pack); });
    co_return entry && *entry && (*entry)->statement.fate == Fate::dead && (*entry)->statement.volume == volume;
  }
  void storing(const content::PackHeader& header) override { noted_.emplace_back(header.volume, header.id); }
  // A sibling that keeps a shard of a dead pack has not heard of its end.
  void heard(const std::vector<Claim>& claims) override {
    std::map<NodeId, std::vector<PackId>> held;
    for (const Claim& claim : claims) {
      if (claim.state != ClaimState::gone) held[claim.node].push_back(claim.shard.pack);
    }
    if (!held.empty() && !closing_) tasks_.spawn(look_for_dead(std::move(held)));
  }

 private:
  struct AtWork {
    TrashImpl& owner;
    explicit AtWork(TrashImpl& trash) : owner(trash) { ++owner.at_work_; }
    AtWork(const AtWork&) = delete;
    AtWork& operator=(const AtWork&) = delete;
    ~AtWork() {
      if (--owner.at_work_ == 0) owner.idle_.notify_all();
    }
  };
  // What is held of a pack here.
  struct Held {
    uint32_t slots = 0;  // bitmap
    uint64_t bytes = 0;
    StoreId store;  // of the first
    std::optional<store::StoredShard> any;
  };

  using Handler = env::Task<Result<peer::Reply>> (TrashImpl::*)(peer::Request);
  env::Task<Result<peer::Reply>> guarded(Handler handler, peer::Request request) {
    if (closing_) co_return fail(Code::closed, "closing");
    const AtWork at_work(*this);
    auto reply = co_await (this->*handler)(std::move(request));
    co_return reply;
  }
  TrashFigures with(TrashFigures figures, const TrashIndex::Sum& sum) const {
    figures.packs = sum.packs;
    figures.shards = sum.shards;
    figures.bytes = sum.bytes;
    const Age now = age();
    const auto until = [now](Age due) { return std::chrono::milliseconds(due - std::min(due, now)); };
    figures.first_goes = until(sum.first_due);
    figures.all_gone = until(sum.last_due);
    return figures;
  }
  Age age() const { return opened_at_age_ + milliseconds(world_.clock.now() - opened_); }

  env::Task<Result<peer::Reply>> take(peer::Request request);
  env::Task<Result<peer::Reply>> reconcile(peer::Request request);
  env::Task<Result<FateAnswer>> judge(Tombstone statement, NodeId from);
  env::Task<Held> held_of(PackId pack);
  env::Task<Result<std::vector<Claim>>> claims_of(PackId pack);
  env::Task<void> look_for_dead(std::map<NodeId, std::vector<PackId>> held);
  env::Task<void> work();
  env::Task<Status> walk();
  env::Task<Status> purge();
  env::Task<Result<uint64_t>> purge_packs(std::vector<FateEntry> entries);
  env::Task<Result<Held>> drop_pack(PackId pack);
  env::Task<Status> pass_on();
  env::Task<Status> tell(NodeId node);

  env::World world_;
  peer::Peers& peers_;
  Holder& holder_;
  std::unique_ptr<TrashIndex> index_;
  TrashOptions options_;
  Age opened_at_age_;
  Time opened_;
  TrashFigures counters_;
  bool complete_;  // the index has all packs that are held
  std::vector<std::pair<VolumeId, PackId>> noted_;
  RateLimit log_limit_{10, std::chrono::minutes(1)};
  bool closing_ = false;
  size_t at_work_ = 0;
  env::Semaphore turn_;  // statements are judged one after the other
  env::Signal idle_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::pool
