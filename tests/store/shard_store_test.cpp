// What a store promises while nothing fails.

#include "fixture.h"

namespace cairn::store {
namespace {

TEST_CASE("a shard that was put is read back, whole and in ranges") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(3);
  for (const uint32_t length : {1U, 100U, 4096U, kLeafSize - 1, kLeafSize, kLeafSize + 1, 700'001U, kMaxShardSize}) {
    const TestShard shard = make_shard(prng, length);
    REQUIRE(f.put(shard));
    CHECK(f.holds(shard));
    for (int i = 0; i < 5; ++i) {
      const auto offset = static_cast<uint32_t>(prng.below(length));
      const auto part = static_cast<uint32_t>(prng.below(length - offset + 1));
      auto bytes = f.sim.run(f.store->read(shard.id(), offset, part));
      REQUIRE(bytes);
      CHECK(equal(bytes->view(), shard.bytes.view().subspan(offset, part)));
    }
    auto beyond = f.sim.run(f.store->read(shard.id(), length, 1));
    REQUIRE_FALSE(beyond);
    CHECK(beyond.error().code == Code::bad_input);
    auto wrapped = f.sim.run(f.store->read(shard.id(), 1, UINT32_MAX));
    REQUIRE_FALSE(wrapped);
    CHECK(wrapped.error().code == Code::bad_input);
  }
}

TEST_CASE("a shard is described with its header and siblings") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(4);
  const auto pack = make_pack(prng, 5000, 6);
  REQUIRE(f.put(pack[2]));
  REQUIRE(f.put(pack[5]));
  auto stored = f.sim.run(f.store->describe(pack[5].id()));
  REQUIRE(stored);
  CHECK(stored->header.id == pack[5].header.id);
  CHECK(stored->slot == 5);
  CHECK(stored->siblings == pack[5].siblings);
  CHECK(f.sim.run(f.store->slots_of(pack[0].header.id)) == std::vector<uint8_t>{2, 5});
  CHECK(f.sim.run(f.store->slots_of(PackId{})).empty());
  CHECK(f.lacks(pack[0]));
}

TEST_CASE("shards are listed in the order of their IDs") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(5);
  std::vector<TestShard> shards;
  std::vector<ShardId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(shards.emplace_back(make_shard(prng, 64)).id());
  REQUIRE(f.put_all(shards));
  std::sort(ids.begin(), ids.end());
  std::vector<ShardId> walked;
  std::optional<ShardId> after;
  while (true) {
    const auto some = f.sim.run(f.store->list(after, 7));
    if (some.empty()) break;
    walked.insert(walked.end(), some.begin(), some.end());
    after = some.back();
  }
  CHECK(walked == ids);
}

TEST_CASE("for walks many shards and packs are looked at in one job, and say what each says alone") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(6);
  std::vector<TestShard> shards;
  for (int i = 0; i < 50; ++i) {
    for (TestShard& slot : make_pack(prng, 300, 3)) shards.push_back(std::move(slot));
  }
  // Of each pack: all slots, one, none.
  std::vector<TestShard> here;
  for (size_t i = 0; i < shards.size(); ++i) {
    const size_t kind = i / 3 % 3;
    if (kind == 0 || (kind == 1 && i % 3 == 1)) here.push_back(shards[i]);
  }
  REQUIRE(f.put_all(here));
  REQUIRE(f.sim.run(f.store->settle()));
  std::vector<ShardId> ids;
  std::vector<PackId> packs;
  for (const TestShard& shard : shards) {
    ids.push_back(shard.id());
    if (shard.slot == 0) packs.push_back(shard.header.id);
  }
  for (const bool in_order : {false, true}) {
    if (in_order) std::ranges::sort(ids);
    if (in_order) std::ranges::sort(packs);
    uint64_t jobs = f.node.counters().jobs;
    const auto took_one = [&] { return std::exchange(jobs, f.node.counters().jobs) + 1 == f.node.counters().jobs; };
    const auto held = f.sim.run(f.store->holds(ids));
    CHECK(took_one());
    const auto described = f.sim.run(f.store->describe_all(ids));
    CHECK(took_one());
    const auto of_packs = f.sim.run(f.store->describe_packs(packs));
    CHECK(took_one());
    REQUIRE(held);
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto alone = f.sim.run(f.store->describe(ids[i]));
      CHECK((*held)[i] == alone.has_value());
      REQUIRE(described[i].has_value() == alone.has_value());
      if (!alone) continue;
      CHECK(described[i]->header.id == ids[i].pack);
      CHECK(described[i]->slot == ids[i].slot);
      CHECK(described[i]->verified);
      CHECK(described[i]->siblings == alone->siblings);
    }
    for (size_t i = 0; i < packs.size(); ++i) {
      CHECK(of_packs[i].slots == f.sim.run(f.store->slots_of(packs[i])));
      REQUIRE(of_packs[i].header.has_value() == !of_packs[i].slots.empty());
      if (of_packs[i].header) CHECK(of_packs[i].header->id == packs[i]);
    }
  }
  REQUIRE(f.node.disk().rename("data/store", "data/unmounted"));
  CHECK_FALSE(f.sim.run(f.store->holds(ids)));  // not: none of them
  REQUIRE(f.node.disk().rename("data/unmounted", "data/store"));
}

TEST_CASE("wrong bytes, lengths and slots are refused") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(6);
  const TestShard good = make_shard(prng, 10'000);
  TestShard flipped = good;
  flipped.bytes = Buffer::copy_of(good.bytes);
  flipped.bytes.data()[77] ^= 1;
  TestShard shorter = good;
  shorter.bytes = good.bytes.slice(0, 9'999);
  shorter.crc = crc32c(shorter.bytes.view());
  TestShard elsewhere = good;
  elsewhere.slot = 1;
  for (const TestShard& bad : {flipped, shorter, elsewhere}) {
    auto status = f.put(bad);
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Code::corrupt);
  }
  CHECK(f.store->figures().shards == 0);
  CHECK(f.lacks(good));
}

TEST_CASE("the same shard again, also at the same time, is success and stored once") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(7);
  const TestShard shard = make_shard(prng, 20'000);
  REQUIRE(f.put_all({shard, shard, shard}));
  REQUIRE(f.put(shard));
  CHECK(f.store->figures().shards == 1);
  CHECK(f.holds(shard));
}

TEST_CASE("a removed shard has gone and its blocks are given back") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(8);
  const auto shards = make_shards(prng, {4'000, 900'000, 4'000, 70'000});
  REQUIRE(f.put_all(shards));
  const uint64_t before = f.segment_bytes();
  REQUIRE(f.remove(shards[1]));
  auto again = f.remove(shards[1]);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Code::not_found);
  f.rest();
  CHECK(f.lacks(shards[1]));
  CHECK(f.holds(shards[0]));
  CHECK(f.holds(shards[2]));
  CHECK(f.segment_bytes() + 900'000 < before);
  CHECK(f.store->figures().used == f.used_on_disk());
  REQUIRE(f.put(shards[1]));
  CHECK(f.holds(shards[1]));
}

TEST_CASE("segments without live shards are removed") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(9);
  std::vector<TestShard> shards;
  for (int i = 0; i < 10; ++i) shards.push_back(make_shard(prng, 3'000'000));
  REQUIRE(f.put_all(shards));
  const size_t files = f.segments().size();
  REQUIRE(files >= 4);
  for (const TestShard& shard : shards) REQUIRE(f.remove(shard));
  f.rest();
  CHECK(f.segments().size() == 1);  // the one that is being filled
  CHECK(f.store->figures().used == f.used_on_disk());
  f.stop();
  REQUIRE(f.open(false));
  CHECK(f.store->figures().shards == 0);
  REQUIRE(f.put_all(shards));
  for (const TestShard& shard : shards) CHECK(f.holds(shard));
}

TEST_CASE("a root that does not fit is the writer's fault and the shard is dropped") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(10);
  const TestShard good = make_shard(prng, 600'000);
  TestShard bad = make_shard(prng, 600'000);
  bad.bytes = Buffer::copy_of(bad.bytes);
  bad.bytes.data()[5] ^= 4;
  bad.crc = crc32c(bad.bytes.view());
  std::map<ShardId, ShardStore::Verified> seen;
  f.store->on_verified([&](const ShardStore::Verified& verified) { seen.emplace(verified.shard, verified); });
  REQUIRE(f.put(good));
  REQUIRE(f.put(bad));
  REQUIRE(f.sim.run(f.store->settle()));
  REQUIRE(seen.size() == 2);
  CHECK(seen.at(good.id()).ok);
  CHECK_FALSE(seen.at(bad.id()).ok);
  CHECK(seen.at(bad.id()).writer == bad.header.writer);
  CHECK(seen.at(bad.id()).siblings == bad.siblings);
  CHECK(f.lacks(bad));
  CHECK(f.holds(good));
  CHECK(f.sim.run(f.store->describe(good.id()))->verified);
  CHECK(f.store->figures().unverified == 0);
  CHECK(f.store->figures().corrupt == 0);
}

TEST_CASE("what is not yet verified is verified after a restart, in order") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(11);
  std::vector<TestShard> shards;
  for (int i = 0; i < 100; ++i) shards.push_back(make_shard(prng, 3'000));
  for (const TestShard& shard : shards) REQUIRE(f.put(shard));
  f.kill(sim::CrashKind::power);
  REQUIRE(f.open(false));
  std::vector<ShardId> order;
  f.store->on_verified([&](const ShardStore::Verified& verified) { order.push_back(verified.shard); });
  CHECK(f.store->figures().shards == 100);
  const uint64_t left = f.store->figures().unverified;
  REQUIRE(f.sim.run(f.store->settle()));
  CHECK(order.size() == left);
  std::vector<ShardId> expected;
  for (const TestShard& shard : shards) expected.push_back(shard.id());
  CHECK(std::equal(order.begin(), order.end(), expected.end() - static_cast<ptrdiff_t>(order.size())));
}

TEST_CASE("proven ranges verify against the root, before and after the check behind") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(12);
  const auto shards = make_shards(prng, {1, 65'536, 400'000, 700'000, 1'000'003, kMaxShardSize});
  REQUIRE(f.put_all(shards));
  for (int round = 0; round < 2; ++round) {
    for (const TestShard& shard : shards) {
      const auto length = static_cast<uint32_t>(shard.bytes.size());
      for (int i = 0; i < 4; ++i) {
        const auto offset = static_cast<uint32_t>(prng.below(length));
        const auto part = static_cast<uint32_t>(1 + prng.below(std::min(length - offset, 200'000U)));
        auto proven = f.sim.run(f.store->read_proven(shard.id(), offset, part));
        REQUIRE(proven);
        CHECK(proven->offset % kLeafSize == 0);
        CHECK(proven->offset <= offset);
        CHECK(proven->offset + proven->bytes.size() >= offset + part);
        CHECK(content::verify_merkle_range(shard.header.roots[0], length, proven->offset / kLeafSize,
                                           proven->bytes.view(), proven->path));
      }
    }
    REQUIRE(f.sim.run(f.store->settle()));
  }
  // The leaf hashes that the check left behind spare the proof the whole shard.
  const uint64_t before = f.node.disk().counters().bytes_read;
  REQUIRE(f.sim.run(f.store->read_proven(shards.back().id(), 0, 1)));
  CHECK(f.node.disk().counters().bytes_read - before < kLeafSize + 4 * kBlockSize);
}

TEST_CASE("small shards do not cost a file each, nor a sync each") {
  Fixture f(1, 256 * kMiB);
  REQUIRE(f.open());
  env::Prng prng(13);
  std::vector<TestShard> shards;
  for (int i = 0; i < 10'000; ++i) shards.push_back(make_shard(prng, 1'000));
  const uint64_t syncs = f.node.disk().counters().syncs;
  REQUIRE(f.put_all(shards));
  CHECK(f.store->figures().shards == 10'000);
  CHECK(f.segments().size() <= 8);
  CHECK(f.node.disk().counters().syncs - syncs < 200);
}

TEST_CASE("start-up reads as little from a full store as from an almost empty one") {
  const auto cost = [](int shards_held) {
    Fixture f(1, 256 * kMiB);
    REQUIRE(f.open());
    env::Prng prng(14);
    std::vector<TestShard> shards;
    for (int i = 0; i < shards_held; ++i) shards.push_back(make_shard(prng, 1'000));
    REQUIRE(f.put_all(shards));
    f.stop();
    const sim::DiskCounters before = f.node.disk().counters();
    REQUIRE(f.open(false));
    const sim::DiskCounters after = f.node.disk().counters();
    CHECK(f.store->figures().shards == static_cast<uint64_t>(shards_held));
    return std::pair(after.reads - before.reads, after.bytes_read - before.bytes_read);
  };
  const auto [few_reads, few_bytes] = cost(10);
  const auto [many_reads, many_bytes] = cost(3'000);
  CHECK(many_reads <= few_reads + 10);
  CHECK(many_bytes <= few_bytes + 64 * kKiB);
}

TEST_CASE("a store that is in use cannot be opened a second time") {
  Fixture f;
  REQUIRE(f.open());
  auto second = f.sim.run(ShardStore::open(f.node.world(), f.options, false));
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::overloaded);
  const StoreId id = f.store->id();
  f.stop();
  REQUIRE(f.open(true));
  CHECK(f.store->id() == id);
}

TEST_CASE("a store without its marker is not opened, and nothing is written there") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(15);
  REQUIRE(f.put(make_shard(prng, 100)));
  f.stop();
  REQUIRE(f.node.disk().rename("data/store/cairn-store", "data/away"));
  for (const bool create : {false, true}) {
    const auto files = f.node.disk().files();
    auto opened = f.sim.run(ShardStore::open(f.node.world(), f.options, create));
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Code::io);
    CHECK(f.node.disk().files() == files);
  }
  f.options.path = "not/there";
  auto absent = f.sim.run(ShardStore::open(f.node.world(), f.options, false));
  REQUIRE_FALSE(absent);
  CHECK(absent.error().code == Code::io);
  CHECK_FALSE(*f.node.disk().exists("not"));
}

TEST_CASE("when the disk is unmounted puts, reads and removals fail and nothing is written below") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(16);
  const auto shards = make_shards(prng, {5'000, 6'000});
  REQUIRE(f.put(shards[0]));
  f.rest();
  REQUIRE(f.node.disk().rename("data/store", "data/unmounted"));
  REQUIRE(f.node.disk().make_dirs("data/store"));
  const uint64_t written = f.node.disk().counters().bytes_written;
  for (const Status& status : {f.put(shards[1]), f.remove(shards[0])}) {
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Code::io);
  }
  auto bytes = f.read(shards[0]);
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().code == Code::io);
  CHECK(f.node.disk().counters().bytes_written == written);
  CHECK(f.node.disk().list("data/store")->empty());
  CHECK(f.store->figures().corrupt == 0);
  // Another store under that path is not ours either.
  REQUIRE(f.node.disk().remove("data/store"));
  REQUIRE(f.node.disk().rename("data/unmounted", "data/store"));
  CHECK(f.holds(shards[0]));
  REQUIRE(f.put(shards[1]));
}

TEST_CASE("a put whose caller gives up leaves the store in order") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(17);
  std::vector<TestShard> shards;
  for (int i = 0; i < 60; ++i) shards.push_back(make_shard(prng, 100'000));
  for (size_t i = 0; i < shards.size(); ++i) {
    env::TaskGroup group(f.sim.executor());
    group.spawn([](ShardStore& store, TestShard shard) -> env::Task<void> {
      auto ignored = co_await put(store, std::move(shard));
      (void)ignored;
    }(*f.store, shards[i]));
    f.sim.run_for(std::chrono::microseconds(20 * i));
  }
  REQUIRE(f.put_all(shards));
  for (const TestShard& shard : shards) CHECK(f.holds(shard));
  f.rest();
  CHECK(f.store->figures().shards == shards.size());
  CHECK(f.store->figures().used == f.used_on_disk());
}

}  // namespace
}  // namespace cairn::store
