#pragma once
// A pool of production holders on simulated machines, one client, and holders that lie.

#include "base/crc32c.h"
#include "content/fixtures.h"
#include "peer/people.h"
#include "pool/client.h"
#include "pool/healing.h"
#include "pool/holder.h"
#include "pool/trash.h"
#include "proto/pack.pb.h"
#include "sim/world.h"

namespace cairn::pool {

enum class Lie { wrong_bytes, wrong_length, silent };

struct Machine {
  Machine(sim::SimNode& n, peer::Identity identity, peer::Membership membership, bool serve,
          std::optional<Duration> probing)
      : node(n),
        peers(n.world(), std::move(identity), std::move(membership), {.serve = serve, .probe_period = probing}) {}
  sim::SimNode& node;
  peer::Peers peers;
  peer::NodeInfo info;
  std::unique_ptr<Holder> holder;
  std::unique_ptr<Healing> healing;
  std::unique_ptr<Trash> trash;
};

class Cluster {
 public:
  // Holder i is in the domain "d<i>". The client is a machine of its own that lends nothing.
  // With `healing` the holders repair and audit.
  explicit Cluster(size_t holders, uint64_t seed = 1, PoolOptions options = {}, uint64_t limit = 256 * kMiB,
                   std::optional<HealingOptions> healing = {}, TrashOptions trash = {},
                   std::optional<Duration> probing = {})
      : sim(seed), limit_(limit), healing_(healing), trash_(trash), probing_(probing) {
    for (size_t i = 0; i <= holders; ++i) {
      sim::SimNode& node = sim.add_node();
      identities.push_back(peer::device_of(founder, membership.pool(), i + 1));
      node.set_identity(identities[i].node, identities[i].device.public_key());
    }
    REQUIRE(membership.append(identities[0], 1, peer::add_action(another)));
    volume.bytes.fill(9);
    for (size_t i = 0; i < holders; ++i) {
      machines.push_back(make(i, true));
      open(i, true);
    }
    client_machine = make(holders, false);
    client_machine->peers.start({{sim.node(0).host(), 7000}});
    client = std::make_unique<PoolClient>(sim.node(holders).world(), client_machine->peers, options);
    client->on_bad_shard([this](const BadShard& bad) { blamed.insert(bad.holder); });
    wait_for(holders);
  }
  ~Cluster() {
    if (client) sim.run(client->stop());
    for (auto& machine : machines) stop(std::move(machine));
    client.reset();
    stop(std::move(client_machine));
  }
  void set_domain(size_t i, std::string domain) {
    machines[i]->info.domain = std::move(domain);
    machines[i]->peers.set_own_record(machines[i]->info);
  }
  // Until the client knows so many holders that it may ask.
  void wait_for(size_t holders) {
    REQUIRE(sim.run_until([&] { return usable() == holders; }, std::chrono::minutes(10)));
  }
  size_t usable() const {
    size_t count = 0;
    for (const auto& node : client_machine->peers.membership().nodes()) {
      count += node.lends && client_machine->peers.usable(node.id) ? 1 : 0;
    }
    return count;
  }
  NodeId id(size_t i) const { return identities[i].node; }
  size_t index_of(const NodeId& node) const {
    for (size_t i = 0; i < identities.size(); ++i) {
      if (identities[i].node == node) return i;
    }
    FAIL("no such node");
    return 0;
  }
  // Crashed objects are left alone for ever: their frames may not run again.
  void crash(size_t i, sim::CrashKind kind = sim::CrashKind::process) {
    // Never destroyed: what lies in it refers to worlds that are gone by then.
    static auto& graves = *new std::vector<std::unique_ptr<Machine>>;
    graves.push_back(std::move(machines[i]));
    sim.node(i).crash(kind);
  }
  void restart(size_t i, bool new_store = false) {
    sim.node(i).restart();
    machines[i] = make(i, true);
    open(i, new_store);
  }
  void replace_by_liar(size_t i, Lie lie) {
    crash(i);
    sim.node(i).restart();
    machines[i] = make(i, true);
    env::Clock& clock = sim.node(i).clock();
    for (const auto method : {wire::Method::shard_get, wire::Method::shard_put, wire::Method::pack_header,
                              wire::Method::claims_query, wire::Method::claims_push}) {
      machines[i]->peers.serve(method, peer::Access::members,
                               [&clock, lie](peer::Request request) { return answer(clock, lie, std::move(request)); });
    }
    serve(i, kGiB);
    sim.run_for(std::chrono::seconds(5));
  }
  content::EncodedPack pack(uint32_t k, uint32_t m, uint32_t lane_bytes = 150'000) {
    content::TestRandom random(++packs_);
    content::PackBuilder builder(k, m);
    for (uint32_t lane = 0; lane < k; ++lane) {
      for (uint32_t done = 0; done < lane_bytes;) {
        const uint32_t part = std::min(lane_bytes - done, 1'000'000U);
        REQUIRE(builder.add_sealed(content::random_bytes(part, packs_ * 1'000'000 + lane * 1000 + done / 1'000'000)));
        done += part;
      }
    }
    auto made = builder.finish(volume, 0, identities.back().device, random);
    REQUIRE(made);
    return std::move(*made);
  }
  content::EncodedPack pack_now() {
    const auto geometry = client->geometry_now();
    return pack(geometry.k, geometry.m);
  }
  Result<WriteOutcome> write(const content::EncodedPack& pack) { return sim.run(client->write(pack)); }
  // Written, and every slot has its holder.
  PackRef write_all(const content::EncodedPack& pack) {
    sim.run([](PoolClient& c, content::EncodedPack p) -> env::Task<void> {
      auto written = co_await c.write(std::move(p));
      REQUIRE(written);
      auto below = co_await c.settle();
      REQUIRE(below == 0);
    }(*client, pack));
    return located(pack);
  }
  // By who holds what in truth.
  PackRef located(const content::EncodedPack& pack) {
    PackRef ref{pack.header.id, pack.header.geometry, std::vector<NodeId>(pack.shards.size())};
    for (size_t i = 0; i < machines.size(); ++i) {
      if (!machines[i] || !machines[i]->holder) continue;
      for (const auto& store : machines[i]->holder->stores()) {
        for (const uint8_t slot : sim.run(store->slots_of(pack.header.id))) ref.holders[slot] = id(i);
      }
    }
    return ref;
  }
  Result<Buffer> read(const PackRef& ref, const content::EncodedPack& pack, uint32_t slot, uint32_t offset,
                      uint32_t length) {
    const Buffer expected = pack.shards[slot].slice(offset, length);
    auto check = [expected](ByteView bytes) { return equal(bytes, expected.view()); };
    return sim.run(client->read(ref, slot * ref.geometry.shard_length + offset, length, check));
  }
  void require_readable(const PackRef& ref, const content::EncodedPack& pack) {
    for (uint32_t slot = 0; slot < ref.geometry.k; ++slot) {
      auto bytes = read(ref, pack, slot, 0, ref.geometry.shard_length);
      INFO("slot " << slot << (bytes ? "" : " " + to_string(bytes.error())));
      REQUIRE(bytes);
    }
  }
  void settle_holders() {
    for (auto& machine : machines) {
      if (machine && machine->holder) REQUIRE(sim.run(machine->holder->settle()));
    }
  }

  peer::MemberKeys founder = peer::person(1), another = peer::person(66);  // members
  VolumeId volume;                                                         // of the packs
  peer::Membership membership = *peer::Membership::from_genesis(peer::genesis_of(founder));
  sim::SimWorld sim;
  std::vector<peer::Identity> identities;
  std::vector<std::unique_ptr<Machine>> machines;
  std::unique_ptr<Machine> client_machine;
  std::unique_ptr<PoolClient> client;
  std::set<NodeId> blamed;

 private:
  static env::Task<Result<peer::Reply>> answer(env::Clock& clock, Lie lie, peer::Request request) {
    if (lie == Lie::silent) co_await env::sleep_for(clock, std::chrono::hours(24));
    if (request.method != wire::Method::shard_get) co_return fail(Code::not_found);
    auto message = wire::decode<wire::ShardGetRequest>(ByteView(request.body));
    if (!message) co_return fail(std::move(message.error()));
    wire::ShardGetResponse response;
    response.set_offset(message->offset());
    Buffer bytes(lie == Lie::wrong_bytes ? message->length() : message->length() / 2 + 1);
    std::memset(bytes.data(), 0x5a, bytes.size());
    co_return peer::Reply{wire::encode(response), std::move(bytes)};
  }
  std::unique_ptr<Machine> make(size_t i, bool serves) {
    return std::make_unique<Machine>(sim.node(i), identities[i], membership, serves, probing_);
  }
  void serve(size_t i, uint64_t free) {
    Machine& machine = *machines[i];
    auto address = machine.peers.listen({machine.node.host(), 7000});
    REQUIRE(address);
    peer::NodeInfo info;
    info.name = machine.node.name();
    info.addresses = {*address};
    info.limit = free;
    info.free = free;
    info.domain = "d" + std::to_string(i);
    info.boot_seq = machine.node.boots();
    info.lends = true;
    machine.info = info;
    machine.peers.set_own_record(info);
    machine.peers.start({{sim.node(i == 0 ? 1 : 0).host(), 7000}});
  }
  void open(size_t i, bool create) {
    Machine& machine = *machines[i];
    auto holder = sim.run(Holder::open(machine.node.world(), machine.peers, "claims", machine.node.boots()));
    REQUIRE(holder);
    machine.holder = std::move(*holder);
    auto trash = sim.run(Trash::open(machine.node.world(), machine.peers, *machine.holder, "trash", trash_));
    REQUIRE(trash);
    machine.trash = std::move(*trash);
    store::StoreOptions options{.path = "store", .limit = limit_, .keep_free_share = 0};
    auto store = sim.run(store::ShardStore::open(machine.node.world(), options, create));
    REQUIRE(store);
    REQUIRE(machine.holder->add_store(std::move(*store)));
    if (healing_) {
      machine.healing = std::make_unique<Healing>(machine.node.world(), machine.peers, *machine.holder, *healing_);
      machine.healing->repair().skip([&trash = *machine.trash](PackId pack) { return trash.tombstoned(pack); });
      sim.run(machine.healing->start());
    }
    serve(i, machine.holder->figures().free);
  }
  void stop(std::unique_ptr<Machine> machine) {
    if (!machine) return;
    sim.run(machine->peers.stop());
    if (machine->healing) sim.run(machine->healing->stop());
    machine->healing.reset();
    if (machine->trash) sim.run(machine->trash->close());
    machine->trash.reset();
    if (machine->holder) sim.run(machine->holder->close());
    machine->holder.reset();
  }

  uint64_t limit_;
  std::optional<HealingOptions> healing_;
  TrashOptions trash_;
  std::optional<Duration> probing_;
  uint64_t packs_ = 0;
};

}  // namespace cairn::pool
