// Priorities, power and the metered link: against the real system where it can be, else against folders as the kernel
// makes them.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "os/host.h"

namespace cairn::os {
namespace {

namespace fs = std::filesystem;

struct Supplies {
  fs::path root = fs::temp_directory_path() / ("cairn-power-" + std::to_string(::getpid()));
  Supplies() { fs::create_directories(root / "class/power_supply"); }
  ~Supplies() { fs::remove_all(root); }
  void set(const std::string& supply, const std::string& what, const std::string& value) {
    const fs::path folder = root / "class/power_supply" / supply;
    fs::create_directories(folder);
    std::ofstream(folder / what) << value << "\n";
  }
};

TEST_CASE("a thread that stands back has what it makes stand back too") {
  int nice = 0, inherited_nice = 0;
  long io = 0, inherited_io = 0;
  std::thread([&] {
    lower_priority();
    nice = ::getpriority(PRIO_PROCESS, 0);
    io = ::syscall(SYS_ioprio_get, 1, 0);
    std::thread([&] {
      inherited_nice = ::getpriority(PRIO_PROCESS, 0);
      inherited_io = ::syscall(SYS_ioprio_get, 1, 0);
    }).join();
  }).join();
  REQUIRE(nice >= 5);
  REQUIRE(inherited_nice == nice);
  REQUIRE(io == (2 << 13 | 7));
  REQUIRE(inherited_io == io);
}

TEST_CASE("a machine runs on battery when nothing is plugged in and its own battery is emptied") {
  Supplies supplies;
  const std::string root = supplies.root.string();
  REQUIRE_FALSE(on_battery(root + "/nowhere"));
  REQUIRE_FALSE(on_battery(root));  // no supplies: a desktop
  supplies.set("AC", "type", "Mains");
  supplies.set("AC", "online", "1");
  supplies.set("BAT0", "type", "Battery");
  supplies.set("BAT0", "status", "Charging");
  REQUIRE_FALSE(on_battery(root));
  supplies.set("BAT0", "status", "Discharging");  // slowly, while plugged in: some do
  REQUIRE_FALSE(on_battery(root));
  supplies.set("AC", "online", "0");
  REQUIRE(on_battery(root));
  supplies.set("BAT0", "status", "Full");
  REQUIRE_FALSE(on_battery(root));
  // A mouse has a battery too.
  supplies.set("hidpp_battery_0", "type", "Battery");
  supplies.set("hidpp_battery_0", "scope", "Device");
  supplies.set("hidpp_battery_0", "status", "Discharging");
  REQUIRE_FALSE(on_battery(root));
  (void)on_battery();  // the machine of the test, whatever it is
}

TEST_CASE("whether the link is metered is what busctl says, and unknown where it says nothing") {
  const std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  Supplies folder;
  const fs::path program = folder.root / "busctl";
  const auto says = [&](const std::string& script) {
    std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
    fs::permissions(program, fs::perms::owner_all);
    ::setenv("PATH", (folder.root.string() + ":" + path).c_str(), 1);
    const auto metered = on_metered();
    ::setenv("PATH", path.c_str(), 1);
    return metered;
  };
  REQUIRE(says("echo 'u 1'") == std::optional(true));
  REQUIRE(says("echo 'u 3'") == std::optional(true));
  REQUIRE(says("echo 'u 2'") == std::optional(false));
  REQUIRE(says("echo 'u 4'") == std::optional(false));
  REQUIRE(says("echo 'u 0'") == std::optional(false));
  REQUIRE(says("exit 1") == std::nullopt);
  REQUIRE(says("echo nonsense") == std::nullopt);
  (void)on_metered();  // the machine of the test
}

}  // namespace
}  // namespace cairn::os
