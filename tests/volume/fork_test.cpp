// Heads that were seen before a volume's keepers were given up, and that the volume went on without.
#include "volume/fork.h"

#include "volume/collect.h"
#include "volume/volume_helpers.h"

namespace cairn::volume {
namespace {

using namespace test;

std::optional<std::string> text_at(Device& device, const std::string& path) {
  auto text = read_text(device, device.volume->view(), path);
  return text ? std::optional(*text) : std::nullopt;
}

struct Fixture {
  sim::SimWorld sim{1};
  MemoryPool pool;
  Device a{sim, pool, 1}, b{sim, pool, 2};
  RegisterState base;  // that the force goes on from
  RegisterState lost;  // the head that is left behind

  // Both know the base; then `a` commits what is lost.
  Fixture() {
    put(a, "/both", as_bytes("old"));
    put(a, "/gone", as_bytes("to be removed"));
    put(a, "/kept", as_bytes("kept"));
    base = pool.head;
    REQUIRE(b.run(b.volume->refresh()));
    put(a, "/lost", as_bytes("only there"));
    put(a, "/both", as_bytes("by a"));
    remove(a, "/gone");
    lost = pool.head;
  }
  void force(uint64_t epoch = uint64_t{1} << 40) {
    pool.head = base;
    pool.head.forced.push_back({.epoch = epoch, .sequence = base.sequence, .hash = base.hash});
  }
  void reopen(Device& device, uint8_t number) {
    device.volume.reset();
    auto opened = device.run(Volume::open(device.node.world(), device.packs, device.head, volume_keys(),
                                          writer_key(number), {.high_water_path = "high-water"}));
    INFO((opened ? "" : to_string(opened.error())));
    REQUIRE(opened);
    device.volume = std::move(*opened);
  }
  void require_joined(Device& device) {
    CHECK(text_at(device, "/lost") == "only there");
    CHECK(text_at(device, "/new") == "by b");
    CHECK(text_at(device, "/kept") == "kept");
    CHECK_FALSE(text_at(device, "/gone"));
    // Both versions of what both changed.
    std::set<std::string> versions;
    auto list = device.run(device.volume->view().list(kRootInode, "", 100));
    REQUIRE(list);
    for (const auto& entry : *list) {
      if (!entry.name.starts_with("both")) continue;
      versions.insert(text_at(device, "/" + entry.name).value_or("?"));
    }
    CHECK(versions == std::set<std::string>{"by a", "by b"});
    check_tree(device, device.volume->view());
  }
};

}  // namespace

TEST_CASE("a device that saw a head which is left behind says so, and puts its changes upon the present one") {
  Fixture world;
  world.force();
  REQUIRE(world.b.run(world.b.volume->refresh()));
  CHECK_FALSE(world.b.volume->fork());  // it had seen nothing beyond
  put(world.b, "/new", as_bytes("by b"));
  put(world.b, "/both", as_bytes("by b"));
  REQUIRE(world.a.run(world.a.volume->refresh()));
  auto fork = world.a.volume->fork();
  REQUIRE(fork);
  CHECK(fork->sequence == world.lost.sequence);
  CHECK(fork->at.sequence == world.base.sequence);
  CHECK(fork->joined);
  CHECK(fork->conflicts == 1);
  world.require_joined(world.a);
  REQUIRE(world.b.run(world.b.volume->refresh()));
  world.require_joined(world.b);
  // Once: another start has nothing to say.
  world.reopen(world.a, 1);
  CHECK_FALSE(world.a.volume->fork());
}

TEST_CASE("nothing was committed since a force: what is left behind is put upon it as it was") {
  Fixture world;
  world.force();
  REQUIRE(world.a.run(world.a.volume->refresh()));
  REQUIRE(world.a.volume->fork());
  CHECK(world.a.volume->fork()->joined);
  CHECK(text_at(world.a, "/lost") == "only there");
  CHECK(text_at(world.a, "/both") == "by a");
  CHECK_FALSE(text_at(world.a, "/gone"));
}

TEST_CASE("a device that knows only that there was a head waits for a keeper that has it") {
  Fixture world;
  world.force();
  REQUIRE(world.b.run(world.b.volume->refresh()));
  put(world.b, "/new", as_bytes("by b"));
  put(world.b, "/both", as_bytes("by b"));
  for (int starts = 0; starts < 2; ++starts) {
    world.reopen(world.a, 1);
    auto fork = world.a.volume->fork();
    REQUIRE(fork);
    CHECK_FALSE(fork->joined);
    CHECK(text_at(world.a, "/new") == "by b");  // the volume can be used meanwhile
    CHECK_FALSE(text_at(world.a, "/lost"));
  }
  // Collections in between leave what a later merge needs.
  REQUIRE(world.b.run(collect_garbage(world.b.volume->host(), {})));
  world.pool.empty_trash();
  world.a.head.stray = {world.lost};
  world.reopen(world.a, 1);
  REQUIRE(world.a.volume->fork());
  CHECK(world.a.volume->fork()->joined);
  world.require_joined(world.a);
  world.reopen(world.a, 1);
  CHECK_FALSE(world.a.volume->fork());
}

TEST_CASE("who is answered by keepers that were given up asks again: others know better") {
  Fixture world;
  world.force();
  REQUIRE(world.b.run(world.b.volume->refresh()));
  put(world.b, "/new", as_bytes("by b"));
  const RegisterState present = world.pool.head;
  world.pool.head = world.lost;  // the old majority is back and was the first to answer
  world.sim.after(std::chrono::milliseconds(500), [&] { world.pool.head = present; });
  const auto refreshed = world.b.run(world.b.volume->refresh());
  INFO((refreshed ? "" : to_string(refreshed.error())));
  REQUIRE(refreshed);
  CHECK(text_at(world.b, "/new") == "by b");
}

TEST_CASE("keepers that were given up are refused as older, however high their numbers are") {
  Fixture world;
  world.force();
  REQUIRE(world.b.run(world.b.volume->refresh()));
  put(world.b, "/new", as_bytes("by b"));
  world.b.head.older = world.lost;
  auto refused = world.b.run(world.b.volume->refresh());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::corrupt);
}

}  // namespace cairn::volume
