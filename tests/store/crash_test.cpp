// Kills and power losses: what was receipted is there, what was removed is not, and no block is lost.

#include "fixture.h"

namespace cairn::store {
namespace {

// What must be true of a shard after a crash.
enum class Fate { absent, present, open };

struct Model {
  std::vector<TestShard> shards;
  std::map<ShardId, Fate> fates;

  explicit Model(std::vector<TestShard> made) : shards(std::move(made)) {
    for (const TestShard& shard : shards) fates[shard.id()] = Fate::absent;
  }
};

env::Task<void> put_noted(ShardStore& store, Model& model, size_t index) {
  const ShardId id = model.shards[index].id();
  Fate& fate = model.fates[id];
  if (fate == Fate::absent) fate = Fate::open;
  auto status = co_await put(store, model.shards[index]);
  if (status) fate = Fate::present;
}
env::Task<void> remove_noted(ShardStore& store, Model& model, size_t index) {
  const ShardId id = model.shards[index].id();
  Fate& fate = model.fates[id];
  const Fate before = fate;
  fate = Fate::open;
  auto status = co_await store.remove(id);
  if (status) fate = Fate::absent;
  if (!status && status.error().code == Code::not_found) fate = before == Fate::present ? Fate::open : Fate::absent;
}
// Indexes are done at the same time; a negative one removes.
env::Task<void> together(env::Executor& executor, ShardStore& store, Model& model, std::vector<int> steps) {
  env::TaskGroup group(executor);
  for (const int step : steps) {
    if (step >= 0) {
      group.spawn(put_noted(store, model, static_cast<size_t>(step)));
    } else {
      group.spawn(remove_noted(store, model, static_cast<size_t>(-step - 1)));
    }
  }
  co_await group.join();
}

void check_all(Fixture& f, Model& model) {
  size_t present = 0;
  for (const TestShard& shard : model.shards) {
    const Fate fate = model.fates[shard.id()];
    auto bytes = f.read(shard);
    if (bytes) {
      REQUIRE(equal(bytes->view(), shard.bytes.view()));
      REQUIRE(fate != Fate::absent);
      ++present;
      auto stored = f.sim.run(f.store->describe(shard.id()));
      REQUIRE(stored);
      REQUIRE(stored->siblings == shard.siblings);
    } else {
      REQUIRE(bytes.error().code == Code::not_found);
      REQUIRE(fate != Fate::present);
    }
  }
  REQUIRE(f.store->figures().shards == present);
  REQUIRE(f.sim.run(f.store->list(std::nullopt, 1000)).size() == present);
  REQUIRE(f.store->figures().corrupt == 0);
}

// After a crash: everything as promised, exact accounts, and the store works on.
void check_after_crash(Fixture& f, Model& model) {
  const bool made = *f.node.disk().exists("data/store/cairn-store");
  REQUIRE(f.open(!made));
  check_all(f, model);
  REQUIRE(f.sim.run(f.store->settle()));
  f.rest();
  REQUIRE(f.store->figures().unverified == 0);
  REQUIRE(f.store->figures().used == f.used_on_disk());
  REQUIRE(f.put_all(model.shards));
  for (const TestShard& shard : model.shards) REQUIRE(f.holds(shard));
  f.rest();
  REQUIRE(f.store->figures().used == f.used_on_disk());
}

// One life of a store, in steps of what goes on at the same time.
void script(Fixture& f, Model& model, const std::vector<std::vector<int>>& steps) {
  if (!f.open()) return;
  for (const auto& step : steps) f.sim.run(together(f.sim.executor(), *f.store, model, step));
  (void)f.sim.run(f.store->settle());
  f.rest();
}

TEST_CASE("after a crash behind any disk operation every receipted shard is there and no space is lost") {
  const auto kind = GENERATE(sim::CrashKind::power, sim::CrashKind::process);
  env::Prng prng(21);
  const auto shards = make_shards(prng, {100, 5'000, 70'000, 700'000, 4'096, 1, 30'000, 9'000});
  const std::vector<std::vector<int>> steps = {{0, 1, 2}, {3}, {-2}, {4, 5, -1, 6}, {1}, {-3, 7}, {-4}};
  uint64_t total = 0;
  {
    Fixture f;
    Model model(shards);
    script(f, model, steps);
    total = f.node.disk().operations();
    check_all(f, model);
  }
  REQUIRE(total > 40);
  for (uint64_t after = 0; after < total; ++after) {
    CAPTURE(after);
    Fixture f(after + 1);
    Model model(shards);
    f.node.disk().crash_after(after);
    script(f, model, steps);
    f.kill(kind);
    check_after_crash(f, model);
  }
}

TEST_CASE("a crash while segments are changed and removed loses nothing") {
  env::Prng prng(22);
  std::vector<TestShard> shards;
  for (int i = 0; i < 7; ++i) shards.push_back(make_shard(prng, 2'500'000));
  const std::vector<std::vector<int>> steps = {{0, 1, 2, 3}, {4}, {-1, -2, -3}, {5, 6}, {-4, -5}};
  uint64_t total = 0;
  {
    Fixture f;
    Model model(shards);
    script(f, model, steps);
    total = f.node.disk().operations();
    REQUIRE(f.segments().size() >= 1);
  }
  for (uint64_t after = 8; after < total; after += 3) {
    CAPTURE(after);
    Fixture f(after + 1000);
    Model model(shards);
    f.node.disk().crash_after(after);
    script(f, model, steps);
    f.kill();
    check_after_crash(f, model);
  }
}

TEST_CASE("stores that are killed again and again at random points keep their promises") {
  env::Prng made(23);
  const auto shards =
      make_shards(made, {100, 4'000, 66'000, 300'000, 1, 12'000, 800, 128'000, 5'000, 64, 90'000, 2'000, 700'000, 33});
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    env::Prng prng(seed);
    Fixture f(seed);
    Model model(shards);
    for (int life = 0; life < 4; ++life) {
      f.node.disk().crash_after(prng.below(90));
      bool opened = false;
      if (f.open(!*f.node.disk().exists("data/store/cairn-store"))) opened = true;
      for (int i = 0; opened && i < 8; ++i) {
        std::vector<int> step;
        std::set<uint64_t> used;
        for (uint64_t n = prng.below(5); n > 0; --n) {
          const uint64_t index = prng.below(shards.size());
          if (!used.insert(index).second) continue;  // the outcome of a put beside a removal is anybody's guess
          step.push_back(prng.chance(0.65) ? static_cast<int>(index) : -static_cast<int>(index) - 1);
        }
        f.sim.run(together(f.sim.executor(), *f.store, model, step));
      }
      f.kill(prng.chance(0.7) ? sim::CrashKind::power : sim::CrashKind::process);
    }
    check_after_crash(f, model);
  }
}

TEST_CASE("a start-up that is killed again and again still comes to its end") {
  env::Prng prng(24);
  std::vector<TestShard> shards;
  for (int i = 0; i < 20; ++i) shards.push_back(make_shard(prng, 50'000));
  for (const bool lose_index : {false, true}) {
    for (uint64_t after = 0; after < 12; ++after) {
      CAPTURE(lose_index, after);
      Fixture f(after + 1);
      REQUIRE(f.open());
      REQUIRE(f.put_all(shards));
      REQUIRE(f.remove(shards[3]));
      f.rest();
      f.kill();
      if (lose_index) REQUIRE(f.node.disk().damage_meta_store("data/store/index"));
      for (uint64_t again = 0; again <= after; ++again) {
        f.node.disk().crash_after(again);
        (void)f.open(false);
        f.kill();
      }
      REQUIRE(f.open(false));
      for (size_t i = 0; i < shards.size(); ++i) REQUIRE(f.holds(shards[i]) == (i != 3));
      REQUIRE(f.sim.run(f.store->settle()));
      f.rest();
      REQUIRE(f.store->figures().used == f.used_on_disk());
    }
  }
}

}  // namespace
}  // namespace cairn::store
