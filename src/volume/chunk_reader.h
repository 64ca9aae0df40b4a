#pragma once
// ChunkReader: the bytes of extents out of packs. Shared by all views of a volume.

#include <unordered_map>

#include "env/world.h"
#include "volume/items.h"
#include "volume/pack_io.h"
#include "volume/view.h"

namespace cairn::volume {

// Extents whose sealed chunks lie one after the other in one lane of one pack: one request.
struct ReadRun {
  pool::PackRef pack;
  std::vector<Extent> extents;
  uint32_t offset = 0, length = 0;  // of the sealed bytes in the pack
};

class ChunkReader {
 public:
  ChunkReader(env::World world, PackIo& packs, const content::VolumeKeys& keys, bool hashed_ids,
              TransferDepth depth = kSparing);

  env::World world() const { return world_; }

  // Cuts extents, in the order of the file, into runs of at most kReadRun. Pack records come from `items`.
  // Code::damaged when a pack record is missing.
  env::Task<Result<std::vector<ReadRun>>> plan(std::shared_ptr<ItemReader> items, std::vector<Extent> extents);
  // The chunks of a run as a whole, in order; one that has several of the run's extents comes once. Bytes of a holder
  // that are not what was sealed are asked for again elsewhere.
  struct Opened {
    ChunkId chunk;
    Buffer plain;
  };
  env::Task<Result<std::vector<Opened>>> read_chunks(ReadRun run);
  // The pieces of a run, in order.
  env::Task<Result<std::vector<FileReader::Piece>>> read(ReadRun run);

  uint64_t requests() const { return requests_; }
  // Whether the reader of a file that has asked for so many runs and not taken them yet may ask for one more: each may
  // have one.
  bool may_ask(size_t ahead) const {
    return ahead == 0 || (ahead < depth_.read_ahead && runs_ahead_ < depth_.read_ahead_of_all);
  }
  void count_ahead(ptrdiff_t more) { runs_ahead_ += static_cast<size_t>(more); }

 private:
  env::Task<Result<pool::PackRef>> find_pack(std::shared_ptr<ItemReader> items, PackId id);
  static Result<ByteView> sealed_chunk(const ReadRun& run, const Extent& extent, ByteView sealed);
  static Result<size_t> whole_chunks(const ReadRun& run, size_t first, ByteView sealed);
  Result<Buffer> open_chunk(const ReadRun& run, const Extent& extent, ByteView sealed) const;
  Result<std::vector<Opened>> open(const ReadRun& run, ByteView sealed) const;
  Result<std::vector<FileReader::Piece>> open_pieces(const ReadRun& run, ByteView sealed) const;
  // The sealed bytes, and what `open` makes of them.
  template <class T>
  env::Task<Result<T>> fetch(ReadRun run, Result<T> (ChunkReader::*open)(const ReadRun&, ByteView) const);

  env::World world_;
  PackIo& packs_;
  content::VolumeKeys keys_;
  bool hashed_ids_;
  std::unordered_map<PackId, pool::PackRef> known_;  // pack records, at most kKnownPacks
  uint64_t requests_ = 0;
  TransferDepth depth_;
  size_t runs_ahead_ = 0;  // of all files together
};

}  // namespace cairn::volume
