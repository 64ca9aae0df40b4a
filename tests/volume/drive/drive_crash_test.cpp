// Crashes of a drive's machine, behind every disk operation, and at random among several drives.

#include "volume/drive/journal_model.h"
#include "volume/volume_helpers.h"

namespace cairn::test {
namespace {

using namespace std::chrono_literals;
using sim::CrashKind;

// One machine's operations, with what must become of them.
struct Actor {
  Machine& machine;
  std::string home;  // of its files: "" or "name/"
  JournalModel model;
  uint64_t seed = 0;
  bool dead() { return machine.node.disk().dead(); }

  void write(const std::string& name, uint64_t offset, size_t size) {
    const std::string path = home + name;
    const Bytes bytes = random_bytes(size, ++seed * 7919);
    // Making the file and writing into it are two operations.
    if (!model.now().contains(path)) {
      model.begin([&](Tree& tree) { tree[path] = ""; });
      auto handle = machine.open(path);
      if (!ended(handle.has_value())) return;
      (void)machine.run(machine.files().release(*handle));
    }
    model.begin([&](Tree& tree) {
      std::string& content = tree[path];
      if (content.size() < offset + size) content.resize(offset + size);
      std::memcpy(content.data() + offset, bytes.data(), size);
    });
    ended(machine.write(path, offset, bytes) == 0);
  }
  void unlink(const std::string& name) {
    if (!model.now().contains(home + name)) return;
    model.begin([&](Tree& tree) { tree.erase(home + name); });
    ended(machine.unlink(home + name) == 0);
  }
  void rename(const std::string& from, const std::string& to) {
    if (!model.now().contains(home + from) || from == to) return;
    model.begin([&](Tree& tree) {
      tree[home + to] = tree[home + from];
      tree.erase(home + from);
    });
    ended(machine.rename(home + from, home + to) == 0);
  }
  void truncate(const std::string& name, uint64_t size) {
    if (!model.now().contains(home + name)) return;
    auto id = machine.find(home + name);
    if (!id) {
      REQUIRE(dead());
      return;
    }
    model.begin([&](Tree& tree) { tree[home + name].resize(size); });
    volume::AttributeSet set;
    set.size = size;
    auto cut = machine.run(machine.files().set_attributes(*id, set, {}));
    ended(cut.has_value());
  }
  void mkdir(const std::string& path) {
    model.begin([&](Tree& tree) { tree[path] = "/"; });
    ended(machine.mkdir(path) == 0);
  }
  void fsync() {
    model.fsync_begins();
    if (machine.fsync()) model.fsynced();
  }
  void sync() {
    model.fsync_begins();
    auto task = [](volume::Drive& drive) -> env::Task<Result<bool>> {
      CAIRN_CO_TRY(co_await drive.sync());
      co_return true;
    };
    auto done = machine.run(env::with_deadline<bool>(machine.node.executor(), machine.node.clock(),
                                                     machine.node.clock().now() + 60s, task(machine.drive())));
    if (done && !dead()) model.fsynced();
  }
  bool ended(bool well) {
    if (well) {
      model.acknowledged();
    } else if (!dead()) {
      model.refused();
    }
    return well;
  }
  // After a crash and a new start.
  void check(CrashKind kind) {
    const Tree found = own(machine.tree());
    INFO(model.describe(found));
    REQUIRE(model.settle(found, kind == CrashKind::power));
  }
  Tree own(const Tree& all) const {
    if (home.empty()) return all;
    Tree mine;
    for (const auto& [path, content] : all) {
      if (path.starts_with(home)) mine.emplace(path, content);
    }
    return mine;
  }
};

void script(sim::SimWorld& sim, Actor& a) {
  if (!a.machine.start()) return;
  const std::vector<std::function<void()>> steps = {
      [&] { a.mkdir("d"); },
      [&] { a.write("small", 0, 100); },
      [&] { a.write("d/large", 0, 300'000); },
      [&] { a.fsync(); },
      [&] { a.write("d/large", 100'000, 50'000); },
      [&] { a.rename("small", "d/renamed"); },
      [&] { a.sync(); },
      [&] { a.write("d/large", 290'000, 30'000); },
      [&] { a.write("other", 0, 200'000); },
      [&] { a.fsync(); },
      [&] { a.truncate("d/large", 150'000); },
      [&] { sim.run_for(7s); },
      [&] { a.unlink("other"); },
      [&] { a.write("d/renamed", 50, 6'000); },
      [&] { a.rename("d/large", "last"); },
      [&] { a.fsync(); },
      [&] { sim.run_for(7s); },
      [&] { a.write("last", 5'000, 20'000); },
  };
  for (const auto& step : steps) {
    if (a.dead()) return;
    step();
  }
}

TEST_CASE("after a crash behind any disk operation a drive shows what was fsynced, and brings it to the pool once") {
  const auto kind = GENERATE(CrashKind::power, CrashKind::process);
  uint64_t total = 0;
  {
    sim::SimWorld sim(1);
    MemoryPool pool;
    Machine machine(sim, pool, 1);
    Actor a{machine, "", {}};
    script(sim, a);
    total = machine.node.disk().operations();
    REQUIRE(a.own(machine.tree()) == a.model.now());
  }
  REQUIRE(total > 60);
  for (uint64_t after = 0; after < total; ++after) {
    CAPTURE(after, static_cast<int>(kind));
    sim::SimWorld sim(after + 1);
    MemoryPool pool;
    Machine machine(sim, pool, 1);
    Actor a{machine, "", {}};
    machine.node.disk().crash_after(after);
    script(sim, a);
    machine.crash(kind);
    REQUIRE(machine.start());
    a.check(kind);
    a.sync();
    REQUIRE(machine.drive().status().pending_edits == 0);
    REQUIRE(a.own(machine.tree()) == a.model.now());
    Device device(sim, pool, 99);
    const auto listing = check_tree(device, device.volume->view());
    REQUIRE(listing.size() == a.model.now().size());
    for (const auto& [path, content] : listing) REQUIRE(a.model.now().at(path.substr(1)) == content);
  }
}

TEST_CASE(
    "drives of one volume that crash, lose the pool and lose answers end up equal and with all that was fsynced") {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    CAPTURE(seed);
    sim::SimWorld sim(seed);
    env::Prng prng(seed * 31);
    MemoryPool pool;
    std::vector<std::unique_ptr<Machine>> machines;
    std::vector<std::unique_ptr<Actor>> actors;
    const size_t count = 2 + seed % 2;
    for (size_t i = 0; i < count; ++i) {
      machines.push_back(std::make_unique<Machine>(sim, pool, static_cast<uint8_t>(i + 1)));
      Machine& machine = *machines.back();
      machine.options.commit_after = 2s;
      REQUIRE(machine.start());
      const std::string home = "m" + std::to_string(i + 1);
      actors.push_back(std::make_unique<Actor>(Actor{machine, home + "/", {}, seed * 1000 + i * 100'000}));
      REQUIRE(machine.mkdir(home) == 0);
      REQUIRE(machine.fsync());
    }
    std::vector<bool> away(count, false);
    for (int step = 0; step < 70; ++step) {
      const size_t who = prng.below(count);
      Actor& a = *actors[who];
      Machine& machine = a.machine;
      const auto name = [&] { return "f" + std::to_string(prng.below(5)); };
      const uint64_t what = prng.below(100);
      CAPTURE(step, who, what);
      if (what < 30) {
        a.write(name(), prng.below(200'000), 1 + prng.below(prng.chance(0.5) ? 3'000 : 300'000));
      } else if (what < 38) {
        a.unlink(name());
      } else if (what < 46) {
        a.rename(name(), name());
      } else if (what < 52) {
        a.truncate(name(), prng.below(250'000));
      } else if (what < 62) {
        a.fsync();
      } else if (what < 70) {  // a file that all write
        const std::string text = "machine " + std::to_string(who) + " step " + std::to_string(step);
        if (prng.chance(0.8)) {
          (void)machine.write("shared", text);
        } else {
          (void)machine.unlink("shared");
        }
      } else if (what < 76) {
        if (!away[who]) a.sync();
      } else if (what < 82) {
        sim.run_for(Duration(static_cast<int64_t>(prng.below(8'000'000'000))));
      } else if (what < 88) {
        away[who] = !away[who];
        machine.set_away(away[who]);
      } else if (what < 94) {
        machine.life->head.faults.push_back(prng.chance(0.5) ? MemoryHead::Fault::lost_before
                                                             : MemoryHead::Fault::lost_after);
        machine.life->head.failing_reads = static_cast<int>(prng.below(6));
      } else {
        const CrashKind kind = prng.chance(0.6) ? CrashKind::power : CrashKind::process;
        if (prng.chance(0.5)) {
          machine.node.disk().crash_after(prng.below(30));
          sim.run_for(Duration(static_cast<int64_t>(prng.below(4'000'000'000))));
        }
        machine.crash(kind);
        away[who] = false;
        REQUIRE(machine.start());
        a.check(kind);
      }
    }
    for (size_t i = 0; i < count; ++i) {
      machines[i]->set_away(false);
      machines[i]->life->head.faults.clear();
      machines[i]->life->head.failing_reads = 0;
    }
    for (auto& machine : machines) REQUIRE(machine->run(machine->drive().sync()));
    for (auto& machine : machines) REQUIRE(machine->run(machine->drive().refresh()));
    Device device(sim, pool, 99);
    const auto listing = check_tree(device, device.volume->view());
    Tree committed;
    for (const auto& [path, content] : listing) committed.emplace(path.substr(1), content);
    for (size_t i = 0; i < count; ++i) {
      CAPTURE(i);
      CHECK(machines[i]->drive().status().pending_bytes == 0);
      REQUIRE(machines[i]->tree() == committed);
      INFO(actors[i]->model.describe(actors[i]->own(committed)));
      REQUIRE(actors[i]->own(committed) == actors[i]->own(actors[i]->model.now()));
      REQUIRE(machines[i]->stop());
    }
  }
}

}  // namespace
}  // namespace cairn::test
