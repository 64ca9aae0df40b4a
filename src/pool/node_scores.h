#pragma once
// NodeScores: what this node has seen of each other one: how often it was there, and how its audits went. Kept in the
// claims' MetaStore, so that a restart forgets neither a score nor how long somebody has been away.

#include <map>
#include <optional>

#include "env/world.h"
#include "pool/claims.h"

namespace cairn::pool {

struct NodeScore {
  uint64_t away = 0;                  // milliseconds for which it is departed now; 0: it is there
  uint64_t online = 0, observed = 0;  // milliseconds
  uint64_t audits_passed = 0, audits_failed = 0;
  // How often it took back claims that had failed audits, and milliseconds of its presence for which it is passed by
  // for new shards since.
  uint64_t caught = 0, passed_by = 0;

  // It was there, or departed, for this long.
  void observe(bool there, Duration time);
  // How long it has been away; nothing: it is back.
  void set_away(std::optional<Duration> time);
  // It took back what had failed an audit. Passed by for `first`, then for twice as long each time (limits.h).
  void caught_lying(Duration first);

  bool operator==(const NodeScore&) const = default;
  std::string encode() const;
  static std::optional<NodeScore> decode(std::string_view raw);
};

// Strand only.
class NodeScores {
 public:
  NodeScores(env::World world, ClaimIndex& index) : world_(world), index_(index) {}
  env::Task<Status> load();
  // Only what changed.
  env::Task<Status> save();

  NodeScore of(const NodeId& node) const;
  void audited(const NodeId& node, bool passed);
  // To be changed; it stays where it is.
  NodeScore& at(const NodeId& node) { return scores_[node]; }

 private:
  env::World world_;
  ClaimIndex& index_;
  std::map<NodeId, NodeScore> scores_, saved_;
};

}  // namespace cairn::pool
