#include "pool/trash.h"

#include <algorithm>
#include <bit>
#include <set>

#include "crypto/hash.h"
#include "pool/trash_impl.h"
#include "proto/garbage.pb.h"
#include "wire/message.h"

namespace cairn::pool {

using peer::Reply;
using peer::Request;

env::Task<TrashImpl::Held> TrashImpl::held_of(PackId pack) {
  Held held;
  const auto& stores = holder_.stores();
  for (size_t i = 0; i < stores.size(); ++i) {
    const auto slots = co_await stores[i]->slots_of(pack);
    for (const uint8_t slot : slots) {
      held.slots |= 1U << slot;
      if (held.store.is_zero()) held.store = stores[i]->id();
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
                                      .store = held.store,
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

// --- reconciliation ---

env::Task<Result<Reply>> TrashImpl::reconcile(Request request) {
  auto message = wire::decode<wire::ReconcileRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  auto owner = owner_of_volume(as_bytes(message->founding()), peers_.identity().pool);
  if (!owner) co_return fail(std::move(owner.error()));
  if (request.member != owner->owner) co_return fail(Code::denied, "not the volume's owner");
  if (request.certificate->append_only && request.certificate->volume != owner->volume)
    co_return fail(Code::denied, "a device that may only add to another volume");
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

env::Task<Result<std::unique_ptr<Trash>>> Trash::open(env::World world, peer::Peers& peers, Holder& holder,
                                                      std::string path, TrashOptions options) {
  struct Opened {
    std::unique_ptr<TrashIndex> index;
    Age age;
    bool complete;
  };
  auto opened = co_await world.workers.run([&]() -> Result<Opened> {
    auto index = TrashIndex::open(world.meta_stores, path);
    if (!index) return fail(std::move(index.error()));
    auto age = (*index)->age();
    if (!age) return fail(std::move(age.error()));
    auto complete = (*index)->take_complete_mark();
    if (!complete) return fail(std::move(complete.error()));
    return Opened{std::move(*index), *age, *complete};
  });
  if (!opened) co_return fail(std::move(opened.error()));
  co_return std::unique_ptr<Trash>(std::make_unique<TrashImpl>(world, peers, holder, std::move(opened->index), options,
                                                               opened->age, opened->complete));
}

}  // namespace cairn::pool
