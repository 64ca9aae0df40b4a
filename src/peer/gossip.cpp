#include "peer/gossip.h"

namespace cairn::peer {

Gossip::Gossip(env::World world, const Identity& identity, Membership& membership, SessionTable& sessions,
               FailureDetector& detector, const PeersOptions& options, std::function<void()> changed)
    : world_(world),
      identity_(identity),
      membership_(membership),
      sessions_(sessions),
      detector_(detector),
      options_(options),
      changed_(std::move(changed)),
      prng_(world.random.u64()),
      tasks_(world.executor),
      rounds_(world.executor) {}

void Gossip::start(std::vector<env::Address> bootstrap) {
  bootstrap_ = std::move(bootstrap);
  for (size_t i = 0; i < std::min(bootstrap_.size(), kMaxGossipRounds); ++i) {
    rounds_.spawn(Gossip::bootstrap(this, bootstrap_[i]));
  }
  std::vector<NodeId> first = others(false);
  prng_.shuffle(first);
  // A process beside the node's own daemon asks that first: it is near, and knows.
  if (const auto own = std::ranges::find(first, identity_.node); own != first.end()) std::iter_swap(first.begin(), own);
  if (first.size() > kFirstGossips) first.resize(kFirstGossips);
  for (const NodeId& node : first) begin_round(node);
  tasks_.spawn(loop(this));
}

env::Task<void> Gossip::loop(Gossip* self) {
  for (;;) {
    // A fifth of jitter, so that nodes that started together do not beat together.
    const auto period = static_cast<uint64_t>(self->options_.gossip_period.count());
    const auto wait = static_cast<int64_t>(period - period / 10 + self->prng_.below(period / 5 + 1));
    co_await env::sleep_for(self->world_.clock, Duration(wait));
    self->tick();
  }
}

void Gossip::tick() {
  changed_();  // the membership may have been changed from outside
  const Time now = world_.clock.now();
  if (const auto stale = detector_.next_probe(now); stale && *stale != identity_.node && sessions_.reachable(*stale)) {
    begin_round(*stale);
  }
  if (const auto node = choose()) begin_round(*node);
  if (!bootstrap_.empty() && others(true).empty() && rounds_.size() < kMaxGossipRounds) {
    rounds_.spawn(Gossip::bootstrap(this, bootstrap_[next_bootstrap_++ % bootstrap_.size()]));
  }
}

void Gossip::hurry() {
  if (const auto node = choose()) begin_round(*node);
}

// Nodes that can be asked; this process's own node only when another process serves it.
std::vector<NodeId> Gossip::others(bool alive) const {
  const Time now = world_.clock.now();
  std::vector<NodeId> nodes;
  for (const NodeInfo& info : membership_.nodes()) {
    if (info.id == identity_.node && options_.serve) continue;
    if (!sessions_.reachable(info.id)) continue;
    if (alive && detector_.state(info.id, now) != NodeState::alive) continue;
    nodes.push_back(info.id);
  }
  return nodes;
}

std::optional<NodeId> Gossip::choose() {
  std::vector<NodeId> nodes = others(prng_.below(kGossipWithLost) != 0);
  if (nodes.empty()) nodes = others(false);
  if (nodes.empty()) return std::nullopt;
  return nodes[prng_.below(nodes.size())];
}

void Gossip::begin_round(const NodeId& with) {
  if (rounds_.size() < kMaxGossipRounds) rounds_.spawn(round(this, with));
}

env::Task<void> Gossip::bootstrap(Gossip* self, env::Address address) {
  auto node = co_await self->sessions_.dial(address, self->options_.connect_timeout);
  if (!node) {
    self->world_.log.debug("bootstrap_failed", "address={} why={}", address.text(), to_string(node.error()));
    co_return;
  }
  co_await round(self, *node);
}

env::Task<void> Gossip::round(Gossip* self, NodeId with) {
  const auto body = wire::encode(self->request());
  auto reply = co_await self->sessions_.call(with, wire::Method::gossip, body, {}, kGossipTimeout);
  if (!reply) co_return;
  auto response = wire::decode<wire::GossipResponse>(ByteView(reply->body));
  if (!response) {
    self->world_.log.warning("gossip_malformed", "peer={}", with.short_hex());
    co_return;
  }
  self->membership_.merge(*response);
  self->changed_();
  self->take_states(response->states(), with);
  self->exchanged();
  if (response->want_chains_size() == 0 && response->want_nodes_size() == 0) co_return;
  const wire::GossipRequest push = self->membership_.push_for(*response);
  if (push.log_size() == 0 && push.entries_size() == 0) co_return;
  const auto pushed = wire::encode(push);
  static_cast<void>(co_await self->sessions_.call(with, wire::Method::gossip, pushed, {}, kGossipTimeout));
}

env::Task<Result<Reply>> Gossip::answer(Request request) {
  auto asked = wire::decode<wire::GossipRequest>(ByteView(request.body));
  if (!asked) co_return fail(Code::bad_input, asked.error().context);
  wire::GossipResponse response = membership_.answer(*asked);
  changed_();
  take_states(asked->nodes(), request.from);
  if (!asked->push_only()) {
    add_states(response.mutable_states());
    exchanged();
  }
  co_return Reply{.body = wire::encode(response), .payload = {}};
}

wire::GossipRequest Gossip::request() const {
  wire::GossipRequest digest = membership_.digest();
  for (auto& node : *digest.mutable_nodes()) {
    if (auto id = NodeId::from(node.node())) describe(node, *id);
  }
  return digest;
}

template <class Repeated>
void Gossip::add_states(Repeated* digests) const {
  for (const NodeInfo& info : membership_.nodes()) {
    auto* digest = digests->Add();
    digest->set_node(info.id.raw());
    describe(*digest, info.id);
  }
}

void Gossip::describe(wire::NodeDigest& digest, const NodeId& node) const {
  const Time now = world_.clock.now();
  if (node == identity_.node && options_.serve) {
    digest.set_state(static_cast<uint32_t>(NodeState::alive));
    digest.set_heard_ms(1);
    return;
  }
  digest.set_state(static_cast<uint32_t>(detector_.state(node, now)));
  if (const auto heard = detector_.last_heard(node)) {
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - *heard).count();
    digest.set_heard_ms(static_cast<uint32_t>(std::clamp<int64_t>(age, 0, UINT32_MAX - 1)) + 1);
  }
}

template <class Digests>
void Gossip::take_states(const Digests& digests, const NodeId& by) {
  const Time now = world_.clock.now();
  for (const auto& digest : digests) {
    const auto node = NodeId::from(digest.node());
    if (!node || digest.state() > static_cast<uint32_t>(NodeState::removed)) continue;
    std::optional<Time> heard;
    if (digest.heard_ms() > 0) heard = now - std::chrono::milliseconds(digest.heard_ms() - 1);
    detector_.told(*node, static_cast<NodeState>(digest.state()), heard, by, now);
  }
}

void Gossip::exchanged() {
  ++exchanges_;
  for (const auto& waiter : std::exchange(waiters_, {})) waiter.set(Status{});
}

env::Task<Status> Gossip::settle(Duration timeout) {
  if (exchanges_ > 0) co_return Status{};
  if (bootstrap_.empty() && others(false).empty()) co_return Status{};  // a pool of one
  const env::OneShot<Status> done(world_.executor);
  waiters_.push_back(done);
  struct Timer {
    env::Clock& clock;
    env::TimerId timer;
    ~Timer() { clock.cancel(timer); }
  } timer{world_.clock, world_.clock.schedule(world_.clock.now() + timeout, [done] {
            done.set(fail(Code::timeout, "no node of the pool answered"));
          })};
  auto settled = co_await done;
  co_return settled;
}

}  // namespace cairn::peer
