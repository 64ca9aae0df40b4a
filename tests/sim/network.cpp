#include "sim/network.h"

#include "sim/stream.h"
#include "sim/world.h"

namespace cairn::sim {

namespace {

// The least that TCP waits for an acknowledgement (RFC 6298, as Linux has it).
constexpr Duration kResend = std::chrono::milliseconds(200);
constexpr int kMaxResends = 5;

bool any_host(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "::";
}
bool own_host(const std::string& host) {
  return host == "127.0.0.1" || host == "::1" || host == "localhost";
}

class SimListener final : public env::Listener {
 public:
  SimListener(NodeNetwork& network, env::Address address, NodeNetwork::OnStream on_stream)
      : network_(network), address_(std::move(address)), on_stream_(std::move(on_stream)), life_(network.life()) {}
  ~SimListener() override {
    if (life_ == network_.life()) network_.stop_listening(address_.port);
  }
  env::Address address() const override { return address_; }

 private:
  NodeNetwork& network_;
  env::Address address_;
  NodeNetwork::OnStream on_stream_;
  uint64_t life_;
};

}  // namespace

SimNetwork::Link& SimNetwork::link(NodeIndex from, NodeIndex to) {
  if (links_.size() <= from) links_.resize(from + 1);
  return links_[from][to];
}

const SimNetwork::Link* SimNetwork::find_link(NodeIndex from, NodeIndex to) const {
  if (links_.size() <= from) return nullptr;
  const auto found = links_[from].find(to);
  return found == links_[from].end() ? nullptr : &found->second;
}

const LinkOptions& SimNetwork::link_options(NodeIndex from, NodeIndex to) const {
  const Link* link = find_link(from, to);
  return link != nullptr && link->options ? *link->options : default_link_;
}

Duration SimNetwork::delay(NodeIndex from, NodeIndex to, uint64_t bytes) {
  const LinkOptions& options = link_options(from, to);
  const auto transfer = static_cast<int64_t>(bytes * 1'000'000'000 / std::max<uint64_t>(1, options.bytes_per_second));
  const auto jitter = static_cast<uint64_t>(options.jitter.count());
  if (from == to) return std::chrono::microseconds(20);
  Time& free_at = link(from, to).free_at;
  free_at = std::max(world_.now(), free_at) + Duration(transfer);
  Duration resent{};
  for (int i = 0; options.loss > 0 && i < kMaxResends && world_.prng().chance(options.loss); ++i)
    resent += kResend * (1 << i);
  return free_at - world_.now() + resent + options.latency +
         Duration(static_cast<int64_t>(world_.prng().below(jitter + 1)));
}

void SimNetwork::sent(NodeIndex from, NodeIndex to, ByteView bytes) {
  for (LinkCounters* counters : {&total_, &count(from, to)}) {
    counters->bytes += bytes.size();
    ++counters->packets;
  }
  if (tap_) tap_(from, to, bytes);
}

void SimNetwork::block(NodeIndex from, NodeIndex to) {
  if (from == to) return;
  if (blocked_.size() <= from) blocked_.resize(from + 1);
  blocked_[from].insert(to);
}

void SimNetwork::unblock(NodeIndex from, NodeIndex to) {
  if (!blocked(from, to)) return;
  blocked_[from].erase(to);
  for (const auto& connection : live_between(from, to)) {
    for (const size_t side : {0, 1}) {
      if (connection->pipes[side].from == from && connection->pipes[side].to == to) connection->flush(side);
    }
  }
}

void SimNetwork::partition(const std::set<NodeIndex>& side) {
  for (NodeIndex a = 0; a < world_.size(); ++a) {
    for (NodeIndex b = 0; b < world_.size(); ++b) {
      if (side.contains(a) != side.contains(b)) block(a, b);
    }
  }
}

void SimNetwork::heal() {
  for (NodeIndex from = 0; from < blocked_.size(); ++from) {
    while (!blocked_[from].empty()) unblock(from, *blocked_[from].begin());
  }
}

void SimNetwork::reset_streams(NodeIndex a, NodeIndex b) {
  for (const auto& connection : live_between(a, b)) {
    ++total_.resets;
    connection->break_end(0);
    connection->break_end(1);
  }
}

LinkCounters SimNetwork::counters(NodeIndex from, NodeIndex to) const {
  const Link* link = find_link(from, to);
  return link == nullptr ? LinkCounters{} : link->counters;
}

namespace {

void add_live(const std::map<uint64_t, std::weak_ptr<Connection>>& some,
              std::vector<std::shared_ptr<Connection>>& all) {
  for (const auto& [id, weak] : some) {
    if (auto connection = weak.lock()) all.push_back(std::move(connection));
  }
}

}  // namespace

std::vector<std::shared_ptr<Connection>> SimNetwork::live() const {
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& lower : connections_) {
    for (const auto& [higher, some] : lower) add_live(some, all);
  }
  return all;
}

std::vector<std::shared_ptr<Connection>> SimNetwork::live_between(NodeIndex a, NodeIndex b) const {
  std::vector<std::shared_ptr<Connection>> all;
  const auto [lower, higher] = std::minmax(a, b);
  if (lower >= connections_.size()) return all;
  const auto found = connections_[lower].find(higher);
  if (found != connections_[lower].end()) add_live(found->second, all);
  return all;
}

std::vector<std::shared_ptr<Connection>> SimNetwork::live_of(NodeIndex node) const {
  std::vector<std::shared_ptr<Connection>> all;
  for (NodeIndex other = 0; other < world_.size(); ++other) {
    for (auto& connection : live_between(node, other)) all.push_back(std::move(connection));
  }
  return all;
}

size_t SimNetwork::open_streams() const {
  size_t open = 0;
  for (const auto& connection : live()) {
    for (const auto& end : connection->ends) open += !end.closed && !end.broken ? 1U : 0U;
  }
  return open;
}

void SimNetwork::add(const std::shared_ptr<Connection>& connection) {
  const auto [lower, higher] = std::minmax(connection->ends[0].node, connection->ends[1].node);
  if (connections_.size() <= lower) connections_.resize(lower + 1);
  connections_[lower][higher][connection->id] = connection;
}

void SimNetwork::forget(const Connection& connection) {
  const auto [lower, higher] = std::minmax(connection.ends[0].node, connection.ends[1].node);
  if (lower >= connections_.size()) return;
  connections_[lower][higher].erase(connection.id);
}

SimNetwork::Target SimNetwork::resolve(SimNode& from, const env::Address& address) const {
  if (own_host(address.host) || any_host(address.host)) return {&from, address.port};
  for (auto i = static_cast<NodeIndex>(hosts_.size()); i < world_.size(); ++i) hosts_[world_.node(i).host()] = i;
  const auto found = hosts_.find(address.host);
  if (found == hosts_.end()) return {};
  return {&world_.node(found->second), address.port};
}

void SimNetwork::node_crashed(NodeIndex node, bool silent) {
  for (const auto& connection : live_of(node)) {
    for (const size_t side : {0, 1}) {
      if (connection->ends[side].node != node) continue;
      const bool was_open = !connection->ends[side].broken;
      connection->ends[side].closed = true;
      connection->break_end(side);
      if (!was_open) continue;
      if (silent) {
        half_open_.emplace(node, connection);
      } else {
        connection->send(side, {Packet::Kind::reset, {}});
      }
    }
  }
}

void SimNetwork::node_restarted(NodeIndex node) {
  const auto [first, last] = half_open_.equal_range(node);
  for (auto it = first; it != last; ++it) {
    for (const size_t side : {0, 1}) {
      if (it->second->ends[side].node == node) it->second->send(side, {Packet::Kind::reset, {}});
    }
  }
  half_open_.erase(node);
}

NodeNetwork::OnStream NodeNetwork::listener(uint16_t port) const {
  const auto found = listeners_.find(port);
  return found == listeners_.end() ? nullptr : found->second;
}

Result<std::unique_ptr<env::Listener>> NodeNetwork::listen(
    const env::Address& address, std::move_only_function<void(std::unique_ptr<env::Stream>)> on_stream) {
  if (!any_host(address.host) && !own_host(address.host) && address.host != node_.host()) {
    return fail(Code::io, address.text() + ": not an address of this node");
  }
  env::Address real = address;
  if (any_host(real.host)) real.host = node_.host();
  while (real.port == 0) {
    if (!listeners_.contains(next_port_)) real.port = next_port_;
    next_port_ = next_port_ == UINT16_MAX ? uint16_t{40000} : static_cast<uint16_t>(next_port_ + 1);
  }
  if (listeners_.contains(real.port)) return fail(Code::io, real.text() + ": in use");
  auto shared = std::make_shared<std::move_only_function<void(std::unique_ptr<env::Stream>)>>(std::move(on_stream));
  listeners_[real.port] = shared;
  return std::make_unique<SimListener>(*this, real, std::move(shared));
}

env::Task<Result<std::unique_ptr<env::Stream>>> NodeNetwork::connect(env::Address address,
                                                                     std::optional<NodeId> expected, Time deadline) {
  SimWorld& world = node_.world_of();
  SimNetwork& network = world.network();
  env::Clock& clock = node_.clock();
  CAIRN_ASSERT(!node_.public_key().empty());  // set_identity first
  const SimNetwork::Target target = network.resolve(node_, address);
  if (target.node == nullptr) co_return fail(Code::unreachable, address.text());
  const NodeIndex from = node_.index();
  const NodeIndex to = target.node->index();
  enum class Answer { accepted, refused, nothing };
  struct Found {
    Answer answer = Answer::nothing;
    OnStream listener;
  };
  for (;;) {  // each round is one first packet and the wait for its answer
    if (clock.now() >= deadline) co_return fail(Code::unreachable, address.text() + ": timed out");
    env::OneShot<Found> outcome(node_.executor());
    ++network.count(from, to).connects;
    ++network.count_total().connects;
    if (!network.blocked(from, to) && target.node->up()) {
      world.scheduler().at(world.now() + network.delay(from, to, 0), to + 1,
                           [&network, &world, outcome, target, from, to, node = &node_, life = node_.boots()] {
                             if (node->boots() != life) return;  // who asked is no more
                             auto listener = target.node->node_network().listener(target.port);
                             if (network.blocked(to, from)) return;
                             world.scheduler().at(
                                 world.now() + network.delay(to, from, 0), from + 1, [outcome, listener] {
                                   outcome.set({listener ? Answer::accepted : Answer::refused, listener});
                                 });
                           });
    }
    const Time retry = std::min(deadline, clock.now() + std::chrono::seconds(1));
    const env::TimerId timer = clock.schedule(retry, [outcome] { outcome.set({}); });
    struct Cancel {
      env::Clock& clock;
      env::TimerId timer;
      ~Cancel() { clock.cancel(timer); }
    } cancel{clock, timer};
    const Found found = co_await outcome;
    if (found.answer == Answer::nothing) continue;
    if (found.answer == Answer::refused) co_return fail(Code::unreachable, address.text() + ": refused");
    if (expected && *expected != target.node->id()) co_return fail(Code::denied, address.text() + ": another node");
    if (!target.node->up()) continue;
    const uint64_t id = network.next_id();
    Connection::End near{
        from, node_.id(), node_.public_key(), {node_.host(), static_cast<uint16_t>(32768 + id % 7000)}};
    Connection::End far{to, target.node->id(), target.node->public_key(), {target.node->host(), target.port}};
    far.listener = found.listener;
    auto connection = std::make_shared<Connection>(network, id, std::move(near), std::move(far), node_.executor(),
                                                   target.node->executor());
    network.add(connection);
    connection->send(0, {Packet::Kind::opened, {}});
    co_return std::make_unique<SimStream>(std::move(connection), 0);
  }
}

}  // namespace cairn::sim
