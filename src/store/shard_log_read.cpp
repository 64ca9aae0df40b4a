// ShardLog: the calls that any thread may make.

#include "base/crc32c.h"
#include "store/shard_log.h"

namespace cairn::store {

Result<std::optional<IndexEntry>> ShardLog::find(const ShardId& shard) {
  auto entry = index_->find(shard);
  if (!entry && entry.error().code == Code::corrupt) index_damaged();
  return entry;
}

void ShardLog::index_damaged() {
  if (damage_noted_.exchange(true)) return;
  world_.log.error("store_index_damaged", "path={} note=\"it is rebuilt at the next start\"", options_.path);
  if (auto status = env::write_file(world_.disk, damage_path(), as_bytes("rebuild\n")); !status) {
    world_.log.error("store_index_damaged", "error=\"{}\"", to_string(status.error()));
  }
}

Result<RecordHeader> ShardLog::read_header(const ShardId& shard, const Place& place, bool from_disk) {
  if (place.header_length > kMaxRecordHeader || place.payload_length > kMaxShardSize) {
    return fail(Code::corrupt, "index entry");
  }
  if (!from_disk) {
    const std::lock_guard lock(headers_mutex_);
    const auto known = headers_.find({place.segment, place.block});
    if (known != headers_.end() && known->second.shard == shard && known->second.place() == place) return known->second;
  }
  auto file = files_.get(place.segment);
  if (!file) return fail(std::move(file.error()), "segment");
  // Past the cache, of which an ordinary read would fill a good part with what lies behind the header.
  const bool large = place.payload_length >= kBlockAlignedPayload;
  Buffer raw(large ? kAlignedBuffer : place.header_length);
  const MutableByteView into =
      raw.span().first(large ? payload_start(place.header_length, place.payload_length) : place.header_length);
  auto got = large ? (*file)->read_past_cache(place.offset(), into) : (*file)->read_at(place.offset(), into);
  if (!got) return fail(std::move(got.error()), "record");
  auto header = RecordHeader::decode(into.first(*got), marker_.stamp, place.segment, place.block);
  if (!header) return fail(Code::corrupt, std::move(header.error().context));
  if (header->shard != shard || header->place() != place) return fail(Code::corrupt, "the record of another shard");
  const std::lock_guard lock(headers_mutex_);
  if (headers_.size() >= kKnownHeaders) headers_.clear();
  headers_.insert_or_assign({place.segment, place.block}, *header);
  return header;
}

Result<Buffer> ShardLog::read_leaves(const RecordHeader& header, uint32_t first, uint32_t last) {
  CAIRN_ASSERT(first <= last && last < header.leaf_crcs.size());
  auto file = files_.get(header.segment);
  if (!file) return fail(std::move(file.error()), "segment");
  const uint32_t begin = first * kLeafSize;
  const uint32_t end = std::min(header.payload_length, (last + 1) * kLeafSize);
  const bool stream = end - begin >= kReadPastCache;
  // Whole blocks of a stream: what follows a payload in its last block is read with it.
  Buffer bytes(stream ? (end - begin + kBlockSize - 1) / kBlockSize * kBlockSize : end - begin);
  const uint64_t at_disk = header.place().payload_offset() + begin;
  auto got = stream ? (*file)->read_past_cache(at_disk, bytes.span()) : (*file)->read_at(at_disk, bytes.span());
  if (!got) return fail(std::move(got.error()), "record");
  if (*got < end - begin) return fail(Code::corrupt, "the segment is cut off");
  bytes = bytes.slice(0, end - begin);
  for (uint32_t leaf = first; leaf <= last; ++leaf) {
    const uint32_t at = leaf * kLeafSize - begin;
    const uint32_t length = std::min(kLeafSize, end - begin - at);
    if (crc32c(bytes.view().subspan(at, length)) != header.leaf_crcs[leaf]) {
      return fail(Code::corrupt, fmt::format("leaf {} fails its checksum", leaf));
    }
  }
  return bytes;
}

Result<Bytes> ShardLog::read_trailer(const Place& place) {
  const size_t size = leaf_count(place.payload_length) * Hash::kSize;
  const uint32_t blocks = trailer_blocks(place.payload_length);
  if (blocks == 0) return Bytes();
  auto file = files_.get(place.segment);
  if (!file) return fail(std::move(file.error()), "segment");
  Bytes raw(size);
  auto got = (*file)->read_at(place.end() - uint64_t{blocks} * kBlockSize, raw);
  if (!got) return fail(std::move(got.error()), "record");
  raw.resize(*got);
  return raw;
}

Result<content::MerkleTree> ShardLog::tree(const RecordHeader& header, const Hash& root) {
  const uint32_t leaves = static_cast<uint32_t>(header.leaf_crcs.size());
  if (trailer_blocks(header.payload_length) != 0) {
    auto raw = read_trailer(header.place());
    if (!raw) return fail(std::move(raw.error()));
    if (raw->size() == leaves * Hash::kSize) {
      std::vector<Hash> hashes(leaves);
      for (uint32_t i = 0; i < leaves; ++i) {
        std::memcpy(hashes[i].bytes.data(), raw->data() + i * Hash::kSize, Hash::kSize);
      }
      auto kept = content::MerkleTree::from_leaves(std::move(hashes));
      if (kept.root() == root) return kept;
    }
  }
  auto payload = read_leaves(header, 0, leaves - 1);
  if (!payload) return fail(std::move(payload.error()));
  return content::MerkleTree::over(payload->view());
}

Result<bool> ShardLog::punch(const std::vector<Hole>& holes) {
  std::map<uint32_t, std::shared_ptr<env::File>> touched;
  bool punched = true;
  static constexpr std::array<uint8_t, kBlockSize> kNothing{};
  for (const Hole& hole : holes) {
    auto file = files_.get(hole.segment);
    if (!file && file.error().code == Code::not_found) continue;  // removed as a whole
    if (!file) return fail(std::move(file.error()), "segment");
    touched[hole.segment] = *file;
    const uint64_t offset = uint64_t{hole.block} * kBlockSize;
    auto status = (*file)->punch_hole(offset, uint64_t{hole.blocks} * kBlockSize);
    if (!status && status.error().code == Code::unsupported) {
      // A rebuild of the index must not find the shard again.
      punched = false;
      status = (*file)->write_at(offset, kNothing);
    }
    if (!status) return fail(std::move(status.error()), "hole");
  }
  for (const auto& [number, file] : touched) CAIRN_TRY(file->sync());
  return punched;
}

Result<SegmentScanner> ShardLog::scanner(uint32_t segment) {
  auto file = files_.get(segment);
  if (!file) return fail(std::move(file.error()), "segment");
  return SegmentScanner::open(std::move(*file), segment, 0, marker_.stamp, false);
}

}  // namespace cairn::store
