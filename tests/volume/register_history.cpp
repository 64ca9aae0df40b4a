#include "volume/register_history.h"

namespace cairn::volume {

namespace {

struct Record {
  std::vector<RegisterOp> ops;
  std::vector<bool> void_ops;  // certainly never happened
  uint64_t moment = 0;
  uint64_t next_value = 1;
  std::vector<size_t> left;  // operations of each client
};

Bytes content_of(uint64_t value) {
  Bytes bytes;
  append_le<uint64_t>(bytes, value);
  return bytes;
}
uint64_t value_of(const RegisterState& state) {
  return state.sequence == 0 ? 0 : read_le<uint64_t>(state.content.data());
}

env::Task<void> record_read(Record& record, Register& reg, RegisterState& last) {
  RegisterOp op{.kind = RegisterOp::Kind::read, .invoked = ++record.moment};
  auto state = co_await reg.read();
  op.returned = ++record.moment;
  if (!state) co_return;
  op.value = value_of(*state);
  last = std::move(*state);
  record.ops.push_back(op);
  record.void_ops.push_back(false);
}

env::Task<void> record_write(Record& record, Register& reg, RegisterState& last) {
  const uint64_t value = record.next_value++;
  const size_t index = record.ops.size();
  record.ops.push_back({.kind = RegisterOp::Kind::write,
                        .invoked = ++record.moment,
                        .expected = value_of(last),
                        .value = value,
                        .outcome = RegisterOp::Outcome::unknown});
  record.void_ops.push_back(false);
  auto state = co_await reg.write(last, content_of(value));
  RegisterOp& op = record.ops[index];
  if (state) {
    op.returned = ++record.moment;
    op.outcome = RegisterOp::Outcome::ok;
    CAIRN_ASSERT(value_of(*state) == value && state->sequence == last.sequence + 1);
    last = std::move(*state);
  } else if (state.error().code == Code::conflict) {
    op.returned = ++record.moment;
    op.outcome = RegisterOp::Outcome::conflict;
  } else if (state.error().code != Code::unknown_outcome) {
    record.void_ops[index] = true;
  }
}

// One client, from its machine's start until its end or its machine's.
env::Task<void> client(Cluster& cluster, Record& record, size_t me, size_t machine, Bytes founding,
                       ProposerFaults faults, bool adapts) {
  env::Prng prng(cluster.sim.prng().next());
  Machine& home = cluster.machine(machine);
  Register reg(home.world(), home, std::move(founding), {}, faults);
  RegisterState last;
  while (record.left[me] > 0) {
    --record.left[me];
    co_await env::sleep_for(home.world().clock, std::chrono::milliseconds(prng.below(1500)));
    const uint64_t what = prng.below(100);
    if (adapts && what < 15) {
      co_await reg.adapt_keepers();
    } else if (what < 55) {
      co_await record_read(record, reg, last);
    } else {
      co_await record_write(record, reg, last);
      if (prng.chance(0.5)) co_await record_read(record, reg, last);
    }
  }
}

class Nemesis {
 public:
  Nemesis(Cluster& cluster, const LifeOptions& options, std::function<void(size_t)> on_restart)
      : cluster_(cluster), options_(options), on_restart_(std::move(on_restart)), prng_(cluster.sim.prng().next()) {}

  void act(double progress) {
    if (options_.reconfigurations) {
      cluster_.set_lending(progress < 0.15 ? 1 : progress < 0.4 ? 3 : cluster_.size());
    }
    const size_t i = prng_.below(cluster_.size());
    const uint64_t what = prng_.below(100);
    if (options_.crashes && what < 30) {
      if (cluster_.up(i)) {
        cluster_.crash(i, prng_.chance(0.7) ? sim::CrashKind::power : sim::CrashKind::process);
        if (prng_.chance(0.4)) restart(i);  // at once: messages from before still arrive
      } else {
        restart(i);
      }
    } else if (options_.crashes && what < 55) {
      for (size_t j = 0; j < cluster_.size(); ++j) {
        if (!cluster_.up(j)) return restart(j);
      }
    } else if (options_.partitions && what < 75) {
      std::set<size_t> side;
      if (prng_.chance(0.6)) {
        for (size_t j = 0; j < cluster_.size(); ++j) {
          if (prng_.chance(0.4)) side.insert(j);
        }
      }
      cluster_.partition(std::move(side));
    } else if (options_.clock_jumps && what < 85) {
      cluster_.sim.node(i).jump_wall_clock(std::chrono::minutes(static_cast<int64_t>(prng_.below(240)) - 120));
    } else if (options_.lost_disks && what < 92) {
      cluster_.replace_disk(i);
      on_restart_(i);
    }
  }

  void make_peace() {
    cluster_.partition({});
    ClusterOptions calm;
    calm.faults = cluster_.faults();
    cluster_.set_options(calm);
    for (size_t j = 0; j < cluster_.size(); ++j) {
      if (!cluster_.up(j)) restart(j);
    }
  }

 private:
  void restart(size_t i) {
    cluster_.restart(i);
    on_restart_(i);
  }
  Cluster& cluster_;
  const LifeOptions& options_;
  std::function<void(size_t)> on_restart_;
  env::Prng prng_;
};

}  // namespace

Life live(uint64_t seed, const LifeOptions& options) {
  Record record;  // outlives the machines, whose tasks write into it
  Cluster cluster(seed, options.machines, options.network);
  if (options.clock_jumps) {
    for (size_t i = 0; i < cluster.size(); ++i) {
      cluster.sim.node(i).set_drift(static_cast<int64_t>(cluster.sim.prng().below(2001)) - 1000);
    }
  }
  cluster.set_options({.faults = options.network.faults});
  if (options.reconfigurations) cluster.set_lending(1);
  auto founding = cluster.run(found_head(cluster.machine(0).world(), cluster.machine(0)));
  CAIRN_ASSERT(founding);
  cluster.set_options(options.network);

  record.left.assign(options.clients, options.ops_per_client);
  const auto start_clients = [&](size_t machine) {
    for (size_t me = 0; me < options.clients; ++me) {
      if (me % cluster.size() != machine) continue;
      cluster.machine(machine).tasks().spawn(
          client(cluster, record, me, machine, *founding, options.proposer_faults, options.reconfigurations));
    }
  };
  for (size_t i = 0; i < cluster.size(); ++i) start_clients(i);

  Nemesis nemesis(cluster, options, start_clients);
  const Time begin = cluster.sim.now();
  while (cluster.sim.now() - begin < options.faults_for) {
    cluster.sim.run_for(std::chrono::milliseconds(100 + cluster.sim.prng().below(900)));
    nemesis.act(static_cast<double>((cluster.sim.now() - begin).count()) /
                static_cast<double>(options.faults_for.count()));
  }
  nemesis.make_peace();
  cluster.sim.run_until(
      [&] {
        for (size_t i = 0; i < cluster.size(); ++i) {
          if (!cluster.machine(i).tasks().empty()) return false;
        }
        return true;
      },
      std::chrono::minutes(20));

  Life life;
  const size_t reader = options.machines - 1;
  cluster.machine(reader).tasks().cancel();
  Register reg(cluster.machine(reader).world(), cluster.machine(reader), *founding, {}, options.proposer_faults);
  RegisterOp last{.kind = RegisterOp::Kind::read, .invoked = ++record.moment};
  auto state = cluster.run(reg.read());
  last.returned = ++record.moment;
  if (state) {
    last.value = value_of(*state);
    life.last_config = state->config;
    life.ended_readable = true;
    record.ops.push_back(last);
    record.void_ops.push_back(false);
  } else {
    life.trouble = to_string(state.error());
  }
  for (size_t i = 0; i < record.ops.size(); ++i) {
    if (record.void_ops[i]) continue;
    const RegisterOp& op = record.ops[i];
    life.history.push_back(op);
    if (op.kind != RegisterOp::Kind::write) continue;
    if (op.outcome == RegisterOp::Outcome::ok) ++life.writes;
    if (op.outcome == RegisterOp::Outcome::conflict) ++life.conflicts;
    if (op.outcome == RegisterOp::Outcome::unknown) ++life.unknown;
  }
  return life;
}

}  // namespace cairn::volume
