#include "sim/pool_sim_impl.h"

namespace cairn::sim {

namespace pool_simulation {

Bytes PoolSim::bytes_of(Content content) const {
  Bytes bytes(content.size);
  env::Prng(content.seed).fill(bytes);
  for (size_t at = 0; at + kMarkerSize <= bytes.size(); at += 256) {
    std::memcpy(bytes.data() + at, marker_.data(), kMarkerSize);
  }
  return bytes;
}

void PoolSim::begin() {
  constexpr std::pair<uint32_t, uint32_t> kCodes[] = {{2, 2}, {4, 2}, {3, 3}, {5, 3}, {4, 4}};
  setup_.code = kCodes[prng_.below(std::size(kCodes))];
  if (prng_.chance(0.05)) setup_.code.reset();  // as the pool's size asks: (16, 8)
  m_ = setup_.code ? setup_.code->second : pool::geometry_for(options_.nodes).m;
  if (options_.healing && setup_.code && setup_.code->first + setup_.code->second + 2 <= options_.nodes / 2 &&
      prng_.chance(0.5)) {
    setup_.nodes_per_domain = 2;
  }
  if (options_.breaks) options_.breaks(setup_.healing);
  setup_.healing.repair.on_drop = [this](const ShardId& shard, const NodeId& keeper) {
    if (left_alone_) checks_.spawn(check_drop(shard, keeper));
  };
  rot_limit_ = setup_.code ? (setup_.code->second + 1) / 2 : 4;
  sim_.network().set_default_link({.latency = milliseconds(prng_.between(1, 30)),
                                   .jitter = milliseconds(prng_.between(0, 20)),
                                   .bytes_per_second = 50'000'000});
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
  for (size_t i = 0; i < options_.clients; ++i) start_client(i);
}

void PoolSim::start_holder(size_t i, bool create) {
  holders_[i] = std::make_unique<HolderMachine>(sim_.node(i), identities_[i], setup_);
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
    case 6: {  // a part is cut off, or only not heard
      ++result_.partitions;
      std::set<NodeIndex> side;
      const size_t count = prng_.between(1, sim_.size() / 3);
      while (side.size() < count) side.insert(static_cast<NodeIndex>(prng_.below(sim_.size())));
      if (prng_.chance(0.7)) {
        sim_.network().partition(side);
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
        node.jump_wall_clock(seconds(static_cast<int64_t>(prng_.between(0, 200'000)) - 100'000));
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
    opened = sim_.run(reader->open(founding_, key_), std::chrono::minutes(10));
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
  }
  auto& reader = clients_.back();
  for (const auto& [path, about] : paths_) {
    Status read = fail(Code::timeout);
    for (int attempt = 0; attempt < 3 && !read; ++attempt) {
      read = sim_.run(check(reader->volume().view(), path, about.possible, true), std::chrono::minutes(10));
    }
    if (!read) failure(fmt::format("{} cannot be read at the end: {}", path, to_string(read.error())));
  }
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
    sim_.run(holder->close(), std::chrono::minutes(5));
    holder.reset();
  }
  holders_.clear();
  clients_.clear();
}

// --- clients ---

Task<void> PoolSim::act(PoolSim& self, size_t index, ClientMachine& me) {
  env::Clock& clock = me.node().clock();
  for (;;) {
    auto opened = co_await me.open(self.founding_, self.key_);
    if (opened) break;
    if (opened.error().code == Code::corrupt) self.failure("open: " + to_string(opened.error()));
    if (self.over_) co_return;
    co_await env::sleep_for(clock, seconds(1));
  }
  while (!self.over_) {
    if (self.prng_.chance(0.55)) {
      co_await self.put(index, me);
    } else {
      co_await self.get(me);
    }
    co_await env::sleep_for(clock, milliseconds(self.prng_.between(50, 4000)));
  }
}

Task<void> PoolSim::put(size_t index, ClientMachine& me) {
  ++result_.puts;
  auto transaction = me.volume().begin();
  if (!transaction) {
    failure("begin: " + to_string(transaction.error()));
    co_return;
  }
  std::map<std::string, Content> files;
  for (size_t i = prng_.between(1, 4); i > 0; --i) {
    uint64_t number = next_name_[index];
    if (number > 0 && prng_.chance(0.25)) {
      number = prng_.below(number);
    } else {
      ++next_name_[index];
    }
    const uint64_t largest = prng_.chance(0.15) ? 300'000 : 12'000;
    files[fmt::format("/client{}/secretname{}", index, number)] = {prng_.next(), prng_.below(largest + 1)};
  }
  Status done;
  for (const auto& [path, content] : files) {
    paths_[path].possible.emplace_back(content);
    if (done) done = co_await put_file(**transaction, path, content);
  }
  if (done) {
    auto committed = co_await (*transaction)->commit();
    if (!committed) done = fail(std::move(committed.error()));
  }
  if (!done) {
    ++result_.puts_failed;
    if (done.error().code == Code::corrupt || done.error().code == Code::bad_input ||
        done.error().code == Code::exists) {
      failure("put: " + to_string(done.error()));
    }
    co_return;
  }
  for (const auto& [path, content] : files) {
    ++result_.files_acknowledged;
    paths_[path].possible = {content};
    paths_[path].acknowledged = true;
  }
}

Task<Status> PoolSim::put_file(volume::Transaction& transaction, std::string path, Content content) {
  const size_t slash = path.rfind('/');
  auto parent = co_await transaction.make_directories(path.substr(0, slash), {.mode = 0755});
  if (!parent) co_return fail(std::move(parent.error()), "make_directories");
  auto there = co_await transaction.view().lookup(*parent, path.substr(slash + 1));
  volume::InodeId inode = 0;
  if (there) {
    inode = there->inode;
  } else if (there.error().code == Code::not_found) {
    auto made = co_await transaction.make_file(*parent, path.substr(slash + 1), {});
    if (!made) co_return fail(std::move(made.error()), "make_file");
    inode = *made;
  } else {
    co_return fail(std::move(there.error()), "lookup");
  }
  auto writer = co_await transaction.write_file(inode);
  if (!writer) co_return fail(std::move(writer.error()), "write_file");
  const Bytes bytes = bytes_of(content);
  auto written = co_await (*writer)->write(Buffer::copy_of(bytes));
  if (!written) co_return fail(std::move(written.error()), "write");
  auto finished = co_await (*writer)->finish();
  if (!finished) co_return fail(std::move(finished.error()), "finish");
  co_return Status{};
}

Task<void> PoolSim::get(ClientMachine& me) {
  if (paths_.empty()) co_return;
  ++result_.gets;
  const auto chosen = std::next(paths_.begin(), static_cast<ptrdiff_t>(prng_.below(paths_.size())));
  const std::string path = chosen->first;
  // What is acknowledged now must be seen by a head that is read from now on; what comes meanwhile may be.
  std::vector<std::optional<Content>> possible = chosen->second.possible;
  auto fresh = co_await me.volume().refresh();
  if (!fresh) {
    ++result_.gets_failed;
    if (fresh.error().code == Code::corrupt || fresh.error().code == Code::damaged) {
      failure("refresh: " + to_string(fresh.error()));
    }
    co_return;
  }
  for (const auto& later : paths_[path].possible) possible.push_back(later);
  auto read = co_await check(me.volume().view(), path, std::move(possible), false);
  if (!read) ++result_.gets_failed;
}

Task<Status> PoolSim::check(volume::View view, std::string path, std::vector<std::optional<Content>> possible,
                            bool final) {
  auto found = co_await view.resolve(path);
  if (!found && found.error().code == Code::not_found) {
    const bool allowed = std::ranges::any_of(possible, [](const auto& content) { return !content; });
    if (!allowed) failure(fmt::format("{} is not there{}", path, final ? " at the end" : ""));
    co_return Status{};
  }
  if (!found) {
    if (found.error().code == Code::corrupt) failure("resolve: " + to_string(found.error()));
    co_return fail(std::move(found.error()));
  }
  auto bytes = co_await view.read(found->id, 0, found->inode.size);
  if (!bytes) {
    if (bytes.error().code == Code::corrupt) failure("read: " + to_string(bytes.error()));
    co_return fail(std::move(bytes.error()));
  }
  const bool right = std::ranges::any_of(possible, [&](const auto& content) {
    return content && content->size == bytes->size() && bytes_of(*content) == *bytes;
  });
  if (!right) failure(fmt::format("{} has wrong bytes{}", path, final ? " at the end" : ""));
  co_return Status{};
}

}  // namespace pool_simulation

PoolSimResult run_pool_simulation(uint64_t seed, PoolSimOptions options) {
  return pool_simulation::PoolSim(seed, std::move(options)).run();
}

std::string to_string(const PoolSimResult& r) {
  return fmt::format(
      "seed {}: {} trace {:016x}, {} events, {} sent; {} puts ({} failed), {} files acknowledged, {} gets ({} failed); "
      "{} crashes, {} partitions, {} rotten bits{}",
      r.seed, r.failures.empty() ? "ok," : "FAILED,", r.trace, r.events, format_size(r.network_bytes), r.puts,
      r.puts_failed, r.files_acknowledged, r.gets, r.gets_failed, r.crashes, r.partitions, r.rots,
      r.losses == 0 ? ""
                    : fmt::format("; {} machines lost, {} shards rebuilt, {} dropped, {} moved for {}", r.losses,
                                  r.repairs, r.surplus_dropped, format_size(r.bytes_moved), format_size(r.bytes_lost)));
}

}  // namespace cairn::sim
