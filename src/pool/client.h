#pragma once
// The pool as a writer and reader of packs sees it.

#include "content/pack.h"
#include "env/world.h"
#include "peer/peers.h"
#include "pool/placement.h"

namespace cairn::pool {

// What is needed to read a pack, with where it was thought to be (wire.PackRef).
struct PackRef {
  PackId id;
  content::PackGeometry geometry;
  std::vector<NodeId> holders;  // by slot; zero where none was known
};

struct WriteOutcome {
  PackRef ref;
  uint32_t receipts = 0;  // so far
};

// What a range is read for: counted apart.
enum class Purpose : uint8_t { data, tree };
struct ReadCounters {
  uint64_t requests = 0;  // shard_get asked
  uint64_t bytes = 0;     // answers to them on the wire: frame, body and payload
  uint64_t holders = 0;   // different nodes that were asked
};

struct PoolCounters {
  uint64_t packs_written = 0, shards_sent = 0;
  uint64_t packs_below_goal = 0;  // written, and some slot found no holder
  ReadCounters data, tree;
  uint64_t degraded_reads = 0;  // decoded from k others
  uint64_t hedged_reads = 0;    // a slow holder was raced
  uint64_t wrong_bytes = 0;     // answers that failed their hash or tag
  uint64_t claims_queries = 0;  // claims_query asked
};

// Wrong bytes that a holder gave, or rot that it found itself.
struct BadShard {
  NodeId holder;
  ShardId shard;
  std::string what;
};

// What PoolClient::complete() did for a pack.
struct Completion {
  uint32_t missing = 0, placed = 0;  // slots
  std::optional<Error> error;        // why not all were placed
};

struct PoolOptions {
  uint32_t max_packs_in_flight = 3;                 // each takes (k+m)/k * 16 MiB of memory
  Duration put_timeout = std::chrono::seconds(30);  // without anything that moves
  Duration get_timeout = std::chrono::seconds(20);
  Duration hedge_after = std::chrono::milliseconds(300);  // until a holder's own latency is known
  std::optional<std::pair<uint32_t, uint32_t>> code;      // (k, m) by policy; else by the number of live domains
};

// Strand only. `peers` outlives it. Any number of reads and writes may be under way; stop() ends what is left.
class PoolClient {
 public:
  PoolClient(env::World world, peer::Peers& peers, PoolOptions options);
  ~PoolClient();

  // (k, m) for a pack written now: from the number of domains that are alive and have room for a shard. Full ones, and
  // such as are suspected to be dead, make packs narrower but never less safe: when fewer than two losses (or those
  // that all domains together would stand) could be stood, they are counted, and writing says no_space or
  // too_few_peers.
  content::PackGeometry geometry_now() const;
  // What packs should have: by the domains that lend and are alive (or only suspected of not being), full ones too.
  // Unlike geometry_now() it does not change with a node that is slow for a moment.
  Redundancy goal() const;

  // Sends the shards to k+m holders in parallel. Returns as soon as receipts from distinct domains number at least
  // k + ceil(m/2) (at least k+1 when m > 0); the rest is finished behind (settle()), also when this task is destroyed.
  // A holder that fails is replaced by the next in order; one that is slow is raced by it. Waits for a place when
  // max_packs_in_flight are under way.
  // Errors: no_space (full stores stand in the way), too_few_peers.
  env::Task<Result<WriteOutcome>> write(content::EncodedPack pack);
  // Until all slots of all packs written so far have a holder, or cannot get one; the number of packs below their goal
  // since this client began.
  env::Task<uint64_t> settle();

  // A byte range of the pack's layout; one that crosses lanes is read as one range of each. One holder of each
  // is asked; when it is slow, gone, or `check` says no to its bytes, k others are asked for the same range with
  // Merkle proofs, and the range is decoded. A whole lane may be one request. `check` runs on the strand.
  // Errors: too_few_peers (under k slots answered), damaged, bad_input (not a range of this pack).
  using Check = std::function<bool(ByteView)>;
  env::Task<Result<Buffer>> read(PackRef pack, uint32_t offset, uint32_t length, Check check,
                                 Purpose purpose = Purpose::data);

  // How many slots have a live holder, by asking for claims; of those alone that `answers` agrees to, when given. For
  // status and doctor.
  using Answers = std::function<bool(const NodeId&)>;
  env::Task<Result<uint32_t>> live_slots(PackRef pack, Answers answers = {});

  // By slot, a holder that is alive, by its own claim; zero: none was found.
  env::Task<std::vector<NodeId>> live_holders(PackRef pack);
  // Has a holder give its shard to another node; done when it lies there and no longer here. `founding`: of the head
  // register of the pack's volume, which this member owns. Errors: see pool::Drain::move_to; overloaded.
  env::Task<Status> move_shard(ShardId shard, NodeId from, NodeId to, Bytes founding);

  // Gives the slots that have no live holder (that `answers` agrees to) to new ones: encoded anew from the pack's data
  // and checked against the header's roots. Errors: too_few_peers (under k slots are left), damaged.
  env::Task<Result<Completion>> complete(PackRef pack, Answers answers = {});

  PoolCounters counters() const;
  // Called on the strand for every wrong answer.
  void on_bad_shard(std::function<void(const BadShard&)> handler);
  // Ends the work behind where it stands. No read or write may be under way.
  env::Task<void> stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::pool
