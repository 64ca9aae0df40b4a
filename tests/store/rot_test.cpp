// Bit rot anywhere: it is noticed, and wrong bytes are never returned.

#include "fixture.h"
#include "store/index.h"
#include "store/record.h"

namespace cairn::store {
namespace {

std::string only_segment(Fixture& f) {
  const auto names = f.segments();
  REQUIRE(names.size() == 1);
  return f.options.path + "/segments/" + names.front();
}

TEST_CASE("a flipped bit in a payload is found by the read that meets it, and only by that") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(31);
  const TestShard shard = make_shard(prng, 3 * kLeafSize);
  REQUIRE(f.put(shard));
  REQUIRE(f.sim.run(f.store->settle()));
  std::vector<ShardId> rotten;
  f.store->on_rot([&](ShardId id) { rotten.push_back(id); });
  REQUIRE(f.node.disk().flip_bit(only_segment(f), 2 * kLeafSize, 3));  // in the second leaf or the third
  auto first = f.sim.run(f.store->read(shard.id(), 0, kLeafSize));
  REQUIRE(first);
  CHECK(equal(first->view(), shard.bytes.view().first(kLeafSize)));
  auto whole = f.read(shard);
  REQUIRE_FALSE(whole);
  CHECK(whole.error().code == Code::corrupt);
  CHECK(rotten == std::vector<ShardId>{shard.id()});
  CHECK(f.lacks(shard));
  CHECK(f.store->figures().corrupt == 1);
  f.rest();
  CHECK(f.store->figures().used == f.used_on_disk());
  REQUIRE(f.put(shard));  // a repair brings it back
  CHECK(f.holds(shard));
  f.stop();
  REQUIRE(f.open(false));
  CHECK(f.store->figures().corrupt == 1);
}

TEST_CASE("a flipped bit anywhere in the segments never gives wrong bytes") {
  env::Prng prng(32);
  const auto shards = make_shards(prng, {1, 500, 5'000, kLeafSize, 200'000, 700'000});
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    Fixture f(seed);
    REQUIRE(f.open());
    REQUIRE(f.put_all(shards));
    if (seed % 3 != 0) REQUIRE(f.sim.run(f.store->settle()));
    if (seed % 2 == 0) f.stop();  // rot may come while the store is shut, too
    REQUIRE(f.node.disk().rot_somewhere("data/store/segments/", f.sim.prng()));
    if (seed % 2 == 0) REQUIRE(f.open(false));
    std::set<ShardId> reported;
    f.store->on_rot([&](ShardId id) { reported.insert(id); });
    REQUIRE(f.sim.run(f.store->scrub(100 * kMiB)));
    size_t lost = 0;
    for (const TestShard& shard : shards) {
      if (f.holds(shard)) {
        auto proven = f.sim.run(f.store->read_proven(shard.id(), 0, 1));
        REQUIRE(proven);
        CHECK(content::verify_merkle_range(shard.header.roots[0], static_cast<uint32_t>(shard.bytes.size()), 0,
                                           proven->bytes.view(), proven->path));
        continue;
      }
      ++lost;
      CHECK(f.lacks(shard));
    }
    CHECK(lost <= 1);
    if (seed % 3 != 0) CHECK(reported.size() == lost);
    f.rest();
    CHECK(f.store->figures().used == f.used_on_disk());
  }
}

TEST_CASE("a flipped bit in a record's header drops the shard and no other") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(33);
  const auto shards = make_shards(prng, {900, 800, 700});
  for (const TestShard& shard : shards) REQUIRE(f.put(shard));
  REQUIRE(f.sim.run(f.store->settle()));
  REQUIRE(f.node.disk().flip_bit(only_segment(f), kBlockSize + 60, 0));  // the second record
  std::vector<ShardId> rotten;
  f.store->on_rot([&](ShardId id) { rotten.push_back(id); });
  REQUIRE(f.sim.run(f.store->scrub(kMiB)));
  CHECK(rotten == std::vector<ShardId>{shards[1].id()});
  CHECK(f.holds(shards[0]));
  CHECK(f.holds(shards[2]));
}

TEST_CASE("the scrub keeps to its rate") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(34);
  for (int i = 0; i < 8; ++i) REQUIRE(f.put(make_shard(prng, 1'000'000)));
  REQUIRE(f.sim.run(f.store->settle()));
  const Time begin = f.sim.now();
  REQUIRE(f.sim.run(f.store->scrub(1'000'000)));
  const Duration taken = f.sim.now() - begin;
  CHECK(taken > std::chrono::seconds(7));
  CHECK(taken < std::chrono::seconds(12));
}

TEST_CASE("a record that cannot be read is nothing to a walk, which leaves it to a look at that shard alone") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(36);
  const auto shards = make_shards(prng, {900, 800, 700});
  for (const TestShard& shard : shards) REQUIRE(f.put(shard));
  REQUIRE(f.sim.run(f.store->settle()));
  f.stop();
  REQUIRE(f.open(false));                                                // knows no header by heart
  REQUIRE(f.node.disk().flip_bit(only_segment(f), kBlockSize + 60, 0));  // the second record
  std::vector<ShardId> rotten;
  f.store->on_rot([&](ShardId id) { rotten.push_back(id); });
  const auto described = f.sim.run(f.store->describe_all({shards[0].id(), shards[1].id(), shards[2].id()}));
  CHECK(described[0].has_value());
  CHECK_FALSE(described[1].has_value());
  CHECK(described[2].has_value());
  const auto packs = f.sim.run(f.store->describe_packs({shards[1].header.id}));
  CHECK(packs[0].slots.size() == 1);
  CHECK_FALSE(packs[0].header.has_value());
  CHECK(rotten.empty());
  CHECK_FALSE(f.sim.run(f.store->describe(shards[1].id())));
  CHECK(rotten == std::vector<ShardId>{shards[1].id()});
}

TEST_CASE("small shards are scrubbed some at a time, as slowly as a disk seeks, and within a week however many") {
  constexpr uint64_t kShards = 500;
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(37);
  std::vector<TestShard> shards;
  for (uint64_t i = 0; i < kShards; ++i) shards.push_back(make_shard(prng, 512));
  REQUIRE(f.put_all(shards));
  REQUIRE(f.sim.run(f.store->settle()));
  const auto scrub = [&](uint64_t rate) {
    const Time begin = f.sim.now();
    REQUIRE(f.sim.run(f.store->scrub(rate), 2 * kScrubSeeks));
    return f.sim.now() - begin;
  };
  const uint64_t jobs = f.node.counters().jobs;
  CHECK(scrub(kMiB) >= std::chrono::seconds(kShards * kScrubSeek / kMiB - 1));
  // At 32 a second, eight in each quarter of one; and the pages of the index.
  CHECK(f.node.counters().jobs - jobs <= kShards / 8 + 2 * (kShards / kWalkStep + 1));
  // A rate at which the seeks alone would take 19 days.
  const Duration slow = scrub(10);
  CHECK(slow >= kScrubSeeks - std::chrono::hours(1));
  CHECK(slow <= kScrubSeeks + std::chrono::hours(1));
}

TEST_CASE("an index that cannot be opened is rebuilt from the segments") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(35);
  std::vector<TestShard> shards;
  for (int i = 0; i < 12; ++i) shards.push_back(make_shard(prng, 1'800'000));
  REQUIRE(f.put_all(shards));
  REQUIRE(f.remove(shards[4]));
  REQUIRE(f.sim.run(f.store->settle()));
  f.rest();
  const StoreId id = f.store->id();
  f.stop();
  REQUIRE(f.node.disk().damage_meta_store("data/store/index"));
  REQUIRE(f.open(false));
  CHECK(f.store->id() == id);
  for (size_t i = 0; i < shards.size(); ++i) CHECK((i == 4 ? f.lacks(shards[i]) : f.holds(shards[i])));
  REQUIRE(f.sim.run(f.store->settle()));
  f.rest();
  CHECK(f.store->figures().shards == shards.size() - 1);
  CHECK(f.store->figures().used == f.used_on_disk());
  f.stop();
  REQUIRE(f.open(false));  // and is used from then on
  CHECK(f.store->figures().unverified == 0);
}

TEST_CASE("a damaged index entry gives no wrong bytes, and the index is rebuilt at the next start") {
  env::Prng prng(36);
  const auto shards = make_shards(prng, {2'000, 30'000, 600'000});
  for (const char kind : {'s', 'g', 'm', 'h', 'u'}) {
    CAPTURE(kind);
    Fixture f;
    REQUIRE(f.open());
    REQUIRE(f.put_all(shards));
    if (kind != 'u') REQUIRE(f.sim.run(f.store->settle()));
    if (kind == 'u') f.kill(sim::CrashKind::process);
    f.stop();
    {
      auto meta = f.node.disk().open("data/store/index", env::MetaStoreOptions{});
      REQUIRE(meta);
      auto cursor = (*meta)->cursor();
      cursor->seek(std::string(1, kind));
      env::WriteBatch batch;
      if (cursor->valid() && cursor->key().front() == kind) {
        std::string value(cursor->value());
        value[value.size() / 2] ^= 16;
        batch.put(cursor->key(), value);
      } else {
        batch.put(std::string(1, kind) + std::string("\0\0\0\1\0\0\0\0", 8), "nonsense");
      }
      REQUIRE((*meta)->write(batch, true));
    }
    REQUIRE(f.open(false));
    for (const TestShard& shard : shards) {
      auto bytes = f.read(shard);
      if (bytes) CHECK(equal(bytes->view(), shard.bytes.view()));
    }
    (void)f.sim.run(f.store->settle());
    f.rest();
    f.stop();
    REQUIRE(f.open(false));
    for (const TestShard& shard : shards) CHECK(f.holds(shard));
    REQUIRE(f.sim.run(f.store->settle()));
    f.rest();
    CHECK(f.store->figures().shards == shards.size());
    CHECK(f.store->figures().used == f.used_on_disk());
  }
}

TEST_CASE("a segment that has gone loses its shards and nothing else") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(37);
  std::vector<TestShard> shards;
  for (int i = 0; i < 8; ++i) shards.push_back(make_shard(prng, 2'000'000));
  for (const TestShard& shard : shards) REQUIRE(f.put(shard));
  REQUIRE(f.sim.run(f.store->settle()));
  f.stop();
  REQUIRE(f.segments().size() >= 2);
  REQUIRE(f.node.disk().remove("data/store/segments/" + f.segments().front()));
  REQUIRE(f.open(false));
  std::set<ShardId> rotten;
  f.store->on_rot([&](ShardId id) { rotten.insert(id); });
  REQUIRE(f.sim.run(f.store->scrub(kGiB)));
  CHECK_FALSE(rotten.empty());
  for (const TestShard& shard : shards) CHECK(f.holds(shard) != rotten.contains(shard.id()));
  f.rest();
  CHECK(f.store->figures().used == f.used_on_disk());
}

TEST_CASE("a bit that flips in the marker costs nothing: its copy stands in, and it is made good at the next start") {
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(39);
  const TestShard shard = make_shard(prng, 5000), later = make_shard(prng, 5000);
  REQUIRE(f.put(shard));
  const StoreId id = f.store->id();
  const std::string marker = "data/store/cairn-store", copy = "data/store/cairn-store.copy";
  const size_t size = env::read_file(f.node.disk(), marker)->size();
  for (const std::string& hurt : {marker, copy}) {
    for (size_t at = 0; at < size; at += 7) {
      CAPTURE(hurt, at);
      const Bytes whole = *env::read_file(f.node.disk(), marker);
      REQUIRE(f.node.disk().flip_bit(hurt, at, static_cast<unsigned>(at % 8)));
      CHECK(f.holds(shard));  // while it runs
      if (at == 7) REQUIRE(f.put(later));
      f.stop();
      REQUIRE(f.open(false));
      CHECK(f.store->id() == id);
      CHECK(f.holds(shard));
      CHECK(*env::read_file(f.node.disk(), marker) == whole);
      CHECK(*env::read_file(f.node.disk(), copy) == whole);
    }
  }
}

TEST_CASE("a marker that is damaged with its copy, or from a later version, is refused") {
  Fixture f;
  REQUIRE(f.open());
  f.stop();
  REQUIRE(f.node.disk().flip_bit("data/store/cairn-store", 30, 0));
  REQUIRE(f.node.disk().flip_bit("data/store/cairn-store.copy", 31, 0));
  auto damaged = f.open(false);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == Code::corrupt);
  for (const char* path : {"data/store/cairn-store", "data/store/cairn-store.copy"})
    REQUIRE(env::write_file(f.node.disk(), path, as_bytes("cairn-store 2\nmore\n")));
  auto later = f.open(false);
  REQUIRE_FALSE(later);
  CHECK(later.error().code == Code::unsupported);
}

TEST_CASE("a payload that holds a whole record is not taken for one") {
  // Nobody outside knows the stamp; here a record of another store lies inside the payload, on a block's border.
  Fixture f;
  REQUIRE(f.open());
  env::Prng prng(38);
  const TestShard inner = make_shard(prng, 300);
  TestShard outer = make_shard(prng, 30'000);
  RecordHeader fake;
  fake.shard = inner.id();
  fake.segment = 1;
  fake.payload_length = 300;
  fake.payload_crc = inner.crc;
  fake.pack_header = inner.header.serialize();
  fake.leaf_crcs = payload_sums(inner.bytes.view()).leaves;
  const uint32_t outer_header = 88 + static_cast<uint32_t>(outer.header.serialize().size()) + 32 + 4;
  fake.block = 2;
  const Bytes raw = fake.encode(Stamp{});
  std::memcpy(outer.bytes.data() + 2 * kBlockSize - outer_header, raw.data(), raw.size());
  outer.crc = crc32c(outer.bytes.view());
  REQUIRE(f.put(outer));
  f.store.reset();
  f.kill(sim::CrashKind::process);
  REQUIRE(f.node.disk().flip_bit("data/store/segments/00000001.seg", 3, 1));  // so the scan looks inside
  REQUIRE(f.node.disk().damage_meta_store("data/store/index"));
  REQUIRE(f.open(false));
  CHECK(f.store->figures().shards == 0);
  CHECK(f.lacks(inner));
}

}  // namespace
}  // namespace cairn::store
