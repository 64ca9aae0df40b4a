// The rules of repair, each by itself.
#include <catch2/catch.hpp>

#include "pool/repair_rules.h"

namespace cairn::pool {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

NodeId node(uint8_t number) {
  NodeId id;
  id.bytes.fill(number);
  return id;
}

Time at(Duration since) {
  return Time{hours(1000)} + since;
}

// Slot i is held by node i + 1; the pack is seen by node 1.
PackState pack_of(uint32_t k, uint32_t m) {
  PackState pack{.k = k, .self = node(1)};
  pack.id.bytes.fill(7);
  for (uint32_t i = 0; i < k + m; ++i) {
    PackState::Slot slot;
    slot.holders.push_back({.node = node(static_cast<uint8_t>(i + 1))});
    pack.slots.push_back(slot);
  }
  return pack;
}
void depart(PackState& pack, size_t slot, Time when) {
  pack.slots[slot].holders[0].presence = Presence::away;
  pack.slots[slot].holders[0].away_since = when;
}
Duration wait_of(const PackState& pack, Time now) {
  const auto found = assess(pack, {}, std::nullopt, now);
  REQUIRE(!found.needs.empty());
  return found.needs.front().due - now;
}

}  // namespace

TEST_CASE("the grace of a departed node's slots follows the margin that is left") {
  for (const auto& [m, lost, grace] : {std::tuple{8U, 1U, kLongestGrace},
                                       {4U, 1U, kGraceAtThree},
                                       {3U, 1U, kGraceAtTwo},
                                       {2U, 1U, kGraceAtOne},
                                       {2U, 2U, Duration{}},
                                       {1U, 1U, Duration{}},
                                       {2U, 3U, Duration{}}}) {
    PackState pack = pack_of(4, m);
    for (size_t slot = 0; slot < lost; ++slot) depart(pack, slot + 1, at(seconds(0)));
    const auto found = assess(pack, {}, std::nullopt, at(seconds(0)));
    INFO("m=" << m << " lost=" << lost);
    CHECK(found.margin == static_cast<int>(m) - static_cast<int>(lost));
    CHECK(found.needs.size() == lost);
    CHECK(found.needs.front().due == at(grace));
  }
  CHECK(kGraceAtOne < hours(1));
  CHECK(kGraceAtTwo >= hours(24));
  CHECK(kLongestGrace == hours(72));
}

TEST_CASE("a whole pack needs nothing, and a returned node's copy counts again") {
  PackState pack = pack_of(4, 2);
  CHECK(assess(pack, {}, std::nullopt, at({})).needs.empty());
  depart(pack, 3, at({}));
  CHECK(assess(pack, {}, std::nullopt, at({})).needs.size() == 1);
  pack.slots[3].holders[0].presence = Presence::there;
  CHECK(assess(pack, {}, std::nullopt, at({})).needs.empty());
}

TEST_CASE("what is lost for good is not waited for") {
  PackState pack = pack_of(4, 4);
  pack.slots[2].holders[0].presence = Presence::lost;
  pack.slots[2].noticed = at({});
  CHECK(wait_of(pack, at({})) == kSettleLoss);
  pack.slots[2].holders.clear();  // said so itself
  CHECK(wait_of(pack, at({})) == kSettleLoss);
}

TEST_CASE("a slot that nobody claimed waits for its writer, and counts meanwhile") {
  PackState pack = pack_of(4, 2);
  for (size_t slot : {1U, 2U, 3U, 4U}) {
    pack.slots[slot].holders.clear();
    pack.slots[slot].never_claimed = true;
    pack.slots[slot].noticed = at({});
  }
  const auto young = assess(pack, {}, std::nullopt, at({}));
  CHECK(young.margin == 2);
  CHECK(young.needs.size() == 4);
  CHECK(young.needs.front().due == at(kUnclaimedGrace));
  const auto old = assess(pack, {}, std::nullopt, at(kUnclaimedGrace));
  CHECK(old.margin == -2);
  CHECK(old.needs.front().due <= at(kUnclaimedGrace));
}

TEST_CASE("a leaving holder's shard is read and replaced") {
  PackState pack = pack_of(4, 2);
  pack.slots[2].holders[0].state = ClaimState::leaving;
  pack.slots[2].noticed = at({});
  const auto found = assess(pack, {}, std::nullopt, at({}));
  CHECK(found.margin == 2);
  REQUIRE(found.needs.size() == 1);
  CHECK(found.needs[0].due == at(kLeavingGrace));
  pack.slots[2].holders.push_back({.node = node(50)});
  CHECK(assess(pack, {}, std::nullopt, at({})).needs.empty());
}

TEST_CASE("the slots of a pack are due in the order of their waits") {
  PackState pack = pack_of(4, 4);
  depart(pack, 1, at(hours(-1)));
  pack.slots[5].holders[0].presence = Presence::lost;
  pack.slots[5].noticed = at({});
  const auto found = assess(pack, {}, std::nullopt, at({}));
  REQUIRE(found.needs.size() == 2);
  CHECK(found.needs[0].slot == 5);
  CHECK(found.needs[1].slot == 1);
  CHECK(found.needs[1].due == at(hours(-1)) + kGraceAtTwo);
}

TEST_CASE("a node that believes itself cut off repairs only what is in danger") {
  PackState pack = pack_of(4, 2);
  depart(pack, 1, at(hours(-10)));
  const Time until = at(hours(5));
  CHECK(assess(pack, {}, until, at({})).needs.front().due == until);
  depart(pack, 2, at(hours(-10)));
  CHECK(assess(pack, {}, until, at({})).needs.front().due <= at({}));
}

TEST_CASE("more than a quarter gone at once means that this node is cut off, for a while") {
  const RepairTimes times;
  const auto gone = [&](size_t together, size_t there, Duration apart, Duration ago) {
    std::vector<Time> departures;
    for (size_t i = 0; i < together; ++i) departures.push_back(at(-ago) - apart * static_cast<int64_t>(i));
    return cut_off_until(departures, there, times, at({}));
  };
  CHECK(!gone(0, 10, {}, {}));
  CHECK(!gone(2, 8, seconds(1), {}));
  CHECK(gone(3, 8, seconds(1), {}));
  CHECK(*gone(3, 8, seconds(1), minutes(5)) == at(-minutes(5)) + kCutOffLasts);
  CHECK(!gone(3, 8, kVanishWindow * 2, {}));     // one after the other
  CHECK(!gone(3, 8, seconds(1), kCutOffLasts));  // they do not come back
}

TEST_CASE("of several copies all nodes agree who keeps, and who has just proven nothing is not counted") {
  PackState pack = pack_of(2, 2);
  pack.slots[0].holders.push_back({.node = node(9)});
  pack.slots[0].holders.push_back({.node = node(10)});
  const ShardId shard{pack.id, 0};
  std::set<NodeId> drops;
  NodeId keeper;
  for (const uint8_t one : {1, 9, 10}) {
    pack.self = node(one);
    const auto found = assess(pack, {}, std::nullopt, at({}));
    CHECK(found.needs.empty());
    if (found.surplus.empty()) continue;
    drops.insert(pack.self);
    keeper = found.surplus[0].keeper;
    CHECK(found.surplus[0].slot == 0);
    CHECK(keeps_before(shard, keeper, pack.self));
  }
  CHECK(drops.size() == 2);
  CHECK(!drops.contains(keeper));
  // The keeper is away, leaving or distrusted: nobody drops for its sake.
  for (int how = 0; how < 3; ++how) {
    PackState other = pack_of(2, 2);
    other.slots[0].holders = {{.node = keeper}, {.node = *drops.begin()}};
    other.self = *drops.begin();
    CHECK(assess(other, {}, std::nullopt, at({})).surplus.size() == 1);
    if (how == 0) other.slots[0].holders[0].presence = Presence::away;
    if (how == 1) other.slots[0].holders[0].presence = Presence::lost;
    if (how == 2) other.slots[0].holders[0].state = ClaimState::leaving;
    CHECK(assess(other, {}, std::nullopt, at({})).surplus.empty());
  }
}

TEST_CASE("each sibling that is there has its own rank") {
  PackState pack = pack_of(4, 2);
  depart(pack, 5, at({}));
  std::set<size_t> ranks;
  for (uint8_t one = 1; one <= 5; ++one) {
    pack.self = node(one);
    ranks.insert(repair_rank(pack));
  }
  CHECK(ranks == std::set<size_t>{0, 1, 2, 3, 4});
}

}  // namespace cairn::pool
