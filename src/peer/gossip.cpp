#include "peer/gossip.h"

namespace cairn::peer {

Gossip::Gossip(env::World world, const Identity& identity, Membership& membership, SessionTable& sessions, Swim* swim,
               Follower& follower, const PeersOptions& options, std::function<void()> changed)
    : world_(world),
      identity_(identity),
      membership_(membership),
      sessions_(sessions),
      swim_(swim),
      follower_(follower),
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
  std::vector<NodeId> first = others();
  prng_.shuffle(first);
  // A process beside the node's own daemon asks that first: it is near, and knows.
  if (const auto own = std::ranges::find(first, identity_.node); own != first.end()) std::iter_swap(first.begin(), own);
  if (first.size() > kFirstGossips) first.resize(kFirstGossips);
  for (const NodeId& node : first) begin_round(node);
  tasks_.spawn(loop(this));
}

env::Task<void> Gossip::loop(Gossip* self) {
  for (;;) {
    // A fifth of jitter, so that processes that started together do not beat together.
    const auto period = static_cast<uint64_t>(self->options_.probe_period.value_or(Duration(kFollowEvery)).count());
    const auto wait = static_cast<int64_t>(period - period / 10 + self->prng_.below(period / 5 + 1));
    co_await env::sleep_for(self->world_.clock, Duration(wait));
    self->tick();
  }
}

void Gossip::tick() {
  changed_();  // the membership may have been changed from outside
  if (!swim_) {
    if (const auto node = choose_to_follow()) begin_round(*node);
  }
  const bool alone = !membership_.any_node([&](const NodeInfo& info) {
    if (info.id == identity_.node && swim_) return false;
    const NodeState state = swim_ ? swim_->state(info.id) : follower_.state(info.id, world_.clock.now());
    return state == NodeState::alive && sessions_.reachable(info.id);
  });
  if (!alone || rounds_.size() >= kMaxGossipRounds) return;
  if (!bootstrap_.empty()) rounds_.spawn(Gossip::bootstrap(this, bootstrap_[next_bootstrap_++ % bootstrap_.size()]));
  // Those that were known when this process started may have been away then.
  const auto known = others();
  if (swim_ && !known.empty()) begin_round(known[prng_.below(known.size())]);
}

// Nodes that can be asked; this process's own node only when another process serves it.
std::vector<NodeId> Gossip::others() const {
  std::vector<NodeId> nodes;
  membership_.any_node([&](const NodeInfo& info) {
    if (!(info.id == identity_.node && swim_) && sessions_.reachable(info.id)) nodes.push_back(info.id);
    return false;
  });
  return nodes;
}

std::optional<NodeId> Gossip::choose_to_follow() {
  if (sessions_.has_session(identity_.node)) return identity_.node;
  std::vector<NodeId> nodes = others();
  const Time now = world_.clock.now();
  std::vector<NodeId> alive;
  std::ranges::copy_if(nodes, std::back_inserter(alive),
                       [&](const NodeId& node) { return follower_.state(node, now) == NodeState::alive; });
  // One whose session is there costs no handshake.
  std::vector<NodeId> near;
  std::ranges::copy_if(alive, std::back_inserter(near),
                       [&](const NodeId& node) { return sessions_.has_session(node); });
  for (const auto* from : {&near, &alive, &nodes}) {
    if (!from->empty()) return (*from)[prng_.below(from->size())];
  }
  return std::nullopt;
}

void Gossip::differs(const NodeId& node) {
  const Duration pause = options_.probe_period.value_or(Duration(std::chrono::seconds(1))) / 2;
  if (last_round_ && world_.clock.now() - *last_round_ < pause) return;
  begin_round(node);
}

void Gossip::begin_round(const NodeId& with) {
  if (rounds_.size() >= kMaxGossipRounds) return;
  rounds_.spawn(round(this, with));
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
  ++self->begun_;
  self->last_round_ = self->world_.clock.now();
  co_await exchange(self, with);
}

env::Task<std::optional<wire::GossipResponse>> Gossip::ask(NodeId with, wire::GossipRequest request) {
  auto reply = co_await sessions_.call(with, wire::Method::gossip, wire::encode(request), {}, kGossipTimeout);
  if (!reply) co_return std::nullopt;
  auto response = wire::decode<wire::GossipResponse>(ByteView(reply->body));
  if (!response) {
    world_.log.warning("gossip_malformed", "peer={}", with.short_hex());
    co_return std::nullopt;
  }
  co_return std::move(*response);
}

// --- the asking side ---

env::Task<void> Gossip::exchange(Gossip* self, NodeId with) {
  auto first = co_await self->ask(with, self->summary());
  if (!first) co_return;
  self->take(*first);
  if (!self->swim_) {
    std::map<NodeId, NodeState> states;
    for (const auto& seen : first->states()) {
      const auto node = NodeId::from(seen.node());
      if (node && seen.state() <= static_cast<uint32_t>(NodeState::removed)) {
        states[*node] = static_cast<NodeState>(seen.state());
      }
    }
    self->follower_.told(std::move(states), self->world_.clock.now());
  }
  wire::GossipResponse wanted;
  *wanted.mutable_want_chains() = first->want_chains();
  if (!first->same()) {
    const uint32_t bits = first->bucket_bits();
    if (bits > kMaxBucketBits || first->buckets_size() != 1 << bits) {
      self->world_.log.warning("gossip_malformed", "peer={} buckets={}", with.short_hex(), first->buckets_size());
      co_return;
    }
    const auto mine = self->membership_.bucket_hashes(bits, [&](const NodeId& node) { return self->doubts_of(node); });
    std::vector<uint32_t> differing;
    for (uint32_t i = 0; i < mine.size(); ++i) {
      if (mine[i] != first->buckets(static_cast<int>(i))) differing.push_back(i);
    }
    wire::GossipRequest digests = self->membership_.digest_of_buckets(bits, differing);
    digests.set_follower(self->swim_ == nullptr);
    for (auto& digest : *digests.mutable_nodes()) digest.set_doubts(self->doubts_of(*NodeId::from(digest.node())));
    if (self->swim_) {
      const std::set<uint32_t> buckets(differing.begin(), differing.end());
      for (const auto& [node, suspicion] : self->swim_->suspicions().all()) {
        if (!buckets.contains(Membership::bucket_of(node, bits))) continue;
        for (const auto& [by, doubt] : suspicion.doubts) {
          if (digests.pushed_doubts_size() < kMaxGossipDoubts) *digests.add_pushed_doubts() = encode_doubt(doubt);
        }
      }
    }
    if (!differing.empty()) {
      auto second = co_await self->ask(with, std::move(digests));
      if (!second) co_return;
      self->take(*second);
      self->take_doubts(second->doubts(), with);
      *wanted.mutable_want_chains() = second->want_chains();
      *wanted.mutable_want_nodes() = second->want_nodes();
    }
  }
  self->exchanged();
  wire::GossipRequest push = self->membership_.push_for(wanted);
  if (push.log_size() == 0 && push.entries_size() == 0) co_return;
  static_cast<void>(co_await self->ask(with, std::move(push)));
}

wire::GossipRequest Gossip::summary() const {
  wire::GossipRequest request = membership_.digest_of_buckets(0, {});  // the chains
  request.clear_nodes();
  request.set_summary(true);
  request.set_table(membership_.summary());
  request.set_follower(swim_ == nullptr);
  if (swim_) request.set_doubts(swim_->suspicions().hash());
  return request;
}

// Records and log entries. What is new is passed on, unless it is so much that this node is who was behind.
template <class Message>
void Gossip::take(Message& message) {
  std::vector<std::pair<NodeId, std::string>> news;
  for (const auto& entry : message.entries()) {
    if (!membership_.add_node(entry).value_or(false)) continue;
    auto record = wire::decode<wire::NodeRecord>(entry.record().body());
    if (record) news.emplace_back(*NodeId::from(record->node()), entry.SerializeAsString());
  }
  message.clear_entries();  // their signatures need not be checked twice
  if constexpr (std::is_same_v<Message, wire::GossipResponse>) membership_.merge(message);
  changed_();
  if (!swim_) return;
  for (auto& [node, entry] : news) {
    if (news.size() <= kMaxNewsOfRound) {
      swim_->tell_record(node, std::move(entry));
    } else {
      swim_->record_changed(node);
    }
  }
}

template <class Doubts>
void Gossip::take_doubts(const Doubts& doubts, const NodeId& from) {
  if (!swim_) return;
  const bool few = doubts.size() <= static_cast<int>(kMaxNewsOfRound);
  int left = kMaxGossipDoubts;
  for (const auto& encoded : doubts) {
    if (left-- == 0) break;
    if (const auto doubt = decode_doubt(encoded)) swim_->take_doubt(*doubt, from, few);
  }
}

// --- the answering side ---

env::Task<Result<Reply>> Gossip::answer(Request request) {
  auto asked = wire::decode<wire::GossipRequest>(ByteView(request.body));
  if (!asked) co_return fail(Code::bad_input, asked.error().context);
  take(*asked);
  take_doubts(asked->pushed_doubts(), request.from);
  wire::GossipResponse response = membership_.answer(*asked);
  changed_();
  const bool follower = asked->follower() || !swim_;
  if (asked->summary()) {
    response.set_same(asked->table() == membership_.summary() &&
                      (follower || asked->doubts() == swim_->suspicions().hash()));
    if (!response.same()) {
      const uint32_t bits = membership_.bucket_bits();
      response.set_bucket_bits(bits);
      for (const uint64_t hash :
           membership_.bucket_hashes(bits, [&](const NodeId& node) { return follower ? 0 : doubts_of(node); })) {
        response.add_buckets(hash);
      }
    }
    if (asked->follower() && swim_) {
      for (const NodeInfo& info : membership_.nodes()) {
        const NodeState state = info.id == identity_.node ? NodeState::alive : swim_->state(info.id);
        if (state == NodeState::alive) continue;
        auto* seen = response.add_states();
        seen->set_node(info.id.raw());
        seen->set_state(static_cast<uint32_t>(state));
      }
    }
  } else if (asked->buckets_size() > 0 && !follower) {
    std::map<NodeId, uint64_t> theirs;
    for (const auto& digest : asked->nodes()) {
      if (const auto node = NodeId::from(digest.node())) theirs[*node] = digest.doubts();
    }
    for (const auto& [node, suspicion] : swim_->suspicions().all()) {
      const auto known = theirs.find(node);
      if (known == theirs.end() || known->second == doubts_of(node)) continue;
      for (const auto& [by, doubt] : suspicion.doubts) {
        if (response.doubts_size() < kMaxGossipDoubts) *response.add_doubts() = encode_doubt(doubt);
      }
    }
  }
  if (!asked->push_only() && !asked->follower()) exchanged();
  co_return Reply{.body = wire::encode(response), .payload = {}};
}

void Gossip::exchanged() {
  if (swim_) swim_->synced();
  ++exchanges_;
  for (const auto& waiter : std::exchange(waiters_, {})) waiter.set(Status{});
}

env::Task<Status> Gossip::settle(Duration timeout) {
  if (exchanges_ > 0) co_return Status{};
  if (bootstrap_.empty() && others().empty()) co_return Status{};  // a pool of one
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
