#include "os/network.h"

#include <sys/socket.h>

#include "os/asio.h"
#include "os/limits.h"
#include "os/resolver.h"
#include "os/tls_connection.h"

namespace cairn::os {

namespace {

class TlsStream final : public env::Stream {
 public:
  explicit TlsStream(TlsConnection::Ptr connection) : connection_(std::move(connection)) {}
  ~TlsStream() override { connection_->close(); }
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  NodeId peer() const override { return connection_->peer().node; }
  Bytes peer_public_key() const override { return connection_->peer().public_key; }
  env::Address remote() const override { return connection_->remote(); }
  env::Task<Result<size_t>> read_some(MutableByteView into, size_t wanted) override {
    return TlsConnection::read_some(connection_, into, wanted);
  }
  env::Task<Status> write(std::vector<ByteView> parts) override {
    return TlsConnection::write(connection_, std::move(parts));
  }
  uint64_t unconfirmed() const override { return connection_->unconfirmed(); }
  void close() override { connection_->close(); }

 private:
  TlsConnection::Ptr connection_;
};

// Ends the connection at a deadline, as long as it lives itself.
class Deadline {
 public:
  Deadline(EventLoop& loop, Time when, const TlsConnection::Ptr& connection)
      : loop_(loop), timer_(loop.schedule(when, [weak = std::weak_ptr(connection)] {
          if (const auto alive = weak.lock()) alive->fail_with({Code::unreachable, "timed out"});
        })) {}
  ~Deadline() { loop_.cancel(timer_); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  EventLoop& loop_;
  env::TimerId timer_;
};

// Ends the connection when the task that makes it goes before it is whole.
struct EndUnlessWhole {
  TlsConnection::Ptr connection;
  bool whole = false;
  ~EndUnlessWhole() {
    if (!whole) connection->fail_with({Code::closed, "given up"});
  }
};

struct ListenerState {
  explicit ListenerState(asio::io_context& context) : acceptor(context) {}
  asio::ip::tcp::acceptor acceptor;
  std::move_only_function<void(std::unique_ptr<env::Stream>)> on_stream;
  env::Address address;
  bool open = true;
  bool watched = false;
};

}  // namespace

class TlsNetwork::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop_ref, Log& log_ref, HandshakeLimits handshake_limits)
      : loop(loop_ref),
        log(log_ref),
        limits(handshake_limits),
        shared(std::make_shared<NetworkShared>(loop_ref)),
        resolver(loop_ref),
        tasks(loop_ref) {}

  Result<std::shared_ptr<ListenerState>> open_listener(const env::Address& address);
  void watch(const std::shared_ptr<ListenerState>& listener);
  void accept_some(const std::shared_ptr<ListenerState>& listener);
  bool make_place();
  void retry_later(Time when);
  void retry_now();
  static env::Task<void> serve(Impl& self, std::shared_ptr<ListenerState> listener, TlsConnection::Ptr connection,
                               uint64_t number);
  static env::Task<Result<std::unique_ptr<env::Stream>>> connect(std::shared_ptr<Impl> self, env::Address address,
                                                                 std::optional<NodeId> expected, Time deadline);
  static env::Task<Status> connect_one(std::shared_ptr<Impl> self, TlsConnection::Ptr connection, Endpoint endpoint,
                                       std::optional<NodeId> expected, Time deadline);
  void shut_down();

  EventLoop& loop;
  Log& log;
  HandshakeLimits limits;
  std::shared_ptr<NetworkShared> shared;
  std::unique_ptr<TlsIdentity> identity;
  Resolver resolver;
  RateLimit refusals{10, std::chrono::minutes(1)};

  struct Handshake {
    Time began;
    TlsConnection::Ptr connection;
    std::weak_ptr<ListenerState> listener;
  };
  std::map<uint64_t, Handshake> handshakes;  // in the order in which they began
  uint64_t next_handshake = 0;
  std::vector<std::weak_ptr<ListenerState>> paused;  // listeners that wait for a place or a descriptor
  env::TimerId retry_timer = 0;
  bool ended = false;
  env::TaskGroup tasks;  // last: its tasks use all of the above
};

// ---- listening ----

Result<std::shared_ptr<ListenerState>> TlsNetwork::Impl::open_listener(const env::Address& address) {
  env::Address numeric = address;
  if (numeric.host == "localhost") numeric.host = "127.0.0.1";
  const auto endpoint = literal_endpoint(numeric);
  if (!endpoint) return fail(Code::bad_input, fmt::format("'{}' is not an address to listen at", address.host));
  auto listener = std::make_shared<ListenerState>(loop.context());
  auto& acceptor = listener->acceptor;
  asio::error_code error;
  acceptor.open(endpoint->protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error && endpoint->address().is_v6()) {
    // "::" takes IPv4 callers too, whatever the system's default is.
    acceptor.set_option(asio::ip::v6_only(!endpoint->address().is_unspecified()), error);
  }
  if (!error) acceptor.bind(*endpoint, error);
  if (!error) acceptor.listen(kListenBacklog, error);
  if (!error) acceptor.native_non_blocking(true, error);
  Endpoint real;
  if (!error) real = acceptor.local_endpoint(error);
  if (error) return fail(Code::io, fmt::format("cannot listen at {}: {}", address.text(), error.message()));
  listener->address = {real.address().to_string(), real.port()};
  return listener;
}

void TlsNetwork::Impl::watch(const std::shared_ptr<ListenerState>& listener) {
  if (!listener->open || listener->watched || ended) return;
  listener->watched = true;
  listener->acceptor.async_wait(asio::socket_base::wait_read,
                                [weak = weak_from_this(), listener](const asio::error_code&) {
                                  listener->watched = false;
                                  const auto self = weak.lock();
                                  if (self && listener->open && !self->ended) self->accept_some(listener);
                                });
}

void TlsNetwork::Impl::accept_some(const std::shared_ptr<ListenerState>& listener) {
  // A bounded number, so that a flood of callers leaves the strand time for what is established.
  for (int round = 0; round < 16; ++round) {
    if (!make_place()) {
      paused.push_back(listener);
      return;
    }
    Endpoint remote;
    auto length = static_cast<socklen_t>(remote.capacity());
    const int descriptor =
        ::accept4(listener->acceptor.native_handle(), remote.data(), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      const int number = errno;
      if (number == EAGAIN || number == EWOULDBLOCK) break;
      if (number == EINTR || number == ECONNABORTED || number == EPROTO) continue;
      if (refusals.allow(loop.now())) log.warning("accept_failed", "errno={}", number);
      paused.push_back(listener);
      return retry_later(loop.now() + kAcceptRetry);
    }
    remote.resize(length);
    auto connection = std::make_shared<TlsConnection>(shared);
    if (!connection->adopt(descriptor, remote)) continue;
    const uint64_t number = next_handshake++;
    handshakes.emplace(number, Handshake{loop.now(), connection, listener});
    tasks.spawn(serve(*this, listener, std::move(connection), number));
  }
  watch(listener);
}

// Whether one more handshake may begin; drops the oldest for it when that has had its fair time.
bool TlsNetwork::Impl::make_place() {
  if (handshakes.size() < limits.at_once) return true;
  const auto oldest = handshakes.begin();
  const Time fair_until = oldest->second.began + limits.fair_time;
  if (loop.now() < fair_until) {
    retry_later(fair_until);
    return false;
  }
  const auto connection = std::move(oldest->second.connection);
  handshakes.erase(oldest);
  connection->fail_with({Code::overloaded, "gave way to a newer handshake"});
  return true;
}

void TlsNetwork::Impl::retry_later(Time when) {
  loop.cancel(retry_timer);
  retry_timer = loop.schedule(when, [this] {
    retry_timer = 0;
    retry_now();
  });
}

void TlsNetwork::Impl::retry_now() {
  for (const auto& weak : std::exchange(paused, {})) {
    if (const auto listener = weak.lock()) watch(listener);
  }
}

env::Task<void> TlsNetwork::Impl::serve(Impl& self, std::shared_ptr<ListenerState> listener,
                                        TlsConnection::Ptr connection, uint64_t number) {
  EndUnlessWhole end{connection};
  Status outcome;
  {
    const Deadline deadline(self.loop, self.loop.now() + self.limits.timeout, connection);
    outcome = co_await TlsConnection::handshake(connection, *self.identity, TlsIdentity::Role::server, std::nullopt);
  }
  self.handshakes.erase(number);
  if (!self.paused.empty() && self.retry_timer != 0) {
    self.loop.cancel(std::exchange(self.retry_timer, 0));
    self.retry_now();
  }
  if (!outcome) {
    if (self.refusals.allow(self.loop.now())) {
      self.log.info("handshake_failed", "remote={} why=\"{}\"", connection->remote().text(),
                    to_string(outcome.error()));
    }
    co_return;
  }
  if (!listener->open || self.ended) co_return;
  end.whole = true;
  listener->on_stream(std::make_unique<TlsStream>(std::move(connection)));
}

namespace {

class TlsListener final : public env::Listener {
 public:
  TlsListener(std::shared_ptr<ListenerState> state, std::move_only_function<void()> drop)
      : state_(std::move(state)), drop_(std::move(drop)) {}
  ~TlsListener() override {
    state_->open = false;
    asio::error_code ignored;
    state_->acceptor.close(ignored);
    drop_();
  }
  TlsListener(const TlsListener&) = delete;
  TlsListener& operator=(const TlsListener&) = delete;
  env::Address address() const override { return state_->address; }

 private:
  std::shared_ptr<ListenerState> state_;
  std::move_only_function<void()> drop_;
};

}  // namespace

// ---- connecting ----

env::Task<Status> TlsNetwork::Impl::connect_one(std::shared_ptr<Impl> self, TlsConnection::Ptr connection,
                                                Endpoint endpoint, std::optional<NodeId> expected, Time deadline) {
  const Deadline limit(self->loop, deadline, connection);
  auto reached = co_await TlsConnection::connect_tcp(connection, endpoint);
  if (!reached) co_return reached;
  co_return co_await TlsConnection::handshake(connection, *self->identity, TlsIdentity::Role::client, expected);
}

env::Task<Result<std::unique_ptr<env::Stream>>> TlsNetwork::Impl::connect(std::shared_ptr<Impl> self,
                                                                          env::Address address,
                                                                          std::optional<NodeId> expected,
                                                                          Time deadline) {
  if (!self->identity) co_return fail(Code::denied, "this node has no identity yet");
  auto endpoints = co_await self->resolver.resolve(address, deadline);
  if (!endpoints) co_return fail(Code::unreachable, endpoints.error().context);
  Error last{Code::unreachable, "no address"};
  for (size_t i = 0; i < endpoints->size(); ++i) {
    if (self->ended) co_return fail(Code::unreachable, "the network has ended");
    const Time now = self->loop.now();
    if (now >= deadline && i > 0) break;
    const Duration share = (deadline - now) / static_cast<int64_t>(endpoints->size() - i);
    EndUnlessWhole end{std::make_shared<TlsConnection>(self->shared)};
    auto outcome = co_await connect_one(self, end.connection, (*endpoints)[i], expected,
                                        now + std::min(share, self->limits.timeout));
    if (outcome) {
      end.whole = true;
      co_return std::make_unique<TlsStream>(end.connection);
    }
    // That some address answered as somebody else says more than that another did not answer.
    if (last.code != Code::denied || outcome.error().code == Code::denied) last = std::move(outcome.error());
  }
  if (last.code != Code::denied) last.code = Code::unreachable;
  co_return fail(std::move(last), address.text());
}

void TlsNetwork::Impl::shut_down() {
  ended = true;
  loop.cancel(std::exchange(retry_timer, 0));
  tasks.cancel();
  handshakes.clear();
  shared->shut_down();
}

// ---- the public face ----

TlsNetwork::TlsNetwork(EventLoop& loop, Log& log, HandshakeLimits limits)
    : impl_(std::make_shared<Impl>(loop, log, limits)) {}
TlsNetwork::~TlsNetwork() {
  impl_->shut_down();
}

void TlsNetwork::set_identity(const crypto::Key& device_seed) {
  CAIRN_ASSERT(!impl_->identity);
  impl_->identity = std::make_unique<TlsIdentity>(impl_->loop, device_seed);
}

bool TlsNetwork::has_identity() const {
  return impl_->identity != nullptr;
}

size_t TlsNetwork::handshakes() const {
  return impl_->handshakes.size();
}

uint64_t TlsNetwork::helped() const {
  return impl_->shared->helped;
}

Result<std::unique_ptr<env::Listener>> TlsNetwork::listen(
    const env::Address& address, std::move_only_function<void(std::unique_ptr<env::Stream>)> on_stream) {
  if (!impl_->identity) return fail(Code::denied, "this node has no identity yet");
  auto opened = impl_->open_listener(address);
  if (!opened) return fail(std::move(opened.error()));
  const auto listener = *opened;
  listener->on_stream = std::move(on_stream);
  impl_->watch(listener);
  return std::make_unique<TlsListener>(listener, [weak = std::weak_ptr(impl_), key = std::weak_ptr(listener)] {
    const auto self = weak.lock();
    const auto closed = key.lock();
    if (!self || !closed) return;
    // Its handshakes end too; their tasks notice and leave.
    std::vector<TlsConnection::Ptr> dropped;
    for (const auto& [number, handshake] : self->handshakes) {
      if (handshake.listener.lock() == closed) dropped.push_back(handshake.connection);
    }
    for (const auto& connection : dropped) connection->fail_with({Code::closed, "no longer listening"});
  });
}

env::Task<Result<std::unique_ptr<env::Stream>>> TlsNetwork::connect(env::Address address,
                                                                    std::optional<NodeId> expected, Time deadline) {
  return Impl::connect(impl_, std::move(address), expected, deadline);
}

}  // namespace cairn::os
