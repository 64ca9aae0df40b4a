#pragma once
// Placement: which nodes should hold a pack's slots. Pure: the same input gives the same answer on every machine (all
// arithmetic is on integers).

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "content/pack.h"

namespace cairn::pool {

// A node that may be given a shard.
struct Candidate {
  NodeId node;
  std::string domain;
  uint64_t free = 0;  // bytes: its weight
};

// Redundancy by the number D of live domains: 1: (1,0); 2: (1,1); 3: (1,2); 4-5: (2,2); 6-7: (4,2); 8-12: (5,3);
// 13-24: (8,4); 25+: (16,8). The shard length is left 0.
content::PackGeometry geometry_for(size_t live_domains);

// What the table wants of packs now, and the domains it wants it for.
struct Redundancy {
  content::PackGeometry code;
  size_t domains = 0;
};
// How a pack's code stands to that; in the order of how pressing it is.
enum class Fit : uint8_t {
  right,
  costly,  // as safe as it should be, and takes more space than it need
  wide,    // more slots than domains: one domain holds several, and takes them with it
  weak,    // stands fewer losses than it should
};
Fit fit_of(const content::PackGeometry& pack, const Redundancy& goal);

// Receipts from distinct domains before a head may refer to the pack: k + ceil(m/2), at least k+1 when m > 0.
uint32_t commit_quorum(const content::PackGeometry& geometry);

// Shards of one pack that a domain may hold: max(1, m/2 rounded down), more only where the pool has too few domains.
uint32_t domain_cap(uint32_t m);

// All candidates that fit, best first, by weighted rendezvous hashing on the key: score = -weight / ln(hash)
// (Schindelhauer and Schomaker 2005). A change of one candidate moves only what it gains or loses. Equal weights and
// hashes are told apart by the NodeID; a weight of 0 comes last.
std::vector<Candidate> rendezvous_order(ByteView key, std::vector<Candidate> candidates);

// Hands out holders for one pack, best first: the first `slots` are its placement, what follows are replacements.
//
// Among the candidates that are left it prefers those whose domain holds the fewest of this pack's shards, then the
// rendezvous order; so one domain gets a second shard only when all have one, and passes domain_cap() only where the
// pool has too few domains. Nodes with less than shard_length free are left out, and no node is handed out twice.
//
// In a pool of more than kSmallPool nodes the order begins with a window: the anchor node is chosen by weighted
// rendezvous over all, and with it its neighbours on one of a few fixed permutations of the nodes. So a node shares
// packs with some kScatterWidth others instead of with all. The rest of the pool follows for when the window fails.
class Placer {
 public:
  Placer(const PackId& pack, uint32_t slots, uint64_t shard_length, const std::vector<Candidate>& candidates);

  // Nothing when all have been handed out.
  std::optional<Candidate> next();
  // A node that was handed out does not hold a shard after all: its domain counts one less.
  void take_back(const Candidate& candidate);
  // One that was taken back is given a shard after all.
  void hand_out(const Candidate& candidate) { ++shards_[candidate.domain]; }
  size_t left() const { return order_.size(); }

 private:
  std::vector<Candidate> order_;            // best first, what is left
  std::map<std::string, uint32_t> shards_;  // by domain
};

// Slots' holders in slot order, one slot per node, spread over domains within the cap; fewer than `slots` when there
// are not enough nodes.
std::vector<Candidate> place(const PackId& pack, uint32_t slots, uint64_t shard_length,
                             const std::vector<Candidate>& candidates);

// The number of distinct domains.
size_t count_domains(const std::vector<Candidate>& candidates);

}  // namespace cairn::pool
