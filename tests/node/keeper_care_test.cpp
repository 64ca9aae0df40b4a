// Keepers that are lost are replaced by the daemons of the register's owner, with nobody at a command line.

#include "node/keeper_care.h"

#include "peer/people.h"
#include "sim/world.h"
#include "volume/register.h"

namespace cairn::node {
namespace {

using env::Task;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// The parts of a daemon that this is about.
struct Daemon {
  Daemon(sim::SimNode& machine, const peer::Identity& identity, peer::Membership membership, bool lends)
      : node(machine),
        peers(machine.world(), identity, std::move(membership), {.serve = true}),
        tasks(machine.executor()) {
    auto opened = volume::Keeper::open(machine.world(), peers, "keeper");
    REQUIRE(opened);
    keeper = std::move(*opened);
    care = std::make_unique<KeeperCare>(machine.world(), peers);
    REQUIRE(peers.listen({machine.host(), 7000}));
    peer::NodeInfo info;
    info.name = machine.name();
    info.addresses = {{machine.host(), 7000}};
    info.limit = info.free = kGiB;
    info.domain = machine.name();
    info.boot_seq = machine.boots();
    info.lends = lends;
    peers.set_own_record(info);
  }
  Task<void> close() {
    tasks.cancel();
    co_await peers.stop();
    co_await keeper->close();
  }
  sim::SimNode& node;
  peer::Peers peers;
  std::unique_ptr<volume::Keeper> keeper;
  std::unique_ptr<KeeperCare> care;
  env::TaskGroup tasks;
};

// Machine 0 is the owner's, lends nothing, and has a daemon; the others lend, and are of another member. A further
// machine of the owner runs commands, as long as the test wants it to.
class Pool {
 public:
  Pool(uint64_t seed, size_t lenders, bool cared_for) : sim(seed) {
    REQUIRE(membership_.append(peer::device_of(owner_, membership_.pool(), 1), 1, peer::add_action(lender_)));
    for (size_t i = 0; i <= lenders + 1; ++i) {
      sim::SimNode& node = sim.add_node();
      const bool lends = i > 0 && i <= lenders;
      identities_.push_back(peer::device_of(lends ? lender_ : owner_, membership_.pool(), i + 1));
      node.set_identity(identities_[i].node, identities_[i].device.public_key());
    }
    for (size_t i = 0; i <= lenders; ++i) daemons_.push_back(nullptr);
    for (size_t i = 0; i <= lenders; ++i) start(i, cared_for && i == 0);
    const auto all = [&] {
      return std::ranges::all_of(daemons_, [&](const auto& d) { return d->peers.live_nodes().size() >= lenders; });
    };
    REQUIRE(sim.look_until(all, seconds(1), minutes(10)));
  }
  ~Pool() {
    for (auto& daemon : daemons_) {
      if (daemon) sim.run(daemon->close());
    }
  }
  // What the owner does at another machine, which is away before and after.
  template <class T>
  T at_the_command_line(const std::function<Task<T>(env::World, peer::Peers&)>& command) {
    peer::Peers peers(sim.node(daemons_.size()).world(), identities_.back(), membership_, {.serve = false});
    peers.start({{sim.node(0).host(), 7000}});
    REQUIRE(sim.look_until([&] { return !peers.live_nodes().empty(); }, seconds(1), minutes(5)));
    sim.run_for(seconds(30));
    T done = sim.run(command(sim.node(daemons_.size()).world(), peers));
    sim.run(peers.stop());
    return done;
  }
  // As kill -9, and the disk is lost: never destroyed, for what lies in it stands somewhere in the midst.
  void lose(const NodeId& id) {
    static auto& graves = *new std::vector<std::unique_ptr<Daemon>>;
    const size_t i = index_of(id);
    graves.push_back(std::move(daemons_[i]));
    sim.node(i).crash(sim::CrashKind::power);
  }
  void back(const NodeId& id) {
    const size_t i = index_of(id);
    sim.node(i).restart();
    start(i, false);
  }
  size_t index_of(const NodeId& id) const {
    for (size_t i = 0; i < identities_.size(); ++i) {
      if (identities_[i].node == id) return i;
    }
    FAIL("no such node");
    return 0;
  }

  sim::SimWorld sim;

 private:
  void start(size_t i, bool cares) {
    const bool lends = i > 0;
    daemons_[i] = std::make_unique<Daemon>(sim.node(i), identities_[i], membership_, lends);
    daemons_[i]->peers.start({{sim.node(i == 0 ? 1 : 0).host(), 7000}});
    if (cares) daemons_[i]->tasks.spawn(KeeperCare::run(daemons_[i]->care.get()));
  }
  peer::MemberKeys owner_ = peer::person(1), lender_ = peer::person(2);
  peer::Membership membership_ = *peer::Membership::from_genesis(peer::genesis_of(owner_));
  std::vector<peer::Identity> identities_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
};

volume::VolumeEntry make_volume(Pool& pool) {
  return pool.at_the_command_line<volume::VolumeEntry>(
      [](env::World world, peer::Peers& peers) -> Task<volume::VolumeEntry> {
        return [](env::World w, peer::Peers& p) -> Task<volume::VolumeEntry> {
          volume::Account account(w, p, {.cache_path = "account", .founding_path = "first-keepers"});
          auto made = co_await account.create_volume("main", false);
          REQUIRE(made);
          co_return std::move(*made);
        }(world, peers);
      });
}

// What is chosen now. `write`: with so much more in it.
Result<volume::RegisterState> head(Pool& pool, const volume::VolumeEntry& entry, std::string write = "") {
  return pool.at_the_command_line<Result<volume::RegisterState>>(
      [&](env::World world, peer::Peers& peers) -> Task<Result<volume::RegisterState>> {
        return
            [](env::World w, peer::Peers& p, Bytes founding, std::string text) -> Task<Result<volume::RegisterState>> {
              volume::Register reg(w, p, std::move(founding));
              auto now = co_await reg.read();
              if (!now || text.empty()) co_return now;
              auto written = co_await reg.write(*now, to_bytes(as_bytes(text)));
              co_return written;
            }(world, peers, entry.founding, write);
      });
}

Result<std::vector<volume::VolumeEntry>> volumes(Pool& pool) {
  return pool.at_the_command_line<Result<std::vector<volume::VolumeEntry>>>(
      [](env::World world, peer::Peers& peers) -> Task<Result<std::vector<volume::VolumeEntry>>> {
        return [](env::World w, peer::Peers& p) -> Task<Result<std::vector<volume::VolumeEntry>>> {
          volume::Account account(w, p, {});
          auto all = co_await account.list();
          co_return all;
        }(world, peers);
      });
}

bool keeps(const volume::RegisterConfig& config, const NodeId& node) {
  return std::ranges::find(config.keepers, node) != config.keepers.end();
}

// Departure is noticed within minutes, the grace is ten, and the hand-over itself is rounds of messages.
constexpr Duration kHandedOverWithin = minutes(20);

}  // namespace

TEST_CASE("a keeper that is lost is replaced without its owner, and then others may be down") {
  for (const uint64_t seed : {1, 2, 3}) {
    INFO("seed " << seed);
    Pool pool(seed, 9, true);
    const auto entry = make_volume(pool);
    const auto first = head(pool, entry, "before");
    REQUIRE(first);
    REQUIRE(first->config.keepers.size() == 5);
    const std::vector<NodeId> keepers = first->config.keepers;
    pool.lose(keepers[0]);
    pool.sim.run_for(kHandedOverWithin);

    // Two of the others are down: with the one that is lost they are most of the first five.
    pool.lose(keepers[1]);
    pool.lose(keepers[2]);
    const auto now = head(pool, entry);
    REQUIRE(now);
    CHECK(now->content == to_bytes(as_bytes("before")));
    CHECK(now->config.epoch > first->config.epoch);
    CHECK(now->config.keepers.size() == 5);
    CHECK_FALSE(keeps(now->config, keepers[0]));
    CHECK(keeps(now->config, keepers[3]));
    const auto written = head(pool, entry, "after");
    REQUIRE(written);
    const auto read = head(pool, entry);
    REQUIRE(read);
    CHECK(read->content == to_bytes(as_bytes("after")));
    CHECK(read->sequence == first->sequence + 1);
    // The account has keepers of its own.
    const auto all = volumes(pool);
    REQUIRE(all);
    CHECK(all->size() == 1);
  }
}

TEST_CASE("without the owner's daemon a keeper that is lost is not replaced, and two more make the head unreadable") {
  Pool pool(1, 9, false);
  const auto entry = make_volume(pool);
  const auto first = head(pool, entry, "before");
  REQUIRE(first);
  pool.lose(first->config.keepers[0]);
  pool.sim.run_for(kHandedOverWithin);
  const auto still = head(pool, entry);
  REQUIRE(still);
  CHECK(still->config == first->config);
  pool.lose(first->config.keepers[1]);
  pool.lose(first->config.keepers[2]);
  const auto now = head(pool, entry);
  REQUIRE_FALSE(now);
  CHECK(now.error().code == Code::too_few_peers);
}

TEST_CASE("a keeper whose machine is started anew keeps its place") {
  Pool pool(4, 9, true);
  const auto entry = make_volume(pool);
  const auto first = head(pool, entry, "before");
  REQUIRE(first);
  pool.lose(first->config.keepers[0]);
  pool.sim.run_for(minutes(8));
  pool.back(first->config.keepers[0]);
  pool.sim.run_for(kHandedOverWithin);
  const auto now = head(pool, entry);
  REQUIRE(now);
  CHECK(now->config == first->config);
}

TEST_CASE("most keepers may be lost one after the other, as long as there is time in between") {
  Pool pool(5, 7, true);
  const auto entry = make_volume(pool);
  std::set<NodeId> lost;
  for (int round = 0; round < 4; ++round) {
    const auto now = head(pool, entry, fmt::format("round {}", round));
    REQUIRE(now);
    for (const NodeId& node : lost) CHECK_FALSE(keeps(now->config, node));
    lost.insert(now->config.keepers[0]);
    pool.lose(now->config.keepers[0]);
    pool.sim.run_for(kHandedOverWithin);
  }
  const auto now = head(pool, entry);
  REQUIRE(now);
  CHECK(now->content == to_bytes(as_bytes("round 3")));
  // 7, 6, 5, 4, 3 lenders: five keepers at first, three at last.
  CHECK(now->config.keepers.size() == 3);
}

}  // namespace cairn::node
