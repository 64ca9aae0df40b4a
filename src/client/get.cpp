#include "client/get.h"

#include <filesystem>

#include "client/fetch.h"
#include "client/partial.h"
#include "client/snapshots.h"
#include "client/tree_path.h"

namespace cairn::client {

namespace {

using volume::FileType;
using volume::InodeId;

// Files under way at the same time: hides the round trips of small files; memory is bounded by the readers' own limits.
constexpr size_t kFilesInFlight = 16;
constexpr size_t kListPage = 4096;

std::vector<InodeId> numbers_of(const std::vector<volume::DirectoryEntry>& entries) {
  std::vector<InodeId> numbers;
  numbers.reserve(entries.size());
  for (const volume::DirectoryEntry& entry : entries) numbers.push_back(entry.inode);
  return numbers;
}

// One run of get.
class Getter {
 public:
  Getter(Core& core, volume::View view, TransferOptions options)
      : core_(core),
        world_(core.world()),
        view_(std::move(view)),
        options_(std::move(options)),
        meter_(world_.clock, options_.on_progress),
        fetcher_(world_, view_, meter_),
        traffic_before_(core.peers().traffic()),
        pool_before_(core.pool().counters()),
        slots_(world_.executor, kFilesInFlight) {}

  env::Task<Result<TransferReport>> files(TreePath source, std::string destination) {
    CAIRN_CO_TRY(world_.disk.make_dirs(core_.home().file("gets")));
    auto found = co_await view_.resolve(source.path);
    if (!found) co_return fail(std::move(found.error()), source.text());
    // As in put: "into" an existing folder for a file, or when the destination ends in '/'.
    const bool ends_in_slash = destination.ends_with('/');
    auto is_folder = co_await world_.workers.run([&] { return is_directory(destination); });
    if (!is_folder) co_return fail(std::move(is_folder.error()), destination);
    std::string target = destination;
    const std::string name = name_of(source.path);
    if (!name.empty() && (ends_in_slash || (*is_folder && !found->inode.is_directory())))
      target = join(destination, name);
    if (found->inode.is_directory()) {
      auto done = co_await folder(found->id, found->inode, target, source.path == "/", 0);
      if (!done) co_return fail(std::move(done.error()));
    } else {
      co_await entry({.path = target, .inode = found->id, .about = found->inode});
      if (first_error_) co_return fail(std::move(*first_error_));
    }
    auto linked = co_await late_links();
    if (!linked) co_return fail(std::move(linked.error()));
    // Nothing at all could be had: that is the error, and not "partly done".
    if (first_error_ && report_.files + report_.unchanged == 0) co_return fail(std::move(*first_error_));
    co_return finish();
  }

  env::Task<Result<TransferReport>> stream(TreePath source, Client::WriteBytes write) {
    auto found = co_await view_.resolve(source.path);
    if (!found) co_return fail(std::move(found.error()), source.text());
    if (!found->inode.is_file()) co_return fail(Code::bad_input, "only a file's bytes can be written out");
    const uint64_t first = std::min(options_.offset, found->inode.size);
    const uint64_t end = first + std::min(options_.length, found->inode.size - first);
    meter_.progress.bytes_total = end - first;
    auto reader = co_await view_.open_reader(found->id, first, end);
    if (!reader) co_return fail(std::move(reader.error()));
    uint64_t at = first;
    for (;;) {
      auto piece = co_await (*reader)->next();
      if (!piece) co_return fail(std::move(piece.error()));
      const uint64_t upto = *piece ? (*piece)->offset : end;
      auto written = co_await world_.workers.run([&]() -> Status {
        for (const Bytes zeros(std::min<uint64_t>(upto - at, 1 * kMiB)); at < upto;) {
          const size_t step = std::min<uint64_t>(zeros.size(), upto - at);
          CAIRN_TRY(write(zeros.data(), step));
          at += step;
        }
        if (*piece) CAIRN_TRY(write((*piece)->bytes.data(), (*piece)->bytes.size()));
        return {};
      });
      if (!written) co_return fail(std::move(written.error()));
      if (!*piece) break;
      at += (*piece)->bytes.size();
      meter_.progress.bytes_done = at - first;
      meter_.tick();
    }
    ++report_.files;
    report_.bytes = end - first;
    co_return finish();
  }

 private:
  struct Wanted {
    std::string path;
    InodeId inode = 0;
    volume::Inode about;
  };

  void failed(const std::string& path, const Error& error) {
    ++report_.failed;
    if (!first_error_) first_error_ = Error{error.code, error.context.empty() ? path : path + ": " + error.context};
    if (options_.on_error) options_.on_error(path, error);
  }

  env::Task<Status> folder(InodeId id, volume::Inode about, std::string path, bool is_root, size_t depth) {
    if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
    auto made = co_await world_.workers.run([&] { return make_folder(path); });
    if (!made) {
      failed(path, made.error());
      co_return Status{};
    }
    if (*made) ++report_.directories;
    // Everything that is below it must be there before its times are set, so it counts what is still under way.
    env::TaskGroup here(world_.executor);
    std::string after;
    for (;;) {
      auto page = co_await view_.list(id, after, kListPage);
      if (!page) co_return fail(std::move(page.error()), printable(path));
      if (page->empty()) break;
      after = page->back().name;
      auto inodes = co_await view_.inodes(numbers_of(*page));
      if (!inodes) co_return fail(std::move(inodes.error()), printable(path));
      for (size_t i = 0; i < page->size(); ++i) {
        const volume::DirectoryEntry& child = (*page)[i];
        const std::string child_path = join(path, child.name);
        if (is_root && "/" + child.name == kPartialDirectory) continue;
        std::optional<volume::Inode>& inode = (*inodes)[i];
        if (!inode) {
          failed(child_path, Error{Code::damaged, "the volume has its name and not the file"});
          continue;
        }
        if (inode->is_directory()) {
          auto done = co_await folder(child.inode, std::move(*inode), child_path, false, depth + 1);
          if (!done) co_return done;
          continue;
        }
        auto permit = co_await slots_.acquire();
        here.spawn([](Getter& self, Wanted wanted, env::Semaphore::Permit) -> env::Task<void> {
          co_await self.entry(std::move(wanted));
        }(*this, {.path = child_path, .inode = child.inode, .about = std::move(*inode)}, std::move(permit)));
      }
    }
    co_await here.join();
    auto all = co_await attributes_of(view_, id, std::move(about));
    if (!all) co_return fail(std::move(all.error()), printable(path));
    folders_.push_back({path, std::move(*all)});
    // The times of a folder that hard links are added to later would change: those come after (late_links).
    if (pending_links_.empty()) {
      auto done = co_await set_folder_attributes();
      if (!done) co_return done;
    }
    co_return Status{};
  }

  env::Task<Status> set_folder_attributes() {
    auto batch = std::exchange(folders_, {});
    for (const auto& [path, about] : batch) {
      auto set = co_await world_.workers.run([&] { return restore_attributes(path, about); });
      if (!set) failed(path, set.error());
    }
    co_return Status{};
  }

  // Further names of files that were fetched under their first.
  env::Task<Status> late_links() {
    for (const auto& [path, first] : std::exchange(pending_links_, {})) {
      auto done = co_await world_.workers.run([&] { return make_hard_link(first, path); });
      if (!done) {
        failed(path, done.error());
      } else {
        ++report_.files;
      }
    }
    auto done = co_await set_folder_attributes();
    co_return done;
  }

  env::Task<void> entry(Wanted wanted) {
    meter_.progress.current = wanted.path;
    if (wanted.about.links > 1) {
      const auto [first, is_first] = first_names_.emplace(wanted.inode, wanted.path);
      if (!is_first) {
        pending_links_.emplace_back(wanted.path, first->second);
        co_return;
      }
    }
    auto all = co_await attributes_of(view_, wanted.inode, wanted.about);
    if (!all) {
      failed(wanted.path, all.error());
      co_return;
    }
    Status done;
    if (wanted.about.is_file()) {
      done = co_await file(wanted, *all);
    } else {
      auto made = co_await world_.workers.run([&] { return restore_special(wanted.path, *all); });
      if (!made) done = fail(std::move(made.error()));
      if (made && *made) ++report_.others;
      if (made && !*made) ++report_.unchanged;
    }
    if (!done) failed(wanted.path, done.error());
    ++meter_.progress.files_done;
    meter_.tick();
  }

  env::Task<Status> file(Wanted wanted, RestoredAttributes about) {
    auto there = co_await world_.workers.run([&] { return same_file_there(wanted.path, about); });
    if (!there) co_return fail(std::move(there.error()));
    if (*there) {
      ++report_.unchanged;
      co_return Status{};
    }
    const uint64_t size = wanted.about.size;
    if (size <= kInlineFileSize) {  // its bytes are here already
      auto done = co_await world_.workers.run(
          [&] { return restore_small_file(wanted.path, as_bytes(wanted.about.inline_data), about); });
      if (!done) co_return done;
      count(size);
      co_return Status{};
    }
    Fetch fetch;
    auto done = co_await fetcher_.fetch({.path = wanted.path,
                                         .record = part_record(core_, wanted.inode, wanted.about, wanted.path),
                                         .inode = wanted.inode},
                                        about, fetch);
    report_.resumed_bytes += fetch.resumed;
    if (!done) co_return done;
    ++report_.files;
    report_.bytes += size;
    co_return Status{};
  }

  void count(uint64_t size) {
    ++report_.files;
    report_.bytes += size;
    meter_.progress.bytes_done += size;
  }

  static ReadFigures figures(const pool::ReadCounters& now, const pool::ReadCounters& before) {
    return {.requests = now.requests - before.requests, .bytes = now.bytes - before.bytes, .holders = now.holders};
  }

  TransferReport finish() {
    const peer::Traffic traffic = core_.peers().traffic();
    report_.bytes_sent = traffic.bytes_sent - traffic_before_.bytes_sent;
    report_.bytes_received = traffic.bytes_received - traffic_before_.bytes_received;
    report_.requests = traffic.requests_sent - traffic_before_.requests_sent;
    const pool::PoolCounters pool = core_.pool().counters();
    report_.decoded_reads = pool.degraded_reads - pool_before_.degraded_reads;
    report_.raced_reads = pool.hedged_reads - pool_before_.hedged_reads;
    report_.data_reads = figures(pool.data, pool_before_.data);
    report_.tree_reads = figures(pool.tree, pool_before_.tree);
    report_.seconds = meter_.seconds();
    return report_;
  }

  Core& core_;
  env::World world_;
  volume::View view_;
  TransferOptions options_;
  Meter meter_;
  Fetcher fetcher_;
  peer::Traffic traffic_before_;
  pool::PoolCounters pool_before_;
  env::Semaphore slots_;
  std::map<InodeId, std::string> first_names_;                       // of hard-linked files
  std::vector<std::pair<std::string, std::string>> pending_links_;   // path, first name
  std::vector<std::pair<std::string, RestoredAttributes>> folders_;  // attributes to be set, inner ones first
  std::optional<Error> first_error_;
  TransferReport report_;
};

}  // namespace

env::Task<Result<TransferReport>> get_files(Core& core, TreePath source, std::string destination,
                                            TransferOptions options) {
  auto view = co_await tree_view(core, source.tree);
  if (!view) co_return fail(std::move(view.error()));
  const bool ends_in_slash = destination.ends_with('/');
  std::error_code error;
  destination =
      std::filesystem::absolute(destination, error).lexically_normal().string();  // names the records of resumption
  if (error) co_return fail(Code::bad_input, "not a path: '" + destination + "'");
  while (destination.size() > 1 && destination.ends_with('/')) destination.pop_back();
  if (ends_in_slash) destination += "/";
  Getter getter(core, std::move(*view), std::move(options));
  auto report = co_await getter.files(std::move(source), std::move(destination));
  co_return report;
}

env::Task<Result<TransferReport>> get_stream(Core& core, TreePath source, Client::WriteBytes write,
                                             TransferOptions options) {
  auto view = co_await tree_view(core, source.tree);
  if (!view) co_return fail(std::move(view.error()));
  Getter getter(core, std::move(*view), std::move(options));
  auto report = co_await getter.stream(std::move(source), std::move(write));
  co_return report;
}

}  // namespace cairn::client
