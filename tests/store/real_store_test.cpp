// The store on a real disk with a real LevelDB: what the simulation must agree with.

#include <sys/stat.h>

#include <filesystem>

#include "os/real_world.h"
#include "os/temporary_folder.h"
#include "shards.h"
#include "store/limits.h"

namespace cairn::store {
namespace {

namespace fs = std::filesystem;

class Folder {
  os::TemporaryFolder temporary_;

 public:
  // Bytes of blocks, as `du` counts them.
  uint64_t taken() const {
    uint64_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      struct stat info{};
      if (::lstat(entry.path().c_str(), &info) == 0) bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    }
    return bytes;
  }
  const std::string path = temporary_.path();
};

std::unique_ptr<ShardStore> open(os::RealWorld& world, const StoreOptions& options, bool create) {
  auto store = world.block_on(ShardStore::open(world.world(), options, create));
  REQUIRE(store);
  return std::move(*store);
}

TEST_CASE("a store on a real disk holds, gives back, survives a restart and stays within its limit") {
  const Folder folder;
  NullLog log;
  os::RealWorld world({.log = log});
  const StoreOptions options{.path = folder.path + "/store", .limit = 64 * kMiB, .keep_free_share = 0};
  env::Prng prng(51);
  std::vector<TestShard> shards;
  for (int i = 0; i < 300; ++i) shards.push_back(make_shard(prng, static_cast<uint32_t>(1 + prng.below(9'000))));
  for (int i = 0; i < 8; ++i) shards.push_back(make_shard(prng, 2'500'000));
  auto store = open(world, options, true);
  REQUIRE(world.block_on(put_all(world.world().executor, *store, shards)));
  REQUIRE(world.block_on(store->settle()));
  CHECK(folder.taken() <= options.limit);
  CHECK(folder.taken() <= store->figures().used);
  for (size_t i = 0; i < shards.size(); i += 2) REQUIRE(world.block_on(store->remove(shards[i].id())));
  const uint64_t used = store->figures().used;
  world.block_on(store->close());
  store.reset();

  store = open(world, options, false);
  CHECK(store->figures().shards == shards.size() / 2);
  CHECK(store->figures().used <= used);
  for (size_t i = 0; i < shards.size(); ++i) {
    auto bytes = world.block_on(store->read(shards[i].id(), 0, static_cast<uint32_t>(shards[i].bytes.size())));
    CHECK(bytes.has_value() == (i % 2 == 1));
    if (bytes) CHECK(equal(bytes->view(), shards[i].bytes.view()));
  }
  auto locked = world.block_on(ShardStore::open(world.world(), options, false));
  REQUIRE_FALSE(locked);
  CHECK(locked.error().code == Code::overloaded);
  world.block_on(store->close());
}

TEST_CASE("on a real disk a full store stays within its limit by what du counts") {
  const Folder folder;
  NullLog log;
  os::RealWorld world({.log = log});
  const StoreOptions options{.path = folder.path + "/store", .limit = 16 * kMiB, .keep_free_share = 0};
  env::Prng prng(52);
  auto store = open(world, options, true);
  std::vector<TestShard> held;
  for (int i = 0; i < 700; ++i) {
    TestShard shard = make_shard(prng, static_cast<uint32_t>(1 + prng.below(60'000)));
    auto status = world.block_on(put(*store, shard));
    if (status) held.push_back(std::move(shard));
    if (!status && held.size() > 3) {
      REQUIRE(world.block_on(store->remove(held.front().id())));
      held.erase(held.begin());
    }
    if (i % 50 == 0) CHECK(folder.taken() <= options.limit);
  }
  CHECK(folder.taken() <= options.limit);
  for (const TestShard& shard : held) {
    auto bytes = world.block_on(store->read(shard.id(), 0, static_cast<uint32_t>(shard.bytes.size())));
    REQUIRE(bytes);
    CHECK(equal(bytes->view(), shard.bytes.view()));
  }
  world.block_on(store->close());
}

TEST_CASE("a real index whose files are damaged is rebuilt") {
  const Folder folder;
  NullLog log;
  os::RealWorld world({.log = log});
  const StoreOptions options{.path = folder.path + "/store", .limit = 64 * kMiB, .keep_free_share = 0};
  env::Prng prng(53);
  std::vector<TestShard> shards;
  for (int i = 0; i < 50; ++i) shards.push_back(make_shard(prng, 20'000));
  auto store = open(world, options, true);
  REQUIRE(world.block_on(put_all(world.world().executor, *store, shards)));
  world.block_on(store->close());
  store.reset();
  for (const auto& entry : fs::directory_iterator(options.path + "/index")) {
    if (entry.path().filename().string().starts_with("MANIFEST")) fs::resize_file(entry.path(), 5);
  }
  store = open(world, options, false);
  CHECK(store->figures().shards == shards.size());
  REQUIRE(world.block_on(store->settle()));
  CHECK(store->figures().unverified == 0);
  world.block_on(store->close());
}

}  // namespace
}  // namespace cairn::store
