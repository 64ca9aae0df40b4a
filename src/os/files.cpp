#include "os/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "os/files_internal.h"

namespace cairn::os {

namespace {

FileType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return FileType::regular;
    case S_IFDIR:
      return FileType::folder;
    case S_IFLNK:
      return FileType::symlink;
    case S_IFIFO:
      return FileType::fifo;
    case S_IFSOCK:
      return FileType::socket;
    case S_IFCHR:
      return FileType::character_device;
    case S_IFBLK:
      return FileType::block_device;
    default:
      return FileType::unknown;
  }
}

WallTime to_wall(const timespec& time) {
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

// A call that fills a buffer and tells, for size 0, how much it needs; the need may grow between two calls.
template <class Call>
Result<std::string> fill_string(Call call, std::string_view what) {
  std::string text(256, '\0');
  while (true) {
    const ssize_t length = call(text.data(), text.size());
    if (length >= 0) {
      text.resize(static_cast<size_t>(length));
      return text;
    }
    if (errno != ERANGE) return fail_errno(what);
    const ssize_t need = call(text.data(), 0);
    if (need < 0) return fail_errno(what);
    text.resize(static_cast<size_t>(need) + 64);
  }
}

bool is_dot(std::string_view name) {
  return name == "." || name == "..";
}

}  // namespace

namespace {

WallTime to_wall(const statx_timestamp& time) {
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

// One call tells all; of the descriptor itself when `name` is empty.
Result<FileInfo> look(int descriptor, const char* name, std::string_view what) {
  struct statx raw;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(descriptor, name, flags, STATX_BASIC_STATS | STATX_BTIME, &raw) != 0) return fail_errno(what);
  return FileInfo{.type = type_of(raw.stx_mode),
                  .mode = raw.stx_mode & 07777U,
                  .user = raw.stx_uid,
                  .group = raw.stx_gid,
                  .size = raw.stx_size,
                  .allocated = raw.stx_blocks * 512,
                  .modified = to_wall(raw.stx_mtime),
                  .changed = to_wall(raw.stx_ctime),
                  .accessed = to_wall(raw.stx_atime),
                  .born = (raw.stx_mask & STATX_BTIME) != 0 ? to_wall(raw.stx_btime) : 0,
                  .device = makedev(raw.stx_dev_major, raw.stx_dev_minor),
                  .inode = raw.stx_ino,
                  .links = raw.stx_nlink,
                  .device_major = raw.stx_rdev_major,
                  .device_minor = raw.stx_rdev_minor};
}

uint32_t read_flags(int descriptor) {
  int flags = 0;
  if (::ioctl(descriptor, FS_IOC_GETFLAGS, &flags) != 0) return 0;
  return static_cast<uint32_t>(flags) & kFileFlags;
}

// Nothing for what is neither a file nor a folder: to open a device may do something.
Descriptor open_for_flags(int folder, const std::string& name) {
  struct stat raw;
  if (::fstatat(folder, name.c_str(), &raw, AT_SYMLINK_NOFOLLOW) != 0) return {};
  if (!S_ISREG(raw.st_mode) && !S_ISDIR(raw.st_mode)) return {};
  return Descriptor(retry_interrupted(
      [&] { return ::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); }));
}

}  // namespace

FileInfo to_info(const struct stat& raw) {
  return {.type = type_of(raw.st_mode),
          .mode = raw.st_mode & 07777U,
          .user = raw.st_uid,
          .group = raw.st_gid,
          .size = static_cast<uint64_t>(raw.st_size),
          .allocated = static_cast<uint64_t>(raw.st_blocks) * 512,
          .modified = to_wall(raw.st_mtim),
          .changed = to_wall(raw.st_ctim),
          .accessed = to_wall(raw.st_atim),
          .device = raw.st_dev,
          .inode = raw.st_ino,
          .links = raw.st_nlink,
          .device_major = major(raw.st_rdev),
          .device_minor = minor(raw.st_rdev)};
}

bool FileInfo::same_content(const FileInfo& other) const {
  return type == other.type && size == other.size && modified == other.modified && changed == other.changed &&
         device == other.device && inode == other.inode;
}

std::string path_through(int folder, const std::string& name) {
  return fmt::format("/proc/self/fd/{}/{}", folder, name);
}

Result<std::vector<ExtendedAttribute>> read_extended(int descriptor, const std::string* name, std::string_view what) {
  const std::string path = name != nullptr ? path_through(descriptor, *name) : std::string();
  auto names = fill_string(
      [&](char* into, size_t size) {
        return name != nullptr ? ::llistxattr(path.c_str(), into, size) : ::flistxattr(descriptor, into, size);
      },
      what);
  std::vector<ExtendedAttribute> found;
  if (!names) {
    if (names.error().code == Code::unsupported) return found;  // a file system without them
    return fail(std::move(names.error()));
  }
  for (size_t at = 0; at < names->size();) {
    ExtendedAttribute one{std::string(names->c_str() + at), {}};
    at += one.name.size() + 1;
    auto value = fill_string(
        [&](char* into, size_t size) {
          return name != nullptr ? ::lgetxattr(path.c_str(), one.name.c_str(), into, size)
                                 : ::fgetxattr(descriptor, one.name.c_str(), into, size);
        },
        what);
    if (!value) continue;  // gone meanwhile, or not ours to read
    one.value = std::move(*value);
    found.push_back(std::move(one));
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<size_t> read_descriptor(int descriptor, uint64_t offset, MutableByteView into, std::string_view what) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t count = retry_interrupted(
        [&] { return ::pread(descriptor, into.data() + done, into.size() - done, static_cast<off_t>(offset + done)); });
    if (count < 0) return fail_errno(what);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

// ---- SourceFile ----

Result<size_t> SourceFile::read_at(uint64_t offset, MutableByteView into) const {
  return read_descriptor(descriptor_.get(), offset, into, name_);
}

Result<FileInfo> SourceFile::info() const {
  struct stat raw;
  if (::fstat(descriptor_.get(), &raw) != 0) return fail_errno(name_);
  return to_info(raw);
}

Result<std::optional<Extent>> SourceFile::next_data(uint64_t offset) const {
  const off_t begin = ::lseek(descriptor_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (begin < 0 && errno == ENXIO) return std::nullopt;  // none from there to the end
  if (begin < 0 && errno == EINVAL) {
    auto now = info();
    if (!now) return fail(std::move(now.error()));
    if (offset >= now->size) return std::nullopt;
    return Extent{offset, now->size - offset};
  }
  if (begin < 0) return fail_errno(name_);
  const off_t end = ::lseek(descriptor_.get(), begin, SEEK_HOLE);
  if (end < 0) return fail_errno(name_);
  if (end <= begin) return std::nullopt;  // it was cut meanwhile
  return Extent{static_cast<uint64_t>(begin), static_cast<uint64_t>(end - begin)};
}

void SourceFile::will_read_once() const {
  ::posix_fadvise(descriptor_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
}

void SourceFile::done_with(uint64_t offset, uint64_t length) const {
  ::posix_fadvise(descriptor_.get(), static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_DONTNEED);
}

uint32_t SourceFile::flags() const {
  return read_flags(descriptor_.get());
}

Result<std::vector<ExtendedAttribute>> SourceFile::extended() const {
  return read_extended(descriptor_.get(), nullptr, name_);
}

// ---- Folder, the reading half ----

struct Folder::Reader {
  DIR* stream;
};

void Folder::CloseReader::operator()(Reader* reader) const {
  ::closedir(reader->stream);
  delete reader;
}

Result<Folder> Folder::open(const std::string& path) {
  Descriptor descriptor(retry_interrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!descriptor) return fail_errno(path);
  return Folder(std::move(descriptor), path);
}

Result<std::optional<Folder::Entry>> Folder::next() {
  if (!reader_) {
    // A description of its own: the position of a duplicate would be shared.
    Descriptor again(::openat(descriptor_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!again) return fail_errno(name_);
    DIR* stream = ::fdopendir(again.get());
    if (stream == nullptr) return fail_errno(name_);
    again.release();
    reader_.reset(new Reader{stream});
  }
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(reader_->stream);
    if (entry == nullptr) {
      if (errno != 0) return fail_errno(name_);
      return std::nullopt;
    }
    if (is_dot(entry->d_name)) continue;
    return Entry{entry->d_name, type_of(DTTOIF(entry->d_type)), entry->d_ino};
  }
}

void Folder::rewind() {
  reader_.reset();
}

Result<FileInfo> Folder::info() const {
  return look(descriptor_.get(), "", name_);
}

Result<FileInfo> Folder::info(const std::string& name) const {
  return look(descriptor_.get(), name.c_str(), name);
}

Result<Folder> Folder::open_folder(const std::string& name) const {
  Descriptor descriptor(retry_interrupted(
      [&] { return ::openat(descriptor_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
  if (!descriptor) return fail_errno(name);
  return Folder(std::move(descriptor), name);
}

Result<SourceFile> Folder::open_file(const std::string& name) const {
  // O_NONBLOCK: a fifo that took the file's place must not hang the walk. O_NOATIME only the owner may.
  const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  Descriptor descriptor(
      retry_interrupted([&] { return ::openat(descriptor_.get(), name.c_str(), flags | O_NOATIME); }));
  if (!descriptor && errno == EPERM) {
    descriptor = Descriptor(retry_interrupted([&] { return ::openat(descriptor_.get(), name.c_str(), flags); }));
  }
  if (!descriptor) {
    if (errno == ELOOP || errno == ENXIO) return fail(Code::unsupported, printable(name) + " is not a regular file");
    return fail_errno(name);
  }
  struct stat raw;
  if (::fstat(descriptor.get(), &raw) != 0) return fail_errno(name);
  if (!S_ISREG(raw.st_mode)) return fail(Code::unsupported, printable(name) + " is not a regular file");
  return SourceFile(std::move(descriptor), name);
}

Result<std::string> Folder::read_link(const std::string& name) const {
  std::string target(256, '\0');
  while (true) {
    const ssize_t length = ::readlinkat(descriptor_.get(), name.c_str(), target.data(), target.size());
    if (length < 0) return fail_errno(name);
    if (static_cast<size_t>(length) < target.size()) {
      target.resize(static_cast<size_t>(length));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

Result<std::vector<ExtendedAttribute>> Folder::extended() const {
  return read_extended(descriptor_.get(), nullptr, name_);
}

Result<std::vector<ExtendedAttribute>> Folder::extended(const std::string& name) const {
  return read_extended(descriptor_.get(), &name, name);
}

uint32_t Folder::flags() const {
  return read_flags(descriptor_.get());
}

uint32_t Folder::flags(const std::string& name) const {
  const Descriptor entry = open_for_flags(descriptor_.get(), name);
  return entry ? read_flags(entry.get()) : 0;
}

bool Folder::set_flags(const std::string& name, uint32_t flags) const {
  const Descriptor entry = open_for_flags(descriptor_.get(), name);
  int all = 0;
  if (!entry || ::ioctl(entry.get(), FS_IOC_GETFLAGS, &all) != 0) return false;
  int wanted = static_cast<int>((static_cast<uint32_t>(all) & ~kFileFlags) | (flags & kFileFlags));
  return wanted == all || ::ioctl(entry.get(), FS_IOC_SETFLAGS, &wanted) == 0;
}

Result<Place> open_parent(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const size_t slash = trimmed.rfind('/');
  std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : trimmed.substr(0, slash);
  std::string name = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  auto folder = Folder::open(parent);
  if (!folder) return fail(std::move(folder.error()));
  return Place{std::move(*folder), name.empty() ? "." : std::move(name)};
}

}  // namespace cairn::os
