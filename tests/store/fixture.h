#pragma once
// A store on a simulated machine, and what its disk really holds.

#include "shards.h"
#include "sim/world.h"
#include "store/limits.h"

namespace cairn::store {

class Fixture {
 public:
  static constexpr const char* kPath = "data/store";

  explicit Fixture(uint64_t seed = 1, uint64_t limit = 64 * kMiB)
      : sim(seed), node(sim.add_node()), options{.path = kPath, .limit = limit, .keep_free_share = 0} {}
  ~Fixture() { stop(); }

  Status open(bool create = true) { return open_in(node.world(), create); }
  Status open_in(env::World world, bool create = true) {
    auto opened = sim.run(ShardStore::open(world, options, create));
    if (!opened) return fail(opened.error());
    store = std::move(*opened);
    return {};
  }
  // Kills the program where it stands.
  void kill(sim::CrashKind kind = sim::CrashKind::power) {
    store.reset();
    node.crash(kind);
    node.restart();
  }
  void stop() {
    if (!store) return;
    sim.run(store->close());
    store.reset();
  }
  // Time for the background tasks.
  void rest() { sim.run_for(std::chrono::seconds(5)); }

  Status put(const TestShard& shard) { return sim.run(store::put(*store, shard)); }
  Status put_all(const std::vector<TestShard>& shards) {
    return sim.run(store::put_all(sim.executor(), *store, shards));
  }
  Result<Buffer> read(const TestShard& shard) {
    return sim.run(store->read(shard.id(), 0, static_cast<uint32_t>(shard.bytes.size())));
  }
  bool holds(const TestShard& shard) {
    auto bytes = read(shard);
    return bytes && equal(bytes->view(), shard.bytes.view());
  }
  bool lacks(const TestShard& shard) {
    auto bytes = read(shard);
    return !bytes && bytes.error().code == Code::not_found;
  }
  Status remove(const TestShard& shard) { return sim.run(store->remove(shard.id())); }

  std::vector<std::string> segments() {
    auto names = node.disk().list(options.path + "/segments");
    return names ? *names : std::vector<std::string>();
  }
  uint64_t segment_bytes() {
    uint64_t bytes = 0;
    for (const std::string& name : segments()) {
      bytes += *(*node.disk().open(options.path + "/segments/" + name, env::OpenMode::read))->allocated();
    }
    return bytes;
  }
  // What figures().used must be, counted from the disk.
  uint64_t used_on_disk() {
    return kFixedBytes + index_allowance(options.limit, store->figures().shards) + reserve_bytes(options.limit) +
           segment_bytes();
  }

  sim::SimWorld sim;
  sim::SimNode& node;
  StoreOptions options;
  std::unique_ptr<ShardStore> store;
};

}  // namespace cairn::store
