// The Balancer: which shards should lie elsewhere.
#include "pool/rebalance.h"

#include <catch2/catch.hpp>

#include "crypto/hash.h"
#include "pool/limits.h"

namespace cairn::pool {
namespace {

NodeId node(size_t i) {
  return id_cast<NodeId>(crypto::sha256(as_bytes("node" + std::to_string(i))));
}

struct Plan {
  struct Pack {
    PackId id;
    content::PackGeometry geometry;
    std::vector<NodeId> holders;
  };
  std::vector<NodeFill> nodes;
  std::vector<Pack> packs;

  void add_node(uint64_t size, std::string domain = {}) {
    const size_t i = nodes.size();
    nodes.push_back({node(i), domain.empty() ? "d" + std::to_string(i) : std::move(domain), 0, size});
  }
  void hold(const NodeId& holder, int64_t bytes) {
    for (NodeFill& one : nodes) {
      if (one.node != holder) continue;
      one.used += static_cast<uint64_t>(bytes);
      one.free -= static_cast<uint64_t>(bytes);
    }
  }
  void write(size_t count, uint32_t k, uint32_t m, uint32_t length = 4 * kMiB) {
    for (size_t i = 0; i < count; ++i) {
      Pack pack{id_cast<PackId>(crypto::sha256(as_bytes("pack" + std::to_string(packs.size())))), {k, m, length}, {}};
      std::vector<Candidate> candidates;
      for (const NodeFill& one : nodes) candidates.push_back({one.node, one.domain, one.free});
      for (const Candidate& c : place(pack.id, k + m, length, candidates)) {
        pack.holders.push_back(c.node);
        hold(c.node, length);
      }
      packs.push_back(std::move(pack));
    }
  }
  // One run over all packs; how many moves.
  size_t run() {
    Balancer balancer(nodes);
    size_t count = 0;
    for (Pack& pack : packs) {
      for (const ShardMove& move : balancer.plan(pack.id, pack.geometry, pack.holders)) {
        REQUIRE(pack.holders.at(move.shard.slot) == move.from);
        REQUIRE(std::ranges::find(pack.holders, move.to) == pack.holders.end());
        pack.holders[move.shard.slot] = move.to;
        hold(move.from, -static_cast<int64_t>(move.bytes));
        hold(move.to, static_cast<int64_t>(move.bytes));
        ++count;
      }
    }
    return count;
  }
  std::pair<double, double> levels() const { return Balancer(nodes).levels(); }
  uint32_t most_in_a_domain() const {
    uint32_t most = 0;
    for (const Pack& pack : packs) {
      std::map<std::string, uint32_t> shards;
      for (const NodeId& holder : pack.holders)
        most = std::max(most, ++shards[std::ranges::find(nodes, holder, &NodeFill::node)->domain]);
    }
    return most;
  }
};

}  // namespace

TEST_CASE("new nodes fill up to the level of the others, and a second run finds nothing to do") {
  Plan plan;
  for (int i = 0; i < 6; ++i) plan.add_node(2 * kGiB);
  plan.write(150, 4, 2);
  for (int i = 0; i < 4; ++i) plan.add_node(i == 0 ? kGiB : 2 * kGiB);
  const auto [least, most] = plan.levels();
  REQUIRE(least == 0);
  REQUIRE(most > 0.25);
  CHECK(plan.run() > 100);
  const auto [low, high] = plan.levels();
  CHECK(high - low <= kLevelBand);
  CHECK(plan.most_in_a_domain() == 1);
  CHECK(plan.run() == 0);
}

TEST_CASE("nodes that are about as full as each other are left alone") {
  Plan plan;
  for (int i = 0; i < 8; ++i) plan.add_node(2 * kGiB);
  plan.write(100, 4, 2);
  const auto [least, most] = plan.levels();
  REQUIRE(most - least < kLevelBand);
  CHECK(plan.run() == 0);
}

TEST_CASE("a domain that holds more of a pack than it should gives some to domains that came") {
  Plan plan;
  for (int i = 0; i < 6; ++i) plan.add_node(2 * kGiB, "d" + std::to_string(i / 2));
  plan.write(40, 4, 2);
  REQUIRE(plan.most_in_a_domain() == 2);
  for (int i = 0; i < 3; ++i) plan.add_node(2 * kGiB);
  plan.run();
  CHECK(plan.most_in_a_domain() == 1);
  for (int runs = 0; plan.run() > 0; ++runs) REQUIRE(runs < 3);
  CHECK(plan.most_in_a_domain() == 1);
}

TEST_CASE("no move is planned onto a node without room, nor of a pack that lacks a shard") {
  Plan plan;
  for (int i = 0; i < 6; ++i) plan.add_node(2 * kGiB);
  plan.write(100, 4, 2);
  plan.add_node(8 * kMiB);  // two shards
  plan.run();
  CHECK(plan.nodes.back().used <= 8 * kMiB);
  plan.add_node(2 * kGiB);
  for (auto& pack : plan.packs) pack.holders[2] = {};
  CHECK(plan.run() == 0);
}

}  // namespace cairn::pool
