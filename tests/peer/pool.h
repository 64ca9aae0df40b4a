#pragma once
// A pool of simulated nodes with the production Peers.

#include "peer/invite.h"
#include "peer/newcomer.h"
#include "peer/peers.h"
#include "peer/people.h"
#include "sim/identity.h"
#include "sim/world.h"

namespace cairn::peer {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr uint16_t kPort = 4774;

// What a daemon is made of, as far as this room is concerned.
struct Daemon {
  Daemon(env::World world, Identity identity, Membership membership, PeersOptions options)
      : peers(world, std::move(identity), std::move(membership), options), invites(world, peers, "invites") {}
  Peers peers;
  Invites invites;
};

// One founder; every node is a device of its own member, admitted by the founder, unless said otherwise.
struct TestPool {
  explicit TestPool(uint64_t seed, size_t nodes = 0) : sim(seed) {
    founder = person(1);
    membership = Membership::from_genesis(genesis_of(founder)).value();
    for (size_t i = 0; i < nodes; ++i) add();
  }
  ~TestPool() {
    for (size_t i = 0; i < sim.size(); ++i) sim.node(i).disown();
  }

  PoolId id() const { return membership->pool(); }
  MemberKeys member(size_t node) const { return node == 0 ? founder : person(100 + node); }

  // A machine with a device; not running yet.
  sim::SimNode& add_machine(MemberKeys owner) {
    sim::SimNode& node = sim.add_node();
    const crypto::PrivateKey device = sim::give_identity(node);
    identities.push_back(make_identity(owner, id(), device, node.name(), 1));
    return node;
  }
  // A member's machine: in the log, not running yet.
  size_t add() {
    const size_t index = sim.size();
    add_machine(member(index));
    if (index > 0) {
      REQUIRE(membership->append(identities[0], 1, add_action(member(index))));
    }
    return index;
  }

  // Starts the daemon of node `index`, which knows the log and is told one address.
  Daemon& start(size_t index, std::vector<env::Address> bootstrap = {}, PeersOptions options = {.serve = true}) {
    return start_with(index, *membership, std::move(bootstrap), options);
  }
  Daemon& start_with(size_t index, Membership known, std::vector<env::Address> bootstrap = {},
                     PeersOptions options = {.serve = true}) {
    sim::SimNode& node = sim.node(index);
    Daemon& daemon = node.own(std::make_shared<Daemon>(node.world(), identities[index], std::move(known), options));
    if (daemons.size() <= index) daemons.resize(index + 1);
    daemons[index] = &daemon;
    if (options.serve) {
      REQUIRE(daemon.peers.listen({"0.0.0.0", kPort}));
      NodeInfo info;
      info.name = node.name();
      info.addresses = {address(index)};
      info.limit = info.free = 1000;
      info.lends = true;
      info.boot_seq = node.boots();
      daemon.peers.set_own_record(info);
    }
    REQUIRE(sim.run(daemon.invites.open()));
    setup(daemon.peers, index);
    daemon.peers.start(std::move(bootstrap));
    return daemon;
  }
  void start_all() {
    for (size_t i = 0; i < sim.size(); ++i) start(i, {address(0)});
  }

  env::Address address(size_t index) const { return {sim.node(index).host(), kPort}; }
  Peers& peers(size_t index) { return daemons.at(index)->peers; }
  NodeId node(size_t index) const { return identities.at(index).node; }

  Result<Reply> call(size_t from, size_t to, wire::Method method, Bytes body = {}, Buffer payload = {},
                     Duration timeout = seconds(10)) {
    return sim.run(peers(from).call(node(to), method, std::move(body), std::move(payload), timeout));
  }
  bool all_know(size_t count) {
    for (Daemon* daemon : daemons) {
      if (daemon->peers.membership().nodes().size() < count || daemon->peers.live_nodes().size() < count) return false;
    }
    return true;
  }

  sim::SimWorld sim;
  MemberKeys founder = person(1);
  std::optional<Membership> membership;
  std::vector<Identity> identities;
  std::vector<Daemon*> daemons;
  std::function<void(Peers&, size_t)> setup = [](Peers&, size_t) {};  // before start()
};

inline Bytes ping_body(uint64_t echo = 1) {
  wire::PingRequest ping;
  ping.set_echo(echo);
  return wire::encode(ping);
}

}  // namespace cairn::peer
