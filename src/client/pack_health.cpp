#include "client/pack_health.h"

#include "proto/membership.pb.h"

namespace cairn::client {

namespace {

// Packs of which the holders are asked at the same time.
constexpr size_t kPackQueries = 32;

constexpr size_t kPings = 64;  // at the same time
constexpr Duration kPingTimeout = std::chrono::seconds(5);

}  // namespace

env::Task<std::set<NodeId>> who_answers(Core& core) {
  std::set<NodeId> answering;
  const auto one = [&](NodeId node, env::Semaphore::Permit) -> env::Task<void> {
    auto pong = co_await peer::ask<wire::PingResponse>(core.peers(), node, wire::Method::ping, wire::PingRequest(),
                                                       kPingTimeout);
    if (pong) answering.insert(node);
  };
  env::Semaphore places(core.world().executor, kPings);
  env::TaskGroup group(core.world().executor);
  for (const peer::NodeInfo& node : core.peers().membership().nodes()) {
    if (!node.lends || !core.peers().usable(node.id)) continue;
    auto permit = co_await places.acquire();
    group.spawn(one(node.id, std::move(permit)));
  }
  co_await group.join();
  co_return answering;
}

env::Task<PacksHealth> check_packs(Core& core, std::vector<pool::PackRef> packs,
                                   std::function<void(uint64_t done, uint64_t total)> on_pack) {
  PacksHealth health;
  const std::set<NodeId> answering = co_await who_answers(core);
  uint64_t done = 0;
  const auto one = [&](pool::PackRef pack, env::Semaphore::Permit) -> env::Task<void> {
    const PackId id = pack.id;
    const content::PackGeometry geometry = pack.geometry;
    auto live =
        co_await core.pool().live_slots(std::move(pack), [&](const NodeId& node) { return answering.contains(node); });
    const uint32_t slots = live ? *live : 0;
    if (slots >= geometry.k + geometry.m) {
      ++health.at_goal;
    } else {
      (slots < geometry.k ? health.lost : health.below_goal).push_back(id);
    }
    if (on_pack) on_pack(++done, packs.size());
  };
  env::Semaphore places(core.world().executor, kPackQueries);
  env::TaskGroup group(core.world().executor);
  for (const pool::PackRef& pack : packs) {
    auto permit = co_await places.acquire();
    group.spawn(one(pack, std::move(permit)));
  }
  co_await group.join();
  co_return health;
}

}  // namespace cairn::client
