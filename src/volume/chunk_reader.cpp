#include "volume/chunk_reader.h"

#include "content/chunk.h"
#include "volume/keys.h"
#include "volume/pack_ref.h"

namespace cairn::volume {

namespace {

// Records of packs of 16 MiB that are kept in memory: 64 GiB of a volume in some 1 MiB.
constexpr size_t kKnownPacks = 4096;
// Chunks that compress well: so much of a file comes in one piece, and a chunk more.
constexpr uint64_t kMostPiece = 2 * kMiB;

}  // namespace

ChunkReader::ChunkReader(env::World world, PackIo& packs, const content::VolumeKeys& keys, bool hashed_ids,
                         TransferDepth depth)
    : world_(world), packs_(packs), keys_(keys), hashed_ids_(hashed_ids), depth_(depth) {}

env::Task<Result<pool::PackRef>> ChunkReader::find_pack(std::shared_ptr<ItemReader> items, PackId id) {
  if (const auto known = known_.find(id); known != known_.end()) co_return known->second;
  auto value = co_await items->get(pack_key(id));
  if (!value) co_return fail(std::move(value.error()));
  if (!*value) co_return fail(Code::damaged, "no record of pack " + id.short_hex());
  auto pack = decode_pack_ref(**value);
  if (!pack) co_return fail(std::move(pack.error()));
  if (known_.size() >= kKnownPacks) known_.clear();
  known_.emplace(id, *pack);
  co_return pack;
}

env::Task<Result<std::vector<ReadRun>>> ChunkReader::plan(std::shared_ptr<ItemReader> items,
                                                          std::vector<Extent> extents) {
  std::vector<ReadRun> runs;
  for (Extent& extent : extents) {
    if (!runs.empty() && runs.back().pack.id == extent.pack) {
      ReadRun& run = runs.back();
      const uint32_t lane = std::max(run.pack.geometry.shard_length, 1U);
      const bool same_lane = run.offset / lane == (uint64_t{extent.pack_offset} + extent.sealed_length - 1) / lane;
      const bool follows = extent.pack_offset == run.offset + run.length;
      const bool again = extent.chunk == run.extents.back().chunk;  // another part of the chunk before
      if (again || (follows && same_lane && run.length + extent.sealed_length <= kReadRun)) {
        if (!again) run.length += extent.sealed_length;
        run.extents.push_back(std::move(extent));
        continue;
      }
    }
    auto pack = co_await find_pack(items, extent.pack);
    if (!pack) co_return fail(std::move(pack.error()));
    ReadRun run{.pack = std::move(*pack), .extents = {}, .offset = extent.pack_offset, .length = extent.sealed_length};
    run.extents.push_back(std::move(extent));
    runs.push_back(std::move(run));
  }
  co_return runs;
}

Result<ByteView> ChunkReader::sealed_chunk(const ReadRun& run, const Extent& extent, ByteView sealed) {
  const uint32_t at = extent.pack_offset - run.offset;
  if (at > sealed.size() || sealed.size() - at < extent.sealed_length) return fail(Code::corrupt, "short read");
  return sealed.subspan(at, extent.sealed_length);
}

Result<Buffer> ChunkReader::open_chunk(const ReadRun& run, const Extent& extent, ByteView sealed) const {
  auto chunk = sealed_chunk(run, extent, sealed);
  if (!chunk) return fail(std::move(chunk.error()));
  const auto length = content::sealed_plain_length(*chunk);
  if (!length) return fail(length.error());
  Buffer plain(*length);
  CAIRN_TRY(content::open_chunk_into(keys_, extent.chunk, content::ChunkType::data, *chunk, plain.span(), hashed_ids_));
  return plain;
}

Result<std::vector<ChunkReader::Opened>> ChunkReader::open(const ReadRun& run, ByteView sealed) const {
  std::vector<Opened> chunks;
  chunks.reserve(run.extents.size());
  for (const Extent& extent : run.extents) {
    if (!chunks.empty() && chunks.back().chunk == extent.chunk) continue;
    auto plain = open_chunk(run, extent, sealed);
    if (!plain) return fail(std::move(plain.error()));
    chunks.push_back({extent.chunk, std::move(*plain)});
  }
  return chunks;
}

// How many extents from `first` on are whole chunks, each where the one before ends: the bytes of a file as it was
// written.
Result<size_t> ChunkReader::whole_chunks(const ReadRun& run, size_t first, ByteView sealed) {
  size_t count = 0;
  for (uint64_t bytes = 0; first + count < run.extents.size() && bytes < kMostPiece; ++count) {
    const Extent& extent = run.extents[first + count];
    if (count > 0 && extent.offset != run.extents[first + count - 1].end()) break;
    auto chunk = sealed_chunk(run, extent, sealed);
    if (!chunk) return fail(std::move(chunk.error()));
    const auto length = content::sealed_plain_length(*chunk);
    if (!length) return fail(length.error());
    if (extent.chunk_offset != 0 || extent.length != *length) break;
    bytes += extent.length;
  }
  return count;
}

// Whole chunks that follow one another are opened into one piece.
Result<std::vector<FileReader::Piece>> ChunkReader::open_pieces(const ReadRun& run, ByteView sealed) const {
  std::vector<FileReader::Piece> pieces;
  Buffer plain;
  std::optional<ChunkId> opened;
  for (size_t i = 0; i < run.extents.size();) {
    auto whole = whole_chunks(run, i, sealed);
    if (!whole) return fail(std::move(whole.error()));
    if (*whole > 1) {
      const uint64_t begin = run.extents[i].offset;
      Buffer all(run.extents[i + *whole - 1].end() - begin);
      for (const size_t end = i + *whole; i < end; ++i) {
        const Extent& extent = run.extents[i];
        const MutableByteView into = all.span().subspan(extent.offset - begin, extent.length);
        CAIRN_TRY(content::open_chunk_into(keys_, extent.chunk, content::ChunkType::data,
                                           *sealed_chunk(run, extent, sealed), into, hashed_ids_));
      }
      // The last may go on in a further extent.
      plain = all.slice(run.extents[i - 1].offset - begin, run.extents[i - 1].length);
      opened = run.extents[i - 1].chunk;
      pieces.push_back({begin, std::move(all)});
      continue;
    }
    const Extent& extent = run.extents[i++];
    if (opened != extent.chunk) {
      auto chunk = open_chunk(run, extent, sealed);
      if (!chunk) return fail(std::move(chunk.error()));
      plain = std::move(*chunk);
      opened = extent.chunk;
    }
    if (uint64_t{extent.chunk_offset} + extent.length > plain.size())
      return fail(Code::corrupt, "extent beyond its chunk");
    pieces.push_back({extent.offset, plain.slice(extent.chunk_offset, extent.length)});
  }
  return pieces;
}

template <class T>
env::Task<Result<T>> ChunkReader::fetch(ReadRun run, Result<T> (ChunkReader::*open)(const ReadRun&, ByteView) const) {
  ++requests_;
  // Opened on the workers; nearly always the bytes are right at once.
  auto sealed =
      co_await packs_.read(run.pack, run.offset, run.length, [](ByteView) { return true; }, pool::Purpose::data);
  if (!sealed) co_return fail(std::move(sealed.error()));
  auto opened = co_await world_.workers.run([&] { return (this->*open)(run, sealed->view()); });
  if (opened) co_return opened;
  world_.log.warning("chunks_did_not_open", "pack={} offset={} length={}", run.pack.id.short_hex(), run.offset,
                     run.length);
  ++requests_;
  auto again = co_await packs_.read(
      run.pack, run.offset, run.length, [&](ByteView bytes) { return (this->*open)(run, bytes).has_value(); },
      pool::Purpose::data);
  if (!again) co_return fail(std::move(again.error()));
  opened = co_await world_.workers.run([&] { return (this->*open)(run, again->view()); });
  co_return opened;
}

env::Task<Result<std::vector<ChunkReader::Opened>>> ChunkReader::read_chunks(ReadRun run) {
  return fetch(std::move(run), &ChunkReader::open);
}

env::Task<Result<std::vector<FileReader::Piece>>> ChunkReader::read(ReadRun run) {
  return fetch(std::move(run), &ChunkReader::open_pieces);
}

}  // namespace cairn::volume
