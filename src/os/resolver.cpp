#include "os/resolver.h"

#include <netdb.h>

#include <thread>

#include "os/limits.h"

namespace cairn::os {

using Lookup = Result<std::vector<Endpoint>>;

// getaddrinfo() cannot be interrupted and may sit for half a minute behind a dead name server. So each look-up has a
// thread that nobody joins; it shares only this, and finds `loop` gone when the resolver has ended meanwhile.
struct Resolver::State {
  std::mutex mutex;
  EventLoop* loop;       // under mutex
  size_t under_way = 0;  // under mutex
  // Strand only.
  std::map<uint64_t, env::OneShot<Lookup>> waiting;
  uint64_t next = 0;
};

namespace {

Lookup look_up(const env::Address& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(address.host.c_str(), nullptr, &hints, &found);
  if (error == EAI_NONAME || error == EAI_ADDRFAMILY || error == EAI_NODATA) {
    hints.ai_flags = 0;  // a machine with nothing but its loopback has no configured address at all
    error = ::getaddrinfo(address.host.c_str(), nullptr, &hints, &found);
  }
  if (error != 0) return fail(Code::unreachable, fmt::format("{}: {}", address.host, ::gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype([](addrinfo* list) { ::freeaddrinfo(list); })> owner(found);
  std::vector<Endpoint> endpoints;
  for (const addrinfo* one = found; one != nullptr && endpoints.size() < kMaxAddressesPerName; one = one->ai_next) {
    Endpoint endpoint;
    if (one->ai_addrlen > endpoint.capacity()) continue;
    std::memcpy(endpoint.data(), one->ai_addr, one->ai_addrlen);
    endpoint.resize(one->ai_addrlen);
    endpoint.port(address.port);
    endpoints.push_back(endpoint);
  }
  if (endpoints.empty()) return fail(Code::unreachable, fmt::format("{} has no address", address.host));
  return endpoints;
}

}  // namespace

std::optional<Endpoint> literal_endpoint(const env::Address& address) {
  asio::error_code error;
  const auto parsed = asio::ip::make_address(address.host, error);
  if (error) return std::nullopt;
  return Endpoint(parsed, address.port);
}

Resolver::Resolver(EventLoop& loop) : state_(std::make_shared<State>()) {
  state_->loop = &loop;
}

Resolver::~Resolver() {
  const std::lock_guard guard(state_->mutex);
  state_->loop = nullptr;
}

env::Task<Lookup> Resolver::resolve(env::Address address, Time deadline) {
  if (const auto literal = literal_endpoint(address)) co_return std::vector<Endpoint>{*literal};
  const auto state = state_;
  EventLoop& loop = *state->loop;
  {
    const std::lock_guard guard(state->mutex);
    if (state->under_way >= kMaxLookups) co_return fail(Code::overloaded, "too many name look-ups under way");
    ++state->under_way;
  }
  const uint64_t id = state->next++;
  const env::OneShot<Lookup> answer(loop);
  state->waiting.emplace(id, answer);
  struct Forget {
    State& state;
    EventLoop& loop;
    uint64_t id;
    env::TimerId timer;
    ~Forget() {
      state.waiting.erase(id);
      loop.cancel(timer);
    }
  } const forget{*state, loop, id, loop.schedule(deadline, [answer] { answer.set(fail(Code::timeout)); })};
  std::thread([state, address, id] {
    Lookup found = look_up(address);
    const std::lock_guard guard(state->mutex);
    --state->under_way;
    if (state->loop == nullptr) return;
    state->loop->post([state, id, result = std::move(found)]() mutable {
      const auto waits = state->waiting.find(id);
      if (waits != state->waiting.end()) waits->second.set(std::move(result));
    });
  }).detach();
  co_return co_await answer;
}

}  // namespace cairn::os
