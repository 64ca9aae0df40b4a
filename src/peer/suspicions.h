#pragma once
// Suspicions: which nodes are doubted, by whom, and since when. Pure: told what was learnt, asked what follows.

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/units.h"

namespace cairn::peer {

// Which of a node's records: SWIM's incarnation number. Only the node itself can make a newer one.
struct Incarnation {
  uint64_t boot_seq = 0, sequence = 0;
  auto operator<=>(const Incarnation&) const = default;
};

// A node's signed statement that it could not reach another.
struct Doubt {
  NodeId about;
  Incarnation incarnation;
  NodeId by;
  Bytes signature;
};

// How long a suspicion lasts before the node counts as departed (Lifeguard, section IV-B):
//   max(low, high - (high - low) * ln(C + 1) / ln(K + 1)),  C = independent confirmations, K = those that are expected.
Duration suspicion_timeout(Duration low, Duration high, size_t confirmations, size_t expected);

class Suspicions {
 public:
  struct Suspicion {
    Incarnation incarnation;
    std::map<NodeId, Doubt> doubts;  // by observer, at most kMaxDoubts
    Time began{};                    // the first doubt reached this node; its clock starts anew when the node is heard
    Time latest{};                   // the newest one did
    bool departed = false;
  };

  // False when it says nothing new: the observer is known, or there are enough of them. Doubts about an older
  // incarnation than another's that is known here are for the caller to drop.
  bool add(const Doubt& doubt, Time now);
  bool would_add(const Doubt& doubt) const;
  // Its record is newer: the doubts about older ones end. True when there were any.
  bool refuted(const NodeId& node, const Incarnation& by);
  void forget(const NodeId& node);
  // Those of others end: who is no member any more has no say, and newcomers would not believe it.
  void keep_observers(const std::function<bool(const NodeId&)>& counts);

  const Suspicion* find(const NodeId& node) const;
  Suspicion* find(const NodeId& node);
  const std::map<NodeId, Suspicion>& all() const { return all_; }
  // Not yet departed.
  size_t open() const { return all_.size() - departed_.size(); }
  const std::vector<NodeId>& departed() const { return departed_; }
  void depart(const NodeId& node);
  // It was heard: it has not departed, and its time starts anew.
  void revive(const NodeId& node, Time now);
  // Time in which this process did not run.
  void postpone(Duration by);

  // The same for two nodes that know the same doubts, or enough of them.
  uint64_t hash() const { return hash_; }
  uint64_t hash_of(const NodeId& node) const;

 private:
  static uint64_t hash_of(const Suspicion& suspicion, const NodeId& node);
  std::map<NodeId, Suspicion> all_;
  std::vector<NodeId> departed_;
  uint64_t hash_ = 0;
};

}  // namespace cairn::peer
