#include "node/keeper_care.h"

#include <algorithm>

#include "volume/register_format.h"

namespace cairn::node {

namespace {

constexpr Duration kLook = std::chrono::seconds(2);
// After the start, and after a change: others that come with it are seen to together, and of several daemons of a
// member most find that it is done.
constexpr Duration kFirstDelay = std::chrono::seconds(20);
constexpr Duration kLeastDelay = std::chrono::seconds(2);
constexpr Duration kMostDelay = std::chrono::seconds(8);
// A machine that is started anew keeps its place; a majority of five stands two that are away meanwhile.
constexpr Duration kDepartedGrace = std::chrono::minutes(10);
constexpr Duration kFirstRetry = std::chrono::minutes(1);
constexpr Duration kLastRetry = std::chrono::hours(1);

}  // namespace

// Without a note of first keepers: what was never founded is not founded here.
KeeperCare::KeeperCare(env::World world, peer::Peers& peers)
    : world_(world), peers_(peers), account_(world, peers, volume::AccountOptions{}), prng_(world.random.u64()) {}

std::pair<std::set<NodeId>, size_t> KeeperCare::look() {
  std::set<NodeId> unable;
  size_t able = 0;
  const Time now = world_.clock.now();
  for (const peer::NodeInfo& node : peers_.membership().nodes()) {
    const peer::NodeState state = peers_.state(node.id);
    const bool away = state == peer::NodeState::departed;
    if (!away) departed_.erase(node.id);
    const Time since = away ? departed_.try_emplace(node.id, now).first->second : now;
    const bool lost =
        state == peer::NodeState::left || state == peer::NodeState::removed || (away && now - since >= kDepartedGrace);
    if (!node.lends || node.leaving || lost) {
      unable.insert(node.id);
    } else if (!away) {
      ++able;
    }
  }
  return {std::move(unable), volume::keepers_for(able)};
}

env::Task<Status> KeeperCare::adapt() {
  auto volumes = co_await account_.list();
  if (!volumes) co_return fail(std::move(volumes.error()));
  Status done = co_await account_.adapt_keepers();
  for (const volume::VolumeEntry& entry : *volumes) {
    volume::Register head(world_, peers_, entry.founding);
    auto adapted = co_await head.adapt_keepers();
    if (!adapted) done = fail(std::move(adapted.error()), entry.name);
  }
  co_return done;
}

env::Task<void> KeeperCare::run(KeeperCare* self) {
  std::optional<std::pair<std::set<NodeId>, size_t>> seen_to;
  Duration retry = kFirstRetry;
  co_await env::sleep_for(self->world_.clock, kFirstDelay);
  for (;;) {
    co_await env::sleep_for(self->world_.clock, kLook);
    auto now = self->look();
    // Who is able again takes nothing away from anybody.
    const bool news = !seen_to || now.second > seen_to->second || !std::ranges::includes(seen_to->first, now.first);
    if (!news) {
      seen_to = std::move(now);
      continue;
    }
    const auto spread = static_cast<uint64_t>((kMostDelay - kLeastDelay).count());
    co_await env::sleep_for(self->world_.clock,
                            kLeastDelay + Duration(static_cast<int64_t>(self->prng_.below(spread))));
    now = self->look();
    auto done = co_await self->adapt();
    if (done) {
      seen_to = std::move(now);
      retry = kFirstRetry;
      continue;
    }
    self->world_.log.info("keepers_not_adapted", "error=\"{}\"", to_string(done.error()));
    co_await env::sleep_for(self->world_.clock, retry);
    retry = std::min(2 * retry, kLastRetry);
  }
}

}  // namespace cairn::node
