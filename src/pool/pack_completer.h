#pragma once
// PackCompleter: what an owner does for a pack that lacks shards, at once, where its holders would let a grace pass:
// reads the data lanes, encodes what is missing, and gives it to nodes that have no part of the pack.

#include "pool/pack_reader.h"

namespace cairn::pool {

// Strand only. What it is given outlives it and its tasks.
class PackCompleter {
 public:
  PackCompleter(ClientState& state, PackLocator& locator, PackReader& reader)
      : state_(state), locator_(locator), reader_(reader), places_(state.world.executor, 1) {}

  // See PoolClient::complete. One pack at a time: it is in memory as a whole.
  env::Task<Result<Completion>> complete(PackRef ref, PoolClient::Answers answers);

 private:
  env::Task<Result<std::vector<Buffer>>> read_lanes(PackRef ref, std::shared_ptr<const content::PackHeader> header);
  env::Task<Status> place(std::shared_ptr<const content::PackHeader> header, uint8_t slot, Buffer shard,
                          std::vector<NodeId> holders, Placer& placer, NodeId& placed);

  ClientState& state_;
  PackLocator& locator_;
  PackReader& reader_;
  env::Semaphore places_;
};

}  // namespace cairn::pool
