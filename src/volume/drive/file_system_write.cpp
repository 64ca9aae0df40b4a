// FileSystem: changes of bytes. Data is staged first; the edit that shows it is applied all at once.

#include <algorithm>

#include "volume/drive/file_system_impl.h"
#include "volume/file_reader.h"
#include "volume/limits.h"

namespace cairn::volume {

namespace {

// Extents that a copy takes at once.
constexpr size_t kCopiedExtents = 4096;
// A range that is written at once has no more.
constexpr size_t kAllExtents = SIZE_MAX / 2;

// `next` right behind `before`, in the file and in its segment, and both in one unit of the file: one extent.
bool join(Extent& before, const Extent& next) {
  const auto first = staged_place(before), second = staged_place(next);
  if (!first || !second || before.end() != next.offset) return false;
  if (first->segment != second->segment || first->offset + before.length != second->offset) return false;
  if (before.offset / kExtentSize != next.offset / kExtentSize) return false;
  before.chunk = staged_chunk(*first);
  before.chunk_offset = 0;
  before.length += next.length;
  return true;
}

}  // namespace

std::vector<Extent> staged_extents(uint64_t offset, StagedPlace place, uint64_t length) {
  std::vector<Extent> extents;
  while (length > 0) {
    const uint64_t part = std::min<uint64_t>(length, kExtentSize - offset % kExtentSize);
    extents.push_back({.offset = offset, .length = static_cast<uint32_t>(part), .chunk = staged_chunk(place)});
    offset += part;
    place.offset += part;
    length -= part;
  }
  return extents;
}

env::Task<FsResult<StagedPlace>> FileSystem::Impl::stage(Buffer bytes) {
  auto place = co_await staging_.append(std::move(bytes));
  if (!place) co_return fs_fail(place.error());
  co_return *place;
}

env::Task<FsStatus> FileSystem::Impl::put_range(Work& work, InodeId id, Inode& inode, uint64_t first, uint64_t last,
                                                std::vector<Extent> fresh) {
  if (const std::string head = std::exchange(inode.inline_data, {}); !head.empty()) {
    if (first > 0 || last < head.size()) {
      auto place = co_await stage(Buffer::copy_of(as_bytes(head)));
      if (!place) co_return std::unexpected(place.error());
      for (const Extent& extent : staged_extents(0, *place, head.size()))
        carve_extent(id, extent, first, last, work.edits);
    }
  } else {
    // With the byte before, so that what ends there may be lengthened.
    auto there = co_await find_extents(pending_.items(), id, first > 0 ? first - 1 : 0, last, kAllExtents);
    if (!there) co_return fs_fail(there.error());
    for (const Extent& extent : *there) {
      if (extent.end() > first) {
        carve_extent(id, extent, first, last, work.edits);
        continue;
      }
      Extent longer = extent;
      if (!fresh.empty() && join(longer, fresh.front())) fresh.front() = std::move(longer);
    }
  }
  for (const Extent& extent : fresh) work.edits.insert_or_assign(extent_key(id, extent.offset), encode_extent(extent));
  co_return FsStatus{};
}

env::Task<FsResult<bool>> FileSystem::Impl::fits_inline(InodeId id, const Inode& inode, uint64_t size) {
  if (size > kInlineFileSize) co_return false;
  if (inode.size == 0 || !inode.inline_data.empty()) co_return true;
  auto extents = co_await find_extents(pending_.items(), id, 0, kInlineFileSize, 1);
  if (!extents) co_return fs_fail(extents.error());
  co_return extents->empty();
}

void FileSystem::Impl::set_size(Work& work, InodeId id, Inode& inode, uint64_t size) const {
  if (!pending_.is_orphan(id)) work.figures.bytes += static_cast<int64_t>(size) - static_cast<int64_t>(inode.size);
  inode.size = size;
  inode.mtime = inode.ctime = work.now;
  ++inode.version;
}

FsStatus FileSystem::Impl::apply_content(Work& work, InodeId id) {
  if (auto applied = apply(work); !applied) return applied;
  if (const auto at = open_.find(id); at != open_.end()) at->second.written = true;
  return {};
}

env::Task<FsStatus> FileSystem::Impl::resize(Work& work, InodeId id, Inode& inode, uint64_t size) {
  if (size < inode.size) {
    if (inode.inline_data.size() > size) inode.inline_data.resize(size);
    auto carved = co_await carve_extents(pending_.items(), id, size, UINT64_MAX, work.edits);
    if (!carved) co_return fs_fail(carved.error());
  }
  set_size(work, id, inode, size);
  co_return FsStatus{};
}

env::Task<FsResult<size_t>> FileSystem::Impl::write(FileHandle handle, uint64_t offset, Buffer bytes, bool append,
                                                    bool kill_set_id) {
  const OpenFilePtr open = file(handle);
  if (!open) co_return fs_fail(EBADF);
  if (bytes.empty()) co_return 0;
  const InodeId id = open->inode;
  const uint64_t most = options_.max_file_size;
  if (!append && offset >= most) co_return fs_fail(EFBIG);
  if (!append && bytes.size() > most - offset) bytes = bytes.slice(0, most - offset);
  const size_t written = bytes.size();
  const auto share = co_await begin_change(written);
  if (!share) co_return std::unexpected(share.error());
  Work work = begin_work();
  // What is surely not inline is staged before the file's turn: other writers need not wait for the disk. Not the
  // second write of a stream, which takes the inline bytes along.
  std::optional<StagedPlace> place;
  if (append ? written > kInlineFileSize : written >= kExtentSize || offset > kInlineFileSize) {
    auto staged = co_await stage(bytes);
    if (!staged) co_return std::unexpected(staged.error());
    place = *staged;
  }
  const auto lock = co_await locks_.lock(id);
  auto used = co_await use(work, id);
  if (!used) co_return std::unexpected(used.error());
  Inode& inode = **used;
  if (!inode.is_file()) co_return fs_fail(EINVAL);
  work.now = now();
  if (append) {
    offset = inode.size;
    if (offset >= most || written > most - offset) co_return fs_fail(EFBIG);
  }
  const uint64_t end = offset + written, size = std::max(inode.size, end);
  auto small = co_await fits_inline(id, inode, size);
  if (!small) co_return std::unexpected(small.error());
  if (*small) {
    if (inode.inline_data.size() < end) inode.inline_data.resize(end);
    std::memcpy(inode.inline_data.data() + offset, bytes.data(), written);
  } else {
    if (!place) {
      const std::string& head = inode.inline_data;
      if (offset > 0 && offset <= head.size() && end >= head.size()) {
        // What was inline and what comes: one run.
        Buffer both(end);
        std::memcpy(both.data(), head.data(), offset);
        std::memcpy(both.data() + offset, bytes.data(), written);
        bytes = std::move(both);
        offset = 0;
      }
      auto staged = co_await stage(bytes);
      if (!staged) co_return std::unexpected(staged.error());
      place = *staged;
    }
    CAIRN_FS_TRY(co_await put_range(work, id, inode, offset, end, staged_extents(offset, *place, end - offset)));
  }
  set_size(work, id, inode, size);
  if (kill_set_id) inode.mode = without_set_id(inode.mode);
  CAIRN_FS_TRY(co_await drop_capabilities(work, id, inode));
  CAIRN_FS_TRY(apply_content(work, id));
  co_return written;
}

env::Task<FsStatus> FileSystem::Impl::allocate(FileHandle handle, uint32_t mode, uint64_t offset, uint64_t length,
                                               bool kill_set_id) {
  const OpenFilePtr open = file(handle);
  if (!open) co_return fs_fail(EBADF);
  const bool keep_size = (mode & kFallocateKeepSize) != 0;
  const bool punch = (mode & kFallocatePunchHole) != 0, zero = (mode & kFallocateZeroRange) != 0;
  if ((mode & ~(kFallocateKeepSize | kFallocatePunchHole | kFallocateZeroRange)) != 0 || (punch && zero) ||
      (punch && !keep_size)) {
    co_return fs_fail(EOPNOTSUPP);
  }
  if (length == 0) co_return fs_fail(EINVAL);
  if (offset > options_.max_file_size || length > options_.max_file_size - offset) co_return fs_fail(EFBIG);
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const InodeId id = open->inode;
  const auto lock = co_await locks_.lock(id);
  Work work = begin_work();
  auto used = co_await use(work, id);
  if (!used) co_return std::unexpected(used.error());
  Inode& inode = **used;
  if (!inode.is_file()) co_return fs_fail(ENODEV);
  const uint64_t end = offset + length;
  if (punch || zero) {
    std::string& data = inode.inline_data;
    for (uint64_t at = offset; at < std::min<uint64_t>(end, data.size()); ++at) data[at] = '\0';
    auto carved = co_await carve_extents(pending_.items(), id, offset, end, work.edits);
    if (!carved) co_return fs_fail(carved.error());
  }
  if (kill_set_id) inode.mode = without_set_id(inode.mode);
  set_size(work, id, inode, keep_size ? inode.size : std::max(inode.size, end));
  co_return apply_content(work, id);
}

env::Task<FsResult<size_t>> FileSystem::Impl::copy_range(FileHandle from, uint64_t from_offset, FileHandle to,
                                                         uint64_t to_offset, size_t length, bool kill_set_id) {
  const OpenFilePtr source = file(from), target = file(to);
  if (!source || !target) co_return fs_fail(EBADF);
  if (to_offset >= options_.max_file_size) co_return fs_fail(EFBIG);
  length = std::min({uint64_t{length}, options_.max_file_size - to_offset, kCopyStep});
  const InodeId from_id = source->inode, to_id = target->inode;
  const auto share = co_await begin_change(0);
  if (!share) co_return std::unexpected(share.error());
  const auto locks = co_await locks_.lock({from_id, to_id});
  Work work = begin_work();
  auto origin = co_await load(from_id);
  if (!origin) co_return std::unexpected(origin.error());
  auto used = co_await use(work, to_id);
  if (!used) co_return std::unexpected(used.error());
  Inode& inode = **used;
  if (!origin->is_file() || !inode.is_file()) co_return fs_fail(EINVAL);
  if (from_offset >= origin->size || length == 0) co_return 0;
  length = std::min<uint64_t>(length, origin->size - from_offset);
  if (from_id == to_id && from_offset < to_offset + length && to_offset < from_offset + length)
    co_return fs_fail(EINVAL);

  // What is to lie in the target: extents, or bytes that are inline at the source.
  std::vector<Extent> fresh;
  std::string bytes;
  if (!origin->inline_data.empty()) {
    if (origin->inline_data.size() > from_offset) bytes = origin->inline_data.substr(from_offset, length);
  } else {
    auto found = co_await find_extents(pending_.items(), from_id, from_offset, from_offset + length, kCopiedExtents);
    if (!found) co_return fs_fail(found.error());
    // The rest is for the caller's next call.
    if (found->size() == kCopiedExtents) length = std::min<uint64_t>(length, found->back().end() - from_offset);
    for (Extent& extent : *found) {
      clip(extent, from_offset, from_offset + length);
      extent.offset = extent.offset - from_offset + to_offset;
      if (const auto place = staged_place(extent)) {
        std::ranges::move(staged_extents(extent.offset, *place, extent.length), std::back_inserter(fresh));
      } else {
        fresh.push_back(std::move(extent));
      }
    }
  }
  const uint64_t end = to_offset + length, size = std::max(inode.size, end);
  auto small = co_await fits_inline(to_id, inode, size);
  if (!small) co_return std::unexpected(small.error());
  if (*small && fresh.empty()) {
    if (inode.inline_data.size() < end) inode.inline_data.resize(end);
    std::memset(inode.inline_data.data() + to_offset, 0, length);
    std::memcpy(inode.inline_data.data() + to_offset, bytes.data(), bytes.size());
  } else {
    if (!bytes.empty()) {
      auto staged = co_await stage(Buffer::copy_of(as_bytes(bytes)));
      if (!staged) co_return std::unexpected(staged.error());
      fresh = staged_extents(to_offset, *staged, bytes.size());
    }
    CAIRN_FS_TRY(co_await put_range(work, to_id, inode, to_offset, end, std::move(fresh)));
  }
  if (kill_set_id) inode.mode = without_set_id(inode.mode);
  set_size(work, to_id, inode, size);
  CAIRN_FS_TRY(apply_content(work, to_id));
  co_return length;
}

}  // namespace cairn::volume
