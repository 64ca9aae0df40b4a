#include "volume/drive/disk_cache_files.h"

#include <algorithm>

#include "base/crc32c.h"

namespace cairn::volume {

namespace {

constexpr uint32_t kMagic = 0x31434843;  // "CHC1"
constexpr std::string_view kVersionKey = "V", kVersion = "1";
constexpr std::string_view kSuffix = ".seg", kIndex = "index";
constexpr size_t kRunEntry = ChunkId::kSize + 4;

// Keys: 'S' + number, 'R' + number + offset.
std::string key_of(char kind, uint32_t number, std::optional<uint32_t> offset = {}) {
  Bytes key{static_cast<uint8_t>(kind)};
  append_be32(key, number);
  if (offset) append_be32(key, *offset);
  return to_string(ByteView(key));
}

std::string encode(const CacheSegmentInfo& segment) {
  Bytes value{static_cast<uint8_t>(segment.queue)};
  append_le<uint64_t>(value, segment.order);
  return to_string(ByteView(value));
}

std::string encode(const CacheRun& run) {
  Bytes value;
  value.reserve(run.records.size() * kRunEntry);
  for (const auto& [chunk, size] : run.records) {
    append(value, chunk.view());
    append_le<uint32_t>(value, size);
  }
  return to_string(ByteView(value));
}

std::optional<CacheRun> decode_run(std::string_view key, std::string_view value) {
  if (key.size() != 9 || value.empty() || value.size() % kRunEntry != 0) return std::nullopt;
  const ByteView raw = as_bytes(key);
  CacheRun run{.number = read_be32(&raw[1]), .offset = read_be32(&raw[5]), .records = {}};
  uint64_t end = run.offset;
  if (end % kCacheAlign != 0) return std::nullopt;
  for (ByteView rest = as_bytes(value); !rest.empty(); rest = rest.subspan(kRunEntry)) {
    const auto chunk = ChunkId::from(rest.first(ChunkId::kSize));
    const auto size = read_le<uint32_t>(&rest[ChunkId::kSize]);
    end += size;
    if (size < kCacheHeader || size > cache_record_size(kMaxChunkSize) || size % kCacheAlign != 0) return std::nullopt;
    run.records.emplace_back(*chunk, size);
    // None begins beyond what the index can name.
    if (end - size >= kMaxCacheSegment) return std::nullopt;
  }
  return run;
}

std::optional<uint32_t> number_of(std::string_view name) {
  if (name.size() != 8 + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  const auto raw = from_hex(name.substr(0, 8));
  if (!raw) return std::nullopt;
  return read_be32(raw->data());
}

// The header but for the CRC, which covers the rest of it and the plaintext.
uint32_t checksum(ByteView header, ByteView plain) {
  return crc32c(plain, crc32c(header.subspan(8)));
}

}  // namespace

std::array<uint8_t, kCacheHeader> cache_record_header(const ChunkId& chunk, ByteView plain) {
  std::array<uint8_t, kCacheHeader> header{};
  write_le<uint32_t>(header.data(), kMagic);
  write_le<uint32_t>(&header[8], static_cast<uint32_t>(plain.size()));
  std::memcpy(&header[12], chunk.bytes.data(), ChunkId::kSize);
  write_le<uint32_t>(&header[4], checksum(header, plain));
  return header;
}

Result<CacheRecord> read_record(env::File& file, uint64_t offset, uint64_t length) {
  Buffer record(length);
  auto got = file.read_at(offset, record.span());
  if (!got) return fail(std::move(got.error()));
  if (*got != length || length < kCacheHeader) return fail(Code::corrupt, "short record");
  const ByteView header = record.view().first(kCacheHeader);
  const auto size = read_le<uint32_t>(&header[8]);
  if (read_le<uint32_t>(header.data()) != kMagic || size > kMaxChunkSize || cache_record_size(size) != length)
    return fail(Code::corrupt, "record's header");
  Buffer plain = record.slice(kCacheHeader, size);
  if (read_le<uint32_t>(&header[4]) != checksum(header, plain)) return fail(Code::corrupt, "record's checksum");
  return CacheRecord{*ChunkId::from(header.subspan(12, ChunkId::kSize)), std::move(plain)};
}

std::string CacheFiles::path(uint32_t number) const {
  return fmt::format("{}/{:08x}{}", folder_, number, kSuffix);
}

Status CacheFiles::remove_files(const std::string& folder) {
  auto names = world_.disk.list(folder);
  if (!names) return names.error().code == Code::not_found ? Status{} : fail(std::move(names.error()));
  for (const std::string& name : *names) {
    if (name != kIndex) CAIRN_TRY(world_.disk.remove(folder + "/" + name));
  }
  return {};
}

Status CacheFiles::reset() {
  store_.reset();
  CAIRN_TRY(remove_files(fmt::format("{}/{}", folder_, kIndex)));
  return remove_files(folder_);
}

Result<std::vector<CacheSegmentInfo>> CacheFiles::open() {
  store_.reset();
  CAIRN_TRY(world_.disk.make_dirs(folder_));
  auto opened = world_.meta_stores.open(fmt::format("{}/{}", folder_, kIndex),
                                        {.cache_size = 1 * kMiB, .write_buffer_size = 1 * kMiB});
  if (!opened) return fail(std::move(opened.error()));
  auto version = (*opened)->get(kVersionKey);
  if (!version) return fail(std::move(version.error()));
  if (*version && **version != kVersion) return fail(Code::corrupt, "unknown version of the chunk cache");
  store_ = std::move(*opened);
  env::WriteBatch batch;
  batch.put(kVersionKey, kVersion);
  CAIRN_TRY(store_->write(batch, false));
  return known();
}

Result<std::vector<CacheSegmentInfo>> CacheFiles::known() {
  std::vector<CacheSegmentInfo> segments;
  const auto cursor = store_->cursor();
  for (cursor->seek("S"); cursor->valid() && cursor->key().starts_with('S'); cursor->next()) {
    const ByteView key = as_bytes(cursor->key()), value = as_bytes(cursor->value());
    if (key.size() != 5 || value.size() != 9 || value[0] > 1) return fail(Code::corrupt, "a segment's entry");
    CacheSegmentInfo segment{.number = read_be32(&key[1]),
                             .queue = static_cast<CacheQueue>(value[0]),
                             .order = read_le<uint64_t>(&value[1]),
                             .file = nullptr};
    // Of what a power loss took, the entry stays, with no file: its records are misses, and it goes with its turn.
    if (auto file = world_.disk.open(path(segment.number), env::OpenMode::read_write)) {
      segment.file = std::move(*file);
      segment.size = segment.file->size().value_or(0);
    }
    segments.push_back(std::move(segment));
  }
  CAIRN_TRY(cursor->status());
  auto names = world_.disk.list(folder_);
  if (!names) return fail(std::move(names.error()));
  for (const std::string& name : *names) {
    const auto number = number_of(name);
    const auto same = [&](const CacheSegmentInfo& segment) { return segment.number == number; };
    if (number && std::ranges::none_of(segments, same)) CAIRN_TRY(world_.disk.remove(folder_ + "/" + name));
  }
  std::ranges::sort(segments, {}, &CacheSegmentInfo::order);
  return segments;
}

Result<std::vector<CacheRun>> CacheFiles::runs(const CacheRun* after, size_t limit) {
  std::vector<CacheRun> found;
  const auto cursor = store_->cursor();
  cursor->seek(after != nullptr ? key_of('R', after->number, after->offset) + '\0' : "R");
  for (; cursor->valid() && cursor->key().starts_with('R') && found.size() < limit; cursor->next()) {
    auto run = decode_run(cursor->key(), cursor->value());
    if (!run) return fail(Code::corrupt, "a run's entry");
    found.push_back(std::move(*run));
  }
  CAIRN_TRY(cursor->status());
  return found;
}

Result<std::shared_ptr<env::File>> CacheFiles::create(const CacheSegmentInfo& segment) {
  auto file = world_.disk.open(path(segment.number), env::OpenMode::create_new);
  if (!file) return fail(std::move(file.error()));
  CAIRN_TRY(note(segment));
  return std::shared_ptr<env::File>(std::move(*file));
}

Status CacheFiles::append(env::File& file, const CacheRun& run, std::span<const CacheRecord> records) {
  static constexpr std::array<uint8_t, kCacheAlign> kZeros{};
  std::vector<std::array<uint8_t, kCacheHeader>> headers;
  headers.reserve(records.size());
  std::vector<ByteView> parts;
  for (const CacheRecord& record : records) {
    headers.push_back(cache_record_header(record.chunk, record.plain));
    parts.emplace_back(headers.back());
    parts.emplace_back(record.plain);
    const uint64_t pad = cache_record_size(record.plain.size()) - kCacheHeader - record.plain.size();
    if (pad > 0) parts.push_back(ByteView(kZeros).first(pad));
  }
  auto status = file.write_at(run.offset, parts);
  if (status) {
    env::WriteBatch batch;
    batch.put(key_of('R', run.number, run.offset), encode(run));
    status = store_->write(batch, false);
  }
  if (!status) (void)file.truncate(run.offset);  // a full disk gets its space back
  return status;
}

Status CacheFiles::note(const CacheSegmentInfo& segment) {
  env::WriteBatch batch;
  batch.put(key_of('S', segment.number), encode(segment));
  return store_->write(batch, false);
}

Status CacheFiles::remove(uint32_t number, const std::vector<uint32_t>& offsets) {
  auto removed = world_.disk.remove(path(number));
  env::WriteBatch batch;
  batch.remove(key_of('S', number));
  for (const uint32_t offset : offsets) batch.remove(key_of('R', number, offset));
  CAIRN_TRY(store_->write(batch, false));
  if (!removed && removed.error().code != Code::not_found) return removed;
  return {};
}

}  // namespace cairn::volume
