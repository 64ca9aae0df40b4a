#include "pool/claim_exchange.h"

#include "pool/limits.h"
#include "pool/mailbox.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::pool {

ClaimExchange::ClaimExchange(env::World world, peer::Peers& peers, ClaimIndex& index, uint64_t boot_seq)
    : world_(world),
      peers_(peers),
      index_(index),
      boot_seq_(boot_seq),
      waiting_changed_(world.executor),
      made_(world.executor),
      due_changed_(world.executor),
      tasks_(world.executor) {}

void ClaimExchange::start() {
  tasks_.spawn(make_claims());
  tasks_.spawn(pass_on());
}

void ClaimExchange::stop() {
  tasks_.cancel();
}

void ClaimExchange::announce(ShardId shard, ClaimState state, std::vector<NodeId> tell) {
  if (waiting_.size() >= kMaxWaitingClaims) {
    lost_ = true;
    return;
  }
  waiting_.push_back({shard, state, std::move(tell)});
  waiting_changed_.notify_all();
}

env::Task<bool> ClaimExchange::flush() {
  while (!waiting_.empty() || making_) {
    hurry_ = true;
    waiting_changed_.notify_all();
    co_await made_.wait();
  }
  hurry_ = false;
  co_return !lost_;
}

env::Task<void> ClaimExchange::make_claims() {
  while (true) {
    while (waiting_.empty()) co_await waiting_changed_.wait();
    making_ = true;
    const Time ready = world_.clock.now() + kClaimDelay;
    while (!hurry_ && waiting_.size() < kClaimsPerWrite && world_.clock.now() < ready) {
      co_await wait_until(world_.clock, waiting_changed_, ready);
    }
    const size_t count = std::min(waiting_.size(), kClaimsPerWrite);
    std::vector<Waiting> batch(std::make_move_iterator(waiting_.begin()),
                               std::make_move_iterator(waiting_.begin() + static_cast<ptrdiff_t>(count)));
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(count));
    const uint64_t first = sequence_ + 1;
    sequence_ += count;
    // The device key is used from the worker: it is immutable.
    auto written = co_await world_.workers.run([this, &batch, first]() -> Status {
      std::vector<ClaimIndex::Announcement> announcements;
      announcements.reserve(batch.size());
      const peer::Identity& self = peers_.identity();
      uint64_t number = first;
      for (Waiting& w : batch) {
        announcements.push_back(
            {Claim::make(self.device, self.node, w.shard, boot_seq_, number++, w.state), std::move(w.tell)});
      }
      return index_.announce(announcements);
    });
    if (!written) {
      lost_ = true;
      world_.log.error("claims_not_written", "count={} error=\"{}\"", count, to_string(written.error()));
    } else {
      counters_.claims_made += count;
    }
    co_await refresh_due();
    making_ = false;
    made_.notify_all();
  }
}

env::Task<void> ClaimExchange::refresh_due() {
  const auto nodes = co_await world_.workers.run([this] { return index_.untold_nodes(); });
  for (const NodeId& node : nodes) mark_due(node);
}

void ClaimExchange::mark_due(const NodeId& node) {
  auto [entry, fresh] = due_.try_emplace(node, Due{.when = world_.clock.now()});
  if (entry->second.busy) entry->second.again = true;
  if (fresh) due_changed_.notify_all();
}

void ClaimExchange::tell(std::map<NodeId, std::vector<PackId>> news) {
  tasks_.spawn(note_news(std::move(news)));
}

env::Task<void> ClaimExchange::note_news(std::map<NodeId, std::vector<PackId>> news) {
  auto noted = co_await world_.workers.run([this, &news]() -> Status {
    for (const auto& [node, packs] : news) CAIRN_TRY(index_.tell(node, packs));
    return {};
  });
  if (!noted) {
    world_.log.error("claims_index", "error=\"{}\"", to_string(noted.error()));
    co_return;
  }
  for (const auto& [node, packs] : news) mark_due(node);
}

env::Task<void> ClaimExchange::pass_on() {
  co_await refresh_due();
  while (true) {
    const Time now = world_.clock.now();
    Time next = Time::never();
    for (auto& [node, due] : due_) {
      if (due.busy) continue;
      if (due.when > now) {
        next = std::min(next, due.when);
        continue;
      }
      if (pushes_ >= kMaxPushes) break;  // whoever ends wakes this loop
      due.busy = true;
      ++pushes_;
      tasks_.spawn(push(node));
    }
    co_await wait_until(world_.clock, due_changed_, next);
  }
}

void ClaimExchange::postpone(const NodeId& node) {
  Due& due = due_[node];
  const Duration wait = std::min<Duration>(kLastPushRetry, kFirstPushRetry * (1 << std::min(due.failures, 10U)));
  ++due.failures;
  due.when = world_.clock.now() + wait;
}

env::Task<void> ClaimExchange::push(NodeId node) {
  auto more = co_await push_batch(node);
  Due& due = due_[node];
  due.busy = false;
  --pushes_;
  if (!more) {
    if (log_limit_.allow(world_.clock.now())) {
      world_.log.debug("claims_not_passed_on", "node={} error=\"{}\"", node.short_hex(), to_string(more.error()));
    }
    postpone(node);
  } else {
    due.failures = 0;
    due.when = world_.clock.now();
    if (!*more && !std::exchange(due.again, false)) due_.erase(node);
  }
  due_changed_.notify_all();
}

// True when there is more to tell.
env::Task<Result<bool>> ClaimExchange::push_batch(NodeId node) {
  const peer::NodeState state = peers_.state(node);
  if (state == peer::NodeState::removed || state == peer::NodeState::left) {
    auto forgotten = co_await world_.workers.run([this, node] { return index_.forget_untold(node); });
    if (!forgotten) co_return fail(std::move(forgotten.error()));
    co_return false;
  }
  if (!peers_.usable(node)) co_return fail(Code::unreachable);
  auto batch = co_await world_.workers.run([this, node] { return index_.untold(node, kClaimsPerPush); });
  if (!batch) co_return fail(std::move(batch.error()));
  if (batch->empty()) co_return false;
  wire::ClaimsPushRequest request;
  for (const auto& entry : *batch) {
    if (!request.add_claims()->ParseFromArray(entry.claim.signed_message.data(),
                                              static_cast<int>(entry.claim.signed_message.size()))) {
      co_return fail(Code::corrupt, "claims index");
    }
  }
  auto answer =
      co_await peer::ask<wire::ClaimsPushResponse>(peers_, node, wire::Method::claims_push, request, kPushTimeout);
  if (!answer) co_return fail(std::move(answer.error()));
  ++counters_.push_requests;
  counters_.claims_told += batch->size();
  auto told = co_await world_.workers.run([this, node, &batch] { return index_.told(node, *batch); });
  if (!told) co_return fail(std::move(told.error()));
  std::set<uint32_t> early(answer->message.early().begin(), answer->message.early().end());
  std::vector<PackId> packs;
  for (uint32_t i = 0; i < batch->size(); ++i) {
    const Claim& claim = (*batch)[i].claim;
    if (early.contains(i) && claim.state != ClaimState::gone) {
      packs.push_back(claim.shard.pack);
    } else {
      early_.erase({node, claim.shard.pack});
    }
  }
  tell_again(node, packs);
  co_return batch->size() >= kClaimsPerPush;
}

// Its own shards of these packs may only be on their way. Not remembered over a restart: the walk after a crash and the
// intents before a repair bring together what is left apart.
void ClaimExchange::tell_again(const NodeId& node, const std::vector<PackId>& packs) {
  std::map<uint32_t, std::vector<PackId>> by_tries;
  for (const PackId& pack : packs) {
    const auto found = early_.find({node, pack});
    const uint32_t tries = found == early_.end() ? 0 : found->second;
    if (tries >= kEarlyRetries || (found == early_.end() && early_.size() >= kMaxEarlyClaims)) {
      early_.erase({node, pack});
      continue;
    }
    early_[{node, pack}] = tries + 1;
    by_tries[tries].push_back(pack);
  }
  for (auto& [tries, some] : by_tries)
    tasks_.spawn(again(node, std::move(some), kFirstEarlyRetry * (1 << (2 * tries))));
}

env::Task<void> ClaimExchange::again(NodeId node, std::vector<PackId> packs, Duration wait) {
  co_await env::sleep_for(world_.clock, wait);
  std::map<NodeId, std::vector<PackId>> news;
  news[node] = std::move(packs);
  co_await note_news(std::move(news));
}

}  // namespace cairn::pool
