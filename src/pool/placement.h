#pragma once
// Placement: which nodes should hold a pack's slots. Pure.

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

// Receipts from distinct domains before a head may refer to the pack: k + ceil(m/2), at least k+1 when m > 0.
uint32_t commit_quorum(const content::PackGeometry& geometry);

// Shards of one pack that a domain may hold: max(1, m/2 rounded down), more only where the pool has too few domains.
uint32_t domain_cap(uint32_t m);

// All candidates that fit, best first, by weighted rendezvous hashing on the key: score = -weight / ln(hash)
// (Schindelhauer and Schomaker 2005). A change of one candidate moves only what it gains or loses.
std::vector<Candidate> rendezvous_order(ByteView key, std::vector<Candidate> candidates);

// Slots' holders in slot order, one slot per node, spread over domains within the cap; fewer than `slots` when there are
// not enough nodes. `avoid`: nodes that failed already.
std::vector<Candidate> place(const PackId& pack, uint32_t slots, uint32_t m, uint64_t shard_length,
                             const std::vector<Candidate>& candidates);

}  // namespace cairn::pool
