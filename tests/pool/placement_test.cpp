// Placement: what the header promises, over many random pools.
#include "pool/placement.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "crypto/hash.h"
#include "env/random.h"
#include "pool/limits.h"

namespace cairn::pool {
namespace {

NodeId node_id(uint64_t n) {
  Bytes raw;
  append_be64(raw, n);
  return id_cast<NodeId>(crypto::sha256(raw));
}
PackId pack_id(uint64_t n) {
  Bytes raw;
  append_be64(raw, n);
  return id_cast<PackId>(crypto::sha256({as_bytes("pack"), ByteView(raw)}));
}
// `count` nodes, each in a domain of its own.
std::vector<Candidate> nodes(size_t count, uint64_t free = kGiB) {
  std::vector<Candidate> made;
  for (size_t i = 0; i < count; ++i) made.push_back({node_id(i), "domain-" + std::to_string(i), free});
  return made;
}
std::vector<NodeId> ids(const std::vector<Candidate>& candidates) {
  std::vector<NodeId> out;
  for (const auto& c : candidates) out.push_back(c.node);
  return out;
}
std::map<std::string, uint32_t> by_domain(const std::vector<Candidate>& candidates) {
  std::map<std::string, uint32_t> count;
  for (const auto& c : candidates) ++count[c.domain];
  return count;
}

// The quantile beyond which a binomial count strays once in 10^9: six standard deviations and a little.
void require_near(double seen, double trials, double share) {
  const double expected = trials * share;
  const double bound = 6 * std::sqrt(trials * share * (1 - share)) + 3;
  INFO("seen " << seen << " expected " << expected << " +- " << bound);
  REQUIRE(std::abs(seen - expected) <= bound);
}

}  // namespace

TEST_CASE("a pack's code is weak, wide or costly by the table of the domains there are") {
  const auto fit = [](uint32_t k, uint32_t m, size_t domains) {
    return fit_of({.k = k, .m = m, .shard_length = 0}, {.code = geometry_for(domains), .domains = domains});
  };
  for (size_t domains = 1; domains <= 40; ++domains) {
    const auto code = geometry_for(domains);
    CHECK(fit(code.k, code.m, domains) == Fit::right);
  }
  CHECK(fit(1, 0, 2) == Fit::weak);
  CHECK(fit(1, 1, 3) == Fit::weak);
  CHECK(fit(1, 2, 4) == Fit::costly);
  CHECK(fit(1, 2, 6) == Fit::costly);
  CHECK(fit(2, 2, 6) == Fit::costly);
  CHECK(fit(4, 2, 8) == Fit::weak);
  CHECK(fit(5, 3, 6) == Fit::wide);
  CHECK(fit(2, 2, 3) == Fit::wide);
  CHECK(fit(1, 2, 2) == Fit::wide);
  CHECK(fit(1, 1, 1) == Fit::right);   // two nodes of one domain: better than one
  CHECK(fit(8, 4, 12) == Fit::right);  // one domain fewer than it was written for: nothing is gained
}

TEST_CASE("redundancy follows the number of live domains") {
  const std::map<size_t, std::pair<uint32_t, uint32_t>> table = {
      {0, {1, 0}},  {1, {1, 0}},  {2, {1, 1}},   {3, {1, 2}},     {4, {2, 2}},
      {5, {2, 2}},  {6, {4, 2}},  {7, {4, 2}},   {8, {5, 3}},     {12, {5, 3}},
      {13, {8, 4}}, {24, {8, 4}}, {25, {16, 8}}, {1000, {16, 8}}, {100'000, {16, 8}}};
  for (const auto& [domains, code] : table) {
    const auto geometry = geometry_for(domains);
    REQUIRE(std::pair(geometry.k, geometry.m) == code);
    REQUIRE(geometry.k + geometry.m <= kMaxSlots);
    // A pack of the table always fits with every shard in a domain of its own.
    REQUIRE(geometry.k + geometry.m <= std::max<size_t>(domains, 1));
  }
}

TEST_CASE("the quorum keeps one more than k wherever there is parity") {
  auto quorum = [](uint32_t k, uint32_t m) { return commit_quorum({.k = k, .m = m, .shard_length = 0}); };
  REQUIRE(quorum(1, 0) == 1);
  REQUIRE(quorum(1, 1) == 2);
  REQUIRE(quorum(1, 2) == 2);
  REQUIRE(quorum(2, 2) == 3);
  REQUIRE(quorum(4, 2) == 5);
  REQUIRE(quorum(5, 3) == 7);
  REQUIRE(quorum(8, 4) == 10);
  REQUIRE(quorum(16, 8) == 20);
  for (uint32_t m = 1; m < kMaxSlots; ++m) {
    REQUIRE(quorum(1, m) >= 2);
    REQUIRE(quorum(1, m) <= 1 + m);
    REQUIRE(domain_cap(m) == std::max(1U, m / 2));
  }
}

TEST_CASE("placement depends on nothing but its input, and not on the input's order") {
  env::Prng random(1);
  for (const size_t count : {3UL, 30UL, 300UL}) {
    auto pool = nodes(count);
    for (auto& c : pool) c.free = random.between(kMiB, kTiB);
    for (uint64_t p = 0; p < 20; ++p) {
      const auto first = ids(place(pack_id(p), 24, kMaxShardSize, pool));
      random.shuffle(pool);
      REQUIRE(ids(place(pack_id(p), 24, kMaxShardSize, pool)) == first);
    }
  }
  // Fixed for all time: repair and writers of other versions must agree.
  const auto holders = ids(place(pack_id(7), 6, kMaxShardSize, nodes(10)));
  std::string text;
  for (const auto& id : holders) text += id.short_hex() + " ";
  REQUIRE(text == "a3eb8db8 af5570f5 59245135 cd266215 5dee4dd6 cd04a475 ");
}

TEST_CASE("nodes are distinct, have room, and are fewer than asked only when the pool is") {
  env::Prng random(2);
  for (int round = 0; round < 300; ++round) {
    std::vector<Candidate> pool;
    const size_t count = random.between(1, round % 10 == 0 ? 400 : 40);
    for (size_t i = 0; i < count; ++i) {
      pool.push_back({node_id(random.next()), "d" + std::to_string(random.below(12)),
                      random.chance(0.3) ? random.below(kMaxShardSize) : random.between(kMaxShardSize, kTiB)});
    }
    const auto roomy = static_cast<size_t>(
        std::count_if(pool.begin(), pool.end(), [](const Candidate& c) { return c.free >= kMaxShardSize; }));
    const auto slots = static_cast<uint32_t>(random.between(1, kMaxSlots));
    const auto holders = place(pack_id(random.next()), slots, kMaxShardSize, pool);
    REQUIRE(holders.size() == std::min<size_t>(slots, roomy));
    std::set<NodeId> distinct;
    for (const auto& c : holders) {
      REQUIRE(c.free >= kMaxShardSize);
      REQUIRE(distinct.insert(c.node).second);
    }
    // As even over domains as their nodes allow: a domain has two more than another only when that one has no more
    // nodes.
    const auto used = by_domain(holders);
    std::map<std::string, uint32_t> room;
    for (const auto& c : pool) room[c.domain] += c.free >= kMaxShardSize ? 1 : 0;
    for (const auto& [domain, shards] : used) {
      for (const auto& [other, nodes_there] : room) {
        const auto there = used.contains(other) ? used.at(other) : 0;
        if (there < nodes_there) REQUIRE(shards <= there + 1);
      }
    }
  }
}

TEST_CASE("a domain passes its cap only where the pool has too few domains") {
  for (const auto& [k, m] : {std::pair{4U, 2U}, {8U, 4U}, {16U, 8U}, {1U, 2U}}) {
    for (uint32_t domains = 1; domains <= 30; ++domains) {
      std::vector<Candidate> pool;
      for (uint64_t i = 0; i < 90; ++i) pool.push_back({node_id(i), "d" + std::to_string(i % domains), kGiB});
      const auto holders = place(pack_id(domains), k + m, kMaxShardSize, pool);
      REQUIRE(holders.size() == k + m);
      uint32_t most = 0;
      for (const auto& [domain, shards] : by_domain(holders)) most = std::max(most, shards);
      REQUIRE(most == (k + m + domains - 1) / domains);
      if (domains * domain_cap(m) >= k + m) REQUIRE(most <= domain_cap(m));
    }
  }
}

TEST_CASE("the first choice is balanced by weight") {
  auto pool = nodes(8);
  double total = 0;
  for (size_t i = 0; i < pool.size(); ++i) {
    pool[i].free = (i + 1) * (i + 1) * kGiB;  // 1 to 64 GiB
    total += static_cast<double>(pool[i].free);
  }
  constexpr int kPacks = 20'000;
  std::map<NodeId, int> first;
  for (int p = 0; p < kPacks; ++p) ++first[rendezvous_order(pack_id(static_cast<uint64_t>(p)).view(), pool)[0].node];
  for (const auto& c : pool) require_near(first[c.node], kPacks, static_cast<double>(c.free) / total);
}

TEST_CASE("equal nodes hold equally much, in a small pool and in a large one") {
  for (const size_t count : {40UL, 250UL}) {
    const auto pool = nodes(count);
    constexpr int kPacks = 3000;
    std::map<NodeId, int> held;
    for (int p = 0; p < kPacks; ++p) {
      for (const auto& c : place(pack_id(static_cast<uint64_t>(p)), 24, kMaxShardSize, pool)) ++held[c.node];
    }
    for (const auto& c : pool) require_near(held[c.node], kPacks, 24.0 / static_cast<double>(count));
  }
}

TEST_CASE("in a large pool a node with twice the room gets about twice as much") {
  auto pool = nodes(300);
  for (size_t i = 0; i < pool.size(); i += 2) pool[i].free = 2 * kGiB;
  double small = 0;
  double large = 0;
  for (uint64_t p = 0; p < 2000; ++p) {
    for (const auto& c : place(pack_id(p), 12, kMaxShardSize, pool)) (c.free == kGiB ? small : large) += 1;
  }
  // Half of a window is taken, so the large ones cannot get quite twice as much.
  REQUIRE(large / small > 1.5);
  REQUIRE(large / small < 2.1);
}

TEST_CASE("new nodes fill up by preference, and a pool is full everywhere at the same time") {
  for (const size_t count : {20UL, 60UL, 250UL}) {
    constexpr uint64_t kRoom = 400;  // shards
    auto pool = nodes(count, kRoom / 5 * kMaxShardSize);
    const size_t fresh = count / 10;  // these have just come; the others are full to four fifths
    for (size_t i = 0; i < fresh; ++i) pool[i * 10].free = kRoom * kMaxShardSize;
    uint64_t left = (kRoom * fresh + kRoom / 5 * (count - fresh)) * 9 / 10;  // shards that are still written
    const uint64_t early = left - left / 4;
    std::pair<double, double> first;  // shards for each new and each old node, of the first quarter
    for (uint64_t p = 0; left >= 6; ++p, left -= 6) {
      const auto holders = place(pack_id(p), 6, kMaxShardSize, pool);
      REQUIRE(holders.size() == 6);
      for (const auto& holder : holders) {
        const auto node = std::ranges::find(pool, holder.node, &Candidate::node);
        const bool is_new = (node - pool.begin()) % 10 == 0 && static_cast<size_t>(node - pool.begin()) < fresh * 10;
        if (left > early) (is_new ? first.first : first.second) += 1;
        node->free -= kMaxShardSize;
      }
    }
    INFO(count << " nodes");
    first.first /= static_cast<double>(fresh);
    first.second /= static_cast<double>(count - fresh);
    CHECK(first.first > 2.5 * first.second);
    double full_new = 0, full_old = 0;
    for (size_t i = 0; i < count; ++i) {
      const double full = 1 - static_cast<double>(pool[i].free) / static_cast<double>(kRoom * kMaxShardSize);
      (i % 10 == 0 && i < fresh * 10 ? full_new : full_old) += full;
    }
    CHECK(full_new / static_cast<double>(fresh) > 0.7);
    CHECK(full_old / static_cast<double>(count - fresh) > 0.9);
  }
}

TEST_CASE("a node that leaves moves only its own shards, one that comes takes only its own") {
  const auto pool = nodes(20);
  int moved = 0;
  constexpr int kPacks = 500;
  for (uint64_t p = 0; p < kPacks; ++p) {
    const auto before = ids(place(pack_id(p), 6, kMaxShardSize, pool));
    auto smaller = pool;
    smaller.erase(smaller.begin() + 5);
    const auto after = ids(place(pack_id(p), 6, kMaxShardSize, smaller));
    const std::set<NodeId> now(after.begin(), after.end());
    for (const auto& id : before) {
      if (now.contains(id)) continue;
      REQUIRE(id == pool[5].node);
      ++moved;
    }
    // The order of those that stay is the same.
    std::vector<NodeId> stayed;
    for (const auto& id : before) {
      if (now.contains(id)) stayed.push_back(id);
    }
    REQUIRE(std::equal(stayed.begin(), stayed.end(), after.begin()));
  }
  require_near(moved, kPacks, 6.0 / 20);
}

TEST_CASE("in a large pool a change of one node moves little more than its own shards") {
  const auto pool = nodes(300);
  auto larger = pool;
  larger.push_back({node_id(9999), "new", kGiB});
  int moved = 0;
  constexpr int kPacks = 600;
  for (uint64_t p = 0; p < kPacks; ++p) {
    const auto before = ids(place(pack_id(p), 12, kMaxShardSize, pool));
    const auto after = ids(place(pack_id(p), 12, kMaxShardSize, larger));
    const std::set<NodeId> now(after.begin(), after.end());
    for (const auto& id : before) moved += now.contains(id) ? 0 : 1;
  }
  // Its own share is 12 / 301 of the packs; window borders and anchors that shift add a few times that.
  REQUIRE(moved > 0);
  REQUIRE(moved < kPacks * 12 * 0.02);
}

TEST_CASE("in a large pool a node shares packs with a bounded number of others") {
  const auto pool = nodes(300);
  std::map<NodeId, std::set<NodeId>> shared;
  for (uint64_t p = 0; p < 1200; ++p) {
    const auto holders = ids(place(pack_id(p), 24, kMaxShardSize, pool));
    for (const auto& a : holders) shared[a].insert(holders.begin(), holders.end());
  }
  size_t widest = 0;
  for (const auto& [node, others] : shared) widest = std::max(widest, others.size() - 1);
  REQUIRE(widest <= kScatterWidth);
  REQUIRE(widest >= 50);
}

TEST_CASE("a large pool of few domains still gets every shard a domain of its own") {
  std::vector<Candidate> pool;
  // 25 domains, of which one has most of the nodes.
  for (uint64_t i = 0; i < 600; ++i) pool.push_back({node_id(i), i < 500 ? "big" : "d" + std::to_string(i % 24), kGiB});
  for (uint64_t p = 0; p < 50; ++p) {
    const auto holders = place(pack_id(p), 24, kMaxShardSize, pool);
    REQUIRE(holders.size() == 24);
    REQUIRE(by_domain(holders).size() == 24);
  }
}

TEST_CASE("replacements come in order and from the domains that hold least") {
  std::vector<Candidate> pool;
  for (uint64_t i = 0; i < 12; ++i) pool.push_back({node_id(i), "d" + std::to_string(i / 2), kGiB});
  Placer placer(pack_id(1), 6, kMaxShardSize, pool);
  std::vector<Candidate> first;
  for (int i = 0; i < 6; ++i) first.push_back(*placer.next());
  REQUIRE(by_domain(first).size() == 6);
  // The replacement of a failed node comes from its own domain: all others hold one already.
  placer.take_back(first[2]);
  const auto replacement = placer.next();
  REQUIRE(replacement);
  REQUIRE(replacement->domain == first[2].domain);
  REQUIRE(replacement->node != first[2].node);
  size_t rest = 0;
  while (placer.next()) ++rest;
  REQUIRE(rest == 5);
  REQUIRE(placer.left() == 0);
}

TEST_CASE("a full pool places nothing") {
  REQUIRE(place(pack_id(1), 3, kMaxShardSize, nodes(10, kMaxShardSize - 1)).empty());
  REQUIRE(place(pack_id(1), 3, kMaxShardSize, {}).empty());
  REQUIRE(place(pack_id(1), 3, 0, nodes(10, 0)).empty());
  // The same node given twice is one node.
  auto twice = nodes(3);
  const auto again = nodes(3);
  twice.insert(twice.end(), again.begin(), again.end());
  REQUIRE(place(pack_id(1), 6, kMaxShardSize, twice).size() == 3);
}

}  // namespace cairn::pool
