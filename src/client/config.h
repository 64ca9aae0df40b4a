#pragma once
// HOME/config.toml: what a person may edit.
//
//   name = "attic-pc"                    # this node's name
//   listen = "0.0.0.0:4774"              # HOST:PORT to serve at
//   addresses = ["203.0.113.5:4774"]     # told to others instead of this machine's own ones (port forwarding)
//   domain = "attic"                     # what fails together with this node; default: all nodes of the member
//   paused = true                        # `cairn pause`
//   leaving = true                       # `cairn leave`
//   left = true                          # it has left; set by the daemon
//   trash = "72h"                        # how long shards that their owner removed stay, to be had back (of the time
//                                        # that the daemon runs; taken up when it starts)
//   prune_every = "7d"                   # the daemon has what was removed from your volumes collected so often, or
//   "none"
//   [[store]]
//   path = "/srv/cairn"
//   limit = "200G"
//   keep_free = "10%"                    # or a size
//   removing = true                      # `cairn store rm`: drained, then given back
//   [limits] and [[schedule]]: see host_rules.h
//
// A running daemon looks at it every two seconds. What it cannot understand it refuses as a whole, and goes on with
// what it had; `cairn status` says so. Programs change it under HOME/config.lock, and only the lines that they mean.

#include <algorithm>
#include <string>
#include <vector>

#include "cairn/setup.h"
#include "client/host_rules.h"
#include "env/disk.h"
#include "env/network.h"

namespace cairn::client {

// [healing]: how background work keeps packs whole. Read when the daemon starts.
//   rate = "16M"          # bytes a second of repairs and moves
//   scrub_rate = "1M"     # bytes a second that are read again to find rot
//   time_scale = 1.0      # of all that is waited for; less only for tests, which cannot wait for days
struct Healing {
  std::optional<uint64_t> rate, scrub_rate;
  double time_scale = 1;
};

struct Config {
  std::string node_name;
  env::Address listen;
  std::vector<env::Address> addresses;
  std::string domain;
  std::vector<StoreSpec> stores;
  std::vector<std::string> removing;  // paths of stores that are to be given back
  Duration trash = std::chrono::hours(72);
  std::optional<Duration> prune_every = std::chrono::hours(24 * 7);
  bool paused = false, leaving = false, left = false;
  HostRules rules;
  Healing healing;

  bool is_removing(const std::string& path) const { return std::ranges::count(removing, path) > 0; }
};

inline constexpr uint16_t kDefaultPort = 4774;

// Code::bad_input names the line of what is wrong.
Result<Config> parse_config(const std::string& text, const std::string& file_name);
// A whole file, with comments.
std::string format_config(const Config& config);
// The text with its `listen` line replaced, or put in front; all else is kept as it is.
std::string with_listen(const std::string& text, const env::Address& listen);
// The text with one more [[store]] at its end.
std::string with_store(const std::string& text, const StoreSpec& store);
// The text with a key of its own set to true, or without it.
std::string with_flag(const std::string& text, const std::string& key, bool set);
// The text with the limits of the store of this path, and whether it is to be given back. Without it: without_store().
// Code::not_found, Code::bad_input when the file is written in a way that only a person should edit.
Result<std::string> with_changed_store(const std::string& text, const StoreSpec& store, bool removing);
Result<std::string> without_store(const std::string& text, const std::string& path);

}  // namespace cairn::client
