// FileSystem: reading of bytes, read-ahead, data and holes.

#include <algorithm>

#include "volume/drive/file_system_impl.h"
#include "volume/file_reader.h"
#include "volume/limits.h"

namespace cairn::volume {

namespace {

constexpr size_t kExtentPage = 4096;

// A run of staged bytes that lie together.
struct StagedRun {
  StagedPlace place;
  uint64_t offset = 0, length = 0;  // in the file
};

}  // namespace

env::Task<FsResult<FileSystem::Impl::Look>> FileSystem::Impl::look(InodeId id, uint64_t first, uint64_t last) {
  const auto lock = co_await locks_.lock(id);
  for (;;) {
    // A new base in between would give one version's size with another's extents.
    const HeadPtr base = pending_.base();
    auto inode = co_await load(id);
    if (!inode) co_return std::unexpected(inode.error());
    if (!inode->is_file()) co_return fs_fail(inode->is_directory() ? EISDIR : EINVAL);
    Look seen{.size = inode->size, .inline_data = {}, .extents = {}};
    const uint64_t end = std::min(last, inode->size);
    if (inode->inline_data.empty() && first < end) {
      auto extents = co_await find_extents(pending_.items(), id, first, end, SIZE_MAX / 2);
      if (!extents) co_return fs_fail(extents.error());
      seen.extents = std::move(*extents);
      for (Extent& extent : seen.extents) clip(extent, first, end);
    }
    if (pending_.base() != base) continue;
    seen.inline_data = inode->inline_data;
    if (first < end) note_access(id, std::move(*inode), base);
    co_return seen;
  }
}

void FileSystem::Impl::note_access(InodeId id, Inode inode, const HeadPtr& base) {
  if (!options_.relatime || options_.read_only || pending_.base() != base) return;
  Work work = begin_work();
  if (inode.atime > inode.mtime && inode.atime > inode.ctime && work.now - inode.atime < kAccessTimeAge) return;
  // Not worth waiting for.
  const auto share = gate_.try_acquire();
  if (!share) return;
  inode.atime = work.now;
  work.inodes.emplace(id, std::move(inode));
  (void)apply(work);
}

env::Task<FsResult<std::vector<Buffer>>> FileSystem::Impl::read(FileHandle handle, uint64_t offset, size_t length) {
  const OpenFilePtr open = file(handle);
  if (!open) co_return fs_fail(EBADF);
  if (length == 0) co_return std::vector<Buffer>{};
  const auto hold = staging_.hold();
  const uint64_t end = offset > UINT64_MAX - length ? UINT64_MAX : offset + length;
  auto seen = co_await look(open->inode, offset, end);
  if (!seen) co_return std::unexpected(seen.error());
  const uint64_t last = std::min(end, seen->size);
  if (offset >= last) co_return std::vector<Buffer>{};
  if (!seen->inline_data.empty()) {
    Buffer bytes(last - offset);
    const std::string_view data = seen->inline_data;
    const size_t there = data.size() > offset ? std::min<size_t>(data.size() - offset, bytes.size()) : 0;
    if (there > 0) std::memcpy(bytes.data(), data.data() + offset, there);
    std::memset(bytes.data() + there, 0, bytes.size() - there);
    co_return std::vector<Buffer>{std::move(bytes)};
  }
  read_ahead(open, offset, last, seen->size);
  auto bytes = co_await gather(std::move(seen->extents), offset, last);
  co_return bytes;
}

env::Task<FsResult<std::vector<Buffer>>> FileSystem::Impl::gather(std::vector<Extent> extents, uint64_t first,
                                                                  uint64_t last) {
  std::vector<Extent> placed;
  std::vector<StagedRun> staged;
  for (Extent& extent : extents) {
    const auto place = staged_place(extent);
    if (!place) {
      placed.push_back(std::move(extent));
      continue;
    }
    StagedRun* run = staged.empty() ? nullptr : &staged.back();
    if (run != nullptr && run->offset + run->length == extent.offset && run->place.segment == place->segment &&
        run->place.offset + run->length == place->offset) {
      run->length += extent.length;
    } else {
      staged.push_back({*place, extent.offset, extent.length});
    }
  }
  std::vector<FileReader::Piece> pieces;
  if (!placed.empty()) {
    auto got = co_await chunks_.read(pending_.items(), std::move(placed));
    if (!got) co_return fs_fail(got.error());
    pieces = std::move(*got);
  }
  if (!staged.empty()) {
    for (const StagedRun& run : staged) {
      auto bytes = co_await staging_.read(run.place, run.length);
      if (!bytes) co_return fs_fail(bytes.error());
      pieces.push_back({run.offset, std::move(*bytes)});
    }
    std::ranges::sort(pieces, {}, &FileReader::Piece::offset);
  }
  std::vector<Buffer> bytes;
  uint64_t at = first;
  const auto zeros_to = [&](uint64_t end) {
    while (at < end) {
      bytes.push_back(zeros_.slice(0, std::min<uint64_t>(zeros_.size(), end - at)));
      at += bytes.back().size();
    }
  };
  for (FileReader::Piece& piece : pieces) {
    zeros_to(piece.offset);
    at += piece.bytes.size();
    bytes.push_back(std::move(piece.bytes));
  }
  zeros_to(last);
  co_return bytes;
}

void FileSystem::Impl::read_ahead(const OpenFilePtr& open, uint64_t offset, uint64_t end, uint64_t size) {
  OpenFile& file = *open;
  // A run: each read begins near the end of those before, and together they have read most of what it spans.
  const bool near = file.read > 0 && offset <= file.expected + kReadDisorder && offset + kReadDisorder >= file.expected;
  const uint64_t begin = std::min(file.begin, offset), expected = std::max(file.expected, end);
  if (!near || (file.read + end - offset) * 2 < expected - begin) {
    file.begin = offset;
    file.expected = end;
    file.read = end - offset;
    file.window = file.asked = 0;
    return;
  }
  file.begin = begin;
  file.expected = expected;
  file.read += end - offset;
  file.asked = std::max(file.asked, file.expected);
  // Half a window is always asked for: requests of some size, and never a gap.
  const uint64_t ahead = file.asked - file.expected;
  if (file.asking || file.asked >= size || (file.window > 0 && ahead > file.window / 2)) return;
  file.window = file.window == 0 ? kFirstWindow : std::min(2 * file.window, kLastWindow);
  const uint64_t to = std::min(size, file.expected + file.window);
  if (to <= file.asked) return;
  file.asking = true;
  group_.spawn(ask_ahead(open, std::exchange(file.asked, to), to));
}

env::Task<void> FileSystem::Impl::ask_ahead(OpenFilePtr open, uint64_t first, uint64_t last) {
  auto extents = co_await find_extents(pending_.items(), open->inode, first, last, kExtentPage);
  open->asking = false;
  if (!extents) co_return;
  std::erase_if(*extents, [](const Extent& extent) { return staged_place(extent).has_value(); });
  if (!extents->empty()) chunks_.prefetch(pending_.items(), std::move(*extents));
}

env::Task<FsResult<uint64_t>> FileSystem::Impl::seek_data(InodeId id, uint64_t offset) {
  auto inode = co_await load(id);
  if (!inode) co_return std::unexpected(inode.error());
  if (!inode->is_file()) co_return fs_fail(EINVAL);
  if (offset >= inode->size) co_return fs_fail(ENXIO);
  if (!inode->inline_data.empty()) {
    if (offset >= inode->inline_data.size()) co_return fs_fail(ENXIO);
    co_return offset;
  }
  auto next = co_await find_extents(pending_.items(), id, offset, inode->size, 1);
  if (!next) co_return fs_fail(next.error());
  if (next->empty()) co_return fs_fail(ENXIO);
  co_return std::max(offset, next->front().offset);
}

env::Task<FsResult<uint64_t>> FileSystem::Impl::seek_hole(InodeId id, uint64_t offset) {
  auto inode = co_await load(id);
  if (!inode) co_return std::unexpected(inode.error());
  if (!inode->is_file()) co_return fs_fail(EINVAL);
  if (offset >= inode->size) co_return fs_fail(ENXIO);
  if (!inode->inline_data.empty()) co_return std::max<uint64_t>(offset, inode->inline_data.size());
  for (;;) {
    auto page = co_await find_extents(pending_.items(), id, offset, inode->size, kExtentPage);
    if (!page) co_return fs_fail(page.error());
    for (const Extent& extent : *page) {
      if (extent.offset > offset) co_return offset;
      offset = extent.end();
    }
    if (page->size() < kExtentPage) co_return std::min(offset, inode->size);
  }
}

}  // namespace cairn::volume
