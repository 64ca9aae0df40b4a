#pragma once
// Claims: a holder's signed statements about its own shards, and the index in which a node keeps those that it knows.

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "base/ids.h"
#include "crypto/signature.h"
#include "env/meta_store.h"
#include "proto/common.pb.h"

namespace cairn::pool {

// Numbers are those of wire.HoldClaim.State.
enum class ClaimState : uint8_t {
  held = 1,     // verified against the Merkle root
  leaving = 2,  // still there, to be moved elsewhere
  gone = 3,
};

struct Claim {
  ShardId shard;
  NodeId node;
  uint64_t boot_seq = 0, sequence = 0;  // of two claims of one node for one shard the larger pair counts
  ClaimState state = ClaimState::held;
  Bytes signed_message;  // wire.Signed

  bool newer_than(const Claim& other) const {
    return std::pair(boot_seq, sequence) > std::pair(other.boot_seq, other.sequence);
  }
  // Signs.
  static Claim make(const crypto::PrivateKey& device, const NodeId& node, ShardId shard, uint64_t boot_seq,
                    uint64_t sequence, ClaimState state);
  // From the bytes of a wire.Signed, with form and signature checked, and that the signer is the node that it speaks
  // of. Code::corrupt.
  static Result<Claim> check(ByteView signed_message);
  // What a session with `from` brings: of its own claims the signature is not checked here. The session has proven who
  // speaks, and everybody who is told of the claim by another checks it.
  static Result<Claim> heard(ByteView signed_message, const NodeId& from);
  // The same without the signature: for what was checked, or heard, before it was kept.
  static Result<Claim> read(ByteView signed_message);
};

// Of what somebody tells about packs that were asked for: the claims of `packs` that are rightly signed. Blocks (it
// checks signatures): from Workers.
std::vector<Claim> checked_claims(const google::protobuf::RepeatedPtrField<wire::Signed>& messages,
                                  const std::set<PackId>& packs);

// Whether the node claims a slot of the pack, whose claims these are, beside this one: also where its disk is missing
// and nothing has been taken back yet.
bool claims_another(const std::vector<Claim>& claims, const NodeId& node, uint8_t slot);

// Equal at two nodes that know the same claims of a pack.
Hash digest_of(const std::vector<Claim>& claims);

// The claims that a node knows, on its disk. All calls block (make them from Workers) and may come from any thread.
//
// Keys, all identifiers raw, so that both questions are one walk over neighbours:
//   'p' pack 32 | slot 1 | node 32  -> wire.Signed          who holds this pack?
//   'n' node 32 | pack 32 | slot 1  -> state 1              what does (did) this node hold? Not when it is gone.
//   'u' node 32 | boot_seq 8 | sequence 8 (big-endian) -> pack 32 | slot 1
//                                      `node` has not been told the own claim of this number, or the one that has
//                                      taken its place
//   'd' node 32                     -> what this node notes of that one (node_scores.h)
//   'c'                             -> present: closed cleanly, every verified shard has its claim
class ClaimIndex {
 public:
  static Result<std::unique_ptr<ClaimIndex>> open(env::MetaStores& stores, const std::string& path, const NodeId& self);

  // Takes in checked claims of others; those that were news. An older one than the known is not, and a pack keeps at
  // most kMaxClaimsPerPack.
  Result<std::vector<Claim>> accept(const std::vector<Claim>& claims);

  struct Announcement {
    Claim claim;               // this node's own
    std::vector<NodeId> tell;  // besides those who have a claim for this pack here
  };
  // Durable when it returns, with the list of who is to be told.
  Status announce(const std::vector<Announcement>& announcements);
  // Own claims of this pack are to be told to `node` too.
  Status tell(const NodeId& node, const std::vector<PackId>& packs);

  Result<std::vector<Claim>> of_pack(const PackId& pack);
  // For each of them, in one walk.
  Result<std::vector<std::vector<Claim>>> of_packs(const std::vector<PackId>& packs);
  // Shards that this node holds by its own claims, in order of their IDs, after `after`.
  Result<std::vector<ShardId>> of_node(const NodeId& node, std::optional<ShardId> after, size_t limit);

  struct Untold {
    std::string key;
    Claim claim;
  };
  // Nodes that there may be something to tell.
  std::vector<NodeId> untold_nodes();
  // The longest untold first; each claim as it is now.
  Result<std::vector<Untold>> untold(const NodeId& node, size_t limit);
  // What untold() gave for this node.
  Status told(const NodeId& node, const std::vector<Untold>& done);
  // The pack is dead and nothing of it is here: what others hold or held of it is of no interest any more.
  Status forget_others(const PackId& pack);
  // Nobody is left to be told.
  Status forget_untold(const NodeId& node);

  // What is noted of nodes.
  Result<std::vector<std::pair<NodeId, std::string>>> notes();
  Status set_notes(const std::vector<std::pair<NodeId, std::string>>& notes);

  // Was it closed cleanly? Forgets it, durably.
  Result<bool> take_clean_mark();
  Status set_clean_mark();

 private:
  // Where a walk over what a node is to be told begins: before it lie only removed keys, which a store passes one by
  // one until it has thrown them away, some thousands of them with each batch.
  struct Front {
    std::string from;   // nothing is untold before this key
    std::string added;  // the least key that came after the last untold(); empty: none
    bool last = false;  // that one gave all
  };

  ClaimIndex(std::unique_ptr<env::MetaStore> store, const NodeId& self) : store_(std::move(store)), self_(self) {}
  Result<std::vector<Claim>> of_pack_locked(const PackId& pack);
  // Nothing: there is none.
  Result<std::optional<Claim>> own_claim(const ShardId& shard);
  Status write_claims(const env::WriteBatch& batch, bool sync, std::map<PackId, std::vector<Claim>> as_it_is_then);
  // From the disk by a cursor that is made when it is needed.
  Result<std::vector<Claim>> read_pack(std::unique_ptr<env::Cursor>& cursor, const PackId& pack);
  Status find_fronts();
  void note_untold(env::WriteBatch& batch, const NodeId& node, const Claim& claim);

  std::unique_ptr<env::MetaStore> store_;
  NodeId self_;
  std::mutex mutex_;  // over each read-and-change; never across a suspension, the calls are plain functions
  std::map<NodeId, Front> fronts_;  // of nodes with keys of kind 'u'
  // The claims of packs that were written lately, as they are on the disk: those of one pack come one after the other,
  // from each of its holders, and each time all are asked for.
  std::map<PackId, std::vector<Claim>> recent_;
  std::deque<PackId> recent_order_;
};

}  // namespace cairn::pool
