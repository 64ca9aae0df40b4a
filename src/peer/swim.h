#pragma once
// Swim: which nodes are alive, and how news reach everybody. SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar,
// Phillips, Currey 2018) over sessions. The protocol is explained in SWIM.md.
//
// Strand only. Knows neither sessions nor the member log: it reaches both through SwimHost, so that tests run ten
// thousand of these without either.

#include <deque>
#include <memory>
#include <set>

#include "env/random.h"
#include "env/task.h"
#include "peer/limits.h"
#include "peer/node_state.h"
#include "peer/suspicions.h"
#include "peer/swim_news.h"

namespace cairn::wire {
class Doubt;
}

namespace cairn::peer {

wire::Doubt encode_doubt(const Doubt& doubt);
// Nothing when it is malformed; whether it is genuine is SwimHost's question.
std::optional<Doubt> decode_doubt(const wire::Doubt& encoded);
std::string subject_of(const Doubt& doubt);  // in the news

// What Swim needs of the node that it is a part of. Members are those that the log admits and that have not left, this
// node among them.
class SwimHost {
 public:
  virtual ~SwimHost() = default;
  virtual size_t members() const = 0;
  virtual NodeId member(size_t index) const = 0;  // below members(); the order means nothing
  // Of its newest record; nothing: no member.
  virtual std::optional<Incarnation> incarnation(const NodeId& node) const = 0;
  // The next (or previous) member behind `from` on one of the rings; `from` itself where there is no other.
  virtual NodeId neighbour(uint32_t ring, const NodeId& from, bool next) const = 0;
  // Whether others can open sessions to this node, as far as it knows.
  virtual bool dialable() const = 0;

  // The answer's body. May take its time; a destroyed task is an ended request.
  virtual env::Task<Result<Bytes>> ask(NodeId to, Bytes request, Duration timeout) = 0;

  // Takes up a wire.NodeEntry; the node, when it was newer than what was known.
  virtual std::optional<NodeId> take_record(ByteView entry) = 0;
  // Takes up a wire.LogRecord; true when it is to be passed on. When entries before it are missing: differs(from).
  virtual bool take_log(ByteView record, const NodeId& from) = 0;
  // Signs this node's record anew, newer than `doubted`; gives its bytes.
  virtual Bytes refute(const Incarnation& doubted) = 0;
  virtual void sign(Doubt& doubt) const = 0;
  virtual bool genuine(const Doubt& doubt) const = 0;

  // A hash of all records and log entries.
  virtual uint64_t summary() const = 0;
  // A peer knows other things than this node: push-pull is due.
  virtual void differs(const NodeId& from) = 0;
  virtual void state_changed(const NodeId& /*node*/, NodeState /*state*/) {}
};

struct SwimOptions {
  Duration period = std::chrono::seconds(5);
  Duration ack_timeout = std::chrono::milliseconds(1500);
  Duration gossip_every = std::chrono::seconds(1);  // only while there is news
  // Each node watches its next neighbour on so many rings; 0: any node, as published (then all have sessions to all).
  uint32_t rings = kRings;
  uint32_t helpers = 3;  // that are asked to probe a silent node, too
  uint32_t fanout = 3;   // nodes that are told news each time
  // Suspicion lasts alpha * log10(n) periods, and up to beta times as long while nobody confirms it (Lifeguard: 5, 6).
  double alpha = 5, beta = 6;
  uint32_t confirmations = 3;  // that make it shortest
  Duration least_suspicion{};  // and never shorter than this (not in the papers)
  uint32_t observers = 3;      // without which nobody has departed (1: as published)
  bool lifeguard = true;       // local health, buddies, dynamic suspicion
  // What is not in the papers: time in which this process did not run counts for nothing, helpers have their time even
  // when the period is over, and whoever was heard meanwhile is not doubted.
  bool cautious = true;

  static SwimOptions lan() {
    return {.period = std::chrono::seconds(1),
            .ack_timeout = std::chrono::milliseconds(300),
            .gossip_every = std::chrono::milliseconds(200)};
  }
  static SwimOptions wan() { return {}; }
};

struct SwimCounters {
  uint64_t probes = 0, failed_probes = 0, indirect = 0, doubts = 0, refutations = 0, departures = 0;
};

class Swim {
 public:
  // All references outlive it.
  Swim(env::Executor& executor, env::Clock& clock, uint64_t seed, SwimHost& host, const NodeId& self,
       SwimOptions options);
  ~Swim();

  void start();
  void stop();
  // Of a profile; takes effect with the next period.
  void set_options(const SwimOptions& options) { options_ = options; }

  // A wire.SwimRequest of this peer; the answer's body.
  env::Task<Result<Bytes>> answer(NodeId from, Bytes request);

  // Something authentic came from it just now; a request to it failed just now.
  void heard(const NodeId& node);
  void failed(const NodeId& node);
  // A record or log entry has become known here otherwise than by news, and is passed on (wire.NodeEntry, LogRecord).
  void tell_record(const NodeId& node, std::string entry);
  void tell_log(std::string record);
  // The record that is known of this node is newer.
  void record_changed(const NodeId& node);
  // Tables were exchanged with a peer: who is a member and not doubted counts as alive.
  void synced() { synced_ = true; }
  // Members were removed or have left: what is known of them is forgotten.
  void members_changed();

  // Of a member. unknown: nothing was exchanged with anybody yet.
  NodeState state(const NodeId& node) const;
  std::optional<Time> last_heard(const NodeId& node) const;
  const Suspicions& suspicions() const { return suspicions_; }
  // A doubt that came by push-pull. True when it was news.
  bool take_doubt(const Doubt& doubt, const NodeId& from, bool pass_on);
  uint64_t table_hash() const;
  bool has_news() const { return !news_.empty(); }
  uint32_t local_health() const { return health_; }
  const SwimCounters& counters() const { return counters_; }

 private:
  struct Evidence {
    std::optional<Time> heard, failed;  // by this node itself
  };
  struct Attempt;
  struct Timer;

  // swim.cpp
  static env::Task<void> news_loop(Swim* self);
  static env::Task<void> tell(Swim* self, NodeId to);
  void tick();
  void wake() { work_.notify_all(); }
  bool has_work() const { return !news_.empty() || suspicions_.open() > 0 || refute_; }
  void tell_some();
  void take_news(const std::string& encoded, const NodeId& from);
  // What came with a request or an answer.
  template <class Message>
  void take(const Message& message, const NodeId& from);
  void expire();
  void refute_now();
  void set_state(const NodeId& node, NodeState state);
  Bytes request_to(const NodeId& to, uint32_t kind, const NodeId* target);
  size_t retransmit_limit() const;
  size_t expected_observers() const;
  Duration timeout_of(const Suspicions::Suspicion& suspicion) const;
  std::optional<NodeId> friend_at(uint32_t ring, bool next) const;
  std::optional<NodeId> any_member();
  void overslept(Time due);

  // swim_probe.cpp
  static env::Task<void> probe_loop(Swim* self);
  static env::Task<void> probe(Swim* self, NodeId target, bool counts);
  static env::Task<void> ask_directly(Swim* self, Attempt* attempt, Duration timeout);
  static env::Task<void> ask_helper(Swim* self, Attempt* attempt, NodeId helper, Duration timeout);
  static env::Task<bool> reach(Swim* self, NodeId target, Duration timeout);
  std::optional<NodeId> next_target(bool& counts);
  void fill_round();
  std::vector<NodeId> choose_helpers(const NodeId& target);
  void doubt(const NodeId& target);
  void change_health(int by);
  Duration scaled(Duration duration) const { return duration * (health_ + 1); }

  env::Executor& executor_;
  env::Clock& clock_;
  env::Prng prng_;
  SwimHost& host_;
  const NodeId self_;
  SwimOptions options_;
  Suspicions suspicions_;
  NewsQueue news_;
  std::map<NodeId, Evidence> evidence_;
  std::set<NodeId> failed_;     // whose last evidence is a failure
  std::deque<NodeId> recheck_;  // of those: not probed since
  std::vector<NodeId> round_;   // whom to probe next, last first
  uint32_t health_ = 0;         // Lifeguard's local health: 0 is well
  bool synced_ = false;
  std::optional<Incarnation> refute_;  // a doubt about this node that waits for its refutation
  std::optional<Time> refuted_at_;
  Time awake_since_{};  // the end of the last pause
  SwimCounters counters_;
  env::Signal work_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::peer
