#pragma once
// Where packs are: headers and holders, from hints, claims and what was found when asking. Bounded caches.

#include "pool/claims.h"
#include "pool/client_state.h"
#include "pool/lru.h"

namespace cairn::pool {

// Strand only. `state` outlives it.
class PackLocator {
 public:
  explicit PackLocator(ClientState& state);

  // Nodes thought to hold this slot, the most certain first: by their own claims, then by hint. Without those that said
  // that they do not.
  std::vector<NodeId> holders(const PackRef& ref, uint8_t slot);
  // This node just said that it has no such shard.
  void deny(const PackRef& ref, uint8_t slot, const NodeId& node);

  // Asks siblings for claims, then others that are alive, until every slot has a live holder or all were asked. At most
  // kMaxAsked nodes. When somebody asks already, or did a moment ago, the answer is shared (unless `fresh`).
  // `also`: has to agree to a holder, when given.
  using Also = std::function<bool(const NodeId&)>;
  env::Task<void> locate(PackRef ref, bool fresh = false, Also also = {});
  // By slot, a live holder by its own claim; zero: none.
  std::vector<NodeId> live_holders(const PackRef& ref, const Also& also = {});

  // The signed header, from whoever holds a shard; its hash is the pack's ID. Errors: too_few_peers, damaged (it is not
  // of the reference's geometry).
  env::Task<Result<std::shared_ptr<const content::PackHeader>>> header(PackRef ref);

 private:
  struct Statement {
    uint64_t boot_seq = 0, sequence = 0;  // 0: told in an answer, unsigned, about itself
    bool held = true;
  };
  struct Known {
    std::map<std::pair<uint8_t, NodeId>, Statement> said;
    std::vector<NodeId> siblings;  // as other holders were told: worth asking
    std::optional<Time> located;
  };
  // One task at a time for a pack.
  struct Lock {
    std::unique_ptr<env::Semaphore> semaphore;
    size_t users = 0;
  };
  struct Use;
  struct Answer {
    NodeId from;
    bool ok = false;
    std::vector<Claim> claims;  // checked
    std::vector<uint8_t> held;
    std::vector<NodeId> siblings;
  };
  using Header = std::shared_ptr<const content::PackHeader>;
  struct HeaderAnswer {
    NodeId from;
    Result<Header> header;
  };

  Known& known(const PackId& pack);
  bool complete(const PackRef& ref, const Also& also);
  void take(const PackRef& ref, const Answer& answer);
  // Nodes that may hold a shard of it, by what is known here; the surest first.
  std::vector<NodeId> siblings(const PackRef& ref);
  // All that are alive, in the order in which the pack's shards would be placed.
  std::vector<NodeId> others(const PackRef& ref) const;
  env::Task<Answer> ask(PackRef ref, NodeId node);
  env::Task<Result<Header>> ask_header(PackRef ref, NodeId node);
  env::Task<void> locate_locked(PackRef ref, Also also);
  env::Task<Result<Header>> header_locked(PackRef ref);

  ClientState& state_;
  Lru<PackId, Known> known_;
  Lru<PackId, Header> headers_;
  std::map<PackId, Lock> locks_;
};

}  // namespace cairn::pool
