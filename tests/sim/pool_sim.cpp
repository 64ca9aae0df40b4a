#include "sim/pool_sim_impl.h"
#include "volume/register_format.h"

namespace cairn::sim {

namespace pool_simulation {

void PoolSim::begin() {
  constexpr std::pair<uint32_t, uint32_t> kCodes[] = {{2, 2}, {4, 2}, {3, 3}, {5, 3}, {4, 4}};
  if (options_.drawn) options_.healing = prng_.chance(0.25) && options_.nodes <= kLargePool;
  setup_.code = kCodes[prng_.below(std::size(kCodes))];
  if (prng_.chance(0.05) || options_.own_code) setup_.code.reset();  // as the pool's size asks: (16, 8)
  m_ = setup_.code ? setup_.code->second : pool::geometry_for(options_.nodes).m;
  if (options_.healing && setup_.code && setup_.code->first + setup_.code->second + 2 <= options_.nodes / 2 &&
      prng_.chance(0.5)) {
    setup_.nodes_per_domain = 2;
  }
  setup_.trash = {.keep = seconds(60), .remember = std::chrono::hours(12)};
  if (options_.breaks) options_.breaks(setup_);
  setup_.healing.repair.on_drop = [this](const ShardId& shard, const NodeId& keeper) {
    if (left_alone_) checks_.spawn(check_drop(shard, keeper));
  };
  // A head may refer to a pack of which k + ceil(m/2) shards are there: so many of these may be bad.
  rot_limit_ = (m_ + 1) / 2;
  if (prng_.chance(0.3)) {
    // 24 holders of each pack among 30 nodes leave little room for liars.
    const uint64_t count = prng_.between(1, setup_.code ? rot_limit_ : 1);
    while (liars_.size() < count) liars_.insert(prng_.between(1, options_.nodes - 1));
    rot_limit_ -= count;
    result_.liars = count;
  }
  sim_.network().set_default_link({.latency = milliseconds(prng_.between(1, 30)),
                                   .jitter = milliseconds(prng_.between(0, 20)),
                                   .bytes_per_second = 50'000'000,
                                   .loss = prng_.chance(0.5) ? 0 : static_cast<double>(prng_.between(1, 50)) / 1000});
  Bytes nonce(32);
  prng_.fill(nonce);
  setup_.genesis = peer::make_genesis(member_, "founder", "simulated", nonce, 0);
  const PoolId pool = *peer::pool_of_genesis(setup_.genesis);
  marker_.resize(kMarkerSize);
  prng_.fill(marker_);
  secrets_.add("plaintext", marker_);
  secrets_.add("a file's name", as_bytes("secretname"));
  secrets_.add("account secret", member_.secret);
  secrets_.add("member key", member_.member.seed());
  for (size_t i = 0; i < options_.nodes + options_.clients + 1; ++i) {
    SimNode& node = sim_.add_node();
    const auto key = give_identity(node);
    secrets_.add("device key", key.seed());
    identities_.push_back(peer::make_identity(member_, pool, key, node.name(), 0));
    if (options_.lying_disks) node.disk().set_lying(true);
    node.set_drift(static_cast<int64_t>(prng_.between(0, 400)) - 200);
    if (prng_.chance(0.2)) node.jump_wall_clock(some_days(30));
  }
  setup_.bootstrap = {sim_.node(0).host(), 7000};
  sim_.network().set_tap([this](NodeIndex from, NodeIndex to, ByteView bytes) {
    if (const auto* name = secrets_.find({from, to}, bytes)) {
      failure(fmt::format("{} on the wire from n{} to n{}", *name, from, to));
    }
  });
  holders_.resize(options_.nodes);
  clients_.resize(options_.clients);
  next_name_.resize(options_.clients);
  for (size_t i = 0; i < options_.nodes; ++i) start_holder(i, true);
  const bool up =
      sim_.look_until([&] { return std::ranges::all_of(holders_, [](const auto& h) { return h->ready(); }); },
                      milliseconds(100), seconds(60));
  if (!up) throw Stuck("the holders did not start");

  // The founder's own machine makes the volume.
  ClientMachine founder(sim_.node(options_.nodes + options_.clients), identities_.back(), setup_);
  const bool known =
      sim_.look_until([&] { return founder.peers().live_nodes().size() >= options_.nodes; }, seconds(1), seconds(300));
  if (!known) failure(fmt::format("only {} nodes became known", founder.peers().live_nodes().size()));
  const auto transport = volume::transport_over(founder.peers());
  auto founding = sim_.run(volume::found_head(founder.node().world(), *transport), seconds(120));
  if (!founding) throw Stuck("no volume could be founded: " + to_string(founding.error()));
  founding_ = std::move(*founding);
  prng_.fill(key_);
  const auto keys = content::VolumeKeys::derive(key_, id_cast<VolumeId>(crypto::sha256(founding_)));
  secrets_.add("volume key", key_);
  for (const auto& sub : {keys.id, keys.enc, keys.meta, keys.cdc}) secrets_.add("volume subkey", sub);
  sim_.run(founder.close(), seconds(120));
  auto parsed = volume::parse_founding(founding_);
  if (!parsed) throw Stuck("the founding record: " + to_string(parsed.error()));
  for (const NodeId& keeper : parsed->first.keepers) keepers_.push_back(machine_of(keeper));
  if (prng_.chance(0.06)) {
    equivocator_ = keepers_[prng_.below(keepers_.size())];
    result_.equivocator = true;
    crash_holder(*equivocator_, CrashKind::process);
    sim_.node(*equivocator_).restart();
    start_holder(*equivocator_, false);
  }
  for (size_t i = 0; i < options_.clients; ++i) start_client(i);
}

Duration PoolSim::some_days(int64_t most) {
  const auto seconds_of = most * 24 * 3600;
  return seconds(static_cast<int64_t>(prng_.between(0, static_cast<uint64_t>(2 * seconds_of))) - seconds_of);
}

void PoolSim::start_holder(size_t i, bool create) {
  PoolSetup setup = setup_;
  setup.lies = liars_.contains(i);
  setup.equivocates = equivocator_ == i;
  holders_[i] = std::make_unique<HolderMachine>(sim_.node(i), identities_[i], setup);
  holders_[i]->tasks().spawn([](PoolSim& self, size_t index, bool make) -> Task<void> {
    auto opened = co_await self.holders_[index]->open(make);
    // A disk that stopped in the midst is a crash that is just happening.
    if (!opened && !self.sim_.node(index).disk().dead()) {
      self.failure(fmt::format("n{} did not start: {}", index, to_string(opened.error())));
    }
  }(*this, i, create));
}

void PoolSim::start_client(size_t i) {
  clients_[i] = std::make_unique<ClientMachine>(sim_.node(options_.nodes + i), identities_[options_.nodes + i], setup_);
  clients_[i]->tasks().spawn(act(*this, i, *clients_[i]));
}

void PoolSim::crash_holder(size_t i, CrashKind kind) {
  if (!sim_.node(i).up()) return;
  ++result_.crashes;
  bury(std::move(holders_[i]));
  sim_.node(i).crash(kind);
}

void PoolSim::crash_client(size_t i) {
  ++result_.crashes;
  bury(std::move(clients_[i]));
  SimNode& node = sim_.node(options_.nodes + i);
  node.crash(prng_.chance(0.5) ? CrashKind::power : CrashKind::process);
  node.restart();
  start_client(i);
}

size_t PoolSim::down() const {
  size_t count = 0;
  for (size_t i = 0; i < options_.nodes; ++i) count += sim_.node(i).up() ? 0U : 1U;
  return count;
}

Task<void> PoolSim::make_faults(PoolSim& self) {
  const Time end = self.sim_.now() + self.options_.faults;
  co_await env::sleep_for(self.sim_.clock(), seconds(3));
  while (self.sim_.now() < end) {
    self.one_fault();
    co_await env::sleep_for(self.sim_.clock(), milliseconds(self.prng_.between(100, 3500)));
  }
}

void PoolSim::one_fault() {
  const size_t i = prng_.below(options_.nodes);
  SimNode& node = sim_.node(i);
  switch (prng_.below(12)) {
    case 0:
    case 1:
    case 2:  // a crash, now or in the midst of a disk operation
      if (!node.up() || down() >= 4) return;
      if (prng_.chance(0.5)) {
        crash_holder(i, prng_.chance(0.5) ? CrashKind::power : CrashKind::process);
      } else {
        node.disk().crash_after(prng_.below(30), [this, i] {
          sim_.after(milliseconds(prng_.below(1500)), [this, i] {
            if (sim_.node(i).disk().dead()) crash_holder(i, CrashKind::power);  // unless it was repaired meanwhile
          });
        });
      }
      return;
    case 3:
    case 4:
    case 5:  // those that are down come back
      for (size_t j = 0; j < options_.nodes; ++j) {
        if (sim_.node(j).up() || !prng_.chance(0.7)) continue;
        sim_.node(j).restart();
        start_holder(j, false);
      }
      return;
    case 6: {  // a part is cut off, or only not heard, or single links carry nothing one way
      ++result_.partitions;
      std::set<NodeIndex> side;
      const size_t count = prng_.between(1, sim_.size() / 3);
      while (side.size() < count) side.insert(static_cast<NodeIndex>(prng_.below(sim_.size())));
      if (prng_.chance(0.5)) {
        sim_.network().partition(side);
      } else if (prng_.chance(0.5)) {
        for (const NodeIndex a : side) sim_.network().block(a, static_cast<NodeIndex>(prng_.below(sim_.size())));
      } else {
        for (const NodeIndex a : side) {
          for (NodeIndex b = 0; b < sim_.size(); ++b) sim_.network().block(a, b);
        }
      }
      return;
    }
    case 7:
    case 8:
      sim_.network().heal();
      return;
    case 9:
      sim_.network().reset_streams(static_cast<NodeIndex>(i), static_cast<NodeIndex>(prng_.below(sim_.size())));
      return;
    case 10:
      if (prng_.chance(0.5)) {
        if (result_.rots < rot_limit_ && node.disk().rot_somewhere("store/segments/", prng_)) ++result_.rots;
      } else {
        const size_t machine = prng_.below(sim_.size());  // clients, too
        sim_.node(machine).jump_wall_clock(some_days(10));
      }
      return;
    default:
      if (prng_.chance(0.4)) crash_client(prng_.below(options_.clients));
      return;
  }
}

void PoolSim::repair_all() {
  sim_.network().heal();
  for (size_t i = 0; i < options_.nodes; ++i) {
    if (sim_.node(i).up()) {  // also those that were to stop at some later operation
      if (sim_.node(i).disk().dead())
        crash_holder(i, CrashKind::power);
      else
        sim_.node(i).disk().restart();
    }
    if (sim_.node(i).up() || destroyed_.contains(i)) continue;
    sim_.node(i).restart();
    start_holder(i, false);
  }
}

// A machine that knows nothing of what happened: the last of the clients.
Status PoolSim::open_reader() {
  auto& reader = clients_.emplace_back(
      std::make_unique<ClientMachine>(sim_.node(options_.nodes + options_.clients), identities_.back(), setup_));
  sim_.look_until([&] { return reader->peers().live_nodes().size() >= options_.nodes; }, seconds(1), seconds(120));
  Status opened = fail(Code::timeout);
  for (int attempt = 0; attempt < 3 && !opened; ++attempt) {
    opened = sim_.run(reader->open(founding_, key_, &log_), std::chrono::minutes(10));
  }
  if (opened) {
    const volume::HeadInfo head = reader->volume().head();
    saw_head(machine_of_client(*reader), head.sequence, head.hash, highest_);
  }
  return opened;
}

void PoolSim::end() {
  over_ = true;
  repair_all();
  const bool calm = sim_.look_until(
      [&] { return std::ranges::all_of(clients_, [](const auto& client) { return client->tasks().empty(); }); },
      milliseconds(100), std::chrono::minutes(10));
  if (!calm) failure("a client's operation did not end although all nodes are back");
  if (options_.healing) {
    repair_all();
    heal();
  } else {
    if (options_.lying_disks || prng_.chance(0.3)) {  // all at once: what was acknowledged is on the disks
      for (size_t i = 0; i < options_.nodes; ++i) crash_holder(i, CrashKind::power);
    }
    repair_all();  // also after a crash that was still under way
    sim_.run_for(seconds(90));
    if (const Status opened = open_reader(); !opened) {
      failure("the volume cannot be opened at the end: " + to_string(opened.error()));
      return;
    }
    note_packs();
    static_cast<void>(sim_.run(look_at_packs()));  // each can be read
  }
  auto& reader = clients_.back();
  for (const auto& [path, about] : paths_) {
    Status read = fail(Code::timeout);
    for (int attempt = 0; attempt < 3 && !read; ++attempt) {
      read = sim_.run(check(reader->volume().view(), path, about.floor), std::chrono::minutes(10));
    }
    if (!read) failure(fmt::format("{} cannot be read at the end: {}", path, to_string(read.error())));
  }
  if (options_.healing && result_.failures.empty()) give_space_back();
  for (size_t i = 0; i < sim_.size(); ++i) {
    sim_.node(i).disk().each_byte_run([&](const std::string& path, ByteView bytes) {
      if (const auto* name = secrets_.find(bytes)) failure(fmt::format("{} on the disk of n{} in {}", *name, i, path));
    });
  }
  // An orderly end of all, objects and tasks.
  for (auto& client : clients_) {
    sim_.run(client->close(), std::chrono::minutes(5));
    client.reset();
  }
  for (auto& holder : holders_) {
    if (!holder) continue;
    if (!holder->ready()) {  // its start failed, which was said
      bury(std::move(holder));
      continue;
    }
    sim_.run(holder->close(), std::chrono::minutes(5));
    holder.reset();
  }
  holders_.clear();
  clients_.clear();
}

}  // namespace pool_simulation

PoolSimResult run_pool_simulation(uint64_t seed, PoolSimOptions options) {
  return pool_simulation::PoolSim(seed, std::move(options)).run();
}

std::string to_string(const PoolSimResult& r) {
  return fmt::format(
      "seed {}: {} trace {:016x}, {} events, {} sent; {} puts ({} failed), {} files acknowledged, {} gets ({} failed); "
      "{} removals, {} collections, {} packs buried; {} crashes, {} partitions, {} rotten bits, {} liars{}{}",
      r.seed, r.failures.empty() ? "ok," : "FAILED,", r.trace, r.events, format_size(r.network_bytes), r.puts,
      r.puts_failed, r.files_acknowledged, r.gets, r.gets_failed, r.removals, r.collections, r.packs_buried, r.crashes,
      r.partitions, r.rots, r.liars,
      r.equivocator ? fmt::format(", a keeper that equivocates ({} times noticed)", r.forks_noticed) : "",
      r.losses == 0 ? ""
                    : fmt::format("; {} machines lost, {} shards rebuilt, {} dropped, {} moved for {}", r.losses,
                                  r.repairs, r.surplus_dropped, format_size(r.bytes_moved), format_size(r.bytes_lost)));
}

}  // namespace cairn::sim
