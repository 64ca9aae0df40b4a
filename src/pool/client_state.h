#pragma once
// What the parts of a PoolClient share.

#include <array>
#include <set>

#include "pool/client.h"
#include "pool/holder_table.h"

namespace cairn::pool {

struct ClientState {
  ClientState(env::World w, peer::Peers& p, PoolOptions o) : world(w), peers(p), options(o), holders(o.hedge_after) {}

  env::World world;
  peer::Peers& peers;
  PoolOptions options;
  PoolCounters counters;
  HolderTable holders;
  std::array<std::set<NodeId>, 2> asked;  // by Purpose: holders that were asked for a range
  std::set<NodeId> on_trial;              // holders that failed, to which one upload is under way
  std::function<void(const BadShard&)> bad_shard;
  RateLimit log_limit{10, std::chrono::minutes(1)};

  // One answer that is not what it must be.
  void report(const NodeId& holder, const ShardId& shard, std::string what) {
    ++counters.wrong_bytes;
    if (log_limit.allow(world.clock.now())) {
      world.log.warning("bad_shard", "holder={} pack={} slot={} what=\"{}\"", holder.short_hex(),
                        shard.pack.short_hex(), shard.slot, what);
    }
    if (bad_shard) bad_shard({holder, shard, std::move(what)});
  }
  ReadCounters& reads(Purpose purpose) { return purpose == Purpose::data ? counters.data : counters.tree; }
  // Nodes that lend and are alive, with what they have free; also full ones.
  std::vector<Candidate> candidates() const {
    std::vector<Candidate> list;
    for (const peer::NodeInfo& node : peers.membership().nodes()) {
      if (!node.lends || node.leaving || !peers.usable(node.id)) continue;
      list.push_back({node.id, node.domain_key(), holders.free(node.id, node.free, {node.boot_seq, node.sequence})});
    }
    return list;
  }
};

}  // namespace cairn::pool
