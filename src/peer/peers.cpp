#include "peer/peers.h"

#include "peer/gossip.h"
#include "peer/introductions.h"
#include "peer/lan.h"
#include "peer/pool_roster.h"
#include "peer/session_table.h"

namespace cairn::peer {

class Peers::Impl {
 public:
  Impl(env::World outside, Identity self, Membership pool, PeersOptions chosen)
      : world(outside),
        identity(std::move(self)),
        membership(std::move(pool)),
        options(chosen),
        table(world, identity, membership, options,
              {.heard = [this](const NodeId& node) { heard(node); },
               .failed = [this](const NodeId& node) { failed(node); },
               .refused = [this](const NodeId& by, const Error& why) { refused(by, why); }}),
        introductions(world, identity, membership, table, [this] { look_for_changes(); }),
        roster(world, identity, membership, table,
               {.changed = [this] { look_for_changes(); },
                .differs = [this](const NodeId& node) { gossip.differs(node); }}),
        swim(world.executor, world.clock, world.random.u64(), roster, identity.node, profile()),
        gossip(world, identity, membership, table, options.serve ? &swim : nullptr, follower, options,
               [this] { look_for_changes(); }) {
    table.serve(wire::Method::ping, Access::members, [](Request request) { return answer_ping(std::move(request)); });
    table.serve(wire::Method::gossip, Access::members,
                [this](Request request) { return gossip.answer(std::move(request)); });
    table.serve(wire::Method::swim, Access::members,
                [this](Request request) { return answer_swim(&swim, std::move(request)); });
    seen_version = membership.version();
    seen_log = membership.log_version();
    seen_roster = membership.roster_version();
    note_heights();
  }

  static env::Task<Result<Reply>> answer_ping(Request request) {
    auto ping = wire::decode<wire::PingRequest>(ByteView(request.body));
    if (!ping) co_return fail(Code::bad_input, ping.error().context);
    wire::PingResponse response;
    response.set_echo(ping->echo());
    response.set_observed_address(request.remote.text());
    co_return Reply{.body = wire::encode(response), .payload = {}};
  }

  static env::Task<Result<Reply>> answer_swim(Swim* swim, Request request) {
    auto body = co_await swim->answer(request.from, std::move(request.body));
    if (!body) co_return fail(std::move(body.error()));
    co_return Reply{.body = std::move(*body), .payload = {}};
  }

  void refused(const NodeId& by, const Error& why) {
    if (why.code == Code::not_found) introductions.unknown_to(by);
    if (!refusal || refusal->context != why.context) world.log.warning("refused_by_pool", "why=\"{}\"", why.context);
    refusal = why;
  }
  void heard(const NodeId& node) {
    if (node != identity.node) refusal.reset();
    options.serve ? swim.heard(node) : follower.heard(node, world.clock.now());
  }
  void failed(const NodeId& node) { options.serve ? swim.failed(node) : follower.failed(node, world.clock.now()); }

  void look_for_changes() {
    if (membership.version() == seen_version) return;
    seen_version = membership.version();
    if (membership.log_version() != seen_log) {
      seen_log = membership.log_version();
      table.recheck();
      if (options.serve) pass_on_log();
      note_heights();
    }
    if (membership.roster_version() != seen_roster) {
      seen_roster = membership.roster_version();
      if (options.serve) {
        swim.members_changed();
        swim.set_options(profile());
      } else {
        std::set<NodeId> nodes;
        membership.any_node([&](const NodeInfo& info) {
          nodes.insert(info.id);
          return false;
        });
        follower.keep_only(nodes);
      }
    }
    if (change_handler) change_handler();
  }

  void note_heights() {
    seen_heights.clear();
    for (const auto& chain : membership.chains()) seen_heights[chain.first] = chain.second;
  }
  // Whoever made the entries: what is new goes to everybody at once. A node to whom all is new is who was behind.
  void pass_on_log() {
    std::vector<wire::LogRecord> news;
    for (const auto& [author, height] : membership.chains()) {
      const auto seen = seen_heights.find(author);
      uint64_t next = seen == seen_heights.end() ? 0 : seen->second;
      while (next < height && news.size() <= kMaxNewsOfRound) news.push_back(membership.log_record(author, ++next));
    }
    if (news.size() > kMaxNewsOfRound) return;
    for (const auto& record : news) swim.tell_log(wire::encode_text(record));
  }

  SwimOptions profile() const {
    const bool lan = !membership.any_node([](const NodeInfo& info) {
      return !std::ranges::all_of(info.addresses, [](const env::Address& address) { return is_private(address.host); });
    });
    SwimOptions chosen = lan ? SwimOptions::lan() : SwimOptions::wan();
    chosen.least_suspicion = options.least_suspicion.value_or(kLeastSuspicion);
    if (options.probe_period) {
      chosen.period = *options.probe_period;
      chosen.ack_timeout = chosen.period * 3 / 10;
      chosen.gossip_every = chosen.period / 5;
    }
    return chosen;
  }

  // Whether a change of the own record is only one of figures, and too small to be told now.
  bool may_wait(const NodeInfo& record, const NodeInfo& known) const {
    NodeInfo same = record;
    same.used = known.used;
    same.free = known.free;
    same.sequence = known.sequence;
    if (same != known) return false;
    const auto moved = [&](uint64_t a, uint64_t b) {
      return (a == 0) != (b == 0) ||
             std::max(a, b) - std::min(a, b) >= std::max<uint64_t>(record.limit / kFiguresStep, 1);
    };
    if (moved(record.used, known.used) || moved(record.free, known.free)) return false;
    const size_t nodes = roster.members();
    const Duration every = nodes <= kFewNodes ? kFiguresEvery : kFiguresPerNode * static_cast<int64_t>(nodes);
    return own_told && world.clock.now() - *own_told < every;
  }

  NodeState state(const NodeId& node) const {
    const NodeInfo* info = membership.node(node);
    if (!info) return membership.removed(node) ? NodeState::removed : NodeState::unknown;
    return state(*info);
  }
  NodeState state(const NodeInfo& node) const {
    if (node.leaving) return NodeState::left;
    if (node.id == identity.node && options.serve) return NodeState::alive;
    return options.serve ? swim.state(node.id) : follower.state(node.id, world.clock.now());
  }

  // Only where there is a limit, so that without one it costs nothing.
  static env::Task<Result<Reply>> paced(Impl* impl, Handler handler, Request request) {
    const uint64_t size = request.payload.size();
    impl->pacing.received(request.body.size());
    auto received = co_await impl->pacing.receive(size);
    if (!received) co_return fail(std::move(received.error()));
    auto reply = co_await handler(std::move(request));
    if (reply) {
      impl->pacing.sent(reply->body.size());
      co_await impl->pacing.send(reply->payload.size());
    }
    co_return reply;
  }
  static env::Task<Result<Reply>> call_paced(Impl* impl, NodeId to, wire::Method method, Bytes body, Buffer payload,
                                             Duration timeout) {
    impl->pacing.sent(body.size());
    co_await impl->pacing.send(payload.size());
    const auto limits = wire::limits_of(method);
    if (limits && limits->response_payload > 0) co_await impl->pacing.may_ask();
    auto reply = co_await impl->table.call(to, method, std::move(body), std::move(payload), timeout);
    if (reply) impl->pacing.received(reply->body.size() + reply->payload.size());
    co_return reply;
  }

  env::World world;
  const Identity identity;
  Membership membership;
  const PeersOptions options;
  SessionTable table;
  Introductions introductions;
  PoolRoster roster;
  Swim swim;  // takes part only where this process serves
  Follower follower;
  Gossip gossip;
  Pacing pacing{world.executor, world.clock};
  std::vector<std::unique_ptr<env::Listener>> listeners;
  std::function<void()> change_handler;
  uint64_t seen_version = 0, seen_log = 0, seen_roster = 0;
  std::map<NodeId, uint64_t> seen_heights;  // of the log's chains
  std::optional<Time> own_told;             // when the own record was told last
  std::optional<Error> refusal;             // by another node, and none was heard since
};

Peers::Peers(env::World world, Identity identity, Membership membership, PeersOptions options)
    : impl_(std::make_unique<Impl>(world, std::move(identity), std::move(membership), options)) {}

Peers::~Peers() = default;

const Identity& Peers::identity() const {
  return impl_->identity;
}
Membership& Peers::membership() {
  return impl_->membership;
}
const Membership& Peers::membership() const {
  return impl_->membership;
}
void Peers::membership_changed() {
  impl_->look_for_changes();
}

void Peers::serve(wire::Method method, Access access, Handler handler) {
  impl_->table.serve(method, access, [impl = impl_.get(), handler = std::move(handler)](Request request) {
    const bool counts = impl->pacing.limited() && request.from != impl->identity.node;
    return counts ? Impl::paced(impl, handler, std::move(request)) : handler(std::move(request));
  });
}

Result<env::Address> Peers::listen(const env::Address& address) {
  auto listener = impl_->world.network.listen(
      address, [impl = impl_.get()](std::unique_ptr<env::Stream> stream) { impl->table.accept(std::move(stream)); });
  if (!listener) return fail(std::move(listener.error()));
  impl_->listeners.push_back(std::move(*listener));
  return impl_->listeners.back()->address();
}

void Peers::start(std::vector<env::Address> bootstrap) {
  impl_->gossip.start(std::move(bootstrap));
  if (impl_->options.serve) impl_->swim.start();
}

env::Task<void> Peers::stop() {
  Impl* impl = impl_.get();
  impl->listeners.clear();
  impl->swim.stop();
  impl->gossip.stop();
  impl->introductions.stop();
  impl->table.shut_down();
  co_return;
}

env::Task<Result<Reply>> Peers::call(NodeId to, wire::Method method, Bytes body, Buffer payload, Duration timeout) {
  Impl* impl = impl_.get();
  if (!impl->pacing.limited() || to == impl->identity.node)
    return impl->table.call(to, method, std::move(body), std::move(payload), timeout);
  return Impl::call_paced(impl, to, method, std::move(body), std::move(payload), timeout);
}

env::Task<Result<NodeId>> Peers::dial(env::Address address, Duration timeout) {
  return impl_->table.dial(std::move(address), timeout);
}

void Peers::set_own_record(const NodeInfo& info) {
  Impl& impl = *impl_;
  NodeInfo record = info;
  record.id = impl.identity.node;
  record.member = impl.identity.certificate.member;
  if (const NodeInfo* known = impl.membership.node(record.id)) {
    // A record from before this home lost something may be newer than what the caller remembers.
    record.boot_seq = std::max(record.boot_seq, known->boot_seq);
    record.sequence = record.boot_seq == known->boot_seq ? known->sequence : 0;
    if (record == *known || impl.may_wait(record, *known)) return;
  }
  ++record.sequence;
  const wire::NodeEntry entry = sign_node(impl.identity, record);
  const auto added = impl.membership.add_node(entry);
  if (!added) {
    impl.world.log.warning("own_record_refused", "why={}", to_string(added.error()));
    return;
  }
  impl.own_told = impl.world.clock.now();
  if (impl.options.serve) impl.swim.tell_record(record.id, wire::encode_text(entry));
  membership_changed();
}

bool Peers::usable(const NodeId& node) const {
  const NodeState state = impl_->state(node);
  return (state == NodeState::alive || state == NodeState::suspect) &&
         ((node == impl_->identity.node && impl_->options.serve) || impl_->table.reachable(node));
}

bool Peers::last_resort(const NodeId& node) const {
  return impl_->state(node) == NodeState::departed && impl_->table.reachable(node);
}

NodeState Peers::state(const NodeId& node) const {
  return impl_->state(node);
}
NodeState Peers::state(const NodeInfo& node) const {
  return impl_->state(node);
}

std::optional<Duration> Peers::last_heard(const NodeId& node) const {
  if (node == impl_->identity.node && impl_->options.serve) return Duration{};
  const auto heard = impl_->options.serve ? impl_->swim.last_heard(node) : impl_->follower.last_heard(node);
  if (!heard) return std::nullopt;
  return impl_->world.clock.now() - *heard;
}

std::vector<NodeId> Peers::live_nodes() const {
  std::vector<NodeId> nodes;
  impl_->membership.any_node([&](const NodeInfo& info) {
    if (impl_->state(info) == NodeState::alive) nodes.push_back(info.id);
    return false;
  });
  return nodes;
}

std::optional<Error> Peers::refusal() const {
  if (auto own = impl_->membership.admits(impl_->identity.certificate); !own) return std::move(own.error());
  return impl_->refusal;
}

void Peers::on_change(std::function<void()> handler) {
  impl_->change_handler = std::move(handler);
}
env::Task<Status> Peers::settle(Duration timeout) {
  return impl_->gossip.settle(timeout);
}
uint64_t Peers::delivered(const NodeId& node) const {
  return impl_->table.delivered(node);
}

Pacing& Peers::pacing() {
  return impl_->pacing;
}

Traffic Peers::traffic() const {
  return impl_->table.total_traffic();
}
size_t Peers::sessions() const {
  return impl_->table.sessions();
}

}  // namespace cairn::peer
