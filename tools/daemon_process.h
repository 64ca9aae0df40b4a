#pragma once
// One daemon as a child process: for the demo and the benchmark.

#include <functional>
#include <string>

#include "cairn/result.h"

namespace cairn::tools {

// Ended, and waited for, when this goes.
class DaemonProcess {
 public:
  DaemonProcess() = default;
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;
  ~DaemonProcess();

  // Starts `program` (cairnd) on the home and waits for its ready line, 30 s at most or until `give_up` says so. Its
  // log goes to the file `log`.
  Status start(const std::string& program, const std::string& home, const std::string& log,
               const std::function<bool()>& give_up);
  // Sends the signal and waits for the end; SIGKILL after 10 s.
  void end(int signal);
  int pid() const { return pid_; }

 private:
  int pid_ = -1;
};

}  // namespace cairn::tools
