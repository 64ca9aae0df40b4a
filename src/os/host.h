#pragma once
// The machine as its owner sees it: priorities, power, and what the connection costs. For composition roots.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace cairn::os {

// The calling thread, and all threads that it makes from then on, stand back for everybody else's work on processors
// and disks: nice 5, best-effort I/O of the lowest priority. What the system refuses stays as it is.
void lower_priority();

// Whether the machine runs on a battery: by <sysfs>/class/power_supply, as the kernel tells (no supply that is plugged
// in, and a battery of the machine itself that is being emptied). Machines without a battery do not. Blocks.
bool on_battery(const std::string& sysfs = "/sys");

// A program that runs beside this one, its standard output nowhere, its errors where this one's go. Ended when
// destroyed.
class Child {
 public:
  // The first word is its path.
  static Result<std::unique_ptr<Child>> start(const std::vector<std::string>& words);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  // Its exit code, 128 and more for a signal; nothing while it runs.
  std::optional<int> ended();
  void terminate();

 private:
  explicit Child(int id) : id_(id) {}
  int id_;
  std::optional<int> code_;
};

// Whether NetworkManager takes the connection to be metered ("yes", or "guess-yes"); nothing where it does not run or
// cannot be asked. Asks `busctl`, a program of systemd, for some milliseconds: call it seldom, and from a worker.
std::optional<bool> on_metered();

}  // namespace cairn::os
