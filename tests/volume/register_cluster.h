#pragma once
// Machines of one member that keep and use registers, in the simulator, over a transport that loses, delays, repeats
// and reorders single messages (peer's sessions are tested elsewhere).

#include <deque>
#include <set>

#include "sim/identity.h"
#include "sim/world.h"
#include "volume/keeper_server.h"
#include "volume/register_limits.h"
#include "volume/register_proposer.h"

namespace cairn::volume {

class Cluster;

// What runs on a machine while it is up.
class Machine final : public RegisterTransport {
 public:
  Machine(Cluster& cluster, size_t index);
  ~Machine() override = default;

  const peer::Identity& identity() const override;
  env::Task<Result<Bytes>> call(NodeId to, wire::Method method, Bytes body, Duration timeout) override;
  std::vector<KeeperCandidate> nodes() const override;
  size_t index() const { return index_; }
  env::World world() const;
  KeeperServer& server() { return *server_; }
  env::TaskGroup& tasks() { return tasks_; }

 private:
  Cluster& cluster_;
  size_t index_;
  std::unique_ptr<KeeperServer> server_;
  env::TaskGroup tasks_;
};

struct ClusterOptions {
  double loss = 0;      // of messages, one way
  double repeat = 0;    // of requests
  double slow = 0;      // of messages: up to 2 s late
  Duration busy{};      // every request waits so long at its keeper
  bool refuse = false;  // a machine that is down says so at once, as one without the daemon does; else nothing is heard
  AcceptorFaults faults;
};

class Cluster {
 public:
  Cluster(uint64_t seed, size_t machines, ClusterOptions options = {})
      : sim(seed), options_(options), member_(peer::MemberKeys::derive(secret_of(seed))) {
    sim.prng().fill(pool_.bytes);
    for (size_t i = 0; i < machines; ++i) {
      sim::SimNode& node = sim.add_node();
      auto key = sim::give_identity(node);
      auto certificate = peer::Certificate::issue(member_, pool_, key.public_key(), node.name(), 0);
      identities_.push_back({pool_, node.id(), key, member_, std::move(certificate)});
      lends_.push_back(true);
      machines_.push_back(nullptr);
      start(i);
    }
  }
  ~Cluster() {
    for (size_t i = 0; i < size(); ++i) {
      if (up(i)) crash(i, sim::CrashKind::process);
    }
  }

  size_t size() const { return machines_.size(); }
  Machine& machine(size_t i) { return *machines_.at(i); }
  bool up(size_t i) const { return sim.node(i).up(); }
  const peer::Identity& identity(size_t i) const { return identities_.at(i); }
  const peer::MemberKeys& member() const { return member_; }
  // The machine may only add to this volume from now on.
  void restrict(size_t i, const VolumeId& volume) {
    peer::Identity& identity = identities_.at(i);
    identity.certificate =
        peer::Certificate::issue(member_, pool_, identity.device.public_key(), sim.node(i).name(), 0, volume);
    identity.member = peer::MemberKeys::public_only(member_.public_key);
  }
  void set_options(ClusterOptions options) { options_ = options; }
  void set_lending(size_t count) {
    for (size_t i = 0; i < lends_.size(); ++i) lends_[i] = i < count;
  }
  void set_lending(size_t i, bool lends) { lends_[i] = lends; }
  void set_gone(size_t i, bool gone) { gone_[i] = gone; }

  void start(size_t i) {
    auto machine = std::make_shared<Machine>(*this, i);
    machines_[i] = machine.get();
    sim.node(i).own(std::move(machine));
  }
  void crash(size_t i, sim::CrashKind kind = sim::CrashKind::power) {
    machines_[i] = nullptr;
    sim.node(i).crash(kind);
  }
  void restart(size_t i) {
    sim.node(i).restart();
    start(i);
  }
  // The machine comes back with an empty disk.
  void replace_disk(size_t i) {
    if (up(i)) crash(i);
    ++disks_[i];
    restart(i);
  }
  std::string keeper_path(size_t i) { return "keeper" + std::to_string(disks_[i]); }
  // Between every machine of one side and every one of the other; none: all are connected.
  void partition(std::set<size_t> side) { side_ = std::move(side); }
  AcceptorFaults faults() const { return options_.faults; }

  std::optional<size_t> find(const NodeId& node) const {
    for (size_t i = 0; i < identities_.size(); ++i) {
      if (identities_[i].node == node) return i;
    }
    return std::nullopt;
  }
  // Carries one message; fn runs unless the message is lost or the machine is down when it arrives.
  void carry(size_t from, size_t to, std::move_only_function<void()> fn) {
    auto& prng = sim.prng();
    const bool cut = side_.contains(from) != side_.contains(to);
    if (from != to && (cut || prng.chance(options_.loss))) return;
    Duration delay = std::chrono::microseconds(from == to ? 10 : prng.between(500, 8000));
    if (prng.chance(options_.slow)) delay += std::chrono::milliseconds(prng.below(2000));
    // On the network's behalf, not the machine's: what is under way may arrive after a crash and a restart.
    sim.after(delay, [this, to, fn = std::move(fn)]() mutable {
      if (up(to)) fn();
    });
  }
  bool repeats() { return sim.prng().chance(options_.repeat); }
  bool refuses(size_t to) const { return options_.refuse && !up(to); }
  Duration busy() const { return options_.busy; }
  std::vector<KeeperCandidate> candidates() const {
    std::vector<KeeperCandidate> all;
    for (size_t i = 0; i < identities_.size(); ++i) {
      const auto gone = gone_.find(i);
      all.push_back({.node = identities_[i].node,
                     .domain = std::to_string(i),
                     .lends = lends_[i],
                     .usable = true,
                     .gone = gone != gone_.end() && gone->second});
    }
    std::ranges::sort(all, {}, &KeeperCandidate::node);
    return all;
  }

  template <class T>
  T run(env::Task<T> task) {
    return sim.run(std::move(task));
  }

  mutable sim::SimWorld sim;

 private:
  static crypto::AccountSecret secret_of(uint64_t seed) {
    crypto::AccountSecret secret{};
    env::Prng(seed ^ 0x5ec3e7).fill(secret);
    return secret;
  }

  ClusterOptions options_;
  peer::MemberKeys member_;
  PoolId pool_;
  std::vector<peer::Identity> identities_;
  std::vector<bool> lends_;
  std::map<size_t, bool> gone_;
  std::map<size_t, int> disks_;
  std::vector<Machine*> machines_;
  std::set<size_t> side_;
};

inline Machine::Machine(Cluster& cluster, size_t index)
    : cluster_(cluster), index_(index), tasks_(cluster.sim.node(index).executor()) {
  auto store = world().meta_stores.open(cluster.keeper_path(index));
  CAIRN_ASSERT(store);
  auto acceptor = Acceptor::open(std::move(*store), cluster.identity(index), world().random, cluster.faults());
  CAIRN_ASSERT(acceptor);
  server_ = std::make_unique<KeeperServer>(world(), std::move(*acceptor));
}

inline const peer::Identity& Machine::identity() const {
  return cluster_.identity(index_);
}
inline env::World Machine::world() const {
  return cluster_.sim.node(index_).world();
}
inline std::vector<KeeperCandidate> Machine::nodes() const {
  return cluster_.candidates();
}

inline env::Task<Result<Bytes>> Machine::call(NodeId to, wire::Method method, Bytes body, Duration timeout) {
  const auto target = cluster_.find(to);
  if (!target) co_return fail(Code::unreachable);
  if (cluster_.refuses(*target)) co_return fail(Code::unreachable, "connection refused");
  env::OneShot<Result<Bytes>> answer(world().executor);
  const auto serve = [](Cluster& cluster, size_t from, size_t at, wire::Method what, Bytes request,
                        env::OneShot<Result<Bytes>> out) -> env::Task<void> {
    if (cluster.busy() > Duration{}) co_await env::sleep_for(cluster.machine(at).world().clock, cluster.busy());
    Requester requester(cluster.member().id());
    const peer::Certificate& certificate = cluster.identity(from).certificate;
    if (certificate.append_only) requester.only = id_cast<RegisterId>(certificate.volume);
    auto result = co_await cluster.machine(at).server().handle(what, requester, std::move(request));
    cluster.carry(at, from, [out, result = std::move(result)]() mutable { out.set(std::move(result)); });
  };
  for (int copies = cluster_.repeats() ? 2 : 1; copies > 0; --copies) {
    cluster_.carry(index_, *target, [&cluster = cluster_, from = index_, at = *target, method, body, answer, serve] {
      cluster.machine(at).tasks().spawn(serve(cluster, from, at, method, body, answer));
    });
  }
  auto result = co_await env::with_deadline(world().executor, world().clock, world().clock.now() + timeout,
                                            [](env::OneShot<Result<Bytes>> shot) -> env::Task<Result<Bytes>> {
                                              auto bytes = co_await shot;
                                              co_return bytes;
                                            }(answer));
  co_return result;
}

}  // namespace cairn::volume
