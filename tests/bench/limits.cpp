// What Cairn promises to take at the most when nothing is asked of it, as counters: `cairn-limits` prints each figure
// beside its limit and fails when one is missed. In simulated pools of the production code under virtual time; what a
// real daemon with 1,000,000 shards takes is printed by tests/system/million_shards.py. Smaller, for a quick look:
// CAIRN_LIMIT_NODES=100 CAIRN_LIMIT_SHARDS=20000 cairn-limits.
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>

#include "content/fixtures.h"
#include "os/meta_store.h"
#include "peer/people.h"
#include "pool/client.h"
#include "pool/cluster.h"
#include "pool/healing.h"
#include "volume/register.h"

namespace cairn {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

size_t number(const char* name, size_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(format, std::forward<Args>(args)...);
  std::fflush(stdout);
}

// --- idle traffic ---

// All that a daemon runs: sessions and gossip, a keeper, holder, trash, audits, repair. Everybody knows everybody.
struct Daemon {
  Daemon(sim::SimNode& n, peer::Identity identity, peer::Membership membership, Duration probing)
      : node(n),
        peers(n.world(), std::move(identity), std::move(membership), {.serve = true, .probe_period = probing}) {}
  sim::SimNode& node;
  peer::Peers peers;
  std::unique_ptr<volume::Keeper> keeper;
  std::unique_ptr<pool::Holder> holder;
  std::unique_ptr<pool::Trash> trash;
  std::unique_ptr<pool::Healing> healing;
};

class IdlePool {
 public:
  IdlePool(size_t nodes, Duration probing) : sim_(1) {
    volume_.bytes.fill(9);
    std::vector<peer::Identity> identities;
    for (size_t i = 0; i <= nodes; ++i) {
      sim::SimNode& node = sim_.add_node();
      identities.push_back(peer::device_of(founder_, membership_.pool(), i + 1));
      node.set_identity(identities[i].node, identities[i].device.public_key());
    }
    for (size_t i = 0; i < nodes; ++i) {
      REQUIRE(membership_.add_node(peer::sign_node(identities[i], record(i, 1, kGiB))));
    }
    writer_ = identities[nodes];
    for (size_t i = 0; i < nodes; ++i) {
      daemons_.push_back(std::make_unique<Daemon>(sim_.node(i), identities[i], membership_, probing));
      open(i);
    }
    peers_ = std::make_unique<peer::Peers>(sim_.node(nodes).world(), identities[nodes], membership_,
                                           peer::PeersOptions{.serve = false});
    peers_->start({{sim_.node(0).host(), 7000}});
    client_ = std::make_unique<pool::PoolClient>(sim_.node(nodes).world(), *peers_, pool::PoolOptions{});
  }
  ~IdlePool() {
    end_client();
    for (auto& daemon : daemons_) {
      sim_.run(daemon->peers.stop());
      sim_.run(daemon->healing->stop());
      daemon->healing.reset();
      sim_.run(daemon->trash->close());
      daemon->trash.reset();
      sim_.run(daemon->holder->close());
      daemon->holder.reset();
      sim_.run(daemon->keeper->close());
    }
  }
  sim::SimWorld& sim() { return sim_; }
  const std::vector<std::unique_ptr<Daemon>>& daemons() const { return daemons_; }
  size_t write(size_t packs) {
    size_t shards = 0;
    for (size_t i = 0; i < packs; ++i) {
      const auto geometry = client_->geometry_now();
      content::TestRandom random(i + 1);
      content::PackBuilder builder(geometry.k, geometry.m);
      for (uint32_t lane = 0; lane < geometry.k; ++lane)
        REQUIRE(builder.add_sealed(content::random_bytes(kLeafSize - 4096, i * 100 + lane)));
      auto pack = builder.finish(volume_, 0, writer_->device, random);
      REQUIRE(pack);
      shards += pack->shards.size();
      auto written = sim_.run(client_->write(std::move(*pack)));
      REQUIRE(written);
    }
    return shards;
  }
  // Nobody works with the pool any more.
  void end_client() {
    if (!client_) return;
    sim_.run(client_->settle());
    sim_.run(client_->stop());
    client_.reset();
    sim_.run(peers_->stop());
    peers_.reset();
  }

 private:
  peer::NodeInfo record(size_t i, uint64_t boot, uint64_t free) {
    peer::NodeInfo info;
    info.name = "node-" + std::to_string(i);
    info.addresses = {{sim_.node(i).host(), 7000}};
    info.limit = info.free = free;
    info.domain = "d" + std::to_string(i);
    info.boot_seq = boot;
    info.lends = true;
    return info;
  }
  void open(size_t i) {
    Daemon& daemon = *daemons_[i];
    const env::World world = daemon.node.world();
    auto keeper = volume::Keeper::open(world, daemon.peers, "keeper");
    REQUIRE(keeper);
    daemon.keeper = std::move(*keeper);
    auto holder = sim_.run(pool::Holder::open(world, daemon.peers, "claims", 1));
    REQUIRE(holder);
    daemon.holder = std::move(*holder);
    auto trash = sim_.run(pool::Trash::open(world, daemon.peers, *daemon.holder, "trash"));
    REQUIRE(trash);
    daemon.trash = std::move(*trash);
    auto store =
        sim_.run(store::ShardStore::open(world, {.path = "store", .limit = 64 * kMiB, .keep_free_share = 0}, true));
    REQUIRE(store);
    REQUIRE(daemon.holder->add_store(std::move(*store)));
    daemon.healing = std::make_unique<pool::Healing>(world, daemon.peers, *daemon.holder, pool::HealingOptions{});
    sim_.run(daemon.healing->start());
    REQUIRE(daemon.peers.listen({daemon.node.host(), 7000}));
    daemon.peers.set_own_record(record(i, 1, kGiB));
    daemon.peers.start({});
  }

  peer::MemberKeys founder_ = peer::person(1);
  peer::Membership membership_ = *peer::Membership::from_genesis(peer::genesis_of(founder_));
  VolumeId volume_;
  std::optional<peer::Identity> writer_;
  sim::SimWorld sim_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
  std::unique_ptr<peer::Peers> peers_;
  std::unique_ptr<pool::PoolClient> client_;
};

struct Sum {
  uint64_t bytes = 0, messages = 0, audited = 0, most = 0;
};

Sum count(const IdlePool& pool, std::vector<uint64_t>& each) {
  Sum sum;
  each.resize(pool.daemons().size());
  for (size_t i = 0; i < each.size(); ++i) {
    const Daemon& daemon = *pool.daemons()[i];
    const peer::Traffic traffic = daemon.peers.traffic();
    const uint64_t bytes = traffic.bytes_sent + traffic.bytes_received;
    sum.bytes += bytes;
    sum.messages += 2 * (traffic.requests_sent + traffic.requests_served);
    sum.audited += daemon.healing->auditor().counters().bytes;
    sum.most = std::max(sum.most, bytes - std::exchange(each[i], bytes));
  }
  return sum;
}

}  // namespace

TEST_CASE("idle traffic of a node is below 1 KiB a second") {
  const size_t nodes = number("CAIRN_LIMIT_NODES", 1000);
  const Duration watched = minutes(30);
  IdlePool pool(nodes, seconds(5));
  pool.sim().run_for(minutes(1));
  const size_t shards = pool.write(std::max<size_t>(nodes / 10, 20));
  pool.end_client();
  // Claims have spread, what was expected of the writer is over, and the first walk of all repairs has begun.
  pool.sim().run_for(minutes(20));
  std::vector<uint64_t> each;
  const Sum before = count(pool, each);
  pool.sim().run_for(watched);
  const Sum after = count(pool, each);
  const double watched_seconds = std::chrono::duration<double>(watched).count();
  const double node_seconds = static_cast<double>(nodes) * watched_seconds;
  const double frames = static_cast<double>(after.bytes - before.bytes) / node_seconds;
  // A record of TLS 1.3 and the headers of IPv4 and TCP, for each message as if it went alone.
  const double headers = static_cast<double>(after.messages - before.messages) * (22 + 52) / node_seconds;
  // Nodes here have few shards in common. With many each asks, and is asked for, a whole batch an hour.
  const double audits = 2 * static_cast<double>(after.audited - before.audited) / node_seconds;
  const double all_audits = 2.0 * static_cast<double>(pool::kAuditBatch * kLeafSize) /
                            std::chrono::duration<double>(pool::kAuditEvery).count();
  const double all = frames - audits + std::max(audits, all_audits) + headers;
  say("idle traffic, {} nodes, gossip, audits, repair, trash, keeper: {:.0f} bytes/s a node, sent and received (limit "
      "1024)\n",
      nodes, all);
  say("  of these {:.0f} of gossip and all else, {:.0f} of audits of nodes that share many shards ({:.0f} here, with "
      "{:.1f} "
      "shards a node), {:.0f} headers of TLS and TCP; the busiest node {:.0f} in frames\n",
      frames - audits, std::max(audits, all_audits), audits, static_cast<double>(shards) / static_cast<double>(nodes),
      headers, static_cast<double>(after.most) / watched_seconds);
  CHECK(all < 1024);
}

// --- repair ---

TEST_CASE("a repair moves at most k + 1 times the lost bytes and 5 percent") {
  constexpr uint32_t kData = 5, kParity = 3;
  pool::Cluster pool(12, 1, {}, 256 * kMiB, pool::HealingOptions{}.scaled(1.0 / 60));
  std::vector<content::EncodedPack> packs;
  for (int i = 0; i < 24; ++i) {
    packs.push_back(pool.pack(kData, kParity, 1'000'000));
    pool.write_all(packs.back());
  }
  pool.settle_holders();
  pool.sim.run_for(minutes(1));
  const auto slots_at = [&](size_t i, const content::EncodedPack& pack) {
    return pool.sim.run(pool.machines[i]->holder->stores()[0]->slots_of(pack.header.id));
  };
  uint64_t lost = 0;
  for (const size_t i : {4UL, 7UL}) {
    for (const auto& pack : packs) lost += slots_at(i, pack).size() * pack.header.geometry.shard_length;
    pool.crash(i);
  }
  const auto whole = [&] {
    return std::ranges::all_of(packs, [&](const auto& pack) {
      std::set<uint8_t> slots;
      for (size_t i = 0; i < pool.machines.size(); ++i) {
        if (!pool.machines[i] || !pool.machines[i]->healing || i == 4 || i == 7) continue;
        for (const uint8_t slot : slots_at(i, pack)) slots.insert(slot);
      }
      return slots.size() == pack.shards.size();
    });
  };
  bool done = false;
  for (int i = 0; i < 600 && !done; ++i) {
    pool.sim.run_for(seconds(30));
    done = whole();
  }
  REQUIRE(done);
  pool.sim.run_for(minutes(5));
  uint64_t moved = 0, placed = 0;
  for (size_t i = 0; i < 12; ++i) {
    if (i == 4 || i == 7) continue;
    const auto counters = pool.machines[i]->healing->mover().counters();
    moved += counters.bytes_fetched + counters.bytes_sent;
    placed += counters.bytes_placed;
  }
  const double times = static_cast<double>(moved) / static_cast<double>(lost);
  say("repair, code {}+{}: {:.2f} bytes moved for each byte lost (limit {:.2f}); {:.1f} MB lost, {:.1f} MB rebuilt\n",
      kData, kParity, times, 1.05 * (kData + 1), static_cast<double>(lost) / 1e6, static_cast<double>(placed) / 1e6);
  CHECK(times <= 1.05 * (kData + 1));
}

// --- what a departed node held ---

namespace {

// LevelDB, and how often it is asked.
struct Reads {
  uint64_t gets = 0, seeks = 0, steps = 0;
  uint64_t all() const { return gets + seeks + steps; }
};
class CountedCursor final : public env::Cursor {
 public:
  CountedCursor(std::unique_ptr<env::Cursor> inner, Reads& reads) : inner_(std::move(inner)), reads_(reads) {}
  void seek(std::string_view first) override {
    ++reads_.seeks;
    inner_->seek(first);
  }
  bool valid() const override { return inner_->valid(); }
  void next() override {
    ++reads_.steps;
    inner_->next();
  }
  std::string_view key() const override { return inner_->key(); }
  std::string_view value() const override { return inner_->value(); }
  Status status() const override { return inner_->status(); }

 private:
  std::unique_ptr<env::Cursor> inner_;
  Reads& reads_;
};
class CountedStore final : public env::MetaStore {
 public:
  CountedStore(std::unique_ptr<env::MetaStore> inner, Reads& reads) : inner_(std::move(inner)), reads_(reads) {}
  Result<std::optional<std::string>> get(std::string_view key) override {
    ++reads_.gets;
    return inner_->get(key);
  }
  Status write(const env::WriteBatch& batch, bool sync) override { return inner_->write(batch, sync); }
  std::unique_ptr<env::Cursor> cursor() override { return std::make_unique<CountedCursor>(inner_->cursor(), reads_); }

 private:
  std::unique_ptr<env::MetaStore> inner_;
  Reads& reads_;
};
class CountedStores final : public env::MetaStores {
 public:
  explicit CountedStores(std::string root) : inner_(std::move(root)) {}
  Result<std::unique_ptr<env::MetaStore>> open(const std::string& path, env::MetaStoreOptions options) override {
    auto store = inner_.open(path, options);
    if (!store) return fail(std::move(store.error()));
    return std::make_unique<CountedStore>(std::move(*store), reads);
  }
  Reads reads;

 private:
  os::LevelStores inner_;
};

NodeId node_number(uint64_t i) {
  NodeId id;
  write_le<uint64_t>(id.bytes.data(), i + 1);
  return id;
}

// The claims of a node with so many shards, each in a pack of its own with one sibling among so many nodes.
struct Departed {
  uint64_t found = 0, reads = 0;
  double milliseconds = 0;
};
Departed look_up(uint64_t shards, uint64_t siblings) {
  const auto root = std::filesystem::temp_directory_path() / fmt::format("cairn-limits-{}", ::getpid());
  CountedStores stores(root.string());
  std::filesystem::create_directories(root);
  Departed departed;
  {
    auto index = pool::ClaimIndex::open(stores, "claims", node_number(UINT64_MAX / 3));
    REQUIRE(index);
    env::Prng prng(shards);
    std::vector<pool::Claim> claims;
    for (uint64_t i = 0; i < shards; ++i) {
      pool::Claim claim;
      prng.fill(claim.shard.pack.bytes);
      claim.signed_message.assign(250, 0);
      for (const uint64_t who : {i % siblings, UINT64_MAX / 2}) {
        claim.shard.slot = who == i % siblings ? 1 : 0;
        claim.node = node_number(who);
        claims.push_back(claim);
      }
      if (claims.size() < 2048 && i + 1 < shards) continue;
      REQUIRE((*index)->accept(claims));
      claims.clear();
    }
    stores.reads = {};
    const auto begin = std::chrono::steady_clock::now();
    std::optional<ShardId> after;
    while (true) {  // as pool/repair.cpp walks when a node has gone
      auto page = (*index)->of_node(node_number(0), after, 256);
      REQUIRE(page);
      if (page->empty()) break;
      departed.found += page->size();
      after = page->back();
    }
    departed.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    departed.reads = stores.reads.all();
  }
  std::filesystem::remove_all(root);
  return departed;
}

}  // namespace

TEST_CASE("what a departed node held is looked up, not searched for") {
  const size_t shards = number("CAIRN_LIMIT_SHARDS", 1'000'000);
  constexpr uint64_t kShared = 1000;
  for (const uint64_t all : {uint64_t{10} * kShared, uint64_t{shards}}) {
    const Departed departed = look_up(all, all / kShared);
    say("departed node, {} of {} shards shared with it: {} reads of the index, {:.1f} ms (limit: one for each and one "
        "a "
        "page of 256)\n",
        departed.found, all, departed.reads, departed.milliseconds);
    CHECK(departed.found == kShared);
    CHECK(departed.reads <= kShared + 2 * (kShared / 256 + 2));
  }
}

}  // namespace cairn
