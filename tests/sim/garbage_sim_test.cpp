// A week of work on one volume by several machines: files come and go, snapshots are made and forgotten, everybody
// prunes, machines crash. Afterwards holders keep what is live, all of it and nothing else.
#include <catch2/catch.hpp>

#include "sim/identity.h"
#include "sim/pool_machines.h"
#include "volume/collect.h"
#include "volume/marker.h"
#include "volume/snapshots.h"

namespace cairn::sim {
namespace {

using env::Task;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

template <class Machine>
void bury(std::unique_ptr<Machine> machine) {
  static auto* graveyard = new std::vector<Machine*>;  // see pool_sim.cpp
  graveyard->push_back(machine.release());
}

constexpr size_t kHolders = 6, kClients = 3;

class GarbageWorld {
 public:
  explicit GarbageWorld(uint64_t seed) : sim(seed), prng(seed * 7919) {
    const auto member = found_pool(prng, setup);
    setup.code = {2, 2};
    // Two weeks pass: nothing is hurried, or reading all again and again takes most of the time.
    setup.probe_period = minutes(1);
    setup.healing = pool::HealingOptions{};
    const PoolId pool = *peer::pool_of_genesis(setup.genesis);
    for (size_t i = 0; i < kHolders + kClients; ++i) {
      SimNode& node = sim.add_node();
      identities.push_back(peer::make_identity(member, pool, give_identity(node), node.name(), 0));
    }
    setup.bootstrap = {sim.node(0).host(), 7000};
    holders.resize(kHolders);
    clients.resize(kClients);
    for (size_t i = 0; i < kHolders; ++i) start_holder(i, true);
    REQUIRE(sim.run_until([&] { return std::ranges::all_of(holders, [](const auto& h) { return h->ready(); }); },
                          minutes(2)));
    prng.fill(key);
    clients[0] = make_client(0);
    REQUIRE(sim.run_until([&] { return clients[0]->peers().live_nodes().size() >= kHolders; }, minutes(20)));
    const auto transport = volume::transport_over(clients[0]->peers());
    auto made = sim.run(volume::found_head(clients[0]->node().world(), *transport), minutes(5));
    REQUIRE(made);
    founding = std::move(*made);
    sim.run(clients[0]->close(), minutes(5));
    clients[0].reset();
    for (size_t i = 0; i < kClients; ++i) start_client(i);
  }
  ~GarbageWorld() {
    for (auto& holder : holders) bury(std::move(holder));
    for (auto& client : clients) bury(std::move(client));
  }

  void start_holder(size_t i, bool create) {
    holders[i] = std::make_unique<HolderMachine>(sim.node(i), identities[i], setup);
    holders[i]->tasks().spawn([](GarbageWorld& world, size_t index, bool make) -> Task<void> {
      auto opened = co_await world.holders[index]->open(make);
      if (!opened) world.failures.push_back("holder: " + to_string(opened.error()));
    }(*this, i, create));
  }
  std::unique_ptr<ClientMachine> make_client(size_t i) {
    return std::make_unique<ClientMachine>(sim.node(kHolders + i), identities[kHolders + i], setup);
  }
  void start_client(size_t i) {
    clients[i] = make_client(i);
    clients[i]->tasks().spawn(act(*this, i, *clients[i]));
  }
  void crash_client(size_t i) {
    ++crashes;
    bury(std::move(clients[i]));
    SimNode& node = sim.node(kHolders + i);
    node.crash(CrashKind::process);
    node.restart();
    start_client(i);
  }
  static Bytes bytes_of(uint64_t content) {
    Bytes bytes(20'000 + content % 300'000);
    env::Prng(content).fill(bytes);
    return bytes;
  }

  // What one client does for a week. Each has a folder of its own; snapshots and prunes are everybody's.
  static Task<void> act(GarbageWorld& self, size_t index, ClientMachine& me) {
    env::Clock& clock = me.node().clock();
    for (;;) {
      auto opened = co_await me.open(self.founding, self.key);
      if (opened) break;
      if (self.over) co_return;
      co_await env::sleep_for(clock, seconds(5));
    }
    while (!self.over) {
      co_await env::sleep_for(clock, minutes(self.prng.between(10, 240)));
      if (self.over) co_return;
      auto fresh = co_await me.volume().refresh();
      if (!fresh) continue;
      const uint64_t what = self.prng.below(20);
      if (what < 8)
        co_await self.put(index, me);
      else if (what < 13)
        co_await self.remove(index, me);
      else if (what < 15)
        co_await self.snapshot(index, me);
      else if (what < 17)
        co_await self.forget(me);
      else
        co_await self.prune(me);
    }
  }
  // Fates that are not known make a path possible to be either; null: not there.
  struct Path {
    std::set<std::optional<uint64_t>> possible{std::nullopt};
  };
  Task<void> put(size_t index, ClientMachine& me) {
    auto transaction = me.volume().begin();
    std::map<std::string, uint64_t> files;
    for (uint64_t i = prng.between(1, 6); i > 0; --i)
      files[fmt::format("/c{}/f{}", index, prng.below(30))] = prng.next() >> 8;
    Status done;
    auto folder = co_await (*transaction)->make_directories(fmt::format("/c{}", index), {.mode = 0755});
    if (!folder) done = fail(std::move(folder.error()));
    for (const auto& [path, content] : files) {
      paths[path].possible.insert(content);
      if (!done) continue;
      const std::string name = path.substr(path.rfind('/') + 1);
      volume::InodeId inode = 0;
      auto there = co_await (*transaction)->view().lookup(*folder, name);
      if (there) {
        inode = there->inode;
      } else {
        auto made = co_await (*transaction)->make_file(*folder, name, {});
        if (!made) {
          done = fail(std::move(made.error()));
          continue;
        }
        inode = *made;
      }
      auto writer = co_await (*transaction)->write_file(inode);
      auto written = co_await (*writer)->write(Buffer::copy_of(bytes_of(content)));
      if (written) written = co_await (*writer)->finish();
      if (!written) done = std::move(written);
    }
    if (done) {
      auto committed = co_await (*transaction)->commit();
      if (!committed) done = fail(std::move(committed.error()));
    }
    if (!done) {
      note("put", done.error());
      co_return;
    }
    ++puts;
    for (const auto& [path, content] : files) paths[path].possible = {content};
  }
  Task<void> remove(size_t index, ClientMachine& me) {
    auto transaction = me.volume().begin();
    auto folder = co_await (*transaction)->view().resolve(fmt::format("/c{}", index));
    if (!folder) co_return;
    std::vector<std::string> gone;
    Status done;
    auto list = co_await (*transaction)->view().list(folder->id, "", SIZE_MAX);
    if (!list) co_return;
    for (const auto& entry : *list) {
      if (!done || !prng.chance(0.4)) continue;
      gone.push_back(fmt::format("/c{}/{}", index, entry.name));
      paths[gone.back()].possible.insert(std::nullopt);
      done = co_await (*transaction)->unlink(folder->id, entry.name);
    }
    if (done) {
      auto committed = co_await (*transaction)->commit();
      if (!committed) done = fail(std::move(committed.error()));
    }
    if (!done) {
      note("remove", done.error());
      co_return;
    }
    for (const std::string& path : gone) paths[path].possible = {std::nullopt};
  }
  Task<void> snapshot(size_t index, ClientMachine& me) {
    const std::string name = fmt::format("s{}-{}", index, snapshots_made++);
    auto made = co_await me.volume().make_snapshot(name);
    if (made)
      snapshots.insert(name);
    else
      note("snapshot", made.error());
  }
  Task<void> forget(ClientMachine& me) {
    if (snapshots.empty()) co_return;
    const std::string name = *std::next(snapshots.begin(), static_cast<ptrdiff_t>(prng.below(snapshots.size())));
    snapshots.erase(name);
    auto gone = co_await me.volume().remove_snapshot(name);
    if (!gone) note("forget", gone.error());
  }
  Task<void> prune(ClientMachine& me) {
    auto report = co_await volume::collect_garbage(me.volume().host(), {.max_unused_share = 0.05});
    if (report)
      ++prunes;
    else
      note("prune", report.error());
  }
  // What may fail is what waits for machines that are away; nothing may be lost.
  void note(const char* what, const Error& error) {
    if (error.code == Code::damaged || error.code == Code::corrupt || error.code == Code::bad_input)
      failures.push_back(std::string(what) + ": " + to_string(error));
  }

  // Every shard that a holder keeps, and the bytes of them.
  std::map<PackId, std::map<uint8_t, uint64_t>> held() {
    std::map<PackId, std::map<uint8_t, uint64_t>> found;
    for (auto& holder : holders) {
      for (const auto& store : holder->holder().stores()) {
        for (const ShardId& shard : sim.run(store->list(std::nullopt, 1'000'000), minutes(5))) {
          auto described = sim.run(store->describe(shard), minutes(5));
          REQUIRE(described);
          found[shard.pack][shard.slot] += described->header.geometry.shard_length;
        }
      }
    }
    return found;
  }

  SimWorld sim;
  env::Prng prng;
  PoolSetup setup;
  std::vector<peer::Identity> identities;
  std::vector<std::unique_ptr<HolderMachine>> holders;
  std::vector<std::unique_ptr<ClientMachine>> clients;
  Bytes founding;
  content::VolumeKey key{};
  std::map<std::string, Path> paths;
  std::set<std::string> snapshots;
  uint64_t snapshots_made = 0, puts = 0, prunes = 0, crashes = 0;
  bool over = false;
  std::vector<std::string> failures;
};

}  // namespace

TEST_CASE("after a week of work and prunes holders keep what is live, whole, and nothing else") {
  const uint64_t seed = GENERATE(1, 2);
  GarbageWorld world(seed);
  INFO("seed " << seed);
  const Time end = world.sim.now() + hours(24 * 7);
  while (world.sim.now() < end && world.failures.empty()) {
    world.sim.run_for(hours(world.prng.between(1, 8)));
    const uint64_t fault = world.prng.below(6);
    if (fault == 0) world.crash_client(world.prng.below(kClients));
    if (fault == 1) {  // a holder is away for a while
      const size_t i = world.prng.below(kHolders);
      ++world.crashes;
      bury(std::move(world.holders[i]));
      world.sim.node(i).crash(world.prng.chance(0.5) ? CrashKind::power : CrashKind::process);
      world.sim.run_for(minutes(world.prng.between(1, 300)));
      world.sim.node(i).restart();
      world.start_holder(i, false);
    }
  }
  world.over = true;
  for (const std::string& failure : world.failures) FAIL_CHECK(failure);
  REQUIRE(world.sim.run_until(
      [&] { return std::ranges::all_of(world.clients, [](const auto& client) { return client->tasks().empty(); }); },
      hours(12)));
  CHECK(world.puts > 20);
  CHECK(world.prunes > 5);
  ClientMachine& last = *world.clients[0];
  REQUIRE(world.sim.run(last.open(world.founding, world.key), minutes(10)));
  const auto collect = [&] {
    auto report = world.sim.run(
        volume::collect_garbage(last.volume().host(), {.max_unused_share = 0.02, .orphan_grace = hours(24)}), hours(2));
    INFO((report ? "" : to_string(report.error())));
    REQUIRE(report);
    return *report;
  };
  // Uploads of crashed clients are found, wait, and go; and the trash is emptied.
  for (int i = 0; i < 3; ++i) {
    collect();
    world.sim.run_for(hours(26));
  }
  world.sim.run_for(hours(80));
  REQUIRE(world.sim.run(last.volume().refresh(), minutes(5)));

  // What is live, by a walk of our own.
  auto head = world.sim.run(last.volume().host().latest(), minutes(5));
  REQUIRE(head);
  volume::Marker marker(last.node().world(), last.volume().host().nodes());
  REQUIRE(world.sim.run(marker.mark((*head)->root), minutes(10)));
  auto items = world.sim.run(last.volume().host().tree().scan((*head)->root, "S", "T", SIZE_MAX), minutes(5));
  REQUIRE(items);
  for (const volume::Item& item : *items) {
    auto snapshot = volume::decode_snapshot(item.value);
    REQUIRE(snapshot);
    REQUIRE(world.sim.run(marker.mark(snapshot->root), minutes(10)));
  }
  uint64_t live = 0, stored = 0;
  const auto held = world.held();
  for (const auto& [pack, use] : marker.packs()) {
    const auto there = held.find(pack);
    REQUIRE(there != held.end());
    // Placement finishes behind a commit, and a crash may end it; repair fills the rest in a pool that heals.
    CHECK(there->second.size() >= 3);
    live += 4 * there->second.begin()->second;
  }
  uint64_t dead = 0;
  for (const auto& [pack, slots] : held) {
    for (const auto& [slot, bytes] : slots) {
      stored += bytes;
      if (!marker.live(pack)) dead += bytes;
    }
  }
  uint64_t in_trash = 0;
  for (auto& holder : world.holders) in_trash += holder->trash().figures().bytes;
  INFO("live " << live << ", stored " << stored << ", dead " << dead << ", in the trash " << in_trash);
  CHECK(dead <= in_trash);  // of the last collection's own commit
  CHECK(stored - dead <= live + live / 50);
  CHECK(stored >= live - live / 50);

  // A machine that knows nothing of what happened reads all.
  ClientMachine& reader = *world.clients[1];
  REQUIRE(world.sim.run(reader.open(world.founding, world.key), minutes(10)));
  for (const auto& [path, about] : world.paths) {
    auto found = world.sim.run(reader.volume().view().resolve(path), minutes(10));
    INFO(path);
    if (!found) {
      REQUIRE(found.error().code == Code::not_found);
      CHECK(about.possible.contains(std::nullopt));
      continue;
    }
    auto bytes = world.sim.run(reader.volume().view().read(found->id, 0, found->inode.size), minutes(10));
    REQUIRE(bytes);
    CHECK(std::ranges::any_of(
        about.possible, [&](const auto& content) { return content && GarbageWorld::bytes_of(*content) == *bytes; }));
  }
  for (const std::string& name : world.snapshots) {
    INFO(name);
    auto view = world.sim.run(reader.volume().view_snapshot(name), minutes(10));
    if (!view) continue;  // a snapshot whose fate was not known
    for (size_t client = 0; client < kClients; ++client) {
      auto folder = world.sim.run(view->resolve(fmt::format("/c{}", client)), minutes(10));
      if (!folder) continue;
      auto list = world.sim.run(view->list(folder->id, "", SIZE_MAX), minutes(10));
      REQUIRE(list);
      for (const auto& entry : *list) {
        auto about = world.sim.run(view->inode(entry.inode), minutes(10));
        REQUIRE(about);
        auto bytes = world.sim.run(view->read(entry.inode, 0, about->size), minutes(10));
        INFO(entry.name << (bytes ? "" : " " + to_string(bytes.error())));
        REQUIRE(bytes);
        CHECK(bytes->size() == about->size);
      }
    }
  }
}

}  // namespace cairn::sim
