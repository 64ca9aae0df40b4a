#pragma once
// A pool and a head register in memory, shared by several volumes' writers, with faults and delays.

#include "content/pack.h"
#include "crypto/hash.h"
#include "sim/world.h"
#include "volume/pack_io.h"
#include "volume/volume.h"

namespace cairn::test {

// What the pool and the keepers keep.
struct MemoryPool {
  struct Pack {
    content::PackGeometry geometry;
    Bytes bytes;  // the k lanes one after the other
  };
  std::map<PackId, Pack> packs;
  // As holders: packs with a tombstone, by the sequence of the last statement, until empty_trash().
  std::map<PackId, Pack> trash;
  struct Statement {
    uint64_t sequence = 0;
    bool dead = false;
  };
  std::map<PackId, Statement> fates;
  uint64_t revived = 0;
  void empty_trash() { trash.clear(); }
  volume::RegisterState head;
  uint64_t writes = 0;  // of packs
  uint64_t reads = 0, read_bytes = 0;
  uint64_t commits = 0;
};

// One device's way to it. Each call takes up to `delay` of virtual time.
class MemoryPackIo final : public volume::PackIo {
 public:
  MemoryPackIo(MemoryPool& pool, env::World world, uint64_t seed) : pool_(pool), world_(world), prng_(seed) {}

  content::PackGeometry geometry_now() const override { return {.k = k, .m = m, .shard_length = 0}; }
  pool::Redundancy goal() const override {
    if (domains == 0) return {.code = geometry_now(), .domains = k + m};
    return {.code = pool::geometry_for(domains), .domains = domains};
  }
  env::Task<Result<pool::PackRef>> write(content::EncodedPack pack) override {
    co_await wait();
    if (away) co_return fail(Code::too_few_peers, "the pool is away");
    if (failing_writes > 0) {
      --failing_writes;
      co_return fail(Code::too_few_peers, "made to fail");
    }
    ++pool_.writes;
    const content::PackGeometry geometry = pack.header.geometry;
    Bytes bytes;
    for (uint32_t i = 0; i < geometry.k; ++i) append(bytes, pack.shards[i].view());
    pool_.packs[pack.header.id] = {geometry, std::move(bytes)};
    pool::PackRef ref{.id = pack.header.id, .geometry = geometry, .holders = {}};
    ref.holders.resize(geometry.k + geometry.m);
    for (size_t i = 0; i < ref.holders.size(); ++i) ref.holders[i].bytes[0] = static_cast<uint8_t>(i + 1);
    co_return ref;
  }
  env::Task<uint64_t> settle() override {
    co_await wait();
    co_return below_goal;
  }
  env::Task<Result<Buffer>> read(pool::PackRef pack, uint32_t offset, uint32_t length, pool::PoolClient::Check check,
                                 pool::Purpose) override {
    co_await wait();
    if (away) co_return fail(Code::too_few_peers, "the pool is away");
    ++pool_.reads;
    pool_.read_bytes += length;
    auto found = pool_.packs.find(pack.id);
    if (found == pool_.packs.end()) found = pool_.trash.find(pack.id);
    if (found == pool_.packs.end() || found == pool_.trash.end())
      co_return fail(Code::too_few_peers, "no such pack " + pack.id.short_hex());
    const Bytes& bytes = found->second.bytes;
    if (offset > bytes.size() || length > bytes.size() - offset) co_return fail(Code::bad_input, "range");
    Buffer got = Buffer::copy_of(ByteView(bytes).subspan(offset, length));
    if (rotten_reads > 0) {  // a holder's wrong bytes; the check sends the reader elsewhere
      --rotten_reads;
      Buffer rotten = Buffer::copy_of(got);
      rotten.data()[length / 2] ^= 1;
      if (!check || check(rotten)) co_return rotten;
    }
    if (check && !check(got)) co_return fail(Code::damaged, "no holder has bytes that fit");
    co_return got;
  }

  env::Task<Result<size_t>> bury(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    co_await wait();
    if (away) co_return fail(Code::too_few_peers, "the pool is away");
    if (before_bury) std::exchange(before_bury, nullptr)();
    size_t known = 0;
    for (const pool::PackRef& pack : packs) {
      if (!state(pack.id, sequence, true)) continue;
      ++known;
      if (auto node = pool_.packs.extract(pack.id)) pool_.trash.insert(std::move(node));
    }
    co_return known;
  }
  env::Task<Status> revive(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    co_await wait();
    if (away) co_return fail(Code::too_few_peers, "the pool is away");
    for (const pool::PackRef& pack : packs) {
      if (!pool_.packs.contains(pack.id) && !pool_.trash.contains(pack.id))
        co_return fail(Code::damaged, "pack " + pack.id.short_hex() + " was pruned");
      if (!state(pack.id, sequence, false)) co_return fail(Code::damaged, "a later tombstone stands");
      if (auto node = pool_.trash.extract(pack.id)) {
        ++pool_.revived;
        pool_.packs.insert(std::move(node));
      }
    }
    co_return Status{};
  }
  env::Task<Result<Strangers>> strangers(std::vector<PackId> live) override {
    co_await wait();
    Strangers found{.packs = {}, .all_asked = true};
    for (const auto& [id, pack] : pool_.packs) {
      if (std::ranges::binary_search(live, id)) continue;
      found.packs.push_back({.id = id, .geometry = {.k = 1, .m = 0, .shard_length = 0}, .holders = {NodeId{}}});
    }
    co_return found;
  }

  std::function<void()> before_bury;
  uint32_t k = 2, m = 1;
  size_t domains = 0;  // 0: as many as k + m
  int failing_writes = 0, rotten_reads = 0;
  uint64_t below_goal = 0;  // packs
  bool away = false;
  Duration delay = std::chrono::milliseconds(5);

 private:
  // Whether this statement is the one that counts.
  bool state(const PackId& pack, uint64_t sequence, bool dead) {
    const auto known = pool_.fates.find(pack);
    if (known != pool_.fates.end()) {
      if (known->second.sequence > sequence) return known->second.dead == dead;
      if (known->second.sequence == sequence && !known->second.dead && dead) return false;
    }
    pool_.fates[pack] = {sequence, dead};
    return true;
  }
  env::Task<void> wait() {
    if (delay.count() > 0)
      co_await env::sleep_for(world_.clock, Duration(static_cast<int64_t>(prng_.below(delay.count()))));
  }
  MemoryPool& pool_;
  env::World world_;
  env::Prng prng_;
};

class MemoryHead final : public volume::HeadRegister {
 public:
  enum class Fault { none, lost_before, lost_after };
  MemoryHead(MemoryPool& pool, env::World world, NodeId node) : pool_(pool), world_(world), node_(node) {}

  env::Task<Result<volume::RegisterState>> read() override {
    co_await env::sleep_for(world_.clock, std::chrono::milliseconds(1));
    if (away) co_return fail(Code::too_few_peers, "the keepers are away");
    if (failing_reads > 0) {
      --failing_reads;
      co_return fail(Code::too_few_peers, "made to fail");
    }
    if (older) co_return *older;
    co_return pool_.head;
  }
  env::Task<Result<volume::RegisterState>> write(volume::RegisterState expected, Bytes content) override {
    co_await env::sleep_for(world_.clock, std::chrono::milliseconds(1));
    if (away) co_return fail(Code::too_few_peers, "the keepers are away");
    volume::RegisterState next = pool_.head;
    next.recent.push_back(next.hash);
    next.sequence = expected.sequence + 1;
    next.hash = crypto::sha256({expected.hash.view(), content});
    next.content = std::move(content);
    next.writer = node_;
    next.written = world_.clock.wall_now();
    attempted_ = {next.hash};
    const Fault fault = faults.empty() ? Fault::none : faults.front();
    if (!faults.empty()) faults.erase(faults.begin());
    if (fault == Fault::lost_before) co_return fail(Code::unknown_outcome, "no answer");
    if (before_write) std::exchange(before_write, nullptr)();
    if (expected.sequence != pool_.head.sequence || expected.hash != pool_.head.hash) co_return fail(Code::conflict);
    ++pool_.commits;
    pool_.head = next;
    if (fault == Fault::lost_after) co_return fail(Code::unknown_outcome, "no answer");
    co_return next;
  }
  std::vector<Hash> attempted() const override { return attempted_; }
  env::Task<Result<std::vector<volume::RegisterState>>> strays() override { co_return stray; }

  std::vector<volume::RegisterState> stray;
  std::vector<Fault> faults;  // of the next writes
  int failing_reads = 0;
  bool away = false;
  std::optional<volume::RegisterState> older;  // what keepers that went back in time give
  std::function<void()> before_write;

 private:
  MemoryPool& pool_;
  env::World world_;
  NodeId node_;
  std::vector<Hash> attempted_;
};

inline content::VolumeKeys volume_keys() {
  content::VolumeKey key{};
  key.fill(42);
  VolumeId id;
  id.bytes.fill(3);
  return content::VolumeKeys::derive(key, id);
}

inline crypto::PrivateKey writer_key(uint8_t fill) {
  crypto::Key seed{};
  seed.fill(fill);
  return crypto::PrivateKey::from_seed(seed);
}

// One device with the volume open.
class Device {
 public:
  Device(sim::SimWorld& sim, MemoryPool& pool, uint8_t number, volume::VolumeOptions options = {})
      : node(sim.add_node()), packs(pool, node.world(), number), head(pool, node.world(), id_of(number)), sim_(sim) {
    if (options.high_water_path.empty()) options.high_water_path = "high-water";
    options.name_of_node = [](const NodeId& id) { return "node" + std::to_string(id.bytes[0]); };
    auto opened = sim.run(volume::Volume::open(node.world(), packs, head, volume_keys(), writer_key(number), options));
    CAIRN_ASSERT(opened);
    volume = std::move(*opened);
  }
  static NodeId id_of(uint8_t number) {
    NodeId id;
    id.bytes.fill(number);
    return id;
  }
  template <class T>
  T run(env::Task<T> task) {
    return sim_.run(std::move(task));
  }

  sim::SimNode& node;
  MemoryPackIo packs;
  MemoryHead head;
  std::unique_ptr<volume::Volume> volume;

 private:
  sim::SimWorld& sim_;
};

}  // namespace cairn::test
