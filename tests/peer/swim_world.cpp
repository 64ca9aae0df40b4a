#include "peer/swim_world.h"

#include <deque>
#include <numeric>

#include "proto/membership.pb.h"
#include "wire/frame.h"
#include "wire/message.h"

namespace cairn::peer {

namespace {

uint64_t mixed(uint64_t z) {
  z += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

class SwimWorld::Strand final : public env::Executor {
 public:
  Strand(SwimWorld& world, uint32_t node) : world_(world), node_(node) {}
  void post(std::move_only_function<void()> fn) override {
    world_.scheduler_.at(world_.now(), node_ + 1, std::move(fn));
  }

 private:
  SwimWorld& world_;
  uint32_t node_;
};

class SwimWorld::LocalClock final : public env::Clock {
 public:
  LocalClock(SwimWorld& world, uint32_t node) : world_(world), node_(node) {}
  Time now() const override { return world_.now(); }
  WallTime wall_now() const override { return world_.now().since_start.count(); }
  env::TimerId schedule(Time when, std::move_only_function<void()> fn) override;
  void cancel(env::TimerId timer) override;

 private:
  SwimWorld& world_;
  uint32_t node_;
};

struct SwimWorld::Node {
  Node(SwimWorld& world, uint32_t index) : strand(world, index), clock(world, index) {}
  Strand strand;
  LocalClock clock;
  std::shared_ptr<Host> host;
  std::unique_ptr<Swim> swim;
  std::unique_ptr<env::TaskGroup> serving;
  uint64_t life = 1;
  std::vector<bool> known;
  size_t members = 0;
  std::unordered_map<uint32_t, Incarnation> newer;  // than {1, 1}
  uint64_t summary = 0;
  std::optional<Time> frozen_until, last_sync, first_probe;
  std::deque<std::pair<uint64_t, std::move_only_function<void()>>> late_timers;  // by number
  std::deque<std::move_only_function<void()>> inbox;
  std::unordered_map<uint64_t, env::TimerId> timers;  // by number
  uint64_t next_timer = 1;
  uint64_t sent = 0, received = 0;
  std::set<uint32_t> partners;

  Incarnation incarnation(uint32_t other) const {
    const auto found = newer.find(other);
    return found == newer.end() ? Incarnation{1, 1} : found->second;
  }
  static uint64_t hash(uint32_t other, const Incarnation& i) {
    return mixed(mixed(other + 1) + i.boot_seq * 31 + i.sequence);
  }
  bool take(uint32_t other, const Incarnation& incarnation_of) {
    if (known[other]) {
      if (incarnation_of <= incarnation(other)) return false;
      summary ^= hash(other, incarnation(other));
    } else {
      known[other] = true;
      ++members;
    }
    if (incarnation_of != Incarnation{1, 1}) newer[other] = incarnation_of;
    summary ^= hash(other, incarnation_of);
    return true;
  }
};

env::TimerId SwimWorld::LocalClock::schedule(Time when, std::move_only_function<void()> fn) {
  Node& node = *world_.nodes_[node_];
  const uint64_t number = node.next_timer++;
  node.timers[number] =
      world_.scheduler_.at(std::max(when, now()), node_ + 1, [this, &node, number, run = std::move(fn)]() mutable {
        node.timers.erase(number);
        if (node.frozen_until && *node.frozen_until > now()) {
          node.late_timers.emplace_back(number, std::move(run));
        } else {
          run();
        }
      });
  return number;
}

void SwimWorld::LocalClock::cancel(env::TimerId timer) {
  Node& node = *world_.nodes_[node_];
  if (const auto found = node.timers.find(timer); found != node.timers.end()) {
    world_.scheduler_.cancel(found->second);
    node.timers.erase(timer);
  }
  std::erase_if(node.late_timers, [&](const auto& entry) { return entry.first == timer; });
}

class SwimWorld::Host final : public SwimHost {
 public:
  Host(SwimWorld& world, uint32_t node) : world_(world), self_(node) {}

  size_t members() const override { return me().members; }
  NodeId member(size_t index) const override {
    const size_t all = world_.ids_.size();
    size_t at = index * all / me().members;
    while (!me().known[at]) at = (at + 1) % all;
    return world_.ids_[at];
  }
  std::optional<Incarnation> incarnation(const NodeId& node) const override {
    const uint32_t index = world_.index_.at(node);
    return me().known[index] ? std::optional(me().incarnation(index)) : std::nullopt;
  }
  NodeId neighbour(uint32_t ring, const NodeId& from, bool next) const override {
    const auto& order = world_.rings_.order[ring];
    size_t place = world_.rings_.place[ring][world_.index_.at(from)];
    do {
      place = (place + (next ? 1 : order.size() - 1)) % order.size();
    } while (!me().known[order[place]]);
    return world_.ids_[order[place]];
  }
  bool dialable() const override { return true; }

  env::Task<Result<Bytes>> ask(NodeId to, Bytes request, Duration timeout) override {
    const uint32_t target = world_.index_.at(to);
    const env::OneShot<Result<Bytes>> answer(me().strand);
    note_probe(target, request);
    count(self_, target, request.size());
    const uint64_t life = me().life;
    SwimWorld* world = &world_;
    // What travels is the tester's own: it outlives a crash of the sender.
    world->scheduler_.at(
        world->now() + world->delay(), 0,
        [world, from = self_, target, life, answer, body = std::move(request)]() mutable {
          if (!world->up(target) || world->cut(from, target)) return;
          world->deliver(
              target, world->nodes_[target]->life,
              [world, from, target, life, answer, body = std::move(body)]() mutable {
                auto reply = [world, from, target, life, answer](Result<Bytes> bytes) {
                  if (bytes) count_in(*world, target, from, bytes->size());
                  world->scheduler_.at(world->now() + world->delay(), 0,
                                       [world, from, target, life, answer, bytes = std::move(bytes)]() mutable {
                                         if (!world->up(from) || world->cut(from, target)) return;
                                         world->deliver(from, life, [answer, bytes = std::move(bytes)]() mutable {
                                           answer.set(std::move(bytes));
                                         });
                                       });
                };
                world->nodes_[target]->serving->spawn(serve(world, from, target, std::move(body), std::move(reply)));
              });
        });
    struct Timer {
      env::Clock& clock;
      env::TimerId timer;
      ~Timer() { clock.cancel(timer); }
    } timer{me().clock, me().clock.schedule(world->now() + timeout, [answer] { answer.set(fail(Code::timeout)); })};
    auto bytes = co_await answer;
    if (!bytes) me().swim->failed(to);  // as sessions do
    co_return bytes;
  }

  std::optional<NodeId> take_record(ByteView encoded) override {
    auto entry = wire::decode<wire::NodeEntry>(encoded);
    CAIRN_ASSERT(entry);
    auto body = wire::decode<wire::NodeRecord>(entry->record().body());
    CAIRN_ASSERT(body);
    const NodeId node = *NodeId::from(body->node());
    const bool news = me().take(world_.index_.at(node), {body->boot_seq(), body->sequence()});
    return news ? std::optional(node) : std::nullopt;
  }
  bool take_log(ByteView, const NodeId&) override { return false; }
  Bytes refute(const Incarnation& doubted) override {
    Incarnation next = std::max(doubted, me().incarnation(self_));
    ++next.sequence;
    me().take(self_, next);
    return record(next);
  }
  Bytes record(const Incarnation& incarnation) const {
    wire::NodeRecord body;
    body.set_node(world_.ids_[self_].raw());
    body.set_boot_seq(incarnation.boot_seq);
    body.set_sequence(incarnation.sequence);
    wire::NodeEntry entry;
    entry.mutable_record()->set_body(body.SerializeAsString());
    const size_t size = entry.ByteSizeLong() + 8;
    entry.mutable_record()->set_signature(
        std::string(world_.options_.record_bytes - std::min(size, world_.options_.record_bytes), 's'));
    return wire::encode(entry);
  }
  void sign(Doubt& doubt) const override { doubt.signature.assign(64, 1); }
  bool genuine(const Doubt&) const override { return true; }
  uint64_t summary() const override { return me().summary; }
  void differs(const NodeId& from) override {
    if (me().last_sync && world_.now() - *me().last_sync < world_.options_.swim.period / 2) return;
    me().last_sync = world_.now();
    world_.scheduler_.at(world_.now() + 2 * world_.delay(), 0,
                         [world = &world_, a = self_, b = world_.index_.at(from)] { world->sync(a, b); });
  }
  void state_changed(const NodeId& node, NodeState state) override {
    if (world_.on_state) world_.on_state(self_, world_.index_.at(node), state);
  }

 private:
  Node& me() const { return *world_.nodes_[self_]; }
  static void count_in(SwimWorld& world, size_t from, size_t to, size_t body) {
    const uint64_t bytes = body + wire::kFrameHeaderSize;
    ++world.counters_.messages;
    world.counters_.bytes += bytes;
    world.nodes_[from]->sent += bytes;
    world.nodes_[to]->received += bytes;
    world.nodes_[from]->partners.insert(static_cast<uint32_t>(to));
    world.nodes_[to]->partners.insert(static_cast<uint32_t>(from));
  }
  void count(size_t from, size_t to, size_t body) { count_in(world_, from, to, body); }
  void note_probe(uint32_t target, const Bytes& request) {
    Node& node = *world_.nodes_[target];
    if (node.swim || node.first_probe || node.life == 1) return;
    auto decoded = wire::decode<wire::SwimRequest>(ByteView(request));
    if (decoded && decoded->kind() == 1) node.first_probe = world_.now();
  }

  SwimWorld& world_;
  uint32_t self_;
};

SwimWorld::SwimWorld(SwimWorldOptions options) : options_(options), scheduler_(trace_), prng_(options.seed) {
  const size_t capacity = std::max(options_.capacity, options_.nodes);
  ids_.resize(capacity);
  for (uint32_t i = 0; i < capacity; ++i) {
    prng_.fill(ids_[i].bytes);
    index_[ids_[i]] = i;
  }
  for (uint32_t ring = 0; ring < kRings; ++ring) {
    auto& order = rings_.order[ring];
    order.resize(capacity);
    std::iota(order.begin(), order.end(), 0);
    prng_.shuffle(order);
    rings_.place[ring].resize(capacity);
    for (uint32_t i = 0; i < capacity; ++i) rings_.place[ring][order[i]] = i;
  }
  for (uint32_t i = 0; i < capacity; ++i) {
    nodes_.push_back(std::make_unique<Node>(*this, i));
    nodes_.back()->known.resize(capacity);
  }
  uint64_t summary = 0;
  for (uint32_t i = 0; i < options_.nodes; ++i) summary ^= Node::hash(i, {1, 1});
  for (uint32_t i = 0; i < options_.nodes; ++i) {
    Node& node = *nodes_[i];
    std::fill_n(node.known.begin(), options_.nodes, true);
    node.members = options_.nodes;
    node.summary = summary;
    start(i);
    node.swim->synced();
  }
}

SwimWorld::~SwimWorld() {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i]->serving.reset();
    nodes_[i]->swim.reset();
  }
}

void SwimWorld::start(size_t index) {
  Node& node = *nodes_[index];
  node.host = std::make_shared<Host>(*this, static_cast<uint32_t>(index));
  node.serving = std::make_unique<env::TaskGroup>(node.strand);
  node.swim = std::make_unique<Swim>(node.strand, node.clock, prng_.next(), *node.host, ids_[index], options_.swim);
  node.swim->start();
}

Duration SwimWorld::delay() {
  return options_.latency +
         Duration(static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.jitter.count()) + 1)));
}

env::Task<void> SwimWorld::serve(SwimWorld* world, size_t from, size_t to, Bytes request,
                                 std::function<void(Result<Bytes>)> reply) {
  auto answered = co_await world->nodes_[to]->swim->answer(world->ids_[from], std::move(request));
  reply(std::move(answered));
}

void SwimWorld::deliver(size_t to, uint64_t life, std::move_only_function<void()> fn) {
  Node& node = *nodes_[to];
  if (node.life != life) return;
  if (node.frozen_until && *node.frozen_until > now()) {
    node.inbox.push_back(std::move(fn));
  } else {
    fn();
  }
}

void SwimWorld::freeze(size_t index, Duration duration) {
  Node& node = *nodes_[index];
  node.frozen_until = now() + duration;
  scheduler_.at(*node.frozen_until, static_cast<sim::Owner>(index + 1), [this, index] { thaw(index); });
}

void SwimWorld::thaw(size_t index) {
  Node& node = *nodes_[index];
  if (!node.frozen_until || *node.frozen_until > now()) return;  // frozen again meanwhile
  node.frozen_until.reset();
  while (!node.late_timers.empty()) {
    auto run = std::move(node.late_timers.front().second);
    node.late_timers.pop_front();
    run();
  }
  // Behind what the timers have posted.
  for (auto& message : std::exchange(node.inbox, {})) {
    scheduler_.at(now(), static_cast<sim::Owner>(index + 1), std::move(message));
  }
}

// Push-pull as Gossip does it, in one step; its bytes: summaries, and what is new with its digests.
void SwimWorld::sync(size_t a, size_t b) {
  if (!up(a) || !up(b) || cut(a, b)) return;
  ++counters_.syncs;
  uint64_t bytes = 2 * (wire::kFrameHeaderSize + 40);
  for (const auto& [from, to] : {std::pair{a, b}, std::pair{b, a}}) {
    Node& giver = *nodes_[from];
    Node& taker = *nodes_[to];
    if (giver.summary != taker.summary || giver.members != taker.members) {
      for (uint32_t i = 0; i < ids_.size(); ++i) {
        if (!giver.known[i] || !taker.take(i, giver.incarnation(i))) continue;
        bytes += options_.record_bytes + 45 * kNodesPerBucket;
        taker.swim->record_changed(ids_[i]);
      }
    }
    for (const auto& [node, suspicion] : giver.swim->suspicions().all()) {
      for (const auto& [by, doubt] : std::map(suspicion.doubts)) {
        bytes += 150;
        taker.swim->take_doubt(doubt, ids_[from], false);
      }
    }
    taker.swim->synced();
  }
  counters_.bytes += bytes;
  nodes_[a]->sent += bytes / 2;
  nodes_[b]->sent += bytes / 2;
  nodes_[a]->received += bytes / 2;
  nodes_[b]->received += bytes / 2;
}

void SwimWorld::crash(size_t index) {
  Node& node = *nodes_[index];
  node.serving.reset();
  node.swim.reset();
  ++node.life;
  node.first_probe.reset();
  node.inbox.clear();
  node.late_timers.clear();
  scheduler_.drop(static_cast<sim::Owner>(index + 1));
  node.timers.clear();
}

void SwimWorld::join(size_t index, size_t contact) {
  nodes_[index]->take(static_cast<uint32_t>(index), {1, 1});
  start(index);
  sync(index, contact);
  nodes_[index]->swim->tell_record(ids_[index], cairn::to_string(ByteView(nodes_[index]->host->record({1, 1}))));
}

void SwimWorld::run_for(Duration duration) {
  const Time end = now() + duration;
  while (scheduler_.step(end)) {
  }
  scheduler_.advance_to(end);
}

bool SwimWorld::run_until(const std::function<bool()>& condition, Duration limit, Duration step) {
  const Time end = now() + limit;
  while (!condition()) {
    if (now() >= end) return false;
    run_for(std::min(step, end - now()));
  }
  return true;
}

Swim& SwimWorld::swim(size_t node) {
  return *nodes_[node]->swim;
}
bool SwimWorld::up(size_t node) const {
  return nodes_[node]->swim != nullptr;
}
bool SwimWorld::knows(size_t node, size_t other) const {
  return nodes_[node]->known[other];
}
std::optional<Time> SwimWorld::first_probe(size_t node) const {
  return nodes_[node]->first_probe;
}
uint64_t SwimWorld::received(size_t node) const {
  return nodes_[node]->received;
}
uint64_t SwimWorld::sent(size_t node) const {
  return nodes_[node]->sent;
}

size_t SwimWorld::partners(size_t node) {
  return std::exchange(nodes_[node]->partners, {}).size();
}

}  // namespace cairn::peer
