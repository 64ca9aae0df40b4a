#pragma once
// ShardMover: gives one shard to a further holder, by copying it from here or rebuilding it from its siblings.
//
// Works for who holds any shard of the pack: the header there carries every slot's Merkle root, so no key is needed.
// One throttle bounds all that is moved by this node, whoever asks (repair, drain, rebalancing). Nothing is dropped
// here: the caller does, when the new holder's own claim is known (wait_for_claim).

#include <map>
#include <optional>
#include <set>

#include "peer/peers.h"
#include "pool/holder.h"
#include "pool/holder_table.h"
#include "pool/placement.h"
#include "pool/throttle.h"

namespace cairn::pool {

// A pack as this node sees it: its header, and who claims which slot.
struct PackPicture {
  struct Holding {
    NodeId node;
    ClaimState state = ClaimState::held;  // held or leaving
  };
  content::PackHeader header;
  std::vector<std::vector<Holding>> slots;  // by slot; also of nodes that are not there now
  std::vector<uint8_t> here;                // slots that lie in this node's stores
  std::vector<NodeId> placed;               // were given a shard just now, and have not claimed it yet
  std::vector<uint8_t> gone;                // slots of which somebody said that it has gone

  bool involves(const NodeId& node) const;  // claims any slot, or soon will
};

struct MoverOptions {
  uint64_t bytes_per_second = kMoveRate;
  // For the simulator's mutants only: rules that are broken.
  bool without_domains = false, without_proofs = false;
};

struct MoverCounters {
  uint64_t moved = 0, rebuilt = 0, failed = 0;  // shards
  uint64_t bytes_fetched = 0, bytes_sent = 0;   // of frames, to rebuild and to deliver
  uint64_t bytes_placed = 0;                    // shards that have a new holder
  uint64_t bad_sources = 0;                     // answers that failed their proof
};

// Strand only. `peers` and `holder` outlive it; its tasks belong to the callers.
class ShardMover {
 public:
  ShardMover(env::World world, peer::Peers& peers, Holder& holder, MoverOptions options = {});

  // Code::not_found when no shard of it is here.
  env::Task<Result<PackPicture>> look(PackId pack);
  // At several, for walks: few jobs for all of them, not some for each. Nothing: look at that one alone.
  env::Task<std::vector<std::optional<PackPicture>>> look(std::vector<PackId> packs);

  // The next node for a shard of this pack: lends, is alive, has room and no part of the pack; domains with the fewest
  // of its live shards first, so that domain_cap() is passed only where the pool has too few domains. `leaving`: a
  // node whose shard does not count for its domain, because it moves away.
  std::optional<NodeId> choose(const PackPicture& picture, const std::set<NodeId>& avoid,
                               const NodeId& leaving = {}) const;
  // Would a shard more take its domain past domain_cap()?
  bool over_cap(const PackPicture& picture, const NodeId& node, const NodeId& leaving = {}) const;

  // Both give the new holder, that has it durably by its receipt. `to`: this node and no other. `urgent`: does not
  // stand back for foreground work. Errors: not_found (nothing of it is here), too_few_peers (fewer than k sources),
  // no_space (nobody takes it), unreachable, timeout, damaged (the writer's roots are those of no pack).
  //
  // A shard that lies here, from here.
  env::Task<Result<NodeId>> move(ShardId shard, std::optional<NodeId> to = {}, bool urgent = false);
  // From whoever has it, else from k others; checked against the header's root.
  env::Task<Result<NodeId>> rebuild(ShardId shard, std::optional<NodeId> to = {}, bool urgent = false);

  // Are clients served just now? Background work then stands back.
  bool serves_clients();

  // Until `node` is known to claim the shard; Code::timeout.
  env::Task<Status> wait_for_claim(ShardId shard, NodeId node, Duration timeout);

  // What audits have to say; each may be empty.
  struct Trust {
    std::function<bool(const ShardId&, const NodeId&)> bad_source;  // asked of every source before it is used
    std::function<bool(const NodeId&)> bad_keeper;                  // asked of every node before it is given a shard
    std::function<bool(const NodeId&)> last_choice;                 // such a node is given one if nobody else can be
    std::function<void(const ShardId&, const NodeId&)> found_bad;   // told of sources whose bytes failed their proof
  };
  void set_trust(Trust trust) { trust_ = std::move(trust); }
  MoverCounters counters() const { return counters_; }
  Throttle& throttle() { return throttle_; }

 private:
  struct Source {
    uint8_t slot = 0;
    NodeId node;  // this node itself: from its stores
  };
  struct Piece {
    Source source;
    Result<Buffer> bytes;
  };
  struct Gathering;

  void draw(PackPicture& picture, const std::vector<Claim>& claims);
  bool believed(const PackPicture& picture, const NodeId& node) const;
  std::vector<Source> sources(const PackPicture& picture, uint8_t slot, bool direct) const;
  env::Task<Result<Buffer>> read_here(ShardId shard, uint32_t offset, uint32_t length);
  env::Task<Result<Buffer>> fetch(const PackPicture& picture, Source source, uint32_t offset, uint32_t length);
  env::Task<Result<std::vector<Piece>>> fetch_step(const PackPicture& picture, Gathering& gathering, uint32_t offset,
                                                   uint32_t length);
  env::Task<Result<Buffer>> gather(const PackPicture& picture, uint8_t slot, bool direct, bool urgent);
  env::Task<std::optional<NodeId>> find_target(PackPicture& picture, uint8_t slot, NodeId leaving);
  env::Task<Result<NodeId>> deliver(const PackPicture& picture, uint8_t slot, Buffer shard, std::optional<NodeId> to,
                                    bool or_others, NodeId leaving, bool urgent);
  env::Task<Status> put(const PackPicture& picture, uint8_t slot, uint32_t crc, Buffer shard, NodeId to);

  env::World world_;
  peer::Peers& peers_;
  Holder& holder_;
  const MoverOptions options_;
  HolderTable table_;  // who is full
  Throttle throttle_;
  env::Semaphore places_;
  MoverCounters counters_;
  uint64_t served_ = 0;  // requests of clients, as of the last look
  std::optional<Time> served_at_;
  struct Placed {
    NodeId node;
    Time until{};
  };
  std::multimap<PackId, Placed> placed_;  // shards whose claims are on their way
  Trust trust_;
};

}  // namespace cairn::pool
