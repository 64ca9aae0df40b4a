#pragma once
// The daemon: lends disk space, keeps shards and registers, and takes part in the pool.

#include <functional>
#include <memory>
#include <string>

#include "cairn/result.h"

namespace cairn {

struct DaemonOptions {
  std::string home;
  std::string listen;              // overrides the configured address, and is kept
  std::string log_level = "info";  // debug, info, warning, error
  // The `cairn` that collects the garbage of this home's volumes now and then; empty: nothing does.
  std::string cairn;
  // Called once, when it serves: NodeID in hex and HOST:PORT.
  std::function<void(const std::string& node_id, const std::string& address)> on_ready;
};

// Runs until SIGTERM or SIGINT (it handles them), then stops cleanly. Code::overloaded when another daemon runs on
// this home.
Status run_daemon(const DaemonOptions& options);

}  // namespace cairn
