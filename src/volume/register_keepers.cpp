#include "volume/register_keepers.h"

#include <algorithm>
#include <set>

#include "volume/register_limits.h"

namespace cairn::volume {

namespace {

// Asks the nodes, all at the same time, which keeper instance they are.
env::Task<std::vector<std::optional<KeeperInstance>>> ask_instances(env::World world, RegisterTransport& transport,
                                                                    RegisterId id, std::vector<NodeId> nodes) {
  std::vector<env::Task<std::optional<KeeperInstance>>> asks;
  asks.reserve(nodes.size());
  for (const NodeId& node : nodes) {
    asks.push_back([](RegisterTransport& by, RegisterId what, NodeId who) -> env::Task<std::optional<KeeperInstance>> {
      wire::RegisterPeekRequest request;
      request.set_register_(what.raw());
      auto raw = co_await by.call(who, wire::Method::register_peek, wire::encode(request), kPeekTimeout);
      if (!raw) co_return std::nullopt;
      auto response = wire::decode<wire::RegisterPeekResponse>(ByteView(*raw));
      KeeperInstance instance;
      if (!response || response->instance().size() != instance.size()) co_return std::nullopt;
      std::ranges::copy(as_bytes(response->instance()), instance.begin());
      co_return instance;
    }(transport, id, node));
  }
  auto answers = co_await env::when_all(world.executor, std::move(asks));
  co_return answers;
}

// The first of the candidates that answer, `want` of them or fewer.
env::Task<RegisterConfig> gather_keepers(env::World world, RegisterTransport& transport, RegisterId id,
                                         std::vector<KeeperCandidate> candidates, size_t want) {
  RegisterConfig chosen;
  for (size_t next = 0; next < candidates.size() && chosen.keepers.size() < want;) {
    // Two more than are missing: a dead node then costs no further wait.
    const size_t end = std::min(candidates.size(), next + want - chosen.keepers.size() + 2);
    std::vector<NodeId> nodes;
    for (; next < end; ++next) nodes.push_back(candidates[next].node);
    auto instances = co_await ask_instances(world, transport, id, nodes);
    for (size_t i = 0; i < nodes.size() && chosen.keepers.size() < want; ++i) {
      if (!instances[i]) continue;
      chosen.keepers.push_back(nodes[i]);
      chosen.instances.push_back(*instances[i]);
    }
  }
  co_return chosen;
}

void cut_to(RegisterConfig& config, size_t size) {
  config.keepers.resize(size);
  config.instances.resize(size);
}

std::vector<KeeperCandidate> able_nodes(const RegisterTransport& transport) {
  auto nodes = transport.nodes();
  std::erase_if(nodes, [](const KeeperCandidate& node) { return !node.lends || !node.usable || node.gone; });
  return nodes;
}

env::Task<Result<RegisterConfig>> first_keepers(env::World world, RegisterTransport& transport, Hash order_key,
                                                RegisterId id) {
  auto candidates = keeper_order(order_key, able_nodes(transport));
  const size_t want = keepers_for(candidates.size());
  auto chosen = co_await gather_keepers(world, transport, id, std::move(candidates), want);
  if (chosen.keepers.empty()) co_return fail(Code::too_few_peers, "no node that could keep the register answered");
  cut_to(chosen, keepers_for(chosen.keepers.size()));
  co_return chosen;
}

}  // namespace

std::vector<KeeperCandidate> keeper_order(const Hash& key, std::vector<KeeperCandidate> nodes) {
  sort_by_rendezvous(key, nodes);
  std::map<std::string, size_t> taken;                          // by domain
  std::map<std::pair<size_t, size_t>, KeeperCandidate> ranked;  // by turn, then rank
  for (size_t i = 0; i < nodes.size(); ++i) {
    const size_t turn = taken[nodes[i].domain]++;
    ranked.emplace(std::pair(turn, i), std::move(nodes[i]));
  }
  nodes.clear();
  for (auto& [place, node] : ranked) nodes.push_back(std::move(node));
  return nodes;
}

env::Task<Result<std::optional<RegisterConfig>>> choose_next_keepers(env::World world, RegisterTransport& transport,
                                                                     Founding founding, RegisterConfig now) {
  const auto all = transport.nodes();
  const auto able = able_nodes(transport);
  auto instances = co_await ask_instances(world, transport, founding.id, now.keepers);
  // A keeper that does not answer may be back any moment; it is lost when it has gone for good or has another disk.
  RegisterConfig kept;
  size_t answering = 0;
  for (const bool answers : {true, false}) {
    for (size_t i = 0; i < now.keepers.size(); ++i) {
      if (instances[i].has_value() != answers) continue;
      const auto node = std::ranges::find(all, now.keepers[i], &KeeperCandidate::node);
      const bool gone = node == all.end() || (answers ? !node->lends : node->gone);
      if (gone || (answers && *instances[i] != now.instances[i])) continue;
      kept.keepers.push_back(now.keepers[i]);
      kept.instances.push_back(now.instances[i]);
      if (answers) ++answering;
    }
  }
  const bool lost = kept.keepers.size() < now.keepers.size();
  const size_t should = keepers_for(able.size());
  if (!lost && now.keepers.size() >= should) co_return std::optional<RegisterConfig>();

  RegisterConfig next = kept;
  if (next.keepers.size() < should) {
    auto candidates = keeper_order(founding.order_key, able);
    std::erase_if(candidates, [&](const KeeperCandidate& node) { return has_keeper(kept, node.node); });
    auto more =
        co_await gather_keepers(world, transport, founding.id, std::move(candidates), should - next.keepers.size());
    next.keepers.insert(next.keepers.end(), more.keepers.begin(), more.keepers.end());
    next.instances.insert(next.instances.end(), more.instances.begin(), more.instances.end());
    answering += more.keepers.size();
    // Those that answer first: whoever does not is the first to go when the number must be odd.
    std::rotate(next.keepers.begin(), next.keepers.begin() + static_cast<ptrdiff_t>(kept.keepers.size()),
                next.keepers.end());
    std::rotate(next.instances.begin(), next.instances.begin() + static_cast<ptrdiff_t>(kept.keepers.size()),
                next.instances.end());
  }
  if (next.keepers.empty()) co_return fail(Code::too_few_peers, "no node that could keep the register answered");
  cut_to(next, std::min(keepers_for(next.keepers.size()), std::max(should, size_t{1})));
  if (std::min(answering, next.keepers.size()) < majority(next)) {
    co_return fail(Code::too_few_peers, "too few nodes that could keep the register answered");
  }
  next.epoch = now.epoch + 1;
  const auto as_set = [](const RegisterConfig& config) {
    std::set<std::pair<NodeId, KeeperInstance>> set;
    for (size_t i = 0; i < config.keepers.size(); ++i) set.emplace(config.keepers[i], config.instances[i]);
    return set;
  };
  if (as_set(next) == as_set(now)) co_return std::optional<RegisterConfig>();
  co_return std::optional<RegisterConfig>(std::move(next));
}

env::Task<Result<RegisterConfig>> choose_after_force(env::World world, RegisterTransport& transport,
                                                     Founding founding) {
  auto config = co_await first_keepers(world, transport, founding.order_key, founding.id);
  co_return config;
}

env::Task<Result<RegisterConfig>> choose_first_keepers(env::World world, RegisterTransport& transport, Bytes founding) {
  auto parsed = parse_founding(founding);
  if (!parsed) co_return fail(std::move(parsed.error()));
  auto config = co_await first_keepers(world, transport, parsed->order_key, parsed->id);
  co_return config;
}

Bytes account_founding(const PoolId& pool, ByteView owner_key) {
  wire::RegisterFounding message;
  message.set_version(1);
  message.set_pool(pool.raw());
  message.set_kind(wire::RegisterFounding::ACCOUNT);
  message.set_owner_key(owner_key.data(), owner_key.size());
  return wire::encode(message);
}

env::Task<Result<Bytes>> found_head(env::World world, RegisterTransport& transport) {
  const peer::Identity& identity = transport.identity();
  wire::RegisterFounding message;
  message.set_version(1);
  message.set_pool(identity.pool.raw());
  message.set_kind(wire::RegisterFounding::HEAD);
  message.set_owner_key(to_string(ByteView(identity.member.public_key)));
  Bytes nonce(kFoundingNonceSize);
  world.random.fill(nonce);
  message.set_nonce(to_string(ByteView(nonce)));
  const Hash order_key = founding_order_key(message);
  // The register's name is known only once its keepers are: peeks for instances need none.
  auto first = co_await first_keepers(world, transport, order_key, RegisterId{});
  if (!first) co_return fail(std::move(first.error()));
  put_config(*first, message.mutable_first());
  co_return wire::encode(message);
}

}  // namespace cairn::volume
