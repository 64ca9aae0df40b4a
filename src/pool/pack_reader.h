#pragma once
// Reads byte ranges of packs: from the one holder of the lane when all is well, else from k others.

#include <set>

#include "pool/client_state.h"
#include "pool/locator.h"
#include "pool/proven_ranges.h"
#include "proto/pack.pb.h"

namespace cairn::pool {

// Strand only. `state` and `locator` outlive it and its tasks.
class PackReader {
 public:
  PackReader(ClientState& state, PackLocator& locator);

  // See PoolClient::read.
  env::Task<Result<Buffer>> read(PackRef ref, uint32_t offset, uint32_t length, PoolClient::Check check,
                                 Purpose purpose);

 private:
  // A range within one slot.
  struct Range {
    uint8_t slot = 0;
    uint32_t offset = 0, length = 0;
    Purpose purpose = Purpose::data;
    // Whole leaves that cover it, as a proof needs them.
    uint32_t first_leaf() const { return offset / kLeafSize; }
    uint32_t start() const { return first_leaf() * kLeafSize; }
    uint32_t end(uint32_t shard_length) const;
  };
  struct Outcome {
    bool degraded = false;
    Result<Buffer> bytes;
  };
  struct Piece {  // an answer with a proof
    uint8_t slot = 0;
    NodeId node;
    Result<Buffer> bytes;  // whole leaves, proven. Code::corrupt: wrong bytes
  };
  class Reconstruction;
  // A decoding that is under way, for who wants another lane of it.
  class Decoding;

  env::Task<Result<Buffer>> read_lane(PackRef ref, Range range, PoolClient::Check check);
  env::Task<Result<Buffer>> read_proven(PackRef ref, Range range);
  // The range from others than `skip` (who gave wrong bytes: skip_wrong), proven: from another holder of the slot, or
  // decoded from k slots.
  env::Task<Result<Buffer>> reconstruct(PackRef ref, Range range, NodeId skip, bool skip_wrong);
  env::Task<Result<Buffer>> ask_plain(PackRef ref, Range range, NodeId node);
  env::Task<Piece> ask_proven(PackRef ref, std::shared_ptr<const content::PackHeader> header, Range range, NodeId node);
  // The range out of k pieces. What else of the data lanes is then known is kept.
  env::Task<Result<Buffer>> decode(std::shared_ptr<const content::PackHeader> header, Range range,
                                   std::vector<Piece> pieces);
  // Until the decoding that is under way over the same range of another lane has ended, if there is one.
  env::Task<void> other_decoding(PackId pack, Range range);
  // One request for a range, counted.
  env::Task<Result<peer::Answer<wire::ShardGetResponse>>> ask(PackRef ref, Range range, NodeId node, bool proof);
  std::optional<NodeId> choose(const PackRef& ref, uint8_t slot);
  // What a request's failure says about the holder.
  void note_failure(const PackRef& ref, uint8_t slot, const NodeId& node, const Error& error);

  ClientState& state_;
  PackLocator& locator_;
  env::Semaphore memory_, decode_memory_;
  ProvenRanges proven_;    // from the slots' own holders
  ProvenRanges computed_;  // decoded: only for who cannot have them from a holder, or else its rot would stay hidden
  std::map<uint64_t, Decoding*> decodings_;  // by number
  uint64_t last_decoding_ = 0;
  env::Signal decoded_;
};

}  // namespace cairn::pool
