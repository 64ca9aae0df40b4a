// Devices that may only add, against production keepers and volumes: whatever they write, nothing that was there is
// lost.

#include <catch2/catch.hpp>

#include "volume/collect.h"
#include "volume/memory_pool.h"
#include "volume/register_cluster.h"
#include "volume/snapshot_writer.h"

namespace cairn::volume {
namespace {

constexpr size_t kFull = 3, kAdding = 4;

// Three keepers, a full device and one that may only add.
struct Stage {
  Stage() : cluster(7, 5) {
    cluster.set_lending(3);
    auto bytes = cluster.run(found_head(cluster.machine(kFull).world(), cluster.machine(kFull)));
    REQUIRE(bytes);
    founding = *bytes;
    volume_id = id_cast<VolumeId>(crypto::sha256(founding));
    cluster.restrict(kAdding, volume_id);
  }

  struct Open {
    std::unique_ptr<Register> reg;
    std::unique_ptr<HeadRegister> head;
    std::unique_ptr<test::MemoryPackIo> packs;
    std::unique_ptr<Volume> volume;
  };
  Open open(size_t machine) {
    Open open;
    const env::World world = cluster.machine(machine).world();
    open.reg = std::make_unique<Register>(world, cluster.machine(machine), founding);
    open.head = make_head_register(*open.reg);
    open.packs = std::make_unique<test::MemoryPackIo>(pool, world, machine);
    VolumeOptions options{.deduplicates = true, .high_water_path = "high-water"};
    options.append_only = machine == kAdding;
    options.may_vanish = [](const SnapshotInfo& info) { return as_text(info.details) == "partial"; };
    options.on_recovered = [this](const std::string& name, const NodeId&) { recovered.push_back(name); };
    auto opened = cluster.run(
        Volume::open(world, *open.packs, *open.head, test::volume_keys(), cluster.identity(machine).device, options));
    INFO((opened ? "" : to_string(opened.error())));
    REQUIRE(opened);
    open.volume = std::move(*opened);
    return open;
  }
  void save(Open& at, const std::string& name, uint64_t seed, std::string_view details = "",
            std::vector<std::string> gone = {}) {
    REQUIRE(cluster.run(at.volume->refresh()));
    auto writer = cluster.run(at.volume->begin_snapshot(std::nullopt));
    REQUIRE(writer);
    Transaction& files = (*writer)->files();
    auto file = cluster.run(files.make_file(kRootInode, "file", {}));
    REQUIRE(file);
    auto out = cluster.run(files.write_file(*file));
    REQUIRE(out);
    REQUIRE(cluster.run((*out)->write(Buffer::copy_of(content(seed)))));
    REQUIRE(cluster.run((*out)->finish(1)));
    out->reset();
    auto saved = cluster.run((*writer)->save(name, to_bytes(details), std::move(gone)));
    INFO((saved ? "" : to_string(saved.error())));
    REQUIRE(saved);
  }
  static Bytes content(uint64_t seed) {
    Bytes bytes(300'000);
    env::Prng(seed).fill(bytes);
    return bytes;
  }
  std::vector<std::string> names(Open& at) {
    REQUIRE(cluster.run(at.volume->refresh()));
    auto list = cluster.run(at.volume->snapshots());
    REQUIRE(list);
    std::vector<std::string> found;
    for (const SnapshotInfo& info : *list) found.push_back(info.name);
    return found;
  }
  void reads(Open& at, const std::string& name, uint64_t seed) {
    auto view = cluster.run(at.volume->view_snapshot(name));
    REQUIRE(view);
    auto found = cluster.run(view->resolve("/file"));
    REQUIRE(found);
    auto bytes = cluster.run(view->read(found->id, 0, 1'000'000));
    INFO((bytes ? "" : to_string(bytes.error())));
    REQUIRE(bytes);
    CHECK(*bytes == content(seed));
  }
  // All that a lying client can write into the register, as the adding device.
  Result<RegisterState> write_raw(Bytes bytes) {
    Register reg(cluster.machine(kAdding).world(), cluster.machine(kAdding), founding);
    auto now = cluster.run(reg.read());
    REQUIRE(now);
    return cluster.run(reg.write(*now, std::move(bytes)));
  }

  Cluster cluster;
  test::MemoryPool pool;
  Bytes founding;
  VolumeId volume_id;
  std::vector<std::string> recovered;
};

TEST_CASE("what a device that may only add takes out of the head is put back before anything is removed") {
  Stage stage;
  auto full = stage.open(kFull);
  auto adding = stage.open(kAdding);
  stage.save(full, "a", 1);
  stage.save(adding, "b", 2);
  CHECK(stage.names(full) == std::vector<std::string>{"a", "b"});
  CHECK(stage.recovered.empty());
  // A lying client: the keepers cannot see what is in a head, so they take it, and keep what was there.
  REQUIRE(stage.cluster.run(adding.volume->refresh()));
  REQUIRE(stage.cluster.run(adding.volume->remove_snapshot("a")));
  REQUIRE(stage.cluster.run(adding.volume->remove_snapshot("b")));
  stage.save(adding, "c", 3);
  CHECK(stage.names(full) == std::vector<std::string>{"a", "b", "c"});
  std::ranges::sort(stage.recovered);
  CHECK(stage.recovered == std::vector<std::string>{"a", "b"});
  auto collected = stage.cluster.run(collect_garbage(full.volume->host(), {}));
  REQUIRE(collected);
  stage.pool.empty_trash();
  for (const auto& [name, seed] : {std::pair("a", 1), std::pair("b", 2), std::pair("c", 3)})
    stage.reads(full, name, static_cast<uint64_t>(seed));
  CHECK(stage.names(adding) == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("a snapshot that is written over with another tree is the first one again") {
  Stage stage;
  auto full = stage.open(kFull);
  auto adding = stage.open(kAdding);
  stage.save(full, "a", 1);
  stage.save(adding, "a", 9);
  stage.save(adding, "a", 10);
  CHECK(stage.names(full) == std::vector<std::string>{"a"});
  stage.reads(full, "a", 1);
}

TEST_CASE("a run's own partial snapshots come and go, and nobody puts them back") {
  Stage stage;
  auto full = stage.open(kFull);
  auto adding = stage.open(kAdding);
  stage.save(adding, "run1", 1, "partial");
  stage.save(adding, "run1", 2, "partial");
  stage.save(adding, "run2", 3, "", {"run1"});
  CHECK(stage.names(full) == std::vector<std::string>{"run2"});
  CHECK(stage.recovered.empty());
}

TEST_CASE("a head that is none is stepped over") {
  Stage stage;
  auto full = stage.open(kFull);
  auto adding = stage.open(kAdding);
  stage.save(full, "a", 1);
  stage.save(adding, "b", 2);
  REQUIRE(stage.write_raw(to_bytes("no head at all")));
  REQUIRE(stage.write_raw(to_bytes("nor this")));
  CHECK(stage.names(full) == std::vector<std::string>{"a", "b"});
  stage.save(full, "c", 3);
  auto again = stage.open(kFull);
  CHECK(stage.names(again) == std::vector<std::string>{"a", "b", "c"});
  for (const auto& [name, seed] : {std::pair("a", 1), std::pair("b", 2), std::pair("c", 3)})
    stage.reads(again, name, static_cast<uint64_t>(seed));
}

TEST_CASE("what a full device has forgotten stays so, and the keepers drop what was settled") {
  Stage stage;
  auto full = stage.open(kFull);
  auto adding = stage.open(kAdding);
  stage.save(adding, "a", 1);
  stage.save(adding, "b", 2);
  CHECK(stage.names(full).size() == 2);
  REQUIRE(stage.cluster.run(full.volume->remove_snapshot("a")));
  auto state = stage.cluster.run(full.reg->read());
  REQUIRE(state);
  CHECK(state->retained == 0);
  stage.save(adding, "c", 3);
  CHECK(stage.names(full) == std::vector<std::string>{"b", "c"});
  CHECK(stage.recovered.empty());
}

TEST_CASE("keepers refuse a device that may only add what is not adding") {
  Stage stage;
  auto full = stage.open(kFull);
  stage.save(full, "a", 1);
  Register own(stage.cluster.machine(kAdding).world(), stage.cluster.machine(kAdding), stage.founding);
  auto old = stage.cluster.run(own.read());
  REQUIRE(old);
  stage.save(full, "b", 2);
  const auto& machine = stage.cluster.machine(kAdding);
  SECTION("another register of its member") {
    auto bytes = stage.cluster.run(found_head(stage.cluster.machine(kFull).world(), stage.cluster.machine(kFull)));
    REQUIRE(bytes);
    Register other(machine.world(), stage.cluster.machine(kAdding), *bytes);
    CHECK_FALSE(stage.cluster.run(other.read()));
  }
  SECTION("what other values of its own were replaced") {
    CHECK_FALSE(stage.cluster.run(own.retained()));
  }
  SECTION("to say that these were looked through") {
    auto now = stage.cluster.run(own.read());
    REQUIRE(now);
    now->settled = true;
    CHECK_FALSE(stage.cluster.run(own.write(*now, to_bytes("x"))));
  }
  SECTION("to move the register to other keepers") {
    stage.cluster.set_lending(5);
    auto moved = stage.cluster.run(own.adapt_keepers());
    auto state = stage.cluster.run(full.reg->read());
    REQUIRE(state);
    CHECK(state->config.epoch == 0);
  }
  SECTION("an older value, signed by a full device") {
    auto founding = parse_founding(stage.founding);
    REQUIRE(founding);
    Proposer proposer(machine.world(), stage.cluster.machine(kAdding), *founding, {});
    auto view = stage.cluster.run(proposer.prepare(Time::never()));
    REQUIRE(view);
    Value back = proposer.make_value(std::nullopt, to_bytes("number one"));
    auto chosen =
        stage.cluster.run(proposer.propose(*view, back, machine.world().clock.now() + std::chrono::seconds(9)));
    CHECK_FALSE((chosen && *chosen));
    CHECK(stage.names(full) == std::vector<std::string>{"a", "b"});
  }
}

TEST_CASE("what is kept for a time is measured by the keepers' clocks") {
  Stage stage;
  stage.cluster.sim.node(kFull).jump_wall_clock(std::chrono::hours(24 * 365));
  auto full = stage.open(kFull);
  stage.save(full, "a", 1);
  REQUIRE(stage.cluster.run(full.volume->refresh()));
  const WallTime keepers = stage.cluster.machine(0).world().clock.wall_now();
  CHECK(std::abs(full.volume->witnessed_now() - keepers) < 60LL * 1'000'000'000);
  auto list = stage.cluster.run(full.volume->snapshots());
  REQUIRE(list);
  CHECK(std::abs(list->front().created - keepers) < 60LL * 1'000'000'000);
}

}  // namespace
}  // namespace cairn::volume
