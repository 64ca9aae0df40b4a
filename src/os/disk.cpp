#include "os/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <atomic>
#include <climits>

#include "os/past_cache.h"
#include "os/posix.h"

namespace cairn::os {

namespace {

constexpr mode_t kPrivateFile = 0600;
constexpr mode_t kPrivateFolder = 0700;

class PosixFile final : public env::File {
 public:
  PosixFile(Descriptor descriptor, std::string path) : descriptor_(std::move(descriptor)), path_(std::move(path)) {}

  Result<size_t> read_at(uint64_t offset, MutableByteView into) override {
    size_t done = 0;
    while (done < into.size()) {
      const ssize_t count = retry_interrupted([&] {
        return ::pread(descriptor_.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
      });
      if (count < 0) return fail_errno(path_);
      if (count == 0) break;
      done += static_cast<size_t>(count);
    }
    return done;
  }

  Status write_at(uint64_t offset, std::span<const ByteView> parts) override { return write_rest(offset, parts, 0); }

  Result<size_t> read_past_cache(uint64_t offset, MutableByteView into) override {
    const size_t direct = past_cache_.read(descriptor_.get(), offset, into);
    if (direct == into.size()) return direct;
    auto rest = read_at(offset + direct, into.subspan(direct));
    if (!rest) return rest;
    return direct + *rest;
  }

  Status write_past_cache(uint64_t offset, std::span<const ByteView> parts) override {
    const size_t direct = past_cache_.write(descriptor_.get(), offset, parts);
    return write_rest(offset + direct, parts, direct);
  }

  // Without the first `skip` bytes of the parts, which are written.
  Status write_rest(uint64_t offset, std::span<const ByteView> parts, size_t skip) {
    std::vector<iovec> vectors;
    vectors.reserve(parts.size());
    for (ByteView part : parts) {
      const size_t done = std::min(skip, part.size());
      part = part.subspan(done);
      skip -= done;
      if (!part.empty()) vectors.push_back({const_cast<uint8_t*>(part.data()), part.size()});
    }
    size_t first = 0;
    while (first < vectors.size()) {
      const int count = static_cast<int>(std::min<size_t>(vectors.size() - first, IOV_MAX));
      const ssize_t written = retry_interrupted(
          [&] { return ::pwritev(descriptor_.get(), &vectors[first], count, static_cast<off_t>(offset)); });
      if (written < 0) return fail_errno(path_);
      if (written == 0) return fail_errno(ENOSPC, path_);
      offset += static_cast<uint64_t>(written);
      for (auto left = static_cast<size_t>(written); left > 0;) {
        iovec& vector = vectors[first];
        const size_t taken = std::min(left, vector.iov_len);
        vector.iov_base = static_cast<uint8_t*>(vector.iov_base) + taken;
        vector.iov_len -= taken;
        left -= taken;
        if (vector.iov_len == 0) ++first;
      }
    }
    return {};
  }

  // After one failed sync the kernel may have dropped the pages and call the next one a success: it never is here.
  Status sync() override {
    if (sync_failed_) return fail(Code::io, printable(path_) + ": an earlier sync failed");
    if (retry_interrupted([&] { return ::fdatasync(descriptor_.get()); }) == 0) return {};
    const int number = errno;
    sync_failed_ = true;
    return fail_errno(number, path_);
  }

  Result<uint64_t> size() override {
    struct stat info;
    if (::fstat(descriptor_.get(), &info) != 0) return fail_errno(path_);
    return static_cast<uint64_t>(info.st_size);
  }

  Status truncate(uint64_t size) override {
    if (retry_interrupted([&] { return ::ftruncate(descriptor_.get(), static_cast<off_t>(size)); }) != 0) {
      return fail_errno(path_);
    }
    return {};
  }

  Status allocate(uint64_t offset, uint64_t length) override {
    if (length == 0) return {};
    const int result = retry_interrupted([&] {
      return ::fallocate(descriptor_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                         static_cast<off_t>(length));
    });
    if (result != 0 && errno != EOPNOTSUPP && errno != ENOSYS) return fail_errno(path_);
    return {};
  }

  Status punch_hole(uint64_t offset, uint64_t length) override {
    if (length == 0) return {};
    const int result = retry_interrupted([&] {
      return ::fallocate(descriptor_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                         static_cast<off_t>(length));
    });
    if (result != 0) return fail_errno(path_);
    return {};
  }

  Result<uint64_t> allocated() override {
    struct stat info;
    if (::fstat(descriptor_.get(), &info) != 0) return fail_errno(path_);
    return static_cast<uint64_t>(info.st_blocks) * 512;  // st_blocks counts these, whatever the block size is
  }

 private:
  Descriptor descriptor_;
  PastCache past_cache_;
  std::string path_;
  std::atomic<bool> sync_failed_ = false;
};

// The lock goes with its descriptor, also when the process is killed. flock() belongs to the open file, so a second
// holder in the same process is refused too.
class PosixLock final : public env::DiskLock {
 public:
  explicit PosixLock(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

 private:
  Descriptor descriptor_;
};

Status sync_folder(const std::string& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail_errno(path);
  if (retry_interrupted([&] { return ::fsync(folder.get()); }) != 0) return fail_errno(path);
  return {};
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::string PosixDisk::real(const std::string& path) const {
  if (root_.empty() || path.starts_with('/')) return path;
  return root_ + "/" + path;
}

Result<std::unique_ptr<env::File>> PosixDisk::open(const std::string& path, env::OpenMode mode) {
  int flags = O_CLOEXEC;
  switch (mode) {
    case env::OpenMode::read:
      flags |= O_RDONLY;
      break;
    case env::OpenMode::read_write:
      flags |= O_RDWR;
      break;
    case env::OpenMode::create:
      flags |= O_RDWR | O_CREAT;
      break;
    case env::OpenMode::create_new:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      break;
  }
  Descriptor descriptor(retry_interrupted([&] { return ::open(real(path).c_str(), flags, kPrivateFile); }));
  if (!descriptor) return fail_errno(path);
  return std::make_unique<PosixFile>(std::move(descriptor), path);
}

Status PosixDisk::make_dirs(const std::string& path) {
  const std::string whole = real(path);
  // From the first missing parent on; each new name is made durable in its own parent.
  for (size_t end = 1; end <= whole.size(); ++end) {
    if (end != whole.size() && whole[end] != '/') continue;
    if (whole[end - 1] == '/') continue;
    const std::string folder = whole.substr(0, end);
    if (::mkdir(folder.c_str(), kPrivateFolder) == 0) {
      CAIRN_TRY(sync_folder(parent_of(folder)));
      continue;
    }
    const int number = errno;
    struct stat info;
    // Other refusals than EEXIST come for folders that are there too (EROFS, EACCES on a parent of another user).
    if (::stat(folder.c_str(), &info) != 0) return fail_errno(number, path);
    if (!S_ISDIR(info.st_mode)) return fail(Code::exists, printable(path) + " is not a folder");
  }
  return {};
}

Status PosixDisk::rename(const std::string& from, const std::string& to) {
  if (::rename(real(from).c_str(), real(to).c_str()) != 0) return fail_errno(from);
  return {};
}

Status PosixDisk::remove(const std::string& path) {
  if (::remove(real(path).c_str()) != 0) return fail_errno(path);
  return {};
}

Status PosixDisk::sync_dir(const std::string& path) {
  return sync_folder(real(path));
}

Result<std::vector<std::string>> PosixDisk::list(const std::string& path) {
  const std::unique_ptr<DIR, decltype([](DIR* folder) { ::closedir(folder); })> folder(::opendir(real(path).c_str()));
  if (!folder) return fail_errno(path);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return fail_errno(path);
  std::sort(names.begin(), names.end());
  return names;
}

Result<bool> PosixDisk::exists(const std::string& path) {
  struct stat info;
  if (::stat(real(path).c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return fail_errno(path);
}

Result<env::Space> PosixDisk::space(const std::string& path) {
  struct statvfs info;
  if (retry_interrupted([&] { return ::statvfs(real(path).c_str(), &info); }) != 0) return fail_errno(path);
  return env::Space{.total = static_cast<uint64_t>(info.f_blocks) * info.f_frsize,
                    .available = static_cast<uint64_t>(info.f_bavail) * info.f_frsize,
                    .device = static_cast<uint64_t>(info.f_fsid)};
}

Result<std::unique_ptr<env::DiskLock>> PosixDisk::lock(const std::string& path) {
  Descriptor descriptor(
      retry_interrupted([&] { return ::open(real(path).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile); }));
  if (!descriptor) return fail_errno(path);
  if (retry_interrupted([&] { return ::flock(descriptor.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno == EWOULDBLOCK) return fail(Code::overloaded, printable(path) + " is held by another");
    return fail_errno(path);
  }
  return std::make_unique<PosixLock>(std::move(descriptor));
}

}  // namespace cairn::os
