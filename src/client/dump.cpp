#include "client/dump.h"

#include "client/snapshots.h"
#include "client/tar.h"
#include "client/tree_path.h"
#include "client/zip.h"

namespace cairn::client {

namespace {

using volume::InodeId;

constexpr size_t kListPage = 4096;

class Dumper {
 public:
  Dumper(env::World world, volume::View view, Client::WriteBytes write, bool zip)
      : world_(world), view_(std::move(view)), write_(std::move(write)) {
    if (zip) zip_.emplace([this](const void* from, size_t size) { return write_(from, size); });
  }

  // A file's bytes, zeros for its holes.
  env::Task<Status> content(InodeId id, uint64_t size) {
    auto reader = co_await view_.open_reader(id);
    if (!reader) co_return fail(std::move(reader.error()));
    uint64_t at = 0;
    for (;;) {
      auto piece = co_await (*reader)->next();
      if (!piece) co_return fail(std::move(piece.error()));
      const uint64_t upto = *piece ? (*piece)->offset : size;
      auto written = co_await world_.workers.run([&]() -> Status {
        CAIRN_TRY(zeros(upto - at));
        if (*piece) CAIRN_TRY(put((*piece)->bytes.data(), (*piece)->bytes.size()));
        return {};
      });
      if (!written) co_return written;
      if (!*piece) co_return Status{};
      at = upto + (*piece)->bytes.size();
    }
  }

  // `path`: its name in the archive; "" for the folder that is dumped itself, which is not in it.
  env::Task<Status> folder(InodeId id, std::string path, size_t depth) {
    if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
    std::string after;
    for (;;) {
      auto page = co_await view_.list(id, after, kListPage);
      if (!page) co_return fail(std::move(page.error()));
      if (page->empty()) co_return Status{};
      after = page->back().name;
      std::vector<InodeId> ids;
      for (const volume::DirectoryEntry& entry : *page) ids.push_back(entry.inode);
      auto inodes = co_await view_.inodes(std::move(ids));
      if (!inodes) co_return fail(std::move(inodes.error()));
      for (size_t i = 0; i < page->size(); ++i) {
        const volume::DirectoryEntry& entry = (*page)[i];
        if (!(*inodes)[i]) co_return fail(Code::damaged, "the snapshot has a name and not its file");
        const std::string below = path.empty() ? entry.name : path + "/" + entry.name;
        auto done =
            co_await one(entry.inode, {.path = below, .inode = std::move(*(*inodes)[i]), .xattrs = {}, .link_to = {}});
        if (!done) co_return fail(std::move(done.error()), printable(below));
        if (entry.type == volume::FileType::directory) {
          done = co_await folder(entry.inode, below, depth + 1);
          if (!done) co_return done;
        }
      }
    }
  }

  env::Task<Status> end() {
    auto done = co_await world_.workers.run([&] { return zip_ ? zip_->finish() : text(tar_end()); });
    co_return done;
  }

 private:
  Status put(const void* from, size_t size) { return zip_ ? zip_->content(from, size) : write_(from, size); }
  Status text(const std::string& bytes) { return write_(bytes.data(), bytes.size()); }
  Status zeros(uint64_t count) {
    for (const Bytes block(std::min<uint64_t>(count, 1 * kMiB)); count > 0;) {
      const size_t step = std::min<uint64_t>(block.size(), count);
      CAIRN_TRY(put(block.data(), step));
      count -= step;
    }
    return {};
  }

  env::Task<Status> zipped(InodeId id, TarEntry entry) {
    if (!ZipWriter::has_place_for(entry.inode)) co_return Status{};
    auto done = co_await world_.workers.run([&] { return zip_->begin(entry.path, entry.inode); });
    if (done && entry.inode.is_file() && entry.inode.size > 0) done = co_await content(id, entry.inode.size);
    if (done) done = co_await world_.workers.run([&] { return zip_->end(); });
    co_return done;
  }

  env::Task<Status> one(InodeId id, TarEntry entry) {
    if (zip_) {
      auto done = co_await zipped(id, std::move(entry));
      co_return done;
    }
    if (entry.inode.has_xattrs) {
      auto xattrs = co_await view_.xattrs(id);
      if (!xattrs) co_return fail(std::move(xattrs.error()));
      entry.xattrs = std::move(*xattrs);
    }
    if (!entry.inode.is_directory() && entry.inode.links > 1) {
      const auto [first, is_first] = first_names_.emplace(id, entry.path);
      if (!is_first) entry.link_to = first->second;
    }
    auto done = co_await world_.workers.run([&] { return text(tar_header(entry)); });
    const uint64_t size = tar_content_size(entry);
    if (!done || size == 0) co_return done;
    done = co_await content(id, size);
    if (!done) co_return done;
    done = co_await world_.workers.run([&] { return zeros(tar_padding(size)); });
    co_return done;
  }

  env::World world_;
  volume::View view_;
  Client::WriteBytes write_;
  std::optional<ZipWriter> zip_;                // else a tar archive
  std::map<InodeId, std::string> first_names_;  // of files with several
};

}  // namespace

env::Task<Status> dump_snapshot(Core& core, std::string name, SnapshotFilter filter, std::string path, bool zip,
                                Client::WriteBytes write) {
  auto open = co_await open_snapshot(core, std::move(name), std::move(filter));
  if (!open) co_return fail(std::move(open.error()));
  auto at = co_await open->view.resolve(normalize(open->found.subfolder + "/" + path));
  if (!at) co_return fail(std::move(at.error()));
  const bool file = at->inode.is_file();
  Dumper dumper(core.world(), std::move(open->view), std::move(write), zip && !file);
  if (file) {
    auto done = co_await dumper.content(at->id, at->inode.size);
    co_return done;
  }
  if (!at->inode.is_directory()) co_return fail(Code::bad_input, "only files and folders can be dumped");
  auto done = co_await dumper.folder(at->id, "", 0);
  if (!done) co_return done;
  done = co_await dumper.end();
  co_return done;
}

}  // namespace cairn::client
