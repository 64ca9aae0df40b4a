#include "volume/chunk_reader.h"

#include "content/chunk.h"
#include "volume/keys.h"
#include "volume/pack_ref.h"

namespace cairn::volume {

namespace {

// Records of packs of 16 MiB that are kept in memory: 64 GiB of a volume in some 1 MiB.
constexpr size_t kKnownPacks = 4096;

}  // namespace

ChunkReader::ChunkReader(env::World world, PackIo& packs, const content::VolumeKeys& keys, bool hashed_ids)
    : world_(world), packs_(packs), keys_(keys), hashed_ids_(hashed_ids) {}

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

Result<std::vector<ChunkReader::Opened>> ChunkReader::open(const ReadRun& run, ByteView sealed) const {
  std::vector<Opened> chunks;
  chunks.reserve(run.extents.size());
  for (const Extent& extent : run.extents) {
    if (!chunks.empty() && chunks.back().chunk == extent.chunk) continue;
    const uint32_t at = extent.pack_offset - run.offset;
    if (at > sealed.size() || sealed.size() - at < extent.sealed_length) return fail(Code::corrupt, "short read");
    const ByteView chunk = sealed.subspan(at, extent.sealed_length);
    const auto length = content::sealed_plain_length(chunk);
    if (!length) return fail(length.error());
    Buffer plain(*length);
    CAIRN_TRY(
        content::open_chunk_into(keys_, extent.chunk, content::ChunkType::data, chunk, plain.span(), hashed_ids_));
    chunks.push_back({extent.chunk, std::move(plain)});
  }
  return chunks;
}

env::Task<Result<std::vector<ChunkReader::Opened>>> ChunkReader::read_chunks(ReadRun run) {
  ++requests_;
  // Opened on the workers; nearly always the bytes are right at once.
  auto sealed =
      co_await packs_.read(run.pack, run.offset, run.length, [](ByteView) { return true; }, pool::Purpose::data);
  if (!sealed) co_return fail(std::move(sealed.error()));
  auto chunks = co_await world_.workers.run([&] { return open(run, sealed->view()); });
  if (chunks) co_return chunks;
  world_.log.warning("chunks_did_not_open", "pack={} offset={} length={}", run.pack.id.short_hex(), run.offset,
                     run.length);
  ++requests_;
  auto again = co_await packs_.read(
      run.pack, run.offset, run.length, [&](ByteView bytes) { return open(run, bytes).has_value(); },
      pool::Purpose::data);
  if (!again) co_return fail(std::move(again.error()));
  chunks = co_await world_.workers.run([&] { return open(run, again->view()); });
  co_return chunks;
}

env::Task<Result<std::vector<FileReader::Piece>>> ChunkReader::read(ReadRun run) {
  const std::vector<Extent> extents = run.extents;
  auto chunks = co_await read_chunks(std::move(run));
  if (!chunks) co_return fail(std::move(chunks.error()));
  std::vector<FileReader::Piece> pieces;
  pieces.reserve(extents.size());
  auto chunk = chunks->begin();
  for (const Extent& extent : extents) {
    if (extent.chunk != chunk->chunk) ++chunk;
    if (uint64_t{extent.chunk_offset} + extent.length > chunk->plain.size())
      co_return fail(Code::corrupt, "extent beyond its chunk");
    pieces.push_back({extent.offset, chunk->plain.slice(extent.chunk_offset, extent.length)});
  }
  co_return pieces;
}

}  // namespace cairn::volume
