// A pool that grows from three domains to six and to ten, and shrinks again: its volume's packs follow the table, and
// holders keep them and nothing else.
#include <catch2/catch.hpp>

#include "sim/identity.h"
#include "sim/pool_machines.h"
#include "volume/collect.h"
#include "volume/marker.h"

namespace cairn::sim {
namespace {

using env::Task;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr size_t kMost = 10;

class GrowingPool {
 public:
  explicit GrowingPool(uint64_t seed) : sim(seed), prng(seed) {
    const auto member = found_pool(prng, setup);
    setup.probe_period = minutes(1);
    setup.healing = pool::HealingOptions{};
    const PoolId pool = *peer::pool_of_genesis(setup.genesis);
    for (size_t i = 0; i <= kMost; ++i) {
      SimNode& node = sim.add_node();
      identities.push_back(peer::make_identity(member, pool, give_identity(node), node.name(), 0));
    }
    setup.bootstrap = {sim.node(0).host(), 7000};
    grow_to(3);
    client = std::make_unique<ClientMachine>(sim.node(kMost), identities[kMost], setup);
    wait_for(3);
    const auto transport = volume::transport_over(client->peers());
    auto made = sim.run(volume::found_head(client->node().world(), *transport), minutes(5));
    REQUIRE(made);
    content::VolumeKey key{};
    prng.fill(key);
    REQUIRE(sim.run(client->open(*made, key), minutes(10)));
  }
  ~GrowingPool() {
    // Worlds end before what runs in them: see pool_sim.cpp.
    static auto* graveyard = new std::vector<void*>;
    for (auto& holder : holders) graveyard->push_back(holder.release());
    graveyard->push_back(client.release());
  }

  void grow_to(size_t domains) {
    while (holders.size() < domains) {
      const size_t i = holders.size();
      holders.push_back(std::make_unique<HolderMachine>(sim.node(i), identities[i], setup));
      auto opened = sim.run(holders[i]->open(true), minutes(5));
      REQUIRE(opened);
    }
    if (client) wait_for(domains);
  }
  // The last ones leave for good.
  void shrink_to(size_t domains) {
    for (size_t i = domains; i < holders.size(); ++i) {
      peer::NodeInfo info = *holders[i]->peers().membership().node(identities[i].node);
      info.lends = false;
      holders[i]->peers().set_own_record(info);
    }
    wait_for(domains);
  }
  void wait_for(size_t domains) {
    REQUIRE(sim.run_until([&] { return client->pool().goal().domains == domains; }, minutes(30)));
    REQUIRE(sim.run_until(
        [&] {
          const auto now = client->pool().geometry_now(), goal = client->pool().goal().code;
          return now.k == goal.k && now.m == goal.m;
        },
        minutes(30)));
  }

  void put(const std::string& name, uint64_t content, size_t size) {
    auto done = sim.run(
        [](GrowingPool& self, std::string as, uint64_t what, size_t length) -> Task<Status> {
          auto transaction = self.client->volume().begin();
          auto inode = co_await (*transaction)->make_file(volume::kRootInode, as, {});
          if (!inode) co_return fail(std::move(inode.error()));
          auto writer = co_await (*transaction)->write_file(*inode);
          auto written = co_await (*writer)->write(Buffer::copy_of(bytes_of(what, length)));
          if (written) written = co_await (*writer)->finish();
          if (!written) co_return written;
          auto committed = co_await (*transaction)->commit();
          if (!committed) co_return fail(std::move(committed.error()));
          co_return Status{};
        }(*this, name, content, size),
        minutes(30));
    INFO((done ? "" : to_string(done.error())));
    REQUIRE(done);
    files[name] = {content, size};
  }
  static Bytes bytes_of(uint64_t content, size_t size) {
    Bytes bytes(size);
    env::Prng(content).fill(bytes);
    return bytes;
  }

  // What `cairn rebalance` does of it, in small steps; how many packs were written anew.
  uint64_t follow_domains() {
    uint64_t recoded = 0;
    for (uint64_t unfit = UINT64_MAX; unfit > 0;) {
      auto report = sim.run(volume::collect_garbage(client->volume().host(),
                                                    {.recode = volume::Recode::all, .max_recode_bytes = 4 * kMiB}),
                            hours(2));
      INFO((report ? "" : to_string(report.error())));
      REQUIRE(report);
      recoded += report->recoded_packs;
      REQUIRE(report->unfit_packs < unfit);
      unfit = report->unfit_packs;
    }
    sim.run(client->pool().settle(), hours(1));
    return recoded;
  }

  // After the trash is empty: every live pack has this code, each slot at one holder, no domain has two, and nothing
  // else is stored.
  void require_exactly(uint32_t k, uint32_t m) {
    for (int i = 0; i < 2; ++i) {  // what the last collection's own commit left behind
      auto report = sim.run(volume::collect_garbage(client->volume().host(), {}), hours(2));
      REQUIRE(report);
      sim.run_for(hours(75));
    }
    REQUIRE(sim.run(client->volume().refresh(), minutes(10)));
    auto head = sim.run(client->volume().host().latest(), minutes(10));
    REQUIRE(head);
    volume::Marker marker(client->node().world(), client->volume().host().nodes());
    REQUIRE(sim.run(marker.mark((*head)->root), minutes(10)));
    std::map<PackId, std::map<uint8_t, std::vector<size_t>>> held;
    uint64_t stored = 0, live = 0, in_trash = 0;
    for (size_t i = 0; i < holders.size(); ++i) {
      in_trash += holders[i]->trash().figures().bytes;
      for (const auto& store : holders[i]->holder().stores()) {
        for (const ShardId& shard : sim.run(store->list(std::nullopt, 100'000), minutes(5))) {
          auto described = sim.run(store->describe(shard), minutes(5));
          REQUIRE(described);
          const uint64_t length = described->header.geometry.shard_length;
          stored += length;
          if (!marker.live(shard.pack)) continue;
          held[shard.pack][shard.slot].push_back(i);
          CHECK(described->header.geometry.k == k);
          CHECK(described->header.geometry.m == m);
          live += length;
        }
      }
    }
    CHECK(held.size() == marker.packs().size());
    for (const auto& [pack, slots] : held) {
      CHECK(slots.size() == k + m);
      std::set<size_t> domains;
      for (const auto& [slot, at] : slots) {
        CHECK(at.size() == 1);
        domains.insert(at.begin(), at.end());
      }
      CHECK(domains.size() == k + m);
    }
    INFO("stored " << stored << ", live " << live << ", in the trash " << in_trash);
    CHECK(stored - live <= in_trash + live / 50);  // the last collection's own commit leaves a pack of tree nodes
    uint64_t bytes = 0;
    for (const auto& [name, file] : files) bytes += file.second;
    const double overhead = static_cast<double>(live) / static_cast<double>(bytes);
    const double wanted = static_cast<double>(k + m) / k;
    CHECK(overhead >= wanted);
    CHECK(overhead <= wanted * 1.2);  // the last pack of each step is rounded up, and there is the tree
  }
  void require_intact() {
    for (const auto& [name, file] : files) {
      auto found = sim.run(client->volume().view().resolve("/" + name), minutes(10));
      REQUIRE(found);
      auto bytes = sim.run(client->volume().view().read(found->id, 0, found->inode.size), minutes(10));
      REQUIRE(bytes);
      CHECK(*bytes == bytes_of(file.first, file.second));
    }
  }

  SimWorld sim;
  env::Prng prng;
  PoolSetup setup;
  std::vector<peer::Identity> identities;
  std::vector<std::unique_ptr<HolderMachine>> holders;
  std::unique_ptr<ClientMachine> client;
  std::map<std::string, std::pair<uint64_t, size_t>> files;
};

}  // namespace

TEST_CASE(
    "a volume follows its pool from three domains to six and to ten, with its data whole and nothing kept twice") {
  GrowingPool pool(1);
  for (uint64_t i = 0; i < 8; ++i) pool.put("f" + std::to_string(i), i + 1, 1'500'000);
  pool.require_exactly(1, 2);
  pool.grow_to(6);
  CHECK(pool.follow_domains() > 2);
  pool.require_exactly(4, 2);
  pool.require_intact();
  pool.put("later", 77, 900'000);
  pool.grow_to(10);
  // The table wants more parity now: any collection sees to that.
  auto report = pool.sim.run(volume::collect_garbage(pool.client->volume().host(), {}), hours(2));
  REQUIRE(report);
  CHECK(report->recoded_packs > 0);
  CHECK(report->unfit_packs == 0);
  pool.require_exactly(5, 3);
  pool.require_intact();
}

TEST_CASE("when domains leave, packs with more slots than domains are written as the fewer domains want it") {
  GrowingPool pool(2);
  pool.grow_to(10);
  for (uint64_t i = 0; i < 4; ++i) pool.put("f" + std::to_string(i), i + 1, 1'500'000);
  pool.shrink_to(6);
  auto report =
      pool.sim.run(volume::collect_garbage(pool.client->volume().host(), {.max_unused_bytes = UINT64_MAX}), hours(2));
  REQUIRE(report);
  CHECK(report->recoded_packs == 0);  // machines that are away for a while cost nothing
  CHECK(pool.follow_domains() > 0);
  pool.require_exactly(4, 2);
  pool.require_intact();
}

}  // namespace cairn::sim
