#pragma once
// The shard store of one node: one directory on one disk, with a limit.
//
// A store survives kill -9 and power loss at any point: a shard is there whole with its receipt, or not at all. Any
// number of tasks may call on the strand; disk work goes to Workers. See store/FORMAT.md for the layout.

#include <memory>

#include "content/merkle.h"
#include "content/pack.h"
#include "env/world.h"

namespace cairn::store {

struct StoreOptions {
  std::string path;
  uint64_t limit = 0;             // bytes: all files of the store together never take more
  uint64_t keep_free = 0;         // bytes of the file system that stay free whatever the limit says
  double keep_free_share = 0.10;  // the same as a share of the file system; the larger counts
};

struct StoreFigures {
  uint64_t limit = 0;
  uint64_t used = 0;      // bytes on disk
  uint64_t free = 0;      // bytes that it would still accept now
  uint64_t overhead = 0;  // bytes of `used` that are not shards: the index
  uint64_t coming = 0;    // bytes of puts under way, which the disk may have already
  uint64_t going = 0;     // bytes of `used` that are being given back, which it may have back already
  uint64_t shards = 0;
  uint64_t unverified = 0;  // stored, Merkle root not yet checked
  uint64_t corrupt = 0;     // found rotten
};

struct StoredShard {
  content::PackHeader header;
  uint8_t slot = 0;
  bool verified = false;         // the Merkle root was checked against the header
  std::vector<NodeId> siblings;  // planned holders, a hint
};

class ShardStore {
 public:
  // Makes the directory's store when it holds none (`create`), else opens it: the marker file must be there and fit.
  // Code::io "the disk is not mounted?" when the marker is missing although the store was made before.
  static env::Task<Result<std::unique_ptr<ShardStore>>> open(env::World world, StoreOptions options, bool create);
  virtual ~ShardStore() = default;

  virtual StoreId id() const = 0;
  virtual const StoreOptions& options() const = 0;
  virtual StoreFigures figures() const = 0;
  // Counts from now on. A lower limit than what is used takes nothing more and drops nothing; what the index may take
  // follows at the next opening. Code::bad_input, and then nothing has changed.
  virtual Status set_limits(uint64_t limit, uint64_t keep_free, double keep_free_share) = 0;
  // Not taking: puts are refused as by a full store, but for shards that are there.
  virtual void set_taking(bool taking) = 0;

  // Durable when it returns. Checks length and CRC before it counts as stored; room is reserved before any byte is
  // written, so parallel calls never pass the limit. A shard that is there already is success.
  // Errors: corrupt (CRC or length), no_space, io.
  virtual env::Task<Status> put(content::PackHeader header, uint8_t slot, uint32_t crc32c, Buffer bytes,
                                std::vector<NodeId> siblings) = 0;
  // Errors: not_found, corrupt (rot was found; the shard is then dropped from what is held and reported), bad_input.
  virtual env::Task<Result<Buffer>> read(ShardId shard, uint32_t offset, uint32_t length) = 0;
  // Whole leaves that cover the range, with their proof against the slot's root.
  struct ProvenRange {
    uint32_t offset;
    Buffer bytes;
    std::vector<Hash> path;
  };
  virtual env::Task<Result<ProvenRange>> read_proven(ShardId shard, uint32_t offset, uint32_t length) = 0;
  virtual env::Task<Result<StoredShard>> describe(ShardId shard) = 0;
  // For walks, one job for many: which of them are held, by the index alone. Fails as describe() does, for all of them.
  virtual env::Task<Result<std::vector<bool>>> holds(std::vector<ShardId> shards) = 0;
  // Of what is not here, or cannot be read, nothing; describe() says more of it.
  virtual env::Task<std::vector<std::optional<StoredShard>>> describe_all(std::vector<ShardId> shards) = 0;
  // What is here of each of these packs, with the header of the first slot: nothing while the disk is missing.
  struct PackHere {
    std::vector<uint8_t> slots;
    std::optional<content::PackHeader> header;
    std::vector<NodeId> siblings;  // with the header
  };
  virtual env::Task<std::vector<PackHere>> describe_packs(std::vector<PackId> packs) = 0;
  // The slots of this pack that are held here: none while the disk is missing.
  virtual env::Task<std::vector<uint8_t>> slots_of(PackId pack) = 0;
  // The space is given back (holes are punched) behind. Code::not_found.
  virtual env::Task<Status> remove(ShardId shard) = 0;

  // Gives back at once what was reserved ahead of need.
  virtual env::Task<Status> trim() = 0;

  // Walks held shards in the order of their IDs, from `after` (exclusive).
  virtual env::Task<std::vector<ShardId>> list(std::optional<ShardId> after, size_t limit) = 0;

  // Called on the strand when a shard's root was checked behind: ok, or the writer's fault (the shard is dropped).
  struct Verified {
    ShardId shard;
    bool ok;
    NodeId writer;
    std::vector<NodeId> siblings;
  };
  virtual void on_verified(std::move_only_function<void(const Verified&)> handler) = 0;
  // Called on the strand when a read or the scrub finds rot.
  virtual void on_rot(std::move_only_function<void(ShardId)> handler) = 0;

  // Reads everything again in the background at `bytes_per_second`; returns when all was read once.
  virtual env::Task<Status> scrub(uint64_t bytes_per_second) = 0;
  // Until everything stored so far is verified.
  virtual env::Task<Status> settle() = 0;
  // Ends background work and closes cleanly. Calls that are under way end well or with an error, later ones fail.
  virtual env::Task<void> close() = 0;

  // Removes a closed store with all that it holds; what else lies in the directory stays, and so does the directory.
  // One that was removed in part, or before, is success.
  static env::Task<Status> erase(env::World world, std::string path);
};

// describe_all(), and each of which that says nothing alone.
inline env::Task<std::vector<std::optional<StoredShard>>> describe_each(ShardStore& store,
                                                                        std::vector<ShardId> shards) {
  auto described = co_await store.describe_all(shards);
  for (size_t i = 0; i < shards.size(); ++i) {
    if (described[i]) continue;
    auto alone = co_await store.describe(shards[i]);
    if (alone) described[i] = std::move(*alone);
  }
  co_return described;
}

}  // namespace cairn::store
