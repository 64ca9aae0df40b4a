#include "peer/session_table.h"

namespace cairn::peer {

SessionTable::SessionTable(env::World world, const Identity& identity, const Membership& membership,
                           const PeersOptions& options, Hooks hooks)
    : world_(world),
      identity_(identity),
      membership_(membership),
      options_(options),
      hooks_(std::move(hooks)),
      alive_(std::make_shared<SessionTable*>(this)),
      tasks_(world.executor) {}

SessionTable::~SessionTable() {
  shut_down();
  alive_.reset();
}

void SessionTable::shut_down() {
  shut_down_ = true;
  tasks_.cancel();
  const auto sessions = std::exchange(sessions_, {});
  for (const auto& [number, session] : sessions) session->close(Error{Code::closed, "this node is stopping"});
  for (const auto& [number, session] : sessions) session->end();
  for (auto& [node, contact] : contacts_) {
    contact.sessions.clear();
    for (const Waiter& waiter : std::exchange(contact.waiters, {})) {
      waiter.set(fail(Code::unreachable, "this node is stopping"));
    }
  }
}

void SessionTable::serve(wire::Method method, Access access, Handler handler) {
  served_[method] = Served{access, std::move(handler)};
}

const SessionOwner::Served* SessionTable::served(wire::Method method) const {
  const auto found = served_.find(method);
  return found == served_.end() ? nullptr : &found->second;
}

SessionTable::Contact& SessionTable::contact(const NodeId& node) {
  return contacts_.try_emplace(node, world_.executor).first->second;
}

SessionTable::SessionPtr SessionTable::add(std::unique_ptr<env::Stream> stream, Session::Side side,
                                           Duration hello_timeout) {
  Contact& to = contact(stream->peer());
  const uint64_t number = next_number_++;
  auto session = std::make_shared<Session>(world_, *this, number, std::move(stream), side, to.load, hello_timeout);
  sessions_[number] = session;
  to.sessions[number] = session;
  session->start();
  return session;
}

// --- incoming ---

void SessionTable::accept(std::unique_ptr<env::Stream> stream) {
  if (shut_down_) return;
  const auto unproven = std::ranges::count_if(sessions_, [](const auto& entry) {
    return entry.second->side() == Session::Side::accepted && entry.second->stranger();
  });
  const auto found = contacts_.find(stream->peer());
  const size_t of_node = found == contacts_.end() ? 0 : found->second.sessions.size();
  if (static_cast<size_t>(unproven) >= kMaxUnproven || of_node >= 2 * size_t{options_.max_sessions_per_node}) {
    if (refusals_.allow(world_.clock.now())) {
      world_.log.warning("session_refused", "peer={} sessions={} unproven={}", stream->peer().short_hex(), of_node,
                         unproven);
    }
    return;  // its destructor closes the stream
  }
  add(std::move(stream), Session::Side::accepted, kHelloTimeout);
}

Status SessionTable::may_open(Session& session) {
  if (session.side() == Session::Side::dialled) return {};
  size_t strangers = 0, accepted = 0;
  for (const auto& [number, other] : contact(session.peer()).sessions) {
    if (other->side() != Session::Side::accepted || other->is_closed() || number == session.number()) continue;
    ++(other->stranger() ? strangers : accepted);
  }
  if (session.stranger() ? strangers >= kMaxStrangersPerNode : accepted >= options_.max_sessions_per_node) {
    return fail(Code::overloaded, "too many sessions from this node");
  }
  return {};
}

void SessionTable::greeted(Session& session) {
  if (session.stranger()) return;
  Contact& from = contact(session.peer());
  from.backoff = {};
  if (!session.peer_serves()) return;
  hooks_.heard(session.peer());
  const SessionPtr ready = best(from);
  if (!ready) return;
  for (const Waiter& waiter : std::exchange(from.waiters, {})) waiter.set(ready);
}

void SessionTable::heard(Session& session) {
  hooks_.heard(session.peer());
}

void SessionTable::closed(Session& session) {
  if (session.refused_by_peer() && session.peer() != identity_.node) {
    const Error& why = *session.why_closed();
    if (why.code == Code::denied || why.code == Code::not_found) hooks_.refused(session.peer(), why);
  }
  if (const auto& why = session.why_closed(); why && session.side() == Session::Side::dialled &&
                                              (why->code == Code::denied || why->code == Code::not_found ||
                                               why->code == Code::overloaded || why->code == Code::unsupported)) {
    set_back(contact(session.peer()), *why);
  }
  world_.log.debug("session_closed", "peer={} why={}", session.peer().short_hex(), to_string(*session.why_closed()));
  world_.executor.post([weak = std::weak_ptr(alive_), number = session.number()] {
    if (const auto alive = weak.lock()) (*alive)->reap(number);
  });
}

void SessionTable::reap(uint64_t number) {
  const auto found = sessions_.find(number);
  if (found == sessions_.end()) return;
  const SessionPtr session = found->second;
  sessions_.erase(found);
  session->end();
  const auto of = contacts_.find(session->peer());
  if (of == contacts_.end()) return;
  of->second.sessions.erase(number);
  const bool idle = of->second.sessions.empty() && of->second.waiters.empty() && !of->second.dialling;
  if (idle && of->second.backoff == Duration{} && !of->second.hint) contacts_.erase(of);
}

void SessionTable::recheck() {
  // expel() changes no map.
  for (const auto& [number, session] : sessions_) {
    if (!session->certificate() || session->is_closed()) continue;
    if (auto admitted = membership_.admits(*session->certificate()); !admitted) {
      session->expel(Error{Code::denied, admitted.error().context});
    }
  }
}

// --- outgoing ---

SessionTable::SessionPtr SessionTable::best(const Contact& contact) const {
  SessionPtr best;
  for (const auto& [number, session] : contact.sessions) {
    if (!session->open() || session->stranger() || !session->peer_serves()) continue;
    if (!best || session->queued_bytes() < best->queued_bytes()) best = session;
  }
  return best;
}

uint64_t SessionTable::delivered(const NodeId& node) const {
  uint64_t sum = 0;
  const auto found = contacts_.find(node);
  if (found == contacts_.end()) return 0;
  for (const auto& [number, session] : found->second.sessions) {
    if (!session->is_closed()) sum += session->delivered();
  }
  return sum;
}

bool SessionTable::has_session(const NodeId& node) const {
  const auto found = contacts_.find(node);
  return found != contacts_.end() && best(found->second);
}

bool SessionTable::reachable(const NodeId& node) const {
  if (const NodeInfo* info = membership_.node(node); info && !info->addresses.empty()) return true;
  const auto found = contacts_.find(node);
  return found != contacts_.end() && (found->second.hint || best(found->second));
}

std::vector<env::Address> SessionTable::addresses_of(const NodeId& node) const {
  std::vector<env::Address> addresses;
  if (const NodeInfo* info = membership_.node(node)) addresses = info->addresses;
  if (const auto found = contacts_.find(node); found != contacts_.end() && found->second.hint) {
    if (std::ranges::find(addresses, *found->second.hint) == addresses.end()) addresses.push_back(*found->second.hint);
  }
  return addresses;
}

void SessionTable::set_back(Contact& contact, Error error) {
  contact.backoff = contact.backoff == Duration{} ? kFirstBackoff : std::min(2 * contact.backoff, kLastBackoff);
  contact.next_dial = world_.clock.now() + contact.backoff;
  if (error.code == Code::not_found) error.code = Code::denied;
  contact.last_error = std::move(error);
}

void SessionTable::forgive(const NodeId& node) {
  const auto found = contacts_.find(node);
  if (found == contacts_.end()) return;
  found->second.backoff = {};
  found->second.next_dial = world_.clock.now();
}

env::Task<Result<SessionTable::SessionPtr>> SessionTable::try_address(env::Address address,
                                                                      std::optional<NodeId> expected,
                                                                      Duration timeout) {
  const Time deadline = world_.clock.now() + timeout;
  auto stream = co_await world_.network.connect(address, expected, deadline);
  if (!stream) co_return fail(std::move(stream.error()));
  const SessionPtr session =
      add(std::move(*stream), Session::Side::dialled, std::max(deadline - world_.clock.now(), Duration{1}));
  struct Drop {  // when the dialler gives up first
    SessionPtr session;
    ~Drop() {
      if (!session->open()) session->close(Error{Code::cancelled, "given up"});
    }
  } drop{session};
  auto ready = co_await session->ready();
  if (!ready) {
    Error error = std::move(ready.error());
    if (error.code == Code::not_found) error.code = Code::denied;
    if (error.code == Code::closed || error.code == Code::timeout) error.code = Code::unreachable;
    co_return fail(std::move(error));
  }
  co_return session;
}

env::Task<void> SessionTable::dial_node(SessionTable* self, NodeId node) {
  Error error{Code::unreachable, "no address is known"};
  for (const env::Address& address : self->addresses_of(node)) {
    auto session = co_await self->try_address(address, node, self->options_.connect_timeout);
    if (session) {
      // Whoever waits was told when the session was greeted, unless it does not serve.
      if ((*session)->peer_serves()) {
        self->contact(node).dialling = false;
        co_return;
      }
      error = Error{Code::unreachable, "the node answers no requests"};
      continue;
    }
    error = std::move(session.error());
  }
  Contact& contact = self->contact(node);
  contact.dialling = false;
  self->set_back(contact, error);
  self->hooks_.failed(node);
  for (const Waiter& waiter : std::exchange(contact.waiters, {})) waiter.set(fail(contact.last_error));
}

env::Task<Result<SessionTable::SessionPtr>> SessionTable::session_to(NodeId to, Time deadline) {
  if (shut_down_) co_return fail(Code::unreachable, "this node is stopping");
  Contact& node = contact(to);
  if (auto ready = best(node)) co_return ready;
  const Time now = world_.clock.now();
  if (!node.dialling) {
    if (now < node.next_dial) {
      co_return fail(node.last_error.code, node.last_error.context + " (not tried again yet)");
    }
    if (addresses_of(to).empty()) co_return fail(Code::unreachable, "no address is known");
    node.dialling = true;
    tasks_.spawn(dial_node(this, to));
  }
  std::erase_if(node.waiters, [](const Waiter& waiter) { return waiter.is_set(); });
  const Waiter ready(world_.executor);
  node.waiters.push_back(ready);
  struct Timer {
    env::Clock& clock;
    env::TimerId timer;
    Waiter waiter;
    ~Timer() {
      clock.cancel(timer);
      waiter.set(fail(Code::cancelled));  // so that the list can drop it
    }
  } timer{world_.clock,
          world_.clock.schedule(deadline, [ready] { ready.set(fail(Code::unreachable, "no session in time")); }),
          ready};
  auto session = co_await ready;
  co_return session;
}

env::Task<Result<Reply>> SessionTable::call(NodeId to, wire::Method method, Bytes body, Buffer payload,
                                            Duration timeout) {
  const auto limits = wire::limits_of(method);
  if (!limits) co_return fail(Code::unsupported, "no such method");
  if (body.size() > limits->request_body || payload.size() > limits->request_payload) {
    co_return fail(Code::too_large, "the request is over the limit of its method");
  }
  const Time deadline = world_.clock.now() + timeout;
  if (to == identity_.node && options_.serve) {
    const Served* served = this->served(method);
    if (!served) co_return fail(Code::unsupported, "this node does not serve such requests");
    Request request{.from = to,
                    .member = identity_.certificate.member,
                    .certificate = &identity_.certificate,
                    .method = method,
                    .body = std::move(body),
                    .payload = std::move(payload),
                    .deadline = deadline};
    co_return co_await env::with_deadline(world_.executor, world_.clock, deadline, served->handler(std::move(request)));
  }
  const auto shared_body = std::make_shared<const Bytes>(std::move(body));
  // A session that turns out to be dead before anything was sent on it is replaced once.
  for (int attempt = 0;; ++attempt) {
    auto session = co_await session_to(to, deadline);
    if (!session) co_return fail(std::move(session.error()));
    const uint64_t received = (*session)->received();
    auto outcome = co_await Session::call(*session, method, shared_body, payload, deadline);
    if (outcome.reply) co_return std::move(outcome.reply);
    const Code code = outcome.reply.error().code;
    if (code == Code::closed && !outcome.sent) {
      if (attempt == 0 && world_.clock.now() < deadline) continue;
      outcome.reply.error().code = Code::unreachable;
    }
    // A slow request among others that are answered says nothing about the node.
    const bool silent = code == Code::timeout && (*session)->received() == received;
    if (silent || (code == Code::closed && (*session)->is_closed())) hooks_.failed(to);
    co_return std::move(outcome.reply);
  }
}

env::Task<Result<NodeId>> SessionTable::dial(env::Address address, Duration timeout) {
  auto session = co_await try_address(address, std::nullopt, timeout);
  if (!session) co_return fail(std::move(session.error()));
  contact((*session)->peer()).hint = address;
  co_return (*session)->peer();
}

Traffic SessionTable::total_traffic() const {
  Traffic total = traffic_;
  for (const auto& [number, session] : sessions_) total.bytes_received += session->received();
  return total;
}

}  // namespace cairn::peer
