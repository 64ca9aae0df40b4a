// Figures of the store on a real disk: `store_bench put|million|idle FOLDER [shards]`, in a store of their own, which
// `put` and `idle` remove. `store_bench fill STORE [shards [slot NODE]]` puts small shards into a daemon's store while
// it does not run: packs of one shard each, or this slot of packs of two, the other of which is at NODE. See
// tests/system/million_shards.py. Not a test: times are printed, never asserted.

#include <sys/resource.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "os/memory.h"
#include "os/real_world.h"
#include "shards.h"

namespace cairn::store {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

double resident_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

// `parallel` callers put until `count` are in. Bytes are made once; each shard has a signed header of its own, as the
// check behind looks at it.
env::Task<void> putter(ShardStore& store, const TestShard& pattern, env::Prng& prng, uint64_t& left, uint64_t& failed) {
  while (left > 0) {
    --left;
    TestShard shard = pattern;
    content::PackHeader::Nonce nonce;
    prng.fill(nonce);
    shard.header = content::PackHeader::sign(pattern.header.volume, pattern.header.geometry, pattern.header.roots, 1,
                                             nonce, test_writer());
    auto status = co_await put(store, std::move(shard));
    if (!status) ++failed;
  }
}
env::Task<uint64_t> put_many(env::Executor& executor, ShardStore& store, TestShard pattern, uint64_t count,
                             unsigned parallel) {
  env::Prng prng(count + parallel);
  uint64_t left = count;
  uint64_t failed = 0;
  env::TaskGroup group(executor);
  for (unsigned i = 0; i < parallel; ++i) group.spawn(putter(store, pattern, prng, left, failed));
  co_await group.join();
  co_return failed;
}

std::unique_ptr<ShardStore> open(os::RealWorld& world, const std::string& path, uint64_t limit, bool create) {
  auto store = world.block_on(ShardStore::open(world.world(), {.path = path, .limit = limit}, create));
  if (!store) {
    std::fprintf(stderr, "%s\n", to_string(store.error()).c_str());
    std::exit(1);
  }
  return std::move(*store);
}

void measure_put(os::RealWorld& world, const std::string& path, uint32_t size, uint64_t count, unsigned parallel) {
  auto store = open(world, path, 16 * kGiB, true);
  env::Prng prng(1);
  const TestShard pattern = make_shard(prng, size);
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = cpu_seconds();
  const uint64_t failed = world.block_on(put_many(world.world().executor, *store, pattern, count, parallel));
  const double wall = seconds_since(begin);
  std::printf("put %7u B x %6lu, %3u at once: %8.0f shards/s %8.1f MB/s %6.2f CPU-s failed %lu\n", size, count,
              parallel, static_cast<double>(count) / wall,
              static_cast<double>(size) * static_cast<double>(count) / wall / 1e6, cpu_seconds() - cpu, failed);
  store.reset();
  std::filesystem::remove_all(path);
}

// The check of the roots is behind when it returns.
void fill(os::RealWorld& world, ShardStore& store, uint64_t count, std::optional<uint8_t> slot, const NodeId& other) {
  env::Prng prng(count);  // the same packs each time
  TestShard pattern = slot ? make_pack(prng, 512, 2).at(*slot) : make_shard(prng, 512);
  pattern.siblings.clear();  // nobody to tell
  if (slot) pattern.siblings = {other};
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t failed = world.block_on(put_many(world.world().executor, store, pattern, count, 512));
  auto settled = world.block_on(store.settle());
  std::printf("%lu shards of 512 B put and checked in %.1f s, failed %lu, RSS %.1f MiB%s\n", count,
              seconds_since(begin), failed, resident_mib(), settled ? "" : ", not settled");
  world.block_on(store.close());
}

void measure_million(os::RealWorld& world, const std::string& path, uint64_t count) {
  {
    auto store = open(world, path, 64 * kGiB, true);
    env::Prng prng(1);
    const TestShard pattern = make_shard(prng, 512);
    const auto begin = std::chrono::steady_clock::now();
    const uint64_t failed = world.block_on(put_many(world.world().executor, *store, pattern, count, 512));
    std::printf("%lu shards of 512 B put in %.1f s, failed %lu, RSS %.1f MiB\n", count, seconds_since(begin), failed,
                resident_mib());
    store.reset();  // as a kill would end it
  }
  const auto begin = std::chrono::steady_clock::now();
  auto store = open(world, path, 64 * kGiB, false);
  const StoreFigures figures = store->figures();
  std::printf("opened in %.3f s: %lu shards, used %.1f MiB\n", seconds_since(begin), figures.shards,
              static_cast<double>(figures.used) / static_cast<double>(kMiB));
  world.block_on(store->close());
  store.reset();
}

}  // namespace
}  // namespace cairn::store

int main(int argc, char** argv) {
  using namespace cairn;
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode != "put" && mode != "million" && mode != "idle" && mode != "fill") {
    std::fprintf(stderr, "store_bench put|million|idle FOLDER [shards]; store_bench fill STORE [shards [slot NODE]]\n");
    return 2;
  }
  os::tune_allocator();
  NullLog log;
  os::RealWorld world({.log = log});
  const std::string path = std::string(argv[2]) + "/store";
  if (mode == "put") {
    for (const unsigned parallel : {1U, 8U}) store::measure_put(world, path, 4 * kMiB, 250, parallel);
    for (const unsigned parallel : {1U, 64U, 512U}) {
      store::measure_put(world, path, 4096, parallel == 1 ? 2'000 : 20'000, parallel);
    }
  } else if (mode == "fill") {
    auto store = store::open(world, argv[2], 64 * kGiB, false);
    std::optional<uint8_t> slot;
    NodeId other;
    if (argc > 5) {
      slot = static_cast<uint8_t>(std::stoul(argv[4]) % 2);
      auto raw = from_hex(argv[5]);
      if (!raw) return 2;
      auto node = NodeId::from(to_string(ByteView(*raw)));
      if (!node) return 2;
      other = *node;
    }
    store::fill(world, *store, argc > 3 ? std::stoull(argv[3]) : 1'000'000, slot, other);
  } else if (mode == "million") {
    store::measure_million(world, path, argc > 3 ? std::stoull(argv[3]) : 1'000'000);
  } else {  // a fresh process over what `million` left; then it is removed
    auto store = store::open(world, path, 64 * kGiB, false);
    std::printf("idle with %lu shards: RSS %.1f MiB\n", store->figures().shards, store::resident_mib());
    world.block_on(store->close());
    store.reset();
    std::filesystem::remove_all(path);
  }
  return 0;
}
