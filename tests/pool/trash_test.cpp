// Tombstones and the trash, over simulated machines.
#include <catch2/catch.hpp>

#include "cluster.h"
#include "pool/drain.h"
#include "pool/put_request.h"
#include "pool/shedding.h"
#include "pool/tombstones.h"
#include "pool/trash.h"
#include "proto/garbage.pb.h"
#include "proto/register.pb.h"

namespace cairn::pool {
namespace {
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

Bytes founding_of(const peer::MemberKeys& owner, const PoolId& pool, uint8_t nonce) {
  wire::RegisterFounding message;
  message.set_version(1);
  message.set_pool(pool.raw());
  message.set_kind(wire::RegisterFounding::HEAD);
  message.set_owner_key(to_string(ByteView(owner.member.public_key())));
  message.set_nonce(std::string(16, static_cast<char>(nonce)));
  return wire::encode(message);
}

// A cluster whose holders have a trash.
struct TrashCluster : Cluster {
  Bytes founding;
  // The trash is kept for two hours, not days: the machines talk all the time that passes.
  explicit TrashCluster(size_t holders) : Cluster(holders, 1, {}, 256 * kMiB, {}, {.keep = hours(2)}, seconds(10)) {
    founding = founding_of(founder, membership.pool(), 1);
    volume = id_cast<VolumeId>(crypto::sha256(founding));
  }
  struct Written {
    content::EncodedPack pack;
    PackRef ref;
  };
  Written write_pack() {
    auto made = pack_now();
    PackRef where = write_all(made);
    return {std::move(made), std::move(where)};
  }
  Trash& trash(size_t i) { return *machines[i]->trash; }
  Tombstones tombstones() { return Tombstones(client_machine->node.world(), client_machine->peers, founding); }
  FateReport tell(const PackRef& ref, Fate fate, uint64_t sequence) {
    Tombstones owner = tombstones();
    auto reports = sim.run(owner.tell({ref}, fate, sequence));
    REQUIRE(reports);
    return reports->at(0);
  }
  size_t shards_of(const PackId& pack) {
    size_t count = 0;
    for (auto& machine : machines) {
      if (!machine) continue;
      for (const auto& store : machine->holder->stores()) count += sim.run(store->slots_of(pack)).size();
    }
    return count;
  }
  // What a node answers to a statement with these foundings and certificates beside it.
  FateAnswer ask(size_t node, const Tombstone& statement, const std::vector<Bytes>& foundings,
                 const std::vector<Bytes>& certificates) {
    wire::TombstonesRequest request;
    REQUIRE(wire::decode_into(*request.add_statements(), statement.signed_message));
    for (const Bytes& one : foundings) request.add_foundings(to_string(ByteView(one)));
    for (const Bytes& one : certificates) REQUIRE(wire::decode_into(*request.add_certificates(), one));
    auto answer = sim.run(peer::ask<wire::TombstonesResponse>(client_machine->peers, id(node), wire::Method::tombstones,
                                                              request, seconds(30)));
    if (!answer) return FateAnswer::refused;
    REQUIRE(answer->message.answers_size() == 1);
    return static_cast<FateAnswer>(answer->message.answers(0));
  }
};
}  // namespace

static_assert(TrashOptions{}.keep == hours(72) && TrashOptions{}.remember == hours(24 * 180));

TEST_CASE("a dead pack is readable in the trash for its time, then its shards go and are claimed gone") {
  TrashCluster pool(6);
  const auto [pack, ref] = pool.write_pack();
  const auto [other, other_ref] = pool.write_pack();
  pool.settle_holders();
  const auto report = pool.tell(ref, Fate::dead, 5);
  REQUIRE(report.in_trash == 6);
  REQUIRE(report.acknowledged == 6);
  REQUIRE(pool.trash(0).figures().shards == 1);
  REQUIRE(pool.trash(0).figures().bytes == ref.geometry.shard_length);
  pool.require_readable(ref, pack);
  pool.sim.run_for(minutes(115));
  pool.require_readable(ref, pack);
  pool.sim.run_for(minutes(10));
  REQUIRE(pool.shards_of(pack.header.id) == 0);
  REQUIRE(pool.trash(0).figures().shards == 0);
  REQUIRE(pool.trash(0).figures().purged == 1);
  pool.settle_holders();
  pool.sim.run_for(minutes(10));
  for (const Claim& claim : *pool.sim.run(pool.machines[1]->holder->claims_of(pack.header.id))) {
    REQUIRE(claim.node == pool.id(1));
    REQUIRE(claim.state == ClaimState::gone);
  }
  pool.require_readable(other_ref, other);
  REQUIRE(pool.shards_of(other.header.id) == 6);
}

TEST_CASE("a pack is had back out of the trash, and the tombstone told again does nothing") {
  TrashCluster pool(6);
  const auto [pack, ref] = pool.write_pack();
  REQUIRE(pool.tell(ref, Fate::dead, 5).in_trash == 6);
  pool.sim.run_for(minutes(100));
  REQUIRE(pool.tell(ref, Fate::kept, 5).live == 6);  // of the same head: kept
  REQUIRE(pool.trash(2).figures().shards == 0);
  REQUIRE(pool.trash(2).figures().revived == 1);
  REQUIRE(pool.tell(ref, Fate::dead, 5).live == 6);  // replayed
  pool.sim.run_for(hours(3));
  REQUIRE(pool.shards_of(pack.header.id) == 6);
  pool.require_readable(ref, pack);
  REQUIRE(pool.tell(ref, Fate::dead, 6).in_trash == 6);  // a later word
  pool.sim.run_for(minutes(125));
  REQUIRE(pool.shards_of(pack.header.id) == 0);
  REQUIRE(pool.tell(ref, Fate::kept, 9).gone == 6);
}

TEST_CASE("a holder that was away hears of the tombstone from its siblings when it is back") {
  TrashCluster pool(6);
  const auto [pack, ref] = pool.write_pack();
  pool.settle_holders();
  pool.crash(3);
  REQUIRE(pool.sim.run_until([&] { return pool.usable() == 5; }, minutes(30)));
  REQUIRE(pool.tell(ref, Fate::dead, 5).in_trash == 5);
  pool.sim.run_for(minutes(140));
  REQUIRE(pool.shards_of(pack.header.id) == 0);
  pool.restart(3);
  REQUIRE(pool.shards_of(pack.header.id) == 1);
  pool.sim.run_for(minutes(30));
  REQUIRE(pool.trash(3).figures().shards == 1);
  pool.sim.run_for(minutes(125));
  REQUIRE(pool.shards_of(pack.header.id) == 0);
  for (size_t i = 0; i < 6; ++i) {
    Trash& trash = pool.trash(i);
    REQUIRE(pool.sim.run(trash.untold_nodes()) == 0);
  }
}

TEST_CASE("one holder that was told is enough for all to hear of it") {
  TrashCluster pool(6);
  const auto [pack, ref] = pool.write_pack();
  pool.settle_holders();
  const Tombstone statement = Tombstone::make(pool.identities.back().device, pool.volume, ref.id, Fate::dead, 7);
  REQUIRE(pool.ask(4, statement, {pool.founding}, {pool.identities.back().certificate.encoded}) ==
          FateAnswer::in_trash);
  pool.sim.run_for(hours(1));
  for (size_t i = 0; i < 6; ++i) REQUIRE(pool.trash(i).figures().shards == 1);
  pool.sim.run_for(minutes(125));
  REQUIRE(pool.shards_of(pack.header.id) == 0);
}

TEST_CASE("a shard of a dead pack is not taken again, nor is one of a pack that was purged") {
  TrashCluster pool(6);
  const auto [pack, ref] = pool.write_pack();
  REQUIRE(pool.tell(ref, Fate::dead, 5).in_trash == 6);
  for (int round = 0; round < 2; ++round) {
    wire::ShardPutRequest request;
    REQUIRE(wire::decode_into(*request.mutable_header(), pack.header.serialize()));
    request.set_slot(0);
    request.set_crc32c(pack.crcs[0]);
    auto put = pool.sim.run(peer::ask<wire::ShardPutResponse>(
        pool.client_machine->peers, pool.id(0), wire::Method::shard_put, request, seconds(30), pack.shards[0]));
    REQUIRE(!put);
    REQUIRE(put.error().code == Code::denied);
    REQUIRE(pool.sim.run(pool.trash(0).tombstoned(ref.id)));
    pool.sim.run_for(minutes(125));
  }
}

TEST_CASE("tombstones that are not their owner's word are refused") {
  TrashCluster pool(6);
  const auto [pack, ref] = pool.write_pack();
  const peer::Identity& owner = pool.identities.back();
  const Bytes certificate = owner.certificate.encoded;
  const auto by = [&](const peer::Identity& who, const VolumeId& volume) {
    return Tombstone::make(who.device, volume, ref.id, Fate::dead, 9);
  };
  // Another member, with a device of theirs that says so of the owner's volume, or of a volume of theirs.
  const peer::Identity device = peer::device_of(pool.another, pool.membership.pool(), 77);
  const Bytes own_founding = founding_of(pool.another, pool.membership.pool(), 3);
  const VolumeId own_volume = id_cast<VolumeId>(crypto::sha256(own_founding));
  REQUIRE(pool.ask(0, by(device, pool.volume), {pool.founding}, {device.certificate.encoded}) == FateAnswer::refused);
  REQUIRE(pool.ask(0, by(device, own_volume), {own_founding}, {device.certificate.encoded}) == FateAnswer::refused);
  // A volume of the owner's that is not this pack's.
  const Bytes second = founding_of(pool.founder, pool.membership.pool(), 4);
  REQUIRE(pool.ask(0, by(owner, id_cast<VolumeId>(crypto::sha256(second))), {second}, {certificate}) ==
          FateAnswer::refused);
  // Another's certificate beside it, none, no founding, another pool's founding.
  REQUIRE(pool.ask(0, by(device, pool.volume), {pool.founding}, {certificate}) == FateAnswer::refused);
  REQUIRE(pool.ask(0, by(owner, pool.volume), {pool.founding}, {}) == FateAnswer::refused);
  REQUIRE(pool.ask(0, by(owner, pool.volume), {}, {certificate}) == FateAnswer::refused);
  // A body that was changed after it was signed.
  Tombstone changed = by(owner, pool.volume);
  auto message = *wire::decode<wire::Signed>(ByteView(changed.signed_message));
  auto body = *wire::decode<wire::PackFate>(message.body());
  body.set_sequence(1000);
  message.set_body(wire::encode_text(body));
  changed.signed_message = wire::encode(message);
  REQUIRE(pool.ask(0, changed, {pool.founding}, {certificate}) == FateAnswer::refused);
  REQUIRE(pool.trash(0).figures().shards == 0);
  REQUIRE(pool.trash(0).figures().refused == 7);
  pool.require_readable(ref, pack);
  REQUIRE(pool.ask(0, by(owner, pool.volume), {pool.founding}, {certificate}) == FateAnswer::in_trash);
}

TEST_CASE("the trash and its time survive a holder that is killed, and time that it is off does not count") {
  TrashCluster pool(6);
  const auto [pack, ref] = pool.write_pack();
  REQUIRE(pool.tell(ref, Fate::dead, 5).in_trash == 6);
  pool.sim.run_for(minutes(50));
  pool.crash(2);
  pool.sim.run_for(hours(5));
  pool.restart(2);
  pool.sim.run_for(minutes(10));
  REQUIRE(pool.trash(2).figures().shards == 1);
  REQUIRE(pool.shards_of(pack.header.id) == 1);
  pool.sim.run_for(minutes(50));
  REQUIRE(pool.shards_of(pack.header.id) == 1);
  pool.sim.run_for(minutes(20));
  REQUIRE(pool.shards_of(pack.header.id) == 0);
}

TEST_CASE("owner and holder find by ranges which packs the owner does not expect") {
  TrashCluster pool(4);
  std::vector<PackId> all;
  for (int i = 0; i < 20; ++i) all.push_back(pool.write_pack().ref.id);
  std::ranges::sort(all);
  pool.sim.run_for(minutes(5));
  Tombstones owner = pool.tombstones();
  const auto holds = pool.sim.run(owner.strangers(pool.id(1), {}));
  REQUIRE(holds);
  REQUIRE(*holds == all);
  REQUIRE(pool.sim.run(owner.strangers(pool.id(1), all))->empty());
  std::vector<PackId> expected = all;
  expected.erase(expected.begin() + 7);
  REQUIRE(*pool.sim.run(owner.strangers(pool.id(1), expected)) == std::vector<PackId>{all[7]});
  // After a kill it looks through its stores first.
  pool.crash(1);
  pool.restart(1);
  REQUIRE(pool.sim.run_until([&] { return pool.usable() == 4; }, minutes(30)));
  pool.sim.run_for(minutes(5));
  REQUIRE(*pool.sim.run(owner.strangers(pool.id(1), expected)) == std::vector<PackId>{all[7]});
  // Another member is told nothing.
  Tombstones stranger(pool.client_machine->node.world(), pool.client_machine->peers,
                      founding_of(pool.another, pool.membership.pool(), 3));
  REQUIRE(pool.sim.run(stranger.strangers(pool.id(1), {})).error().code == Code::denied);
}

TEST_CASE("what an upload has brought is found though its sender went away before the answer") {
  TrashCluster pool(3);
  const NodeId to = pool.id(1);
  std::vector<PackId> stored;
  size_t unanswered = 0;
  for (int i = 0; i < 40; ++i) {
    const auto pack = pool.pack(2, 1, 20'000);
    bool answered = false;
    {
      env::TaskGroup sender(pool.sim.executor());
      sender.spawn([](peer::Peers& peers, NodeId node, const content::EncodedPack& of, bool& done) -> env::Task<void> {
        auto request = put_request(of.header, 0, crc32c(of.shards[0].view()));
        auto receipt = co_await peer::ask<wire::ShardPutResponse>(peers, node, wire::Method::shard_put, request,
                                                                  seconds(30), of.shards[0]);
        done = receipt.has_value();
      }(pool.client_machine->peers, to, pack, answered));
      pool.sim.run_for(std::chrono::microseconds(100) * i);
    }
    pool.sim.run_for(seconds(5));
    if (pool.sim.run(pool.machines[1]->holder->stores()[0]->slots_of(pack.header.id)).empty()) continue;
    stored.push_back(pack.header.id);
    unanswered += answered ? 0U : 1U;
  }
  REQUIRE(unanswered > 0);
  std::ranges::sort(stored);
  Tombstones owner = pool.tombstones();
  const auto holds = pool.sim.run(owner.strangers(to, {}));
  REQUIRE(holds);
  CHECK(*holds == stored);
}

TEST_CASE("a store that is drained drops what is in the trash, for nobody would take it") {
  TrashCluster pool(3);
  const auto [pack, ref] = pool.write_pack();
  pool.settle_holders();
  REQUIRE(pool.tell(ref, Fate::dead, 5).in_trash == 3);
  Machine& machine = *pool.machines[1];
  ShardMover mover(machine.node.world(), machine.peers, *machine.holder);
  Drain drain(machine.node.world(), machine.peers, *machine.holder, mover);
  drain.set_trash(*machine.trash);
  store::ShardStore& store = *machine.holder->stores()[0];
  store.set_taking(false);
  drain.set_goal(store.id(), DrainGoal{});
  REQUIRE(pool.sim.run_until([&] { return store.figures().shards == 0; }, minutes(30)));
  REQUIRE(pool.shards_of(pack.header.id) == 2);
  REQUIRE(machine.trash->figures().shards == 0);
  pool.sim.run(drain.stop());
}

namespace {
// Six packs that live and four in the trash, over three nodes, each of which has a shard of each.
struct HalfDead : TrashCluster {
  std::vector<Written> live, dead;
  HalfDead() : TrashCluster(3) {
    for (int i = 0; i < 10; ++i) (i % 5 < 2 ? dead : live).push_back(write_pack());
    settle_holders();
    sim.run_for(seconds(30));
    for (const Written& one : dead) REQUIRE(tell(one.ref, Fate::dead, 5).in_trash == 3);
  }
  Machine& machine() { return *machines[1]; }
  store::ShardStore& store() { return *machine().holder->stores()[0]; }
  size_t held(const std::vector<Written>& packs) {
    size_t count = 0;
    for (const Written& one : packs) count += sim.run(store().slots_of(one.pack.header.id)).size();
    return count;
  }
};
}  // namespace

TEST_CASE("a pressed host is given what is in the trash before anything that lives") {
  HalfDead pool;
  Machine& machine = pool.machine();
  const uint64_t shard = pool.live[0].ref.geometry.shard_length;
  const auto drop = [&](uint64_t bytes) {
    return pool.sim.run(
        shed(machine.node.world(), machine.peers, *machine.holder, machine.trash.get(), pool.store().id(), bytes));
  };
  const auto some = drop(2 * shard);
  CHECK(some.shards == 2);
  CHECK(some.trash == 2 * shard);
  CHECK(pool.held(pool.dead) == 2);
  CHECK(pool.held(pool.live) == 6);
  CHECK(machine.trash->figures(pool.store().id()).bytes == 2 * shard);
  // What the trash does not give comes from what lives: (1, 2) packs can spare it.
  const auto more = drop(5 * shard);
  CHECK(more.shards == 5);
  CHECK(more.trash == 2 * shard);
  CHECK(pool.held(pool.dead) == 0);
  CHECK(pool.held(pool.live) == 3);
  CHECK(machine.trash->figures().shards == 0);
  // It is told as gone, not had back, and not counted twice when its time comes.
  REQUIRE(pool.tell(pool.dead[0].ref, Fate::kept, 6).gone == 1);
  pool.sim.run_for(hours(3));
  CHECK(machine.trash->figures().purged == 4);
  for (const auto& one : pool.live) pool.require_readable(pool.located(one.pack), one.pack);
}

TEST_CASE("a store that is to be smaller gives its trash first and moves nothing that need not be") {
  HalfDead pool;
  Machine& machine = pool.machine();
  ShardMover mover(machine.node.world(), machine.peers, *machine.holder);
  Drain drain(machine.node.world(), machine.peers, *machine.holder, mover);
  drain.set_trash(*machine.trash);
  const uint64_t shard = pool.live[0].ref.geometry.shard_length;
  drain.set_goal(pool.store().id(), DrainGoal{.used = pool.store().figures().used - 3 * shard, .urgent = true});
  REQUIRE(pool.sim.run_until([&] { return !drain.progress(pool.store().id())->active; }, minutes(30)));
  CHECK(pool.held(pool.dead) <= 1);
  CHECK(pool.held(pool.live) == 6);
  CHECK(drain.progress(pool.store().id())->stuck == 0);
  pool.sim.run(drain.stop());
}

TEST_CASE("the trash is told for each store, with the time until it goes") {
  HalfDead pool;
  const uint64_t shard = pool.live[0].ref.geometry.shard_length;
  const StoreId store = pool.store().id();
  auto figures = pool.trash(1).figures(store);
  CHECK(figures.shards == 4);
  CHECK(figures.bytes == 4 * shard);
  CHECK(figures.first_goes > hours(1));
  CHECK(figures.all_gone <= hours(2));
  CHECK(pool.trash(1).figures(StoreId{}).shards == 0);
  // It survives a restart; the time runs on.
  pool.sim.run_for(hours(1));
  pool.crash(1);
  pool.restart(1);
  figures = pool.trash(1).figures(store);
  CHECK(figures.bytes == 4 * shard);
  CHECK(figures.all_gone <= hours(1) + minutes(2));
  REQUIRE(pool.sim.run_until([&] { return pool.trash(1).figures(store).bytes == 0; }, hours(2)));
}

}  // namespace cairn::pool
