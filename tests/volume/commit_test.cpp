// What a commit promises when the pool, the keepers or the writer fail.

#include "volume/volume_helpers.h"

namespace cairn::volume {
namespace {

using test::check_tree;
using test::Device;
using test::Fs;
using test::MemoryHead;
using test::random_bytes;
using test::read_text;

struct Fixture {
  sim::SimWorld sim{11};
  test::MemoryPool pool;
  Device device{sim, pool, 1};
  std::unique_ptr<Transaction> transaction = std::move(*device.volume->begin());
  Fs fs{device, *transaction};
};

TEST_CASE("a commit whose answer was lost is found in the chain, or tried again") {
  for (const auto fault : {MemoryHead::Fault::lost_before, MemoryHead::Fault::lost_after}) {
    Fixture t;
    t.fs.put("/f", "f");
    t.device.head.faults = {fault};
    const auto outcome = t.fs.commit();
    CHECK(outcome.sequence == 1);
    CHECK(t.pool.commits == 1);
    CHECK(outcome.conflicts == 0);
    CHECK(read_text(t.device, t.device.volume->view(), "/f") == "f");
  }
}

TEST_CASE("a commit that cannot even be read back keeps its edits and finds itself later") {
  Fixture t;
  t.fs.put("/f", random_bytes(200'000, 1));
  t.device.head.faults = {MemoryHead::Fault::lost_after};
  t.device.head.failing_reads = 100;
  auto outcome = t.device.run(t.transaction->commit());
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == Code::unknown_outcome);
  CHECK_FALSE(t.transaction->empty());
  t.device.head.failing_reads = 0;
  CHECK(t.fs.commit().conflicts == 0);
  CHECK(check_tree(t.device, t.device.volume->view()).size() == 1);
  CHECK((read_text(t.device, t.device.volume->view(), "/f") == to_string(ByteView(random_bytes(200'000, 1)))));
}

TEST_CASE("packs that could not be sent are sent by the next commit") {
  Fixture t;
  t.device.packs.failing_writes = 1;
  t.fs.put("/f", random_bytes(500'000, 1));
  auto outcome = t.device.run(t.transaction->commit());
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == Code::too_few_peers);
  CHECK(t.pool.commits == 0);
  t.fs.commit();
  CHECK((read_text(t.device, t.device.volume->view(), "/f") == to_string(ByteView(random_bytes(500'000, 1)))));
}

TEST_CASE("a tree pack that could not be sent fails the commit, and nothing is seen of it") {
  Fixture t;
  t.fs.put("/f", "f");
  t.device.packs.failing_writes = 1;
  REQUIRE_FALSE(t.device.run(t.transaction->commit()));
  CHECK(t.pool.head.sequence == 0);
  CHECK(t.fs.commit().sequence == 1);
}

TEST_CASE("a writer who is beaten again and again merges each time, and is chosen in the end") {
  Fixture t;
  t.fs.put("/start", "start");
  t.fs.commit();
  t.fs.put("/mine", "mine");
  int beaten = 0;
  std::function<void()> beat = [&] {  // another head with the same tree is chosen right before ours
    t.pool.head.recent.push_back(t.pool.head.hash);
    ++t.pool.head.sequence;
    t.pool.head.hash.bytes[0] ^= 0xff;
    if (++beaten < 5) t.device.head.before_write = beat;
  };
  t.device.head.before_write = beat;
  const auto outcome = t.fs.commit();
  CHECK(beaten == 5);
  CHECK(outcome.sequence == 7);
  CHECK(outcome.conflicts == 0);
  CHECK(read_text(t.device, t.device.volume->view(), "/mine") == "mine");
}

TEST_CASE("an older head than one seen here is refused, also after a restart") {
  Fixture t;
  t.fs.put("/f", "1");
  t.fs.commit();
  const RegisterState old = t.pool.head;
  t.fs.put("/f", "2");
  t.fs.commit();
  t.device.head.older = old;
  auto status = t.device.run(t.device.volume->refresh());
  REQUIRE_FALSE(status);
  CHECK(status.error().code == Code::corrupt);
  CHECK(status.error().context.find("head 1 ") != std::string::npos);
  CHECK(status.error().context.find("head 2 ") != std::string::npos);
  t.transaction.reset();
  t.device.volume.reset();
  auto again = t.device.run(Volume::open(t.device.node.world(), t.device.packs, t.device.head, test::volume_keys(),
                                         test::writer_key(1), {.high_water_path = "high-water"}));
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Code::corrupt);
}

TEST_CASE("wrong keys open nothing") {
  Fixture t;
  t.fs.put("/f", "1");
  t.fs.commit();
  content::VolumeKey key{};
  key.fill(43);
  auto keys = content::VolumeKeys::derive(key, test::volume_keys().volume);
  auto opened =
      t.device.run(Volume::open(t.device.node.world(), t.device.packs, t.device.head, keys, test::writer_key(1), {}));
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::corrupt);
}

// A writer that puts files two by two and notes what was acknowledged.
struct Writer {
  test::MemoryPackIo packs;
  MemoryHead head;
  std::unique_ptr<Volume> volume;
  std::unique_ptr<Transaction> transaction;
  env::TaskGroup tasks;
  Writer(test::MemoryPool& pool, env::World world, uint64_t seed)
      : packs(pool, world, seed), head(pool, world, Device::id_of(1)), tasks(world.executor) {}
};

env::Task<void> write_pairs(Writer& writer, env::World world, int first, int& acknowledged) {
  auto volume = co_await Volume::open(world, writer.packs, writer.head, test::volume_keys(), test::writer_key(1),
                                      {.high_water_path = "high-water"});
  CAIRN_ASSERT(volume);
  writer.volume = std::move(*volume);
  writer.transaction = std::move(*writer.volume->begin());
  for (int i = first;; ++i) {
    for (const char* side : {"a", "b"}) {
      auto file = co_await writer.transaction->make_file(kRootInode, side + std::to_string(i), {});
      CAIRN_ASSERT(file);
      auto content = co_await writer.transaction->write_file(*file);
      CAIRN_ASSERT(content);
      auto written = co_await (*content)->write(
          Buffer::copy_of(random_bytes(i % 3 == 0 ? 100 : 150'000, static_cast<uint64_t>(i))));
      CAIRN_ASSERT(written);
      auto finished = co_await (*content)->finish();
      CAIRN_ASSERT(finished);
    }
    auto outcome = co_await writer.transaction->commit();
    CAIRN_ASSERT(outcome);
    acknowledged = i;
  }
}

TEST_CASE("a writer that crashes at any point loses nothing acknowledged and shows no half commit") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    sim::SimWorld sim(seed);
    test::MemoryPool pool;
    sim::SimNode& node = sim.add_node();
    env::Prng prng(seed);
    int acknowledged = -1;
    for (int life = 0; life < 3; ++life) {
      auto& writer = node.own(std::make_shared<Writer>(pool, node.world(), prng.next()));
      const int first = static_cast<int>(pool.head.sequence);
      writer.tasks.spawn(write_pairs(writer, node.world(), first, acknowledged));
      sim.run_for(Duration(static_cast<int64_t>(prng.below(400'000'000))));
      node.crash(prng.chance(0.5) ? sim::CrashKind::power : sim::CrashKind::process);
      node.restart();
    }
    Device reader(sim, pool, 2);
    const auto listing = check_tree(reader, reader.volume->view());
    const int committed = static_cast<int>(pool.head.sequence);
    CHECK(committed >= acknowledged + 1);
    REQUIRE(listing.size() == 2U * static_cast<size_t>(committed));
    for (int i = 0; i < committed; ++i) {
      const std::string expected =
          to_string(ByteView(random_bytes(i % 3 == 0 ? 100 : 150'000, static_cast<uint64_t>(i))));
      REQUIRE((listing.at("/a" + std::to_string(i)) == expected));
      REQUIRE((listing.at("/b" + std::to_string(i)) == expected));
    }
  }
}

}  // namespace
}  // namespace cairn::volume
