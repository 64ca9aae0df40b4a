// Writing, reading and holding packs over simulated machines, with the faults that a pool must survive.
#include <catch2/catch.hpp>

#include "cluster.h"

namespace cairn::pool {
namespace {
using std::chrono::seconds;
}

TEST_CASE("every geometry survives the loss of m holders and names the loss of one more") {
  for (const size_t holders : {1UL, 2UL, 3UL, 4UL, 6UL, 8UL, 13UL, 25UL}) {
    Cluster pool(holders);
    const auto pack = pool.pack_now();
    const auto geometry = pack.header.geometry;
    INFO("(" << geometry.k << "," << geometry.m << ")");
    REQUIRE(geometry.k == geometry_for(holders).k);
    const PackRef ref = pool.write_all(pack);
    pool.require_readable(ref, pack);
    REQUIRE(pool.client->counters().data.requests == geometry.k);
    for (uint32_t slot = 0; slot < geometry.m; ++slot) pool.crash(pool.index_of(ref.holders[slot]));
    pool.require_readable(ref, pack);
    if (geometry.m == 0) continue;
    pool.crash(pool.index_of(ref.holders[geometry.m]));
    auto lost = pool.read(ref, pack, 0, 100, 4096);
    REQUIRE(!lost);
    REQUIRE(lost.error().code == Code::too_few_peers);
  }
}

TEST_CASE("a small read asks one holder for just its range") {
  Cluster pool(6);
  const auto pack = pool.pack_now();
  const PackRef ref = pool.write_all(pack);
  REQUIRE(pool.read(ref, pack, 2, 5000, 4096));
  const auto counters = pool.client->counters();
  REQUIRE(counters.data.requests == 1);
  REQUIRE(counters.data.holders == 1);
  REQUIRE(counters.data.bytes >= 4096);
  REQUIRE(counters.data.bytes < 4096 + 128);  // frame and body
  REQUIRE(counters.tree.requests == 0);
  REQUIRE(counters.degraded_reads == 0);
  // A range over a border of lanes is one range of each.
  const uint32_t length = ref.geometry.shard_length;
  auto crossing = pool.sim.run(pool.client->read(ref, length - 10, 30, {}));
  REQUIRE(crossing);
  REQUIRE(equal(crossing->view().first(10), pack.shards[0].view().last(10)));
  REQUIRE(equal(crossing->view().last(20), pack.shards[1].view().first(20)));
  REQUIRE(pool.client->counters().data.requests == 3);
  auto beyond = pool.sim.run(pool.client->read(ref, 4 * length - 1, 2, {}));
  REQUIRE(beyond.error().code == Code::bad_input);
}

TEST_CASE("what a decoding fetched of other lanes is not asked for again") {
  Cluster pool(6);
  const auto pack = pool.pack(4, 2, 400'000);
  const PackRef ref = pool.write_all(pack);
  for (const uint32_t slot : {0U, 2U}) pool.crash(pool.index_of(ref.holders[slot]));
  REQUIRE(pool.read(ref, pack, 0, 10'000, 200'000));
  const auto requests = [&] { return pool.client->counters().data.requests; };
  const uint64_t asked = requests();
  REQUIRE(pool.read(ref, pack, 1, 10'000, 200'000));  // came as it is
  REQUIRE(pool.read(ref, pack, 3, 100'000, 50'000));
  REQUIRE(requests() == asked);
  REQUIRE(pool.read(ref, pack, 2, 10'000, 200'000));  // decoded with it; perhaps its holder is back?
  REQUIRE(requests() <= asked + 1);
  REQUIRE(pool.client->counters().degraded_reads == 1);

  // Side by side: the second lane that is gone waits for the decoding of the first.
  std::vector<env::Task<Result<Buffer>>> both;
  const uint32_t length = ref.geometry.shard_length;
  for (const uint32_t slot : {0U, 2U}) both.push_back(pool.client->read(ref, slot * length + 330'000, 40'000, {}));
  auto read = pool.sim.run(env::when_all(pool.sim.executor(), std::move(both)));
  for (size_t i = 0; i < 2; ++i) {
    REQUIRE(read[i]);
    REQUIRE(equal(*read[i], pack.shards[2 * i].slice(330'000, 40'000)));
  }
  REQUIRE(pool.client->counters().degraded_reads == 2);
}

TEST_CASE("rot that another lane's decoding went round is found when its own lane is read") {
  Cluster pool(6);
  const auto pack = pool.pack_now();
  const PackRef ref = pool.write_all(pack);
  for (const uint32_t slot : {0U, 1U}) pool.replace_by_liar(pool.index_of(ref.holders[slot]), Lie::wrong_bytes);
  pool.require_readable(ref, pack);
  REQUIRE(pool.blamed == std::set<NodeId>{ref.holders[0], ref.holders[1]});
}

TEST_CASE("wrong bytes and wrong lengths are found out, their holder is named, and others are read") {
  for (const Lie lie : {Lie::wrong_bytes, Lie::wrong_length}) {
    Cluster pool(6);
    const auto pack = pool.pack_now();
    const PackRef ref = pool.write_all(pack);
    pool.replace_by_liar(pool.index_of(ref.holders[1]), lie);
    pool.require_readable(ref, pack);
    REQUIRE(pool.blamed == std::set<NodeId>{ref.holders[1]});
    REQUIRE(pool.client->counters().wrong_bytes > 0);
    REQUIRE(pool.client->counters().degraded_reads > 0);
    // A range over lanes, of which one is wrong.
    const uint32_t length = ref.geometry.shard_length;
    Bytes expected = to_bytes(pack.shards[0].view().last(10));
    append(expected, pack.shards[1].view().first(10));
    auto crossing =
        pool.sim.run(pool.client->read(ref, length - 10, 20, [&](ByteView b) { return equal(b, expected); }));
    REQUIRE(crossing);
  }
}

TEST_CASE("with k slots there and too many of them wrong the data is damaged") {
  Cluster pool(6);
  const auto pack = pool.pack_now();
  const PackRef ref = pool.write_all(pack);
  for (const uint32_t slot : {0U, 1U, 2U}) pool.replace_by_liar(pool.index_of(ref.holders[slot]), Lie::wrong_bytes);
  auto read = pool.read(ref, pack, 0, 0, 4096);
  REQUIRE(!read);
  REQUIRE(read.error().code == Code::damaged);
  // Bytes that are as written, and that the caller does not want, are nobody's fault.
  Cluster honest(6);
  const auto other = honest.pack_now();
  const PackRef place = honest.write_all(other);
  auto refused = honest.sim.run(honest.client->read(place, 0, 4096, [](ByteView) { return false; }));
  REQUIRE(refused.error().code == Code::damaged);
  REQUIRE(honest.blamed.empty());
}

TEST_CASE("a holder that never answers is raced, and then left alone") {
  Cluster pool(6);
  const auto pack = pool.pack_now();
  const PackRef ref = pool.write_all(pack);
  pool.replace_by_liar(pool.index_of(ref.holders[0]), Lie::silent);
  for (int i = 0; i < 3; ++i) REQUIRE(pool.read(ref, pack, 0, 0, 4096));
  REQUIRE(pool.client->counters().hedged_reads == 2);
  REQUIRE(pool.client->counters().degraded_reads == 3);
  REQUIRE(pool.blamed.empty());
}

TEST_CASE("a stale hint is made good by the siblings' claims") {
  Cluster pool(7);
  const auto pack = pool.pack_now();
  PackRef ref = pool.write_all(pack);
  pool.settle_holders();
  pool.sim.run_for(seconds(10));
  std::rotate(ref.holders.begin(), ref.holders.begin() + 1, ref.holders.end());
  REQUIRE(pool.read(ref, pack, 1, 0, 4096));
  REQUIRE(pool.client->counters().claims_queries > 0);
  const auto before = pool.client->counters().data.requests;
  REQUIRE(pool.read(ref, pack, 1, 0, 4096));
  REQUIRE(pool.client->counters().data.requests == before + 1);
  // Without any hint at all.
  std::fill(ref.holders.begin(), ref.holders.end(), NodeId{});
  pool.require_readable(ref, pack);
  REQUIRE(pool.sim.run(pool.client->live_slots(ref)) == 6U);
}

TEST_CASE("an owner completes a pack at once: what is missing comes to nodes that have no part of it") {
  Cluster pool(9);
  const auto pack = pool.pack(4, 2, 2'000'000);
  const PackRef before = pool.write_all(pack);
  pool.settle_holders();
  auto none = pool.sim.run(pool.client->complete(before));
  REQUIRE(none);
  CHECK(none->missing == 0);
  std::set<size_t> gone;
  for (const uint32_t slot : {1U, 5U}) {  // of data, of parity
    gone.insert(pool.index_of(before.holders[slot]));
    pool.crash(pool.index_of(before.holders[slot]));
  }
  pool.wait_for(7);
  auto done = pool.sim.run(pool.client->complete(before));
  REQUIRE(done);
  CHECK(done->missing == 2);
  CHECK(done->placed == 2);
  const PackRef after = pool.located(pack);
  std::set<NodeId> holders(after.holders.begin(), after.holders.end());
  CHECK(holders.size() == 6);
  for (const size_t i : gone) CHECK_FALSE(holders.contains(pool.id(i)));
  // The two that are new stand in for any two of the others.
  pool.settle_holders();
  pool.crash(pool.index_of(before.holders[0]));
  pool.crash(pool.index_of(before.holders[2]));
  pool.require_readable(after, pack);
  // With fewer than k left there is nothing to make it from.
  std::set<NodeId> dead{before.holders[0], before.holders[2]};
  for (const uint32_t slot : {3U, 4U, 1U}) {
    dead.insert(after.holders[slot]);
    pool.crash(pool.index_of(after.holders[slot]));
  }
  auto lost = pool.sim.run(pool.client->complete(after, [&](const NodeId& node) { return !dead.contains(node); }));
  REQUIRE_FALSE(lost);
  CHECK(lost.error().code == Code::too_few_peers);
}

TEST_CASE("a write returns at the quorum while a holder hangs, and is completed on a replacement") {
  Cluster pool(8, 3, {.code = std::pair{4U, 2U}});
  pool.replace_by_liar(7, Lie::silent);
  pool.wait_for(8);
  std::vector<content::EncodedPack> packs;
  for (int i = 0; i < 6; ++i) {
    packs.push_back(pool.pack(4, 2));
    auto written = pool.write(packs.back());
    REQUIRE(written);
    REQUIRE(written->receipts >= 5);
  }
  REQUIRE(pool.sim.run(pool.client->settle()) == 0);
  REQUIRE(pool.client->counters().shards_sent > 36);
  for (const auto& pack : packs) {
    const PackRef ref = pool.located(pack);
    REQUIRE(std::count(ref.holders.begin(), ref.holders.end(), NodeId{}) == 0);
    pool.require_readable(ref, pack);
  }
}

TEST_CASE("a pack over a slow line is waited for as long as something moves, and is sent once") {
  Cluster pool(6);
  REQUIRE(pool.write(pool.pack(4, 2, 64 * kKiB)));
  // 4 MiB take 105 s each: far longer than put_timeout, during which nothing comes back.
  for (sim::NodeIndex i = 0; i < 6; ++i) pool.sim.network().set_link(6, i, {.bytes_per_second = 40'000});
  const auto before = pool.sim.network().total().bytes;
  const auto sent_before = pool.client->counters().shards_sent;
  const auto pack = pool.pack(4, 2, kMaxShardSize);
  const PackRef ref = pool.write_all(pack);
  CHECK(pool.client->counters().shards_sent == sent_before + 6);
  const uint64_t size = 6 * uint64_t{kMaxShardSize};
  CHECK(pool.sim.network().total().bytes - before < size + size / 10);
}

TEST_CASE("packs written while two of six do not answer are narrower, and no less safe") {
  Cluster pool(6);
  REQUIRE(pool.client->geometry_now().k == 4);
  pool.crash(1, sim::CrashKind::power);
  pool.crash(2, sim::CrashKind::power);
  REQUIRE(pool.sim.run_until([&] { return pool.client->geometry_now().k == 2; }, std::chrono::minutes(1)));
  CHECK(pool.client->geometry_now().m == 2);
  REQUIRE(pool.write(pool.pack_now()));
  // One more, and it is one and two; with two alive nothing that stands two losses can be written.
  pool.crash(3, sim::CrashKind::power);
  REQUIRE(pool.sim.run_until([&] { return pool.client->geometry_now().k == 1; }, std::chrono::minutes(1)));
  CHECK(pool.client->geometry_now().m == 2);
  REQUIRE(pool.write(pool.pack_now()));
  pool.crash(4, sim::CrashKind::power);
  pool.sim.run_for(std::chrono::minutes(1));
  CHECK(pool.client->geometry_now().m == 2);
  CHECK(pool.write(pool.pack_now()).error().code == Code::too_few_peers);
}

TEST_CASE("holders that all others hold for departed are read from, when nobody else has the bytes") {
  Cluster cluster(5, 19, {.code = std::pair(4U, 1U)});
  const auto pack = cluster.pack(4, 1);
  const PackRef ref = cluster.write_all(pack);
  // The holders cannot reach two of theirs; the client can.
  for (sim::NodeIndex away : {3U, 4U}) {
    for (sim::NodeIndex other = 0; other < 5; ++other) {
      if (other == away) continue;
      cluster.sim.network().block(away, other);
      cluster.sim.network().block(other, away);
    }
  }
  cluster.sim.network().block(5, 3);  // so that the client asks the others how the nodes are
  cluster.sim.network().block(5, 4);
  const auto departed = [&](size_t i) {
    return cluster.client_machine->peers.state(cluster.id(i)) == peer::NodeState::departed;
  };
  REQUIRE(cluster.sim.run_until([&] { return departed(3) && departed(4); }, std::chrono::minutes(15)));
  CHECK(cluster.client->geometry_now().k == 4);
  CHECK_FALSE(cluster.client_machine->peers.usable(cluster.id(4)));
  const auto lost = static_cast<uint32_t>(std::ranges::find(ref.holders, cluster.id(3)) - ref.holders.begin());
  CHECK_FALSE(cluster.read(ref, pack, lost < 4 ? lost : 0, 0, 1000));  // three of five slots
  for (sim::NodeIndex away : {3U, 4U}) cluster.sim.network().unblock(5, away);
  cluster.sim.run_for(std::chrono::seconds(20));  // a dial that failed is not repeated at once
  cluster.require_readable(ref, pack);
}

TEST_CASE("too few domains refuse a pack, full stores say that they are full, and nothing is lost by it") {
  Cluster few(3, 1, {.code = std::pair{4U, 2U}});
  REQUIRE(few.write(few.pack(4, 2)).error().code == Code::too_few_peers);

  Cluster pool(4, 1, {}, 48 * kMiB);
  std::vector<std::pair<PackRef, content::EncodedPack>> kept;
  while (true) {
    auto pack = pool.pack(2, 2, 4'000'000);
    auto written = pool.write(pack);
    if (!written) {
      REQUIRE(written.error().code == Code::no_space);
      break;
    }
    REQUIRE(kept.size() < 20);
    kept.emplace_back(written->ref, std::move(pack));
  }
  REQUIRE(kept.size() >= 3);
  pool.sim.run(pool.client->settle());
  for (const auto& [ref, pack] : kept) pool.require_readable(ref, pack);
}

TEST_CASE("claims reach the siblings in batches and survive a crash of their maker") {
  Cluster pool(6);
  std::vector<PackRef> refs;
  for (int i = 0; i < 10; ++i) refs.push_back(pool.write_all(pool.pack_now()));
  pool.settle_holders();
  pool.sim.run_for(seconds(20));
  for (auto& machine : pool.machines) {
    for (const PackRef& ref : refs) REQUIRE(pool.sim.run(machine->holder->claims_of(ref.id))->size() == 6);
    REQUIRE(machine->holder->untold_nodes() == 0);
    REQUIRE(machine->holder->counters().claims_told >= 50);
    // Fewer requests than claims, or they would not be batched.
    REQUIRE(machine->holder->counters().push_requests < machine->holder->counters().claims_told);
    for (size_t other = 0; other < 6; ++other) {
      REQUIRE(pool.sim.run(machine->holder->held_by(pool.id(other), std::nullopt, 100))->size() == 10);
    }
  }
  const auto page = *pool.sim.run(pool.machines[0]->holder->held_by(pool.id(1), std::nullopt, 4));
  REQUIRE(page.size() == 4);
  REQUIRE(pool.sim.run(pool.machines[0]->holder->held_by(pool.id(1), page.back(), 100))->size() == 6);
  pool.crash(0, sim::CrashKind::power);
  pool.restart(0);
  for (const PackRef& ref : refs) {
    const auto claims = *pool.sim.run(pool.machines[0]->holder->claims_of(ref.id));
    REQUIRE(std::any_of(claims.begin(), claims.end(), [&](const Claim& c) { return c.node == pool.id(0); }));
  }
}

TEST_CASE("a writer that lies about a Merkle root is found out behind") {
  Cluster pool(6);
  auto pack = pool.pack_now();
  pack.shards[1] = Buffer::copy_of(pack.shards[1]);
  pack.shards[1].data()[70'000] ^= 1;
  pack.crcs[1] = crc32c(pack.shards[1].view());
  REQUIRE(pool.write(pack));
  pool.sim.run(pool.client->settle());
  pool.settle_holders();
  uint64_t faults = 0;
  for (auto& machine : pool.machines) faults += machine->holder->counters().writer_faults;
  REQUIRE(faults == 1);
  REQUIRE(pool.located(pack).holders[1].is_zero());
}

TEST_CASE("a claim's signature is checked unless the session is that of the node itself") {
  const auto device = crypto::PrivateKey::from_seed(peer::test_key(78));
  const auto node = id_cast<NodeId>(crypto::sha256(device.public_key()));
  const auto other = crypto::PrivateKey::from_seed(peer::test_key(79));
  const auto from = id_cast<NodeId>(crypto::sha256(other.public_key()));
  const Claim good = Claim::make(device, node, {PackId{}, 1}, 1, 1, ClaimState::held);
  CHECK(Claim::heard(good.signed_message, node));
  CHECK(Claim::heard(good.signed_message, from));
  auto message = wire::decode<wire::Signed>(ByteView(good.signed_message));
  REQUIRE(message);
  (*message->mutable_signature())[5] ^= 1;
  const Bytes broken = wire::encode(*message);
  CHECK(Claim::heard(broken, node));
  CHECK(Claim::heard(broken, from).error().code == Code::corrupt);
  CHECK(Claim::check(broken).error().code == Code::corrupt);
  // Nobody speaks in another's name, whoever brings it.
  const Claim forged = Claim::make(other, node, {PackId{}, 1}, 1, 1, ClaimState::held);
  CHECK(Claim::heard(forged.signed_message, node).error().code == Code::corrupt);
  CHECK(Claim::heard(forged.signed_message, from).error().code == Code::corrupt);
}

TEST_CASE("a claim that came before the sibling's own shard did is told again") {
  Cluster pool(3);
  const auto pack = pool.pack(1, 2);
  const auto put = [&](uint8_t slot, const std::vector<NodeId>& siblings) {
    wire::ShardPutRequest request;
    REQUIRE(wire::decode_into(*request.mutable_header(), pack.header.serialize()));
    request.set_slot(slot);
    request.set_crc32c(pack.crcs[slot]);
    for (const NodeId& node : siblings) request.add_siblings(node.raw());
    REQUIRE(pool.sim.run(peer::ask<wire::ShardPutResponse>(
        pool.client_machine->peers, pool.id(slot), wire::Method::shard_put, request, seconds(5), pack.shards[slot])));
  };
  put(1, {pool.id(0), pool.id(1)});
  pool.sim.run_for(seconds(3));
  CHECK(pool.machines[0]->holder->counters().claims_refused == 1);
  put(0, {});  // knows of nobody
  pool.sim.run_for(seconds(30));
  const auto known = pool.sim.run(pool.machines[0]->holder->claims_of(pack.header.id));
  REQUIRE(known);
  CHECK(std::ranges::any_of(*known, [&](const Claim& claim) { return claim.node == pool.id(1); }));
  // And what was told back: each knows the other.
  const auto back = pool.sim.run(pool.machines[1]->holder->claims_of(pack.header.id));
  REQUIRE(back);
  CHECK(std::ranges::any_of(*back, [&](const Claim& claim) { return claim.node == pool.id(0); }));
}

TEST_CASE("forged claims and headers are refused") {
  Cluster pool(6);
  const auto pack = pool.pack_now();
  const PackRef ref = pool.write_all(pack);
  pool.settle_holders();
  pool.sim.run_for(seconds(10));
  const size_t target = pool.index_of(ref.holders[0]);
  Holder& holder = *pool.machines[target]->holder;
  const auto before = holder.counters();
  auto push = [&](const Claim& claim) {
    wire::ClaimsPushRequest request;
    REQUIRE(wire::decode_into(*request.add_claims(), claim.signed_message));
    REQUIRE(pool.sim.run(peer::ask<wire::Empty>(pool.client_machine->peers, pool.id(target), wire::Method::claims_push,
                                                request, seconds(5))));
  };
  const auto& key = pool.identities.back().device;
  const auto& sibling = pool.identities[pool.index_of(ref.holders[2])];
  // In another's name; for a pack that is not held there; of somebody that the pool does not know.
  push(Claim::make(key, ref.holders[1], {ref.id, 1}, 99, 1, ClaimState::gone));
  PackId unknown;
  unknown.bytes.fill(3);
  push(Claim::make(sibling.device, sibling.node, {unknown, 1}, 99, 1, ClaimState::held));
  const auto stranger = crypto::PrivateKey::from_seed(peer::test_key(77));
  push(Claim::make(stranger, id_cast<NodeId>(crypto::sha256(stranger.public_key())), {ref.id, 1}, 1, 1,
                   ClaimState::held));
  REQUIRE(holder.counters().claims_refused == before.claims_refused + 3);
  // A sibling's own is news once; an older one is not.
  push(Claim::make(sibling.device, sibling.node, {ref.id, 2}, 99, 2, ClaimState::leaving));
  push(Claim::make(sibling.device, sibling.node, {ref.id, 2}, 99, 1, ClaimState::held));
  REQUIRE(holder.counters().claims_taken == before.claims_taken + 1);

  auto forged = pool.pack_now();
  forged.header.signature[5] ^= 1;
  wire::ShardPutRequest request;
  REQUIRE(wire::decode_into(*request.mutable_header(), forged.header.serialize()));
  request.set_crc32c(forged.crcs[0]);
  auto put = [&](uint32_t slot, const Buffer& bytes) {
    request.set_slot(slot);
    auto answer = pool.sim.run(peer::ask<wire::ShardPutResponse>(pool.client_machine->peers, pool.id(target),
                                                                 wire::Method::shard_put, request, seconds(5), bytes));
    return answer ? std::optional<Code>() : answer.error().code;
  };
  REQUIRE(put(0, forged.shards[0]) == Code::corrupt);
  forged.header.signature[5] ^= 1;
  REQUIRE(wire::decode_into(*request.mutable_header(), forged.header.serialize()));
  REQUIRE(put(6, forged.shards[0]) == Code::bad_input);
  REQUIRE(put(0, forged.shards[0].slice(0, 1000)) == Code::bad_input);
  request.set_crc32c(forged.crcs[0] ^ 1);
  REQUIRE(put(0, forged.shards[0]) == Code::corrupt);
  request.set_crc32c(forged.crcs[0]);
  REQUIRE(put(0, forged.shards[0]) == std::nullopt);
}

TEST_CASE("packs that were acknowledged while holders crash at random stay readable") {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    INFO("seed " << seed);
    Cluster pool(8, seed);
    env::Prng random(seed);
    std::vector<std::pair<PackRef, content::EncodedPack>> kept;
    std::vector<size_t> down;
    for (int round = 0; round < 6; ++round) {
      std::vector<content::EncodedPack> packs{pool.pack(5, 3), pool.pack(5, 3)};
      std::vector<std::optional<Result<WriteOutcome>>> outcomes(packs.size());
      env::TaskGroup group(pool.sim.executor());
      for (size_t i = 0; i < packs.size(); ++i) {
        group.spawn([](PoolClient& client, content::EncodedPack pack,
                       std::optional<Result<WriteOutcome>>& out) -> env::Task<void> {
          auto written = co_await client.write(std::move(pack));
          out.emplace(std::move(written));
        }(*pool.client, packs[i], outcomes[i]));
      }
      pool.sim.run_for(std::chrono::microseconds(random.below(60'000)));
      // At most one is down at a time: the quorum leaves a margin of two.
      if (down.empty()) {
        down.push_back(random.below(8));
        pool.crash(down.back(), random.chance(0.5) ? sim::CrashKind::power : sim::CrashKind::process);
      } else {
        pool.restart(down.back());
        down.clear();
      }
      pool.sim.run(group.join());
      for (size_t i = 0; i < packs.size(); ++i) {
        if (*outcomes[i]) kept.emplace_back((*outcomes[i])->ref, std::move(packs[i]));
      }
    }
    REQUIRE(kept.size() >= 6);
    for (const auto& [ref, pack] : kept) pool.require_readable(ref, pack);
  }
}

}  // namespace cairn::pool
