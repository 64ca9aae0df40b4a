// Swim: probes, and what comes of them.

#include "peer/limits.h"
#include "peer/swim.h"
#include "proto/membership.pb.h"
#include "wire/message.h"

namespace cairn::peer {

// One probe: directly, then through helpers, until its period is over.
struct Swim::Attempt {
  Attempt(env::Executor& executor, const NodeId& node) : target(node), direct(executor), any(executor) {}
  enum class Direct { reached, failed, late };
  NodeId target;
  env::OneShot<Direct> direct;
  env::OneShot<bool> any;  // somebody reached it; false: nobody did, or the time is over
  size_t asking = 0;       // requests under way
  size_t nacks = 0;        // helpers who answered that they cannot reach it either

  void ended() {
    if (--asking == 0) any.set(false);
  }
};

struct Swim::Timer {
  Timer(env::Clock& on, Time when, std::move_only_function<void()> fn)
      : clock(on), timer(on.schedule(when, std::move(fn))) {}
  ~Timer() { clock.cancel(timer); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  env::Clock& clock;
  env::TimerId timer;
};

env::Task<void> Swim::probe_loop(Swim* self) {
  // Nodes that start together do not beat together.
  const auto period = static_cast<uint64_t>(self->options_.period.count());
  co_await env::sleep_for(self->clock_, Duration(static_cast<int64_t>(self->prng_.below(period))));
  for (;;) {
    bool counts = true;
    if (const auto target = self->next_target(counts)) self->tasks_.spawn(probe(self, *target, counts));
    const Time due = self->clock_.now() + self->scaled(self->options_.period);
    co_await env::sleep_until(self->clock_, due);
    self->overslept(due);
  }
}

std::optional<NodeId> Swim::next_target(bool& counts) {
  const auto may_doubt = [&](const NodeId& node) {
    const auto* suspicion = suspicions_.find(node);
    return host_.incarnation(node) && !(suspicion && (suspicion->departed || suspicion->doubts.contains(self_) ||
                                                      suspicion->doubts.size() >= kMaxDoubts));
  };
  // A request failed: look at once whether it was the node.
  while (!recheck_.empty()) {
    const NodeId node = recheck_.front();
    recheck_.pop_front();
    if (failed_.contains(node) && may_doubt(node)) return node;
  }
  const auto& departed = suspicions_.departed();
  if (!departed.empty()) {
    const double share = 4.0 * static_cast<double>(departed.size()) / static_cast<double>(host_.members());
    if (prng_.chance(std::min(share, 1.0 / kProbeDeparted))) {
      counts = false;
      return departed[prng_.below(departed.size())];
    }
  }
  if (options_.rings == 0) return any_member();
  // Others doubt one that this node watches, too: confirm it or clear it. A few of those who do not watch it do the
  // same, so that there are several observers also where most who watch it are gone.
  if (suspicions_.open() > 0) {
    for (uint32_t ring = 0; ring < options_.rings; ++ring) {
      const auto node = friend_at(ring, true);
      if (node && suspicions_.find(*node) && may_doubt(*node)) return node;
    }
    const double share = static_cast<double>(options_.confirmations) / static_cast<double>(host_.members());
    for (const auto& [node, suspicion] : suspicions_.all()) {
      if (suspicion.doubts.size() < options_.observers && may_doubt(node) && prng_.chance(share)) return node;
    }
  }
  if (round_.empty()) fill_round();
  if (round_.empty()) return std::nullopt;
  const NodeId node = round_.back();
  round_.pop_back();
  return node;
}

void Swim::fill_round() {
  // Who cannot be dialled keeps sessions to those that watch it, too.
  const bool back = !host_.dialable() || (refuted_at_ && clock_.now() - *refuted_at_ < kReachBack);
  std::set<NodeId> nodes;
  for (uint32_t ring = 0; ring < options_.rings; ++ring) {
    if (const auto node = friend_at(ring, true)) nodes.insert(*node);
    if (!back) continue;
    if (const auto node = friend_at(ring, false)) nodes.insert(*node);
  }
  round_.assign(nodes.begin(), nodes.end());
  prng_.shuffle(round_);
}

std::vector<NodeId> Swim::choose_helpers(const NodeId& target) {
  std::set<NodeId> chosen;
  for (uint32_t i = 0; i < 4 * options_.helpers && chosen.size() < options_.helpers; ++i) {
    const bool anyone = options_.rings == 0 || i >= 2 * options_.helpers;
    const auto node =
        anyone ? any_member() : friend_at(static_cast<uint32_t>(prng_.below(options_.rings)), prng_.below(2) == 0);
    if (node && *node != target) chosen.insert(*node);
  }
  return {chosen.begin(), chosen.end()};
}

env::Task<void> Swim::probe(Swim* self, NodeId target, bool counts) {
  const Time begun = self->clock_.now();
  const Time deadline = begun + self->scaled(self->options_.period);
  const Duration patience = self->scaled(self->options_.ack_timeout);
  ++self->counters_.probes;
  Attempt attempt(self->executor_, target);
  env::TaskGroup asks(self->executor_);
  ++attempt.asking;
  asks.spawn(ask_directly(self, &attempt, deadline - begun));
  Attempt::Direct direct{};
  {
    const Timer timer(self->clock_, begun + patience, [late = attempt.direct] { late.set(Attempt::Direct::late); });
    direct = co_await attempt.direct;
  }
  if (direct == Attempt::Direct::reached) {
    self->change_health(-1);
    co_return;
  }
  if (!counts) co_return;  // it has departed, and is still away

  const std::vector<NodeId> helpers = self->choose_helpers(target);
  const Time now = self->clock_.now();
  const Duration left = std::max(deadline - now, self->options_.cautious ? self->options_.ack_timeout : Duration{});
  attempt.asking += helpers.size();
  for (const NodeId& helper : helpers) {
    ++self->counters_.indirect;
    asks.spawn(ask_helper(self, &attempt, helper, left));
  }
  bool reached = false;
  if (attempt.asking > 0) {
    const Timer timer(self->clock_, now + left, [any = attempt.any] { any.set(false); });
    reached = co_await attempt.any;
  }
  const Time end = self->clock_.now();
  if (reached) {
    self->change_health(-1);
    co_return;
  }
  ++self->counters_.failed_probes;
  if (self->options_.cautious && end - deadline > self->options_.period) co_return;  // it was this node
  // Helpers that say nothing at all: perhaps it is this node that hears nobody.
  self->change_health(helpers.empty() ? 1 : static_cast<int>(helpers.size() - attempt.nacks));
  if (const auto heard = self->last_heard(target); self->options_.cautious && heard && *heard > begun) co_return;
  self->doubt(target);
}

env::Task<void> Swim::ask_directly(Swim* self, Attempt* attempt, Duration timeout) {
  const bool reached = co_await reach(self, attempt->target, timeout);
  attempt->direct.set(reached ? Attempt::Direct::reached : Attempt::Direct::failed);
  if (reached) attempt->any.set(true);
  attempt->ended();
}

// "Are you there?"
env::Task<bool> Swim::reach(Swim* self, NodeId target, Duration timeout) {
  auto reply = co_await self->host_.ask(target, self->request_to(target, 1, nullptr), timeout);
  if (!reply) co_return false;
  auto response = wire::decode<wire::SwimResponse>(ByteView(*reply));
  if (!response) co_return false;
  self->heard(target);
  self->take(*response, target);
  co_return true;
}

env::Task<void> Swim::ask_helper(Swim* self, Attempt* attempt, NodeId helper, Duration timeout) {
  auto reply = co_await self->host_.ask(helper, self->request_to(helper, 2, &attempt->target), timeout);
  if (reply) {
    auto response = wire::decode<wire::SwimResponse>(ByteView(*reply));
    if (response) {
      self->heard(helper);
      self->take(*response, helper);
      if (response->verdict() == 1) attempt->any.set(true);
      if (response->verdict() == 2) ++attempt->nacks;
    }
  }
  attempt->ended();
}

void Swim::doubt(const NodeId& target) {
  const auto incarnation = host_.incarnation(target);
  if (!incarnation) return;
  const auto* known = suspicions_.find(target);
  if (known && known->departed) return;
  Doubt doubt{.about = target, .incarnation = *incarnation, .by = self_, .signature = {}};
  if (!suspicions_.would_add(doubt)) return;
  ++counters_.doubts;
  host_.sign(doubt);
  suspicions_.add(doubt, clock_.now());
  wire::News news;
  *news.mutable_doubt() = encode_doubt(doubt);
  news_.add(subject_of(doubt), news.SerializeAsString(), {});
  if (!known) set_state(target, NodeState::suspect);
  wake();
}

}  // namespace cairn::peer
