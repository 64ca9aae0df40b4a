#include "client/tar.h"

#include <sys/sysmacros.h>

namespace cairn::client {

namespace {

constexpr int64_t kSecond = 1'000'000'000;

// An octal field with a NUL behind it; nothing when the number is too large for it.
bool put_octal(std::string& header, size_t at, size_t size, uint64_t value) {
  std::string digits = fmt::format("{:o}", value);
  if (digits.size() >= size) return false;
  header.replace(at, size - 1, std::string(size - 1 - digits.size(), '0') + digits);
  return true;
}

// "27 path=some/where\n": the length counts itself.
std::string record(const std::string& key, const std::string& value) {
  const size_t rest = key.size() + value.size() + 3;  // blank, '=' and newline
  size_t length = rest + 1;
  while (rest + std::to_string(length).size() != length) length = rest + std::to_string(length).size();
  return fmt::format("{} {}={}\n", length, key, value);
}

std::string time_text(WallTime time) {
  int64_t seconds = time / kSecond, fraction = time % kSecond;
  if (fraction < 0) {
    fraction += kSecond;
    --seconds;
  }
  // A fraction of a time before 1970 counts away from zero.
  if (seconds < 0 && fraction > 0) return fmt::format("-{}.{:09}", -seconds - 1, kSecond - fraction);
  return fmt::format("{}.{:09}", seconds, fraction);
}

char type_of(const TarEntry& entry) {
  using volume::FileType;
  if (entry.link_to) return '1';
  switch (entry.inode.type) {
    case FileType::symlink:
      return '2';
    case FileType::character_device:
      return '3';
    case FileType::block_device:
      return '4';
    case FileType::directory:
      return '5';
    case FileType::fifo:
      return '6';
    default:
      return '0';
  }
}

std::string block(const std::string& name, const std::string& link, char type, const volume::Inode& inode,
                  uint64_t size) {
  std::string header(kTarBlock, '\0');
  header.replace(0, std::min<size_t>(name.size(), 100), name, 0, 100);
  put_octal(header, 100, 8, inode.mode & 07777);
  if (!put_octal(header, 108, 8, inode.uid)) put_octal(header, 108, 8, 0);
  if (!put_octal(header, 116, 8, inode.gid)) put_octal(header, 116, 8, 0);
  if (!put_octal(header, 124, 12, size)) put_octal(header, 124, 12, 0);
  const int64_t seconds = inode.mtime / kSecond;
  if (seconds < 0 || !put_octal(header, 136, 12, static_cast<uint64_t>(seconds))) put_octal(header, 136, 12, 0);
  header[156] = type;
  header.replace(157, std::min<size_t>(link.size(), 100), link, 0, 100);
  header.replace(257, 8,
                 std::string("ustar\0"
                             "00",
                             8));
  header.replace(265, std::min<size_t>(inode.owner.size(), 31), inode.owner, 0, 31);
  header.replace(297, std::min<size_t>(inode.group.size(), 31), inode.group, 0, 31);
  if (type == '3' || type == '4') {
    put_octal(header, 329, 8, gnu_dev_major(inode.rdev));
    put_octal(header, 337, 8, gnu_dev_minor(inode.rdev));
  }
  header.replace(148, 8, 8, ' ');
  uint64_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return header;
}

}  // namespace

uint64_t tar_content_size(const TarEntry& entry) {
  return entry.inode.is_file() && !entry.link_to ? entry.inode.size : 0;
}

size_t tar_padding(uint64_t size) {
  return static_cast<size_t>((kTarBlock - size % kTarBlock) % kTarBlock);
}

std::string tar_end() {
  return std::string(2 * kTarBlock, '\0');
}

std::string tar_header(const TarEntry& entry) {
  const volume::Inode& inode = entry.inode;
  if (inode.type == volume::FileType::socket) return "";
  const std::string path = inode.is_directory() ? entry.path + "/" : entry.path;
  const std::string link = entry.link_to                             ? *entry.link_to
                           : inode.type == volume::FileType::symlink ? inode.inline_data
                                                                     : std::string();
  const uint64_t size = tar_content_size(entry);
  std::string records = record("mtime", time_text(inode.mtime));
  const bool plain = volume::is_utf8(path) && volume::is_utf8(link);
  if (!plain) records = record("hdrcharset", "BINARY") + records;
  if (path.size() > 100 || !plain) records += record("path", path);
  if (link.size() > 100 || (!plain && !link.empty())) records += record("linkpath", link);
  if (size >= 1ULL << 33) records += record("size", std::to_string(size));
  if (inode.uid >= 1U << 21) records += record("uid", std::to_string(inode.uid));
  if (inode.gid >= 1U << 21) records += record("gid", std::to_string(inode.gid));
  for (const volume::Xattr& xattr : entry.xattrs) records += record("SCHILY.xattr." + xattr.name, xattr.value);
  const volume::Inode about{.type = volume::FileType::file, .mode = 0644};
  std::string text = block("PaxHeader", "", 'x', about, records.size());
  text += records + std::string(tar_padding(records.size()), '\0');
  return text + block(path, link, type_of(entry), inode, size);
}

}  // namespace cairn::client
