#pragma once
// Balancer: which shards of an owner's packs should lie elsewhere, so that nodes are as full as each other and no
// domain holds more of a pack than it need. Pure; the moves are carried out by the holders (move_orders.h).

#include <map>
#include <set>

#include "pool/placement.h"

namespace cairn::pool {

// A node that lends and may be given shards.
struct NodeFill {
  NodeId node;
  std::string domain;
  uint64_t used = 0, free = 0;  // bytes
};

struct ShardMove {
  ShardId shard;
  NodeId from, to;
  uint64_t bytes = 0;
};

class Balancer {
 public:
  explicit Balancer(const std::vector<NodeFill>& nodes);

  // The moves of this pack, which count as done from then on. `holders`: by slot; zero: none, or nobody knows. A pack
  // that lacks a shard stays as it is: it is to be repaired first.
  std::vector<ShardMove> plan(const PackId& pack, const content::PackGeometry& geometry, std::vector<NodeId> holders);
  // This one did not come about.
  void undo(const ShardMove& move);

  // The emptiest and the fullest node's share in use, with what was planned.
  std::pair<double, double> levels() const;

 private:
  struct Node {
    std::string domain;
    uint64_t used = 0, size = 0;
    double level() const { return size == 0 ? 1 : static_cast<double>(used) / static_cast<double>(size); }
    double level_with(uint64_t more) const { return static_cast<double>(used + more) / static_cast<double>(size); }
  };
  std::optional<NodeId> target(const std::vector<NodeId>& holders, size_t slot, uint32_t most, uint64_t bytes,
                               double below) const;
  std::map<std::string, uint32_t> count(const std::vector<NodeId>& holders, size_t without) const;

  std::map<NodeId, Node> nodes_;
  bool uneven_ = false;
};

}  // namespace cairn::pool
