#include "pool/trash.h"

#include <algorithm>
#include <bit>
#include <set>

#include "crypto/hash.h"
#include "pool/limits.h"
#include "proto/garbage.pb.h"
#include "wire/message.h"

namespace cairn::pool {

namespace {

using peer::Reply;
using peer::Request;

Age milliseconds(Duration duration) {
  return static_cast<Age>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

class TrashImpl final : public Trash {
 public:
  TrashImpl(env::World world, peer::Peers& peers, Holder& holder, std::unique_ptr<TrashIndex> index,
            TrashOptions options, Age age, TrashIndex::Sum sum, bool complete)
      : world_(world),
        peers_(peers),
        holder_(holder),
        index_(std::move(index)),
        options_(options),
        opened_at_age_(age),
        opened_(world.clock.now()),
        sum_(sum),
        complete_(complete),
        turn_(world.executor, 1),
        idle_(world.executor),
        tasks_(world.executor) {
    peers_.serve(wire::Method::tombstones, peer::Access::members,
                 [this](Request request) { return guarded(&TrashImpl::take, std::move(request)); });
    peers_.serve(wire::Method::reconcile, peer::Access::members,
                 [this](Request request) { return guarded(&TrashImpl::reconcile, std::move(request)); });
    holder_.watch(this);
    tasks_.spawn(work());
  }
  ~TrashImpl() override { holder_.watch(nullptr); }

  env::Task<bool> tombstoned(PackId pack) override {
    auto entry = co_await world_.workers.run([this, pack] { return index_->find(pack); });
    co_return entry && *entry && (*entry)->statement.fate == Fate::dead;
  }
  TrashFigures figures() const override {
    TrashFigures figures = counters_;
    figures.packs = sum_.packs;
    figures.shards = sum_.shards;
    figures.bytes = sum_.bytes;
    return figures;
  }
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
  void stored(const content::PackHeader& header) override { noted_.emplace_back(header.volume, header.id); }
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
    std::optional<store::StoredShard> any;
  };

  using Handler = env::Task<Result<Reply>> (TrashImpl::*)(Request);
  env::Task<Result<Reply>> guarded(Handler handler, Request request) {
    if (closing_) co_return fail(Code::closed, "closing");
    const AtWork at_work(*this);
    auto reply = co_await (this->*handler)(std::move(request));
    co_return reply;
  }
  Age age() const { return opened_at_age_ + milliseconds(world_.clock.now() - opened_); }

  env::Task<Result<Reply>> take(Request request);
  env::Task<Result<Reply>> reconcile(Request request);
  env::Task<Result<FateAnswer>> judge(Tombstone statement, NodeId from);
  env::Task<Held> held_of(PackId pack);
  env::Task<Result<std::vector<Claim>>> claims_of(PackId pack);
  env::Task<void> look_for_dead(std::map<NodeId, std::vector<PackId>> held);
  env::Task<void> work();
  env::Task<Status> walk();
  env::Task<Status> purge();
  env::Task<Result<bool>> purge_pack(FateEntry entry);
  env::Task<Status> pass_on();
  env::Task<Status> tell(NodeId node);
  env::Task<Status> count();

  env::World world_;
  peer::Peers& peers_;
  Holder& holder_;
  std::unique_ptr<TrashIndex> index_;
  TrashOptions options_;
  Age opened_at_age_;
  Time opened_;
  TrashIndex::Sum sum_;
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

env::Task<TrashImpl::Held> TrashImpl::held_of(PackId pack) {
  Held held;
  const auto& stores = holder_.stores();
  for (size_t i = 0; i < stores.size(); ++i) {
    const auto slots = co_await stores[i]->slots_of(pack);
    for (const uint8_t slot : slots) {
      held.slots |= 1U << slot;
      if (held.any) continue;
      auto described = co_await stores[i]->describe({pack, slot});
      if (described) held.any = std::move(*described);
    }
  }
  if (held.any)
    held.bytes = uint64_t{held.any->header.geometry.shard_length} * static_cast<uint64_t>(std::popcount(held.slots));
  co_return held;
}

env::Task<Result<std::vector<Claim>>> TrashImpl::claims_of(PackId pack) {
  auto claims = co_await world_.workers.run([this, pack] { return holder_.index().of_pack(pack); });
  co_return claims;
}

// --- statements ---

env::Task<Result<Reply>> TrashImpl::take(Request request) {
  auto message = wire::decode<wire::TombstonesRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  if (message->statements_size() > static_cast<int>(kTombstonesPerRequest) ||
      message->foundings_size() > message->statements_size() ||
      message->certificates_size() > message->statements_size())
    co_return fail(Code::too_large, "too many tombstones");
  struct Checked {
    std::vector<Result<Tombstone>> statements;
    std::vector<std::pair<VolumeId, Bytes>> foundings;
    std::map<NodeId, peer::Certificate> signers;
  };
  const PoolId pool = peers_.identity().pool;
  auto checked = co_await world_.workers.run([&message, pool] {
    const FateCheck check(*message, pool);
    Checked result;
    for (const wire::Signed& statement : message->statements()) result.statements.push_back(check.check(statement));
    for (const auto& [volume, owner] : check.owners()) result.foundings.emplace_back(volume, owner.founding);
    result.signers = check.signers();
    return result;
  });
  std::vector<std::pair<NodeId, Bytes>> certificates;
  for (const auto& [node, certificate] : checked.signers) {
    if (peers_.membership().admits(certificate)) certificates.emplace_back(node, certificate.encoded);
  }
  // Nothing of who is not heard is kept.
  const bool any_good = std::ranges::any_of(checked.statements, [](const auto& one) { return one.has_value(); });
  if (any_good) {
    auto kept = co_await world_.workers.run(
        [this, &checked, &certificates] { return index_->remember(checked.foundings, certificates); });
    if (!kept) co_return fail(std::move(kept.error()));
  }
  wire::TombstonesResponse response;
  const uint64_t refused_before = counters_.refused;
  const auto turn = co_await turn_.acquire();
  for (auto& statement : checked.statements) {
    FateAnswer answer = FateAnswer::refused;
    const auto signer = statement ? checked.signers.find(statement->signer) : checked.signers.end();
    if (signer != checked.signers.end() && peers_.membership().admits(signer->second)) {
      auto judged = co_await judge(std::move(*statement), request.from);
      if (!judged) co_return fail(std::move(judged.error()));
      answer = *judged;
    }
    if (answer == FateAnswer::refused) ++counters_.refused;
    response.add_answers(static_cast<wire::TombstonesResponse::Answer>(answer));
  }
  if (counters_.refused > refused_before && log_limit_.allow(world_.clock.now()))
    world_.log.warning("tombstones_refused", "from={} count={}", request.from.short_hex(),
                       counters_.refused - refused_before);
  CAIRN_CO_TRY(co_await count());
  co_return Reply{wire::encode(response), {}};
}

env::Task<Result<FateAnswer>> TrashImpl::judge(Tombstone statement, NodeId from) {
  const PackId pack = statement.pack;
  auto held = co_await held_of(pack);
  auto known = co_await world_.workers.run([this, pack] { return index_->find(pack); });
  if (!known) co_return fail(std::move(known.error()));
  auto claims = co_await claims_of(pack);
  if (!claims) co_return fail(std::move(claims.error()));
  const NodeId self = peers_.identity().node;
  if (held.slots == 0) {
    if (*known && (*known)->purged) co_return FateAnswer::gone;
    // It should be here: its store is away.
    const bool claimed =
        std::ranges::any_of(*claims, [&](const Claim& c) { return c.node == self && c.state != ClaimState::gone; });
    co_return claimed ? FateAnswer::unknown : FateAnswer::not_here;
  }
  if (!held.any) co_return FateAnswer::unknown;
  if (held.any->header.volume != statement.volume) co_return FateAnswer::refused;
  if (*known && !statement.overrules((*known)->statement)) {
    // Who passes on what is known here needs not be told it.
    if (!(*known)->statement.overrules(statement)) {
      auto told = co_await world_.workers.run([this, &from, &pack] { return index_->told(from, {pack}); });
      if (!told) co_return fail(std::move(told.error()));
    }
    co_return (*known)->statement.fate == Fate::dead ? FateAnswer::in_trash : FateAnswer::live;
  }
  std::set<NodeId> siblings(held.any->siblings.begin(), held.any->siblings.end());
  for (const Claim& claim : *claims) {
    if (claim.state != ClaimState::gone) siblings.insert(claim.node);
  }
  for (const NodeId& node : {self, from, NodeId{}}) siblings.erase(node);
  const bool dead = statement.fate == Fate::dead;
  const Age now = age();
  TrashIndex::Change change{.entry = {.statement = std::move(statement),
                                      .slots = held.slots,
                                      .bytes = held.bytes,
                                      .due = now + milliseconds(options_.keep),
                                      .purged = false,
                                      .expires = now + milliseconds(options_.remember)},
                            .tell = {siblings.begin(), siblings.end()}};
  // The holder of the first slot passes it on first; the others then have less to do.
  change.tell_from = now + milliseconds(kPassOnStep) * static_cast<Age>(1 + std::countr_zero(held.slots));
  auto put = co_await world_.workers.run([this, &change, &from, &pack]() -> Status {
    CAIRN_TRY(index_->put({change}));
    return index_->told(from, {pack});
  });
  if (!put) co_return fail(std::move(put.error()));
  if (!dead && *known && (*known)->in_trash()) ++counters_.revived;
  co_return dead ? FateAnswer::in_trash : FateAnswer::live;
}

env::Task<void> TrashImpl::look_for_dead(std::map<NodeId, std::vector<PackId>> held) {
  const Age now = age();
  auto done = co_await world_.workers.run([this, &held, now]() -> Status {
    for (const auto& [node, packs] : held) {
      std::vector<PackId> dead;
      for (const PackId& pack : packs) {
        auto entry = index_->find(pack);
        if (!entry) return fail(std::move(entry.error()));
        if (*entry && (*entry)->statement.fate == Fate::dead) dead.push_back(pack);
      }
      CAIRN_TRY(index_->tell(node, dead, now));
    }
    return {};
  });
  if (!done) world_.log.error("trash_index", "error=\"{}\"", to_string(done.error()));
}

env::Task<Status> TrashImpl::count() {
  auto sum = co_await world_.workers.run([this] { return index_->sum(); });
  if (!sum) co_return fail(std::move(sum.error()));
  sum_ = *sum;
  co_return Status{};
}

// --- what goes on behind ---

env::Task<void> TrashImpl::work() {
  const Duration period = std::clamp<Duration>(options_.keep / 8, std::chrono::milliseconds(250), kTrashPeriod);
  while (true) {
    co_await env::sleep_for(world_.clock, period);
    const auto noted = std::exchange(noted_, {});
    const Age now = age();
    auto saved = co_await world_.workers.run([this, &noted, now]() -> Status {
      CAIRN_TRY(index_->note_held(noted));
      CAIRN_TRY(index_->set_age(now));
      auto forgotten = index_->forget(now, kTombstonesPerRequest);
      if (!forgotten) return fail(std::move(forgotten.error()));
      return {};
    });
    if (!saved) world_.log.error("trash_index", "error=\"{}\"", to_string(saved.error()));
    if (!complete_) {
      auto walked = co_await walk();
      complete_ = walked.has_value();
    }
    auto purged = co_await purge();
    if (!purged) world_.log.error("trash_not_emptied", "error=\"{}\"", to_string(purged.error()));
    auto passed = co_await pass_on();
    if (!passed) world_.log.error("trash_index", "error=\"{}\"", to_string(passed.error()));
  }
}

// After a crash, and the first time: which packs of which volume are held.
env::Task<Status> TrashImpl::walk() {
  for (size_t i = 0; i < holder_.stores().size(); ++i) {
    store::ShardStore& store = *holder_.stores()[i];
    std::optional<ShardId> after;
    while (true) {
      const auto page = co_await store.list(after, kWalkPage);
      if (page.empty()) break;
      after = page.back();
      std::vector<std::pair<VolumeId, PackId>> found;
      for (const ShardId& shard : page) {
        auto described = co_await store.describe(shard);
        if (described) found.emplace_back(described->header.volume, shard.pack);
      }
      auto noted = co_await world_.workers.run([this, &found] { return index_->note_held(found); });
      if (!noted) co_return noted;
      if (page.size() < kWalkPage) break;
      co_await env::sleep_for(world_.clock, kWalkRest);
    }
  }
  co_return Status{};
}

env::Task<Status> TrashImpl::purge() {
  while (true) {
    auto due = co_await world_.workers.run([this, now = age()] { return index_->due(now, kPurgePage); });
    if (!due) co_return fail(std::move(due.error()));
    if (due->empty()) co_return Status{};
    const bool last = due->size() < kPurgePage;
    for (FateEntry& entry : *due) {
      // Not while a statement on it is being judged: its owner may want it back just now.
      const auto turn = co_await turn_.acquire();
      auto still = co_await world_.workers.run([this, &entry] { return index_->find(entry.statement.pack); });
      if (!still) co_return fail(std::move(still.error()));
      if (!*still || !(*still)->in_trash() || (*still)->due > age()) continue;
      auto done = co_await purge_pack(std::move(**still));
      if (!done) co_return fail(std::move(done.error()));
    }
    CAIRN_CO_TRY(co_await count());
    if (last) co_return Status{};
    co_await env::sleep_for(world_.clock, kWalkRest);
  }
}

// True when nothing of it is left.
env::Task<Result<bool>> TrashImpl::purge_pack(FateEntry entry) {
  const PackId pack = entry.statement.pack;
  const auto held = co_await held_of(pack);
  for (uint8_t slot = 0; slot < kMaxSlots; ++slot) {
    if ((held.slots & (1U << slot)) == 0) continue;
    auto dropped = co_await holder_.drop({pack, slot});
    if (!dropped && dropped.error().code != Code::not_found) co_return fail(std::move(dropped.error()));
    if (dropped) ++counters_.purged;
  }
  // What was here and is not, and was not said to be gone, lies in a store that is away: it is waited for.
  uint32_t missing = entry.slots & ~held.slots;
  auto claims = co_await claims_of(pack);
  if (!claims) co_return fail(std::move(claims.error()));
  for (const Claim& claim : *claims) {
    if (claim.node == peers_.identity().node && claim.state == ClaimState::gone) missing &= ~(1U << claim.shard.slot);
  }
  const VolumeId volume = entry.statement.volume;
  entry.purged = missing == 0;
  entry.slots = missing != 0 ? missing : entry.slots;
  if (missing != 0) entry.due = age() + milliseconds(kPurgeAgain);
  auto noted = co_await world_.workers.run([this, &entry, &volume, &pack]() -> Status {
    CAIRN_TRY(index_->put({{.entry = entry, .tell = {}, .tell_from = 0}}));
    if (!entry.purged) return {};
    CAIRN_TRY(holder_.index().forget_others(pack));
    return index_->drop_held(volume, {pack});
  });
  if (!noted) co_return fail(std::move(noted.error()));
  co_return entry.purged;
}

env::Task<Status> TrashImpl::pass_on() {
  auto nodes = co_await world_.workers.run([this, now = age()] { return index_->untold_nodes(now); });
  if (!nodes) co_return fail(std::move(nodes.error()));
  for (const NodeId& node : *nodes) {
    const peer::NodeState state = peers_.state(node);
    if (state == peer::NodeState::removed || state == peer::NodeState::left) {
      CAIRN_CO_TRY(co_await world_.workers.run([this, &node] { return index_->forget_untold(node); }));
      continue;
    }
    if (!peers_.usable(node)) continue;
    auto told = co_await tell(node);
    if (!told && log_limit_.allow(world_.clock.now()))
      world_.log.debug("tombstones_not_passed_on", "node={} error=\"{}\"", node.short_hex(), to_string(told.error()));
  }
  co_return Status{};
}

env::Task<Status> TrashImpl::tell(NodeId node) {
  while (true) {
    auto request = wire::TombstonesRequest();
    auto batch =
        co_await world_.workers.run([this, &node, &request, now = age()]() -> Result<std::vector<TrashIndex::Untold>> {
          auto list = index_->untold(node, now, kTombstonesPerRequest);
          if (!list) return list;
          std::set<VolumeId> volumes;
          std::set<NodeId> signers;
          for (const TrashIndex::Untold& one : *list) {
            volumes.insert(one.statement.volume);
            signers.insert(one.statement.signer);
            CAIRN_TRY(wire::decode_into(*request.add_statements(), one.statement.signed_message));
          }
          for (const VolumeId& volume : volumes) {
            auto founding = index_->founding(volume);
            if (founding && *founding) request.add_foundings(to_string(ByteView(**founding)));
          }
          for (const NodeId& signer : signers) {
            auto certificate = index_->certificate(signer);
            if (certificate && *certificate) CAIRN_TRY(wire::decode_into(*request.add_certificates(), **certificate));
          }
          return list;
        });
    if (!batch) co_return fail(std::move(batch.error()));
    if (batch->empty()) co_return Status{};
    auto answer = co_await peer::ask<wire::TombstonesResponse>(peers_, node, wire::Method::tombstones, request,
                                                               kTombstoneTimeout);
    if (!answer) co_return fail(std::move(answer.error()));
    std::vector<TrashIndex::Untold> done;
    for (size_t i = 0; i < batch->size() && i < static_cast<size_t>(answer->message.answers_size()); ++i) {
      if (answer->message.answers(static_cast<int>(i)) != wire::TombstonesResponse::ANSWER_UNKNOWN)
        done.push_back(std::move((*batch)[i]));
    }
    auto noted = co_await world_.workers.run([this, &done] { return index_->told(done); });
    if (!noted) co_return noted;
    if (done.size() < kTombstonesPerRequest) co_return Status{};
  }
}

// --- reconciliation ---

env::Task<Result<Reply>> TrashImpl::reconcile(Request request) {
  auto message = wire::decode<wire::ReconcileRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  auto owner = owner_of_volume(as_bytes(message->founding()), peers_.identity().pool);
  if (!owner) co_return fail(std::move(owner.error()));
  if (request.member != owner->owner) co_return fail(Code::denied, "not the volume's owner");
  auto first = PackId::from(message->first());
  auto last = PackId::from(message->last());
  if (!first || !last) co_return fail(Code::bad_input, "malformed range");
  const size_t list_up_to = std::min<size_t>(message->list_up_to(), kMaxListedPacks);
  wire::ReconcileResponse response;
  response.set_ready(complete_);
  const auto noted = std::exchange(noted_, {});
  auto saved = co_await world_.workers.run([this, &noted] { return index_->note_held(noted); });
  if (!saved) co_return fail(std::move(saved.error()));
  uint64_t count = 0;
  Hash hash;  // chained: SHA-256 of the hash so far and the next ID
  PackId from = *first;
  for (bool more = complete_; more;) {
    auto page = co_await world_.workers.run([&] { return index_->held(owner->volume, from, kWalkPage); });
    if (!page) co_return fail(std::move(page.error()));
    more = page->size() == kWalkPage;
    std::vector<PackId> gone;
    for (const PackId& pack : *page) {
      if (pack > *last) {
        more = false;
        break;
      }
      bool here = false;
      for (size_t i = 0; i < holder_.stores().size() && !here; ++i) {
        const auto slots = co_await holder_.stores()[i]->slots_of(pack);
        here = !slots.empty();
      }
      if (!here) continue;
      const bool dead = co_await tombstoned(pack);
      if (dead) continue;
      hash = crypto::sha256({hash.view(), pack.view()});
      if (++count <= list_up_to) response.add_packs(pack.raw());
    }
    if (!more) break;
    // The least ID after the last one of this page.
    from = page->back();
    for (size_t i = from.bytes.size(); i-- > 0 && ++from.bytes[i] == 0;) {
    }
  }
  if (count > list_up_to) response.clear_packs();
  response.set_count(count);
  response.set_hash(hash.raw());
  co_return Reply{wire::encode(response), {}};
}

}  // namespace

env::Task<Result<std::unique_ptr<Trash>>> Trash::open(env::World world, peer::Peers& peers, Holder& holder,
                                                      std::string path, TrashOptions options) {
  struct Opened {
    std::unique_ptr<TrashIndex> index;
    Age age;
    TrashIndex::Sum sum;
    bool complete;
  };
  auto opened = co_await world.workers.run([&]() -> Result<Opened> {
    auto index = TrashIndex::open(world.meta_stores, path);
    if (!index) return fail(std::move(index.error()));
    auto age = (*index)->age();
    if (!age) return fail(std::move(age.error()));
    auto sum = (*index)->sum();
    if (!sum) return fail(std::move(sum.error()));
    auto complete = (*index)->take_complete_mark();
    if (!complete) return fail(std::move(complete.error()));
    return Opened{std::move(*index), *age, *sum, *complete};
  });
  if (!opened) co_return fail(std::move(opened.error()));
  co_return std::unique_ptr<Trash>(std::make_unique<TrashImpl>(world, peers, holder, std::move(opened->index), options,
                                                               opened->age, opened->sum, opened->complete));
}

}  // namespace cairn::pool
