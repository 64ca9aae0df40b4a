#pragma once
// Resolver: host names to addresses without blocking the strand. Internal to the room.

#include <memory>
#include <vector>

#include "env/network.h"
#include "os/asio.h"
#include "os/event_loop.h"

namespace cairn::os {

using Endpoint = asio::ip::tcp::endpoint;

// A literal IPv4 or IPv6 address; nothing for a name.
std::optional<Endpoint> literal_endpoint(const env::Address& address);

// Strand only.
class Resolver {
 public:
  explicit Resolver(EventLoop& loop);
  ~Resolver();

  // At least one and at most kMaxAddressesPerName, in the system's order of preference. Code::unreachable for a name
  // that does not resolve, Code::timeout, Code::overloaded when kMaxLookups are under way.
  env::Task<Result<std::vector<Endpoint>>> resolve(env::Address address, Time deadline);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::os
