#pragma once
// Many production Swims in one thread under virtual time, without sessions, member log and signatures: messages are
// handed over with a delay and counted. For what only shows in large pools.
//
// A node may be frozen, as one whose machine has no time for it: its timers run late, all at once, and before the
// messages that came meanwhile.

#include <unordered_map>

#include "peer/swim.h"
#include "sim/scheduler.h"

namespace cairn::peer {

struct SwimWorldOptions {
  size_t nodes = 10;
  size_t capacity = 0;  // nodes that may yet join are beyond `nodes`; 0: as many as nodes
  SwimOptions swim;
  Duration latency = std::chrono::milliseconds(5), jitter = std::chrono::milliseconds(5);  // one way
  size_t record_bytes = 500;  // of a node's signed record with its certificate
  uint64_t seed = 1;
};

class SwimWorld {
 public:
  explicit SwimWorld(SwimWorldOptions options);
  ~SwimWorld();

  size_t size() const { return nodes_.size(); }
  Swim& swim(size_t node);
  bool up(size_t node) const;
  const NodeId& id(size_t node) const { return ids_[node]; }
  bool knows(size_t node, size_t other) const;
  NodeState state(size_t node, size_t other) { return swim(node).state(ids_[other]); }

  void run_for(Duration duration);
  // Looks every `step`; false when the time is over.
  bool run_until(const std::function<bool()>& condition, Duration limit, Duration step = std::chrono::milliseconds(50));
  Time now() const { return scheduler_.now(); }
  env::Prng& prng() { return prng_; }

  // Its power fails: peers hear nothing.
  void crash(size_t node);
  // A node beyond the first ones begins, and is told the table of `contact`.
  void join(size_t node, size_t contact);
  void freeze(size_t node, Duration duration);
  // Nothing passes between the first `side` nodes and the others.
  void partition(size_t side) { side_ = side; }

  // Called when a node's view changes: (who, about whom, what).
  std::function<void(size_t, size_t, NodeState)> on_state;
  // When a node that is down was first probed (kind 1) after its crash.
  std::optional<Time> first_probe(size_t node) const;

  struct Counters {
    uint64_t messages = 0, bytes = 0;  // sent: bodies and frame headers
    uint64_t syncs = 0;
  };
  const Counters& counters() const { return counters_; }
  uint64_t received(size_t node) const;
  uint64_t sent(size_t node) const;
  // Others with which a node exchanged messages since this was last asked: sessions that it needs.
  size_t partners(size_t node);

 private:
  class Strand;
  class LocalClock;
  class Host;
  struct Node;

  struct Rings {  // over all that may ever be there
    std::array<std::vector<uint32_t>, kRings> order, place;
  };
  Duration delay();
  bool cut(size_t a, size_t b) const { return side_ > 0 && (a < side_) != (b < side_); }
  void start(size_t node);
  void deliver(size_t to, uint64_t life, std::move_only_function<void()> fn);
  void thaw(size_t node);
  void sync(size_t a, size_t b);
  static env::Task<void> serve(SwimWorld* world, size_t from, size_t to, Bytes request,
                               std::function<void(Result<Bytes>)> reply);

  SwimWorldOptions options_;
  sim::Trace trace_;
  sim::Scheduler scheduler_;
  env::Prng prng_;
  std::vector<NodeId> ids_;
  std::unordered_map<NodeId, uint32_t> index_;
  Rings rings_;
  size_t side_ = 0;
  Counters counters_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace cairn::peer
