#include "client/snapshot_source.h"

#include "backup/limits.h"
#include "client/tree_path.h"

namespace cairn::client {

namespace {

using backup::ScanEvent;
using backup::SourceEntry;
using volume::Inode;
using volume::InodeId;
using volume::View;

SourceEntry entry_of(const std::string& path, const std::string& name, const Inode& inode) {
  const bool sized = inode.is_file() || inode.type == volume::FileType::symlink;
  return {.path = path,
          .name = name,
          .type = inode.type,
          .mode = inode.mode,
          .uid = inode.uid,
          .gid = inode.gid,
          .links = inode.is_directory() ? 1 : inode.links,
          .size = sized ? inode.size : 0,
          .device = inode.source_device,
          .inode = inode.source_inode,
          .rdev = inode.rdev,
          .mtime = inode.mtime,
          .ctime = inode.ctime,
          .atime = inode.atime,
          .btime = inode.btime};
}

class SnapshotFile final : public backup::SourceFile {
 public:
  SnapshotFile(Core& from, uint64_t size, std::unique_ptr<volume::FileReader> reader)
      : from_(from), size_(size), reader_(std::move(reader)) {}
  ~SnapshotFile() override {  // on the strand that its requests run on
    (void)from_.run<void>([this]() -> env::Task<Status> {
      return [](std::unique_ptr<volume::FileReader> gone) -> env::Task<Status> {
        gone.reset();
        co_return Status{};
      }(std::move(reader_));
    });
  }

  Result<std::optional<Piece>> read(uint64_t offset, size_t most) override {
    using Next = std::optional<volume::FileReader::Piece>;
    if (!ahead_ && !ended_) {
      auto next = from_.run<Next>([this] { return reader_->next(); });
      if (!next) return fail(std::move(next.error()));
      ahead_ = std::move(*next);
      ended_ = !ahead_;
    }
    if (ended_) {
      if (offset >= size_) return std::optional<Piece>();
      return std::optional(Piece{.offset = offset, .bytes = {}, .hole = size_ - offset});
    }
    if (ahead_->offset > offset)
      return std::optional(Piece{.offset = offset, .bytes = {}, .hole = ahead_->offset - offset});
    const size_t have = ahead_->bytes.size();
    Piece piece{.offset = offset, .bytes = ahead_->bytes, .hole = 0};
    if (have > most) {
      piece.bytes = ahead_->bytes.slice(0, most);
      ahead_ = volume::FileReader::Piece{.offset = offset + most, .bytes = ahead_->bytes.slice(most, have - most)};
    } else {
      ahead_.reset();
    }
    return std::optional(std::move(piece));
  }
  Result<bool> changed_since(const SourceEntry&) override { return false; }

 private:
  Core& from_;
  uint64_t size_;
  std::unique_ptr<volume::FileReader> reader_;
  std::optional<volume::FileReader::Piece> ahead_;
  bool ended_ = false;
};

class SnapshotSource final : public backup::Source {
 public:
  SnapshotSource(Core& from, View view) : from_(from), view_(std::move(view)) {}

  std::vector<ScanEvent> next() override {
    std::vector<ScanEvent> events;
    auto done = from_.run<void>([&] { return walk(events); });
    if (!done) {
      ScanEvent event{.kind = ScanEvent::Kind::failed, .entry = {}, .error = std::move(done.error())};
      event.entry.path = stack_.empty() ? "/" : stack_.back().path;
      events.push_back(std::move(event));
      stack_.clear();
    }
    return events;
  }

  void complete(std::span<backup::Detail> details) override {
    auto done = from_.run<void>([&] { return complete_all(details); });
    if (done) return;
    for (backup::Detail& detail : details) {
      if (!detail.error) detail.error = done.error();
    }
  }

  Result<std::unique_ptr<backup::SourceFile>> open(const std::string& path) override {
    struct Opened {
      std::unique_ptr<volume::FileReader> reader;
      uint64_t size = 0;
    };
    auto opened = from_.run<Opened>([&]() -> env::Task<Result<Opened>> {
      return [](View view, std::string at) -> env::Task<Result<Opened>> {
        auto found = co_await view.resolve(at);
        if (!found) co_return fail(std::move(found.error()));
        auto reader = co_await view.open_reader(found->id);
        if (!reader) co_return fail(std::move(reader.error()));
        co_return Opened{.reader = std::move(*reader), .size = found->inode.size};
      }(view_, path);
    });
    if (!opened) return fail(std::move(opened.error()));
    return std::make_unique<SnapshotFile>(from_, opened->size, std::move(opened->reader));
  }

 private:
  struct Level {
    InodeId id = 0;
    std::string path;
    std::vector<volume::DirectoryEntry> entries;
    std::vector<std::optional<Inode>> inodes;
    size_t at = 0;
    bool ended = false;
  };

  env::Task<Status> load(Level& level) {
    const std::string after = level.entries.empty() ? std::string() : level.entries.back().name;
    auto page = co_await view_.list(level.id, after, backup::kListPage);
    if (!page) co_return fail(std::move(page.error()));
    std::vector<InodeId> ids;
    for (const volume::DirectoryEntry& entry : *page) ids.push_back(entry.inode);
    auto inodes = co_await view_.inodes(std::move(ids));
    if (!inodes) co_return fail(std::move(inodes.error()));
    level.ended = page->empty();
    level.entries = std::move(*page);
    level.inodes = std::move(*inodes);
    level.at = 0;
    co_return Status{};
  }

  env::Task<Status> walk(std::vector<ScanEvent>& events) {
    if (!std::exchange(started_, true))
      stack_.push_back({.id = volume::kRootInode, .path = "/", .entries = {}, .inodes = {}});
    while (!stack_.empty() && events.size() < backup::kScanBatch) {
      Level& level = stack_.back();
      if (level.at == level.entries.size() && !level.ended) {
        CAIRN_CO_TRY(co_await load(level));
        continue;
      }
      if (level.ended) {
        stack_.pop_back();
        if (!stack_.empty()) events.push_back({.kind = ScanEvent::Kind::leave, .entry = {}});
        continue;
      }
      const size_t at = level.at++;
      const volume::DirectoryEntry& entry = level.entries[at];
      const std::optional<Inode>& inode = level.inodes[at];
      const std::string path = join(level.path, entry.name);
      if (!inode) co_return fail(Code::damaged, "the snapshot has a name and not its file: " + printable(path));
      ScanEvent event;
      event.entry = entry_of(path, entry.name, *inode);
      const bool folder = inode->is_directory();
      if (folder) event.kind = ScanEvent::Kind::enter;
      events.push_back(std::move(event));
      if (folder) stack_.push_back({.id = entry.inode, .path = path, .entries = {}, .inodes = {}});
    }
    co_return Status{};
  }

  env::Task<Status> complete_all(std::span<backup::Detail> details) {
    for (backup::Detail& detail : details) {
      auto done = co_await complete_one(detail);
      if (!done) detail.error = std::move(done.error());
    }
    co_return Status{};
  }

  env::Task<Status> complete_one(backup::Detail& detail) {
    auto found = co_await view_.resolve(detail.entry.path);
    if (!found) co_return fail(std::move(found.error()));
    Inode& inode = found->inode;
    if (inode.has_xattrs) {
      auto xattrs = co_await view_.xattrs(found->id);
      if (!xattrs) co_return fail(std::move(xattrs.error()));
      detail.xattrs = std::move(*xattrs);
    }
    detail.owner = std::move(inode.owner);
    detail.group = std::move(inode.group);
    detail.flags = inode.flags;
    if (inode.type == volume::FileType::symlink) detail.target = std::move(inode.inline_data);
    if (!inode.is_file() || inode.size > backup::kSmallFile) co_return Status{};
    if (inode.inline_data.size() == inode.size) {
      detail.content = to_bytes(as_bytes(inode.inline_data));
      co_return Status{};
    }
    auto extents = co_await view_.extents(found->id, 0, inode.size, backup::kSmallFile);
    if (!extents) co_return fail(std::move(extents.error()));
    uint64_t covered = 0;
    for (const volume::Extent& extent : *extents) covered += extent.length;
    if (covered < inode.size) co_return Status{};  // with holes: it is opened and read piece by piece
    auto bytes = co_await view_.read(found->id, 0, inode.size);
    if (!bytes) co_return fail(std::move(bytes.error()));
    detail.content = std::move(*bytes);
    co_return Status{};
  }

  Core& from_;
  View view_;
  bool started_ = false;
  std::vector<Level> stack_;
};

}  // namespace

std::unique_ptr<backup::Source> make_snapshot_source(Core& from, volume::View view) {
  return std::make_unique<SnapshotSource>(from, std::move(view));
}

}  // namespace cairn::client
