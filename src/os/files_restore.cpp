// The half of files.h that makes and changes.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cstdio>

#include "crypto/hash.h"
#include "os/files.h"
#include "os/files_internal.h"

namespace cairn::os {

namespace {

constexpr std::string_view kTemporaryPrefix = ".cairn-part-";
constexpr size_t kTemporaryDigits = 24;  // 96 bits of SHA-256 of the final name

std::string temporary_name(const std::string& name) {
  return std::string(kTemporaryPrefix) + crypto::sha256(as_bytes(name)).hex().substr(0, kTemporaryDigits);
}

timespec to_timespec(const std::optional<WallTime>& time) {
  if (!time) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t nanoseconds = *time % kSecond;
  int64_t seconds = *time / kSecond;
  if (nanoseconds < 0) {  // before 1970
    nanoseconds += kSecond;
    --seconds;
  }
  return {.tv_sec = seconds, .tv_nsec = nanoseconds};
}

// The caller may not, or the file system cannot: not a reason to stop a restore.
bool is_refusal(int number) {
  return number == EPERM || number == EACCES || number == EOPNOTSUPP || number == EINVAL;
}

}  // namespace

Result<Refused> apply_attributes(int descriptor, const std::string* name, const Attributes& attributes,
                                 std::string_view what) {
  Refused refused;
  const char* entry = name != nullptr ? name->c_str() : "";
  const int by_name = name != nullptr ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
  bool is_link = false;
  if (name != nullptr) {
    struct stat raw;
    if (::fstatat(descriptor, entry, &raw, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(what);
    is_link = S_ISLNK(raw.st_mode);
  }
  const std::string path = name != nullptr ? path_through(descriptor, *name) : std::string();
  // Owner first: changing it clears the set-id bits and file capabilities. Times last: all others change them.
  if (attributes.owner &&
      ::fchownat(descriptor, entry, attributes.owner->first, attributes.owner->second, by_name) != 0) {
    if (!is_refusal(errno)) return fail_errno(what);
    refused.owner = true;
  }
  if (attributes.mode && !is_link) {
    uint32_t mode = *attributes.mode & 07777U;
    // Not for another owner than the one it was set for.
    if (refused.owner) mode &= ~static_cast<uint32_t>(S_ISUID | S_ISGID);
    const int result = name != nullptr ? ::fchmodat(descriptor, entry, mode, 0) : ::fchmod(descriptor, mode);
    if (result != 0) return fail_errno(what);
  }
  for (const auto& [key, value] : attributes.extended) {
    const int result = name != nullptr ? ::lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0)
                                       : ::fsetxattr(descriptor, key.c_str(), value.data(), value.size(), 0);
    if (result == 0) continue;
    if (!is_refusal(errno) && errno != E2BIG && errno != ERANGE) return fail_errno(what);
    refused.extended.push_back(key);
  }
  if (attributes.modified || attributes.accessed) {
    const timespec times[2] = {to_timespec(attributes.accessed), to_timespec(attributes.modified)};
    const int result =
        name != nullptr ? ::utimensat(descriptor, entry, times, AT_SYMLINK_NOFOLLOW) : ::futimens(descriptor, times);
    if (result != 0) return fail_errno(what);
  }
  return refused;
}

// ---- TargetFile ----

Status TargetFile::write_at(uint64_t offset, ByteView bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = retry_interrupted(
        [&] { return ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (written < 0) return fail_errno(name_);
    if (written == 0) return fail_errno(ENOSPC, name_);
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

Status TargetFile::write_past_cache(uint64_t offset, ByteView bytes) const {
  const size_t direct = past_cache_->write(descriptor_.get(), offset, {&bytes, 1});
  return write_at(offset + direct, bytes.subspan(direct));
}

namespace {
Status allocate_in(int descriptor, int mode, uint64_t offset, uint64_t size, const std::string& name) {
  const int result = retry_interrupted(
      [&] { return ::fallocate(descriptor, mode, static_cast<off_t>(offset), static_cast<off_t>(size)); });
  if (result == 0) return {};
  if (errno == EOPNOTSUPP) return fail(Code::unsupported, name);
  return fail_errno(name);
}
}  // namespace

Status TargetFile::allocate(uint64_t offset, uint64_t size) const {
  return allocate_in(descriptor_.get(), 0, offset, size, name_);
}

Status TargetFile::punch_hole(uint64_t offset, uint64_t size) const {
  return allocate_in(descriptor_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size, name_);
}

Status TargetFile::truncate(uint64_t size) const {
  if (retry_interrupted([&] { return ::ftruncate(descriptor_.get(), static_cast<off_t>(size)); }) != 0) {
    return fail_errno(name_);
  }
  return {};
}

Result<FileInfo> TargetFile::info() const {
  struct stat raw;
  if (::fstat(descriptor_.get(), &raw) != 0) return fail_errno(name_);
  return to_info(raw);
}

Result<size_t> TargetFile::read_at(uint64_t offset, MutableByteView into) const {
  return read_descriptor(descriptor_.get(), offset, into, name_);
}

Status TargetFile::sync() const {
  if (retry_interrupted([&] { return ::fdatasync(descriptor_.get()); }) != 0) return fail_errno(name_);
  return {};
}

Result<Refused> TargetFile::commit(const Attributes& attributes) {
  auto refused = apply_attributes(descriptor_.get(), nullptr, attributes, name_);
  if (!refused) return refused;
  if (::renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str()) != 0) {
    if (errno == EISDIR) return fail(Code::exists, printable(name_) + " is a folder");
    return fail_errno(name_);
  }
  temporary_.clear();
  return refused;
}

Status TargetFile::discard() {
  if (temporary_.empty()) return {};
  if (::unlinkat(folder_.get(), std::exchange(temporary_, {}).c_str(), 0) != 0 && errno != ENOENT) {
    return fail_errno(name_);
  }
  return {};
}

// ---- Folder, the making half ----

Status Folder::make_folder(const std::string& name) const {
  if (::mkdirat(descriptor_.get(), name.c_str(), 0700) != 0) return fail_errno(name);
  return {};
}

Status Folder::make_symlink(const std::string& name, const std::string& target) const {
  if (::symlinkat(target.c_str(), descriptor_.get(), name.c_str()) != 0) return fail_errno(name);
  return {};
}

Status Folder::make_link(const std::string& name, const Folder& from, const std::string& existing) const {
  if (::linkat(from.descriptor_.get(), existing.c_str(), descriptor_.get(), name.c_str(), 0) != 0) {
    return fail_errno(name);
  }
  return {};
}

Status Folder::make_special(const std::string& name, FileType type, uint32_t device_major,
                            uint32_t device_minor) const {
  mode_t mode = 0600;
  switch (type) {
    case FileType::fifo:
      mode |= S_IFIFO;
      break;
    case FileType::socket:
      mode |= S_IFSOCK;
      break;
    case FileType::character_device:
      mode |= S_IFCHR;
      break;
    case FileType::block_device:
      mode |= S_IFBLK;
      break;
    default:
      return fail(Code::bad_input, "not a special file");
  }
  if (::mknodat(descriptor_.get(), name.c_str(), mode, makedev(device_major, device_minor)) != 0) {
    return fail_errno(name);
  }
  return {};
}

Result<TargetFile> Folder::make_file(const std::string& name, bool resume) const {
  TargetFile target;
  target.past_cache_ = std::make_unique<PastCache>();
  target.name_ = name;
  target.temporary_ = temporary_name(name);
  // O_NOFOLLOW: a link that lies there under the temporary name must not lead the bytes elsewhere.
  const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (resume ? 0 : O_TRUNC);
  target.descriptor_ = Descriptor(
      retry_interrupted([&] { return ::openat(descriptor_.get(), target.temporary_.c_str(), flags, 0600); }));
  if (!target.descriptor_) return fail_errno(name);
  target.folder_ = Descriptor(::fcntl(descriptor_.get(), F_DUPFD_CLOEXEC, 0));
  if (!target.folder_) return fail_errno(name);
  return target;
}

bool Folder::is_temporary(std::string_view name) {
  if (!name.starts_with(kTemporaryPrefix) || name.size() != kTemporaryPrefix.size() + kTemporaryDigits) return false;
  return name.find_first_not_of("0123456789abcdef", kTemporaryPrefix.size()) == std::string_view::npos;
}

Result<Refused> Folder::apply(const std::string& name, const Attributes& attributes) const {
  return apply_attributes(descriptor_.get(), &name, attributes, name);
}

Result<Refused> Folder::apply(const Attributes& attributes) const {
  return apply_attributes(descriptor_.get(), nullptr, attributes, name_);
}

Status Folder::remove(const std::string& name) const {
  if (::unlinkat(descriptor_.get(), name.c_str(), 0) != 0) return fail_errno(name);
  return {};
}

Status Folder::remove_folder(const std::string& name) const {
  if (::unlinkat(descriptor_.get(), name.c_str(), AT_REMOVEDIR) != 0) return fail_errno(name);
  return {};
}

Status Folder::rename(const std::string& from, const Folder& to_folder, const std::string& to) const {
  if (::renameat(descriptor_.get(), from.c_str(), to_folder.descriptor_.get(), to.c_str()) != 0) {
    return fail_errno(from);
  }
  return {};
}

Status Folder::sync() const {
  if (retry_interrupted([&] { return ::fsync(descriptor_.get()); }) != 0) return fail_errno(name_);
  return {};
}

Status Folder::sync_all() const {
  if (::syncfs(descriptor_.get()) != 0) return fail_errno(name_);
  return {};
}

}  // namespace cairn::os
