#pragma once
// DataWriter: chunks of files into packs in the pool, sealed on several workers, with bounded memory.
//
// Chunks wait in a queue. As many packs are filled side by side as there is work for (at most two); each takes runs of
// some MiB, so that the neighbours of a file lie together. A full pack is encoded on a worker and sent while the next
// is being sealed.

#include <deque>
#include <unordered_map>

#include "crypto/signature.h"
#include "env/world.h"
#include "volume/limits.h"
#include "volume/pack_io.h"

namespace cairn::volume {

struct ChunkPlace {
  PackId pack;
  uint32_t offset = 0, length = 0;  // of the sealed chunk
};

class DataWriter {
 public:
  // What it is given outlives it; `writer` and `keys` are copied.
  DataWriter(env::World world, PackIo& packs, content::VolumeKeys keys, crypto::PrivateKey writer,
             int compression_level, uint64_t pack_memory = kSparing.pack_memory);
  ~DataWriter();

  // Takes a chunk; waits while too much is queued. Errors: what a pack that was sent before ended with.
  env::Task<Status> add(ChunkId id, Buffer plain);
  // Until all that was added is in packs at quorum. Packs that could not be sent before are tried again.
  env::Task<Status> flush();

  // Where a chunk is, once its pack is at quorum.
  std::optional<ChunkPlace> find(const ChunkId& chunk) const;
  // Packs at quorum since forget() last dropped them.
  const std::vector<pool::PackRef>& packs() const { return packs_; }
  // Drops the first `count` of packs(), and with `chunks` what find() knows.
  void forget(size_t count, bool chunks);

  // Written into the headers of packs that are finished from now on.
  void set_head_sequence(uint64_t sequence) { head_sequence_ = sequence; }
  uint64_t bytes_added() const { return bytes_added_; }
  uint64_t bytes_placed() const { return bytes_placed_; }
  uint64_t packs_written() const { return packs_written_; }
  // Chunks in packs at quorum, and their bytes as they are sealed.
  uint64_t chunks_placed() const { return chunks_placed_; }
  uint64_t sealed_bytes_placed() const { return sealed_bytes_placed_; }

 private:
  struct Chunk {
    ChunkId id;
    Buffer plain;
  };
  struct Placed {
    ChunkId id;
    content::PackBuilder::Ticket ticket = 0;
  };
  // A pack that is being filled.
  struct Filling {
    std::unique_ptr<content::PackBuilder> builder;
    std::vector<Placed> chunks;
    uint64_t plain_bytes = 0;
    env::Semaphore::Permit memory;
  };
  struct Encoded {
    content::EncodedPack pack;
    std::vector<std::pair<ChunkId, content::PackBuilder::Place>> chunks;
    uint64_t plain_bytes = 0;
    env::Semaphore::Permit memory;
  };

  void start_fillers();
  env::Task<void> fill();
  env::Task<void> send(Filling filling);
  env::Task<void> send_encoded(std::shared_ptr<Encoded> encoded);
  bool work_for_a_filler() const;

  env::World world_;
  PackIo& io_;
  content::VolumeKeys keys_;
  crypto::PrivateKey writer_;
  int compression_level_;
  uint64_t pack_memory_;
  uint64_t head_sequence_ = 0;

  env::Semaphore memory_;  // outlives the packs that hold permits
  env::Signal changed_;
  std::deque<Chunk> queue_;
  uint64_t queued_bytes_ = 0;
  size_t flushing_ = 0;                           // flush() calls under way
  size_t fillers_ = 0;                            // tasks that fill packs
  size_t busy_ = 0;                               // of these, the ones that seal
  size_t sending_ = 0;                            // packs that are encoded or sent
  std::vector<std::shared_ptr<Encoded>> failed_;  // packs that could not be sent, kept for the next flush()
  std::optional<Error> error_;
  std::vector<pool::PackRef> packs_;
  std::unordered_map<ChunkId, ChunkPlace> places_;
  uint64_t bytes_added_ = 0, bytes_placed_ = 0, packs_written_ = 0, chunks_placed_ = 0, sealed_bytes_placed_ = 0;

  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace cairn::volume
