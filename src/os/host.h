#pragma once
// The machine as its owner sees it: priorities, power, and what the connection costs. For composition roots.

#include <optional>
#include <string>

namespace cairn::os {

// The calling thread, and all threads that it makes from then on, stand back for everybody else's work on processors
// and disks: nice 5, best-effort I/O of the lowest priority. What the system refuses stays as it is.
void lower_priority();

// Whether the machine runs on a battery: by <sysfs>/class/power_supply, as the kernel tells (no supply that is plugged
// in, and a battery of the machine itself that is being emptied). Machines without a battery do not. Blocks.
bool on_battery(const std::string& sysfs = "/sys");

// Whether NetworkManager takes the connection to be metered ("yes", or "guess-yes"); nothing where it does not run or
// cannot be asked. Asks `busctl`, a program of systemd, for some milliseconds: call it seldom, and from a worker.
std::optional<bool> on_metered();

}  // namespace cairn::os
