#include "client/zip.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <ctime>

namespace cairn::client {

namespace {

constexpr uint16_t kVersion = 45;  // Zip64
constexpr uint16_t kMadeByUnix = 3 << 8 | kVersion;
constexpr uint16_t kSizesBehind = 1 << 3, kUtf8 = 1 << 11;
constexpr uint16_t kStored = 0, kDeflated = 8;
constexpr uint32_t kSee64 = 0xFFFF'FFFF;
// From here on sizes are written in 64 bits: deflate may make 0.03 % more of it.
constexpr uint64_t kLarge = 4'200'000'000;
constexpr size_t kOutput = 256 * 1024;

void u16(std::string& out, uint64_t value) {
  out.push_back(static_cast<char>(value));
  out.push_back(static_cast<char>(value >> 8));
}
void u32(std::string& out, uint64_t value) {
  u16(out, value & 0xFFFF);
  u16(out, value >> 16 & 0xFFFF);
}
void u64(std::string& out, uint64_t value) {
  u32(out, value & kSee64);
  u32(out, value >> 32);
}

// Of MS-DOS, in UTC: from 1980 to 2107, every other second.
uint32_t dos_time(WallTime time) {
  const auto seconds = static_cast<std::time_t>(time / 1'000'000'000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  if (parts.tm_year < 80) return 1U << 21 | 1U << 16;
  if (parts.tm_year > 207) return 127U << 25 | 12U << 21 | 31U << 16 | 23U << 11 | 59U << 5 | 29U;
  return static_cast<uint32_t>(parts.tm_year - 80) << 25 | static_cast<uint32_t>(parts.tm_mon + 1) << 21 |
         static_cast<uint32_t>(parts.tm_mday) << 16 | static_cast<uint32_t>(parts.tm_hour) << 11 |
         static_cast<uint32_t>(parts.tm_min) << 5 | static_cast<uint32_t>(parts.tm_sec / 2);
}

std::string extra_of(const volume::Inode& inode) {
  std::string extra;
  const int64_t seconds = inode.mtime / 1'000'000'000 - (inode.mtime % 1'000'000'000 < 0 ? 1 : 0);
  if (seconds >= INT32_MIN && seconds <= INT32_MAX) {
    u16(extra, 0x5455);
    u16(extra, 5);
    extra.push_back(1);  // the mtime alone
    u32(extra, static_cast<uint32_t>(seconds));
  }
  u16(extra, 0x7875);
  u16(extra, 11);
  extra.push_back(1);
  extra.push_back(4);
  u32(extra, inode.uid);
  extra.push_back(4);
  u32(extra, inode.gid);
  return extra;
}

uint32_t mode_of(const volume::Inode& inode) {
  const uint32_t type = inode.is_directory() ? S_IFDIR : inode.is_file() ? S_IFREG : S_IFLNK;
  return type | inode.mode;
}

}  // namespace

struct ZipWriter::Deflater {
  z_stream stream{};
  Bytes output = Bytes(kOutput);
  bool ready = false;
  ~Deflater() {
    if (ready) ::deflateEnd(&stream);
  }
};

ZipWriter::ZipWriter(Write write) : write_(std::move(write)), deflater_(std::make_unique<Deflater>()) {}
ZipWriter::~ZipWriter() = default;

bool ZipWriter::has_place_for(const volume::Inode& inode) {
  return inode.is_file() || inode.is_directory() || inode.type == volume::FileType::symlink;
}

Status ZipWriter::put(const std::string& bytes) {
  at_ += bytes.size();
  return write_(bytes.data(), bytes.size());
}

Status ZipWriter::begin(const std::string& path, const volume::Inode& inode) {
  Entry entry{.name = inode.is_directory() ? path + "/" : path,
              .mode = mode_of(inode),
              .dos_time = dos_time(inode.mtime),
              .offset = at_,
              .extra = extra_of(inode)};
  if (entry.name.size() > UINT16_MAX) return fail(Code::too_large, "a path of more than 65535 bytes in a zip archive");
  const bool ascii = std::ranges::all_of(entry.name, [](char c) { return (c & 0x80) == 0; });
  if (!ascii && volume::is_utf8(entry.name)) entry.flags |= kUtf8;
  std::string stored;  // what is known before it is written
  if (inode.type == volume::FileType::symlink) stored = inode.inline_data;
  open_ = inode.is_file() && inode.size > 0;
  large_ = open_ && inode.size >= kLarge;
  if (open_) {
    entry.flags |= kSizesBehind;
    entry.method = kDeflated;
  } else {
    entry.method = kStored;
    entry.size = entry.packed = stored.size();
    entry.crc = static_cast<uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef*>(stored.data()), static_cast<uInt>(stored.size())));
  }
  std::string header;
  u32(header, 0x04034b50);
  u16(header, kVersion);
  u16(header, entry.flags);
  u16(header, entry.method);
  u32(header, entry.dos_time);
  u32(header, entry.crc);
  u32(header, large_ ? kSee64 : entry.packed);
  u32(header, large_ ? kSee64 : entry.size);
  u16(header, entry.name.size());
  u16(header, entry.extra.size() + (large_ ? 20 : 0));
  header += entry.name;
  if (large_) {
    u16(header, 1);
    u16(header, 16);
    u64(header, 0);
    u64(header, 0);
  }
  header += entry.extra;
  entries_.push_back(std::move(entry));
  CAIRN_TRY(put(header + stored));
  if (!open_) return {};
  z_stream& stream = deflater_->stream;
  const int done = deflater_->ready
                       ? ::deflateReset(&stream)
                       : ::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  if (done != Z_OK) return fail(Code::io, "zlib cannot begin");
  deflater_->ready = true;
  entries_.back().crc = static_cast<uint32_t>(::crc32(0, nullptr, 0));
  return {};
}

// What deflate has ready, out.
Status ZipWriter::drain(bool last) {
  z_stream& stream = deflater_->stream;
  do {
    stream.next_out = deflater_->output.data();
    stream.avail_out = static_cast<uInt>(deflater_->output.size());
    if (::deflate(&stream, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) return fail(Code::io, "zlib failed");
    const size_t have = deflater_->output.size() - stream.avail_out;
    entries_.back().packed += have;
    at_ += have;
    if (have > 0) CAIRN_TRY(write_(deflater_->output.data(), have));
  } while (stream.avail_out == 0);
  return {};
}

Status ZipWriter::content(const void* from, size_t size) {
  CAIRN_ASSERT(open_);
  Entry& entry = entries_.back();
  const auto* at = static_cast<const Bytef*>(from);
  while (size > 0) {
    const auto step = static_cast<uInt>(std::min<size_t>(size, 1 << 30));
    entry.crc = static_cast<uint32_t>(::crc32(entry.crc, at, step));
    entry.size += step;
    deflater_->stream.next_in = const_cast<Bytef*>(at);  // zlib only reads it
    deflater_->stream.avail_in = step;
    CAIRN_TRY(drain(false));
    at += step;
    size -= step;
  }
  return {};
}

Status ZipWriter::end() {
  if (!open_) return {};
  open_ = false;
  deflater_->stream.avail_in = 0;
  CAIRN_TRY(drain(true));
  const Entry& entry = entries_.back();
  std::string behind;
  u32(behind, 0x08074b50);
  u32(behind, entry.crc);
  if (large_) {
    u64(behind, entry.packed);
    u64(behind, entry.size);
  } else {
    u32(behind, entry.packed);
    u32(behind, entry.size);
  }
  return put(behind);
}

Status ZipWriter::finish() {
  const uint64_t begin = at_;
  for (const Entry& entry : entries_) {
    std::string large;
    if (entry.size >= kLarge) u64(large, entry.size), u64(large, entry.packed);
    if (entry.offset >= kSee64) u64(large, entry.offset);
    std::string extra;
    if (!large.empty()) {
      u16(extra, 1);
      u16(extra, large.size());
      extra += large;
    }
    extra += entry.extra;
    std::string record;
    u32(record, 0x02014b50);
    u16(record, kMadeByUnix);
    u16(record, kVersion);
    u16(record, entry.flags);
    u16(record, entry.method);
    u32(record, entry.dos_time);
    u32(record, entry.crc);
    u32(record, entry.size >= kLarge ? kSee64 : entry.packed);
    u32(record, entry.size >= kLarge ? kSee64 : entry.size);
    u16(record, entry.name.size());
    u16(record, extra.size());
    u16(record, 0);  // comment
    u16(record, 0);  // disk
    u16(record, 0);
    u32(record, uint64_t{entry.mode} << 16 | (S_ISDIR(entry.mode) ? 0x10 : 0));
    u32(record, std::min<uint64_t>(entry.offset, kSee64));
    CAIRN_TRY(put(record + entry.name + extra));
  }
  const uint64_t size = at_ - begin, end = at_;
  std::string last;
  if (entries_.size() >= UINT16_MAX || size >= kSee64 || begin >= kSee64) {
    u32(last, 0x06064b50);
    u64(last, 44);
    u16(last, kMadeByUnix);
    u16(last, kVersion);
    u32(last, 0);
    u32(last, 0);
    u64(last, entries_.size());
    u64(last, entries_.size());
    u64(last, size);
    u64(last, begin);
    u32(last, 0x07064b50);
    u32(last, 0);
    u64(last, end);
    u32(last, 1);
  }
  u32(last, 0x06054b50);
  u32(last, 0);
  u16(last, std::min<uint64_t>(entries_.size(), UINT16_MAX));
  u16(last, std::min<uint64_t>(entries_.size(), UINT16_MAX));
  u32(last, std::min<uint64_t>(size, kSee64));
  u32(last, std::min<uint64_t>(begin, kSee64));
  u16(last, 0);
  return put(last);
}

}  // namespace cairn::client
