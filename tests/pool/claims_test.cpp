// The index of claims: who is told what, beside a plain model of it.
#include "pool/claims.h"

#include <catch2/catch.hpp>
#include <map>

#include "env/random.h"
#include "sim/disk.h"
#include "sim/trace.h"

namespace cairn::pool {

namespace {

NodeId node_of(uint8_t number) {
  NodeId node;
  node.bytes.fill(number);
  return node;
}

}  // namespace

TEST_CASE(
    "each node is told the newest of each claim, the oldest first, whatever comes between, also after a restart") {
  const auto seed = GENERATE(range(1, 9));
  INFO("seed " << seed);
  env::Prng prng(static_cast<uint64_t>(seed));
  sim::Trace trace;
  sim::SimDisk disk(1, trace, "node");
  crypto::Key key{};
  key.fill(9);
  const auto device = crypto::PrivateKey::from_seed(key);
  const NodeId self = node_of(200);
  auto opened = ClaimIndex::open(disk, "claims", self);
  REQUIRE(opened);
  auto index = std::move(*opened);

  using Number = std::pair<uint64_t, uint64_t>;
  std::map<ShardId, Number> newest;
  std::map<NodeId, std::map<Number, ShardId>> model;
  uint64_t boot = 1;
  uint64_t sequence = 0;
  const auto shard_of = [](uint64_t number) {
    ShardId shard;
    shard.pack.bytes.fill(static_cast<uint8_t>(number * 41));
    return shard;
  };
  const auto note = [&](const NodeId& node, const ShardId& shard) { model[node][newest[shard]] = shard; };
  const auto expected = [&](const NodeId& node, size_t limit) {
    std::vector<ShardId> shards;
    for (const auto& [number, shard] : model[node]) {
      if (shards.size() < limit) shards.push_back(shard);
    }
    return shards;
  };
  const auto change = [&] {
    const NodeId node = node_of(static_cast<uint8_t>(1 + prng.below(3)));
    const ShardId shard = shard_of(prng.below(40));
    if (prng.below(3) > 0) {
      newest[shard] = {boot, ++sequence};
      note(node, shard);
      REQUIRE(index->announce({{Claim::make(device, self, shard, boot, sequence, ClaimState::held), {node}}}));
    } else {
      if (newest.contains(shard)) note(node, shard);
      REQUIRE(index->tell(node, {shard.pack}));
    }
  };
  for (int step = 0; step < 300; ++step) {
    change();
    if (prng.below(3) == 0) {
      const NodeId node = node_of(static_cast<uint8_t>(1 + prng.below(3)));
      const size_t limit = 1 + prng.below(8);
      auto list = index->untold(node, limit);
      REQUIRE(list);
      std::vector<ShardId> shards;
      for (const auto& entry : *list) {
        shards.push_back(entry.claim.shard);
        REQUIRE(Number(entry.claim.boot_seq, entry.claim.sequence) == newest[entry.claim.shard]);
      }
      REQUIRE(shards == expected(node, limit));
      std::vector<Number> numbers;
      for (const auto& [number, shard] : model[node]) {
        if (numbers.size() < limit) numbers.push_back(number);
      }
      for (uint64_t i = prng.below(3); i > 0; --i) change();  // while they are on their way
      if (prng.below(4) > 0) {
        for (const Number& number : numbers) model[node].erase(number);
        REQUIRE(index->told(node, *list));
      }
    }
    if (prng.below(40) == 0) {
      index.reset();
      auto again = ClaimIndex::open(disk, "claims", self);
      REQUIRE(again);
      index = std::move(*again);
      ++boot;
      sequence = 0;
    }
  }
  for (uint8_t number = 1; number <= 3; ++number) {
    const NodeId node = node_of(number);
    const auto nodes = index->untold_nodes();
    if (!model[node].empty()) REQUIRE(std::ranges::count(nodes, node) == 1);
    auto list = index->untold(node, 1000);
    REQUIRE(list);
    std::vector<ShardId> shards;
    for (const auto& entry : *list) shards.push_back(entry.claim.shard);
    REQUIRE(shards == expected(node, 1000));
    REQUIRE(index->told(node, *list));
  }
  REQUIRE(index->untold_nodes().empty());
}

}  // namespace cairn::pool
