#pragma once
// HOME/config.toml: what a person may edit.
//
//   name = "attic-pc"                    # this node's name
//   listen = "0.0.0.0:4774"              # HOST:PORT to serve at
//   addresses = ["203.0.113.5:4774"]     # told to others instead of this machine's own ones (port forwarding)
//   domain = "attic"                     # what fails together with this node; default: all nodes of the member
//   [[store]]
//   path = "/srv/cairn"
//   limit = "200G"
//   keep_free = "10%"                    # or a size

#include <string>
#include <vector>

#include "cairn/setup.h"
#include "env/disk.h"
#include "env/network.h"

namespace cairn::client {

struct Config {
  std::string node_name;
  env::Address listen;
  std::vector<env::Address> addresses;
  std::string domain;
  std::vector<StoreSpec> stores;
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

}  // namespace cairn::client
