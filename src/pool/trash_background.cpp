// The trash: what goes on behind. It is emptied, given up, and tombstones are passed on.

#include <set>

#include "pool/trash_impl.h"
#include "proto/garbage.pb.h"
#include "wire/message.h"

namespace cairn::pool {

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
      const auto described = co_await store::describe_each(store, page);
      for (size_t j = 0; j < page.size(); ++j) {
        if (described[j]) found.emplace_back(described[j]->header.volume, page[j].pack);
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
    auto done = co_await purge_packs(std::move(*due));
    if (!done) co_return fail(std::move(done.error()));
    if (last) co_return Status{};
    co_await env::sleep_for(world_.clock, kWalkRest);
  }
}

env::Task<uint64_t> TrashImpl::give_up(StoreId store, uint64_t bytes) {
  uint64_t gone = 0;
  std::optional<FateEntry> behind;
  while (gone < bytes && index_->sum(store).packs > 0) {
    if (closing_) break;
    const AtWork at_work(*this);
    auto page = co_await world_.workers.run(
        [this, &behind] { return index_->due(UINT64_MAX, kPurgePage, behind ? &*behind : nullptr); });
    if (!page || page->empty()) break;
    behind = page->back();
    std::vector<FateEntry> chosen;
    uint64_t chosen_bytes = 0;
    for (FateEntry& entry : *page) {
      if (entry.store != store || gone + chosen_bytes >= bytes) continue;
      chosen_bytes += entry.bytes;
      chosen.push_back(std::move(entry));
    }
    if (chosen.empty()) continue;
    auto dropped = co_await purge_packs(std::move(chosen));
    if (!dropped || *dropped == 0) break;  // none of it is there now: each was put off
    gone += *dropped;
  }
  co_return gone;
}

env::Task<bool> TrashImpl::give_up(PackId pack) {
  if (closing_) co_return false;
  const AtWork at_work(*this);
  auto entry = co_await world_.workers.run([this, pack] { return index_->find(pack); });
  if (!entry || !*entry || (*entry)->statement.fate != Fate::dead) co_return false;
  std::vector<FateEntry> one;
  one.push_back(std::move(**entry));
  auto done = co_await purge_packs(std::move(one));
  co_return done.has_value();
}

// All slots of it that are here.
env::Task<Result<TrashImpl::Held>> TrashImpl::drop_pack(PackId pack) {
  auto held = co_await held_of(pack);
  for (uint8_t slot = 0; slot < kMaxSlots; ++slot) {
    if ((held.slots & (1U << slot)) == 0) continue;
    auto dropped = co_await holder_.drop({pack, slot});
    if (!dropped && dropped.error().code != Code::not_found) co_return fail(std::move(dropped.error()));
    if (dropped) ++counters_.purged;
  }
  co_return held;
}

// Together, so that they share the syncs. The bytes that went.
env::Task<Result<uint64_t>> TrashImpl::purge_packs(std::vector<FateEntry> entries) {
  // Not while a statement on one is being judged: its owner may want it back just now.
  const auto turn = co_await turn_.acquire();
  auto still = co_await world_.workers.run([this, &entries]() -> Result<std::vector<FateEntry>> {
    std::vector<FateEntry> list;
    for (const FateEntry& entry : entries) {
      auto found = index_->find(entry.statement.pack);
      if (!found) return fail(std::move(found.error()));
      if (*found && (*found)->statement.fate == Fate::dead && (*found)->due == entry.due)
        list.push_back(std::move(**found));
    }
    return list;
  });
  if (!still) co_return fail(std::move(still.error()));
  std::vector<env::Task<Result<Held>>> drops;
  for (const FateEntry& entry : *still) drops.push_back(drop_pack(entry.statement.pack));
  const auto dropped = co_await env::when_all(world_.executor, std::move(drops));
  uint64_t bytes = 0;
  std::vector<TrashIndex::Change> changes;
  Status failed;
  for (size_t i = 0; i < still->size(); ++i) {
    if (!dropped[i]) {
      failed = fail(dropped[i].error());
      continue;
    }
    FateEntry& entry = (*still)[i];
    bytes += dropped[i]->bytes;
    // What was here and is not, and was not said to be gone, lies in a store that is away: it is waited for.
    uint32_t missing = entry.slots & ~dropped[i]->slots;
    auto claims = co_await claims_of(entry.statement.pack);
    if (!claims) co_return fail(std::move(claims.error()));
    for (const Claim& claim : *claims) {
      if (claim.node == peers_.identity().node && claim.state == ClaimState::gone) missing &= ~(1U << claim.shard.slot);
    }
    entry.purged = missing == 0;
    entry.slots = missing != 0 ? missing : entry.slots;
    if (missing != 0) entry.due = age() + milliseconds(kPurgeAgain);
    changes.push_back({.entry = std::move(entry), .tell = {}, .tell_from = 0});
  }
  auto noted = co_await world_.workers.run([this, &changes]() -> Status {
    CAIRN_TRY(index_->put(changes));
    for (const auto& change : changes) {
      if (!change.entry.purged) continue;
      const PackId& pack = change.entry.statement.pack;
      CAIRN_TRY(holder_.index().forget_others(pack));
      CAIRN_TRY(index_->drop_held(change.entry.statement.volume, {pack}));
    }
    return {};
  });
  if (!noted) co_return fail(std::move(noted.error()));
  if (!failed) co_return fail(std::move(failed.error()));
  co_return bytes;
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

}  // namespace cairn::pool
