#include "client/restore.h"

#include <algorithm>
#include <filesystem>

#include "backup/patterns.h"
#include "client/fetch.h"
#include "client/snapshots.h"
#include "client/tree_path.h"

namespace cairn::client {

namespace {

using volume::FileType;
using volume::InodeId;
using Overwrite = RestoreOptions::Overwrite;

// Files under way at the same time: hides the round trips of small files; memory is bounded by the readers' own limits.
constexpr size_t kFilesInFlight = 16;
constexpr size_t kListPage = 4096;
constexpr size_t kExtentPage = 4096;

struct Selection {
  backup::Patterns includes, iincludes, excludes, iexcludes;

  bool excluded(const std::string& path) const { return excludes.match(path) || iexcludes.match(path); }
  bool all() const { return includes.empty() && iincludes.empty(); }
  bool included(const std::string& path) const { return all() || includes.match(path) || iincludes.match(path); }
  bool may_hold(const std::string& path) const {
    return all() || includes.may_match_below(path) || iincludes.may_match_below(path);
  }
};

// One run of restore.
class Restorer {
 public:
  Restorer(Core& core, const content::VolumeKeys& keys, volume::View view, RestoreOptions options, Selection selection)
      : core_(core),
        world_(core.world()),
        keys_(keys),
        view_(std::move(view)),
        options_(std::move(options)),
        selection_(std::move(selection)),
        meter_(world_.clock, options_.on_progress),
        fetcher_(world_, view_, meter_),
        traffic_before_(core.peers().traffic()),
        slots_(world_.executor, kFilesInFlight) {}

  env::Task<Result<RestoreReport>> run(std::string subfolder) {
    CAIRN_CO_TRY(world_.disk.make_dirs(core_.home().file("gets")));
    auto found = co_await view_.resolve(subfolder);
    if (!found) co_return fail(std::move(found.error()), subfolder);
    if (found->inode.is_directory()) {
      auto done = co_await folder(found->id, std::move(found->inode), options_.target, "/", true, 0);
      if (!done) co_return fail(std::move(done.error()));
    } else {
      CAIRN_CO_TRY(co_await make_target());
      co_await entry(
          {.path = join(options_.target, name_of(subfolder)), .inode = found->id, .about = std::move(found->inode)});
    }
    auto linked = co_await late_links();
    if (!linked) co_return fail(std::move(linked.error()));
    // Inner ones first; after the links, which change the times of their folders.
    for (const auto& [path, about] : folders_) {
      auto set = co_await world_.workers.run([&] { return restore_attributes(path, about); });
      if (!set) failed(path, set.error());
      if (about.inode.flags != 0) flagged_.emplace_back(path, about.inode.flags);
    }
    // What is immutable takes no more names and no more entries.
    co_await world_.workers.run([&] {
      for (const auto& [path, flags] : flagged_) restore_flags(path, flags);
      return true;
    });
    if (options_.verify) {
      auto done = co_await verify();
      if (!done) co_return fail(std::move(done.error()));
    }
    const peer::Traffic traffic = core_.peers().traffic();
    report_.bytes_received = traffic.bytes_received - traffic_before_.bytes_received;
    report_.requests = traffic.requests_sent - traffic_before_.requests_sent;
    report_.seconds = meter_.seconds();
    co_return report_;
  }

 private:
  struct Wanted {
    std::string path;
    InodeId inode = 0;
    volume::Inode about;
  };

  void failed(const std::string& path, const Error& error) {
    ++report_.failed;
    if (options_.on_error) options_.on_error(path, error);
  }
  void item(const std::string& path, const char* what, uint64_t size) {
    if (options_.on_item) options_.on_item(path, what, size);
  }

  env::Task<Status> make_target() {
    if (options_.dry_run) co_return Status{};
    auto made = co_await world_.workers.run([&] { return make_folder(options_.target); });
    if (!made) co_return fail(std::move(made.error()), options_.target);
    co_return Status{};
  }

  // A folder at last wanted: it, and what is above it, is made.
  env::Task<bool> make(std::string path) {
    if (options_.dry_run) co_return true;
    auto made = co_await world_.workers.run([&]() -> Result<bool> {
      auto there = make_folder(path);
      if (there && !*there) make_changeable(path);
      if (there || there.error().code != Code::exists || options_.overwrite == Overwrite::never) return there;
      CAIRN_TRY(remove_all(path));  // a file, where the snapshot has a folder
      return make_folder(path);
    });
    if (made && *made) ++report_.directories;
    if (!made) failed(path, made.error());
    co_return made.has_value();
  }

  // `inside`: its path below what is restored, for the patterns.
  env::Task<Status> folder(InodeId id, volume::Inode about, std::string path, std::string inside, bool is_target,
                           size_t depth) {
    if (depth > volume::kMaxPathDepth) co_return fail(Code::too_large, "folders are nested too deeply");
    const bool wanted = is_target ? selection_.all() : selection_.included(inside);
    const bool existed = depth > 0 && !options_.dry_run &&
                         (co_await world_.workers.run([&] { return is_directory(path); })).value_or(false);
    bool made = false;
    if (wanted || is_target) {
      auto ready = co_await make(path);
      if (!ready) co_return Status{};
      made = true;
    }
    std::vector<std::string> names;  // that the snapshot has, for --delete
    env::TaskGroup here(world_.executor);
    std::string after;
    for (;;) {
      auto page = co_await view_.list(id, after, kListPage);
      if (!page) co_return fail(std::move(page.error()), printable(path));
      if (page->empty()) break;
      after = page->back().name;
      std::vector<InodeId> numbers;
      for (const volume::DirectoryEntry& child : *page) numbers.push_back(child.inode);
      auto inodes = co_await view_.inodes(std::move(numbers));
      if (!inodes) co_return fail(std::move(inodes.error()), printable(path));
      for (size_t i = 0; i < page->size(); ++i) {
        const volume::DirectoryEntry& child = (*page)[i];
        const std::string child_path = join(path, child.name), child_inside = join(inside, child.name);
        if (options_.remove) names.push_back(child.name);
        if (selection_.excluded(child_inside)) continue;
        std::optional<volume::Inode>& inode = (*inodes)[i];
        if (!inode) {
          failed(child_path, Error{Code::damaged, "the snapshot has its name and not the file"});
          continue;
        }
        if (inode->is_directory()) {
          if (!selection_.included(child_inside) && !selection_.may_hold(child_inside)) continue;
          auto done = co_await folder(child.inode, std::move(*inode), child_path, child_inside, false, depth + 1);
          if (!done) co_return done;
          continue;
        }
        if (!selection_.included(child_inside)) continue;
        if (!made) {
          made = co_await make(path);
          if (!made) co_return Status{};
        }
        auto permit = co_await slots_.acquire();
        here.spawn([](Restorer& self, Wanted next, env::Semaphore::Permit) -> env::Task<void> {
          co_await self.entry(std::move(next));
        }(*this, {.path = child_path, .inode = child.inode, .about = std::move(*inode)}, std::move(permit)));
      }
    }
    co_await here.join();
    if (options_.remove && (existed || is_target || options_.dry_run) && (wanted || made || is_target))
      co_await remove_others(path, inside, std::move(names));
    // The target stands for the snapshot's root, which is no folder of the machine; one that is named stands for
    // itself.
    const bool is_root = is_target && id == volume::kRootInode;
    if (!is_root && made && !options_.dry_run && (wanted || !is_target)) {
      auto all = co_await attributes_of(view_, id, std::move(about));
      if (!all) co_return fail(std::move(all.error()), printable(path));
      folders_.emplace_back(path, std::move(*all));
    }
    co_return Status{};
  }

  env::Task<void> remove_others(std::string path, std::string inside, std::vector<std::string> names) {
    auto there = co_await world_.workers.run([&] { return names_in(path); });
    if (!there) {
      if (there.error().code != Code::not_found) failed(path, there.error());
      co_return;
    }
    std::ranges::sort(*there);
    for (const std::string& name : *there) {
      const std::string below = join(inside, name), full = join(path, name);
      // The list is in the order of the names' bytes.
      if (std::ranges::binary_search(names, name) || selection_.excluded(below) || !selection_.included(below))
        continue;
      if (!options_.dry_run) {
        auto gone = co_await world_.workers.run([&] { return remove_all(full); });
        if (!gone) {
          failed(full, gone.error());
          continue;
        }
      }
      ++report_.files_deleted;
      item(full, "deleted", 0);
    }
  }

  // Further names of files that were restored under their first.
  env::Task<Status> late_links() {
    for (const auto& [path, first] : std::exchange(pending_links_, {})) {
      if (!options_.dry_run) {
        auto done = co_await world_.workers.run([&] { return make_hard_link(first, path); });
        if (!done) {
          failed(path, done.error());
          continue;
        }
      }
      ++report_.files_restored;
      item(path, "restored", 0);
    }
    co_return Status{};
  }

  env::Task<void> entry(Wanted wanted) {
    meter_.progress.current = wanted.path;
    ++report_.files;
    if (wanted.about.links > 1) {
      const auto [first, is_first] = first_names_.emplace(wanted.inode, wanted.path);
      if (!is_first) {
        pending_links_.emplace_back(wanted.path, first->second);
        co_return;
      }
    }
    const uint64_t size = wanted.about.is_file() ? wanted.about.size : 0;
    report_.bytes += size;
    auto all = co_await attributes_of(view_, wanted.inode, wanted.about);
    auto done = all ? co_await restore(wanted, std::move(*all)) : Status(fail(std::move(all.error())));
    if (!done) failed(wanted.path, done.error());
    ++meter_.progress.files_done;
    meter_.tick();
  }

  void skipped(const Wanted& wanted) {
    ++report_.files_skipped;
    if (wanted.about.is_file()) report_.bytes_skipped += wanted.about.size;
    item(wanted.path, "unchanged", wanted.about.is_file() ? wanted.about.size : 0);
  }

  env::Task<Status> restore(const Wanted& wanted, RestoredAttributes about) {
    auto there = co_await world_.workers.run([&] { return local_state(wanted.path); });
    if (!there) co_return fail(std::move(there.error()));
    const volume::Inode& inode = wanted.about;
    const uint64_t size = inode.is_file() ? inode.size : 0;
    if (*there) {
      const LocalState& now = **there;
      const bool same_kind = now.type == inode.type;
      if (options_.overwrite == Overwrite::never ||
          (options_.overwrite == Overwrite::if_newer && now.mtime >= inode.mtime)) {
        skipped(wanted);
        co_return Status{};
      }
      bool same = false;
      if (same_kind && inode.is_file() && now.size == inode.size) {
        if (options_.overwrite == Overwrite::if_changed && now.mtime == inode.mtime) {
          skipped(wanted);
          co_return Status{};
        }
        auto expected = co_await content_of(wanted);
        if (!expected) co_return fail(std::move(expected.error()));
        auto equal = co_await world_.workers.run([&] { return has_content(wanted.path, *expected, keys_); });
        same = equal.value_or(false);  // one that cannot be read is written anew
      }
      if (same) {
        skipped(wanted);
        if (options_.dry_run) co_return Status{};
        auto set = co_await world_.workers.run([&] {
          make_changeable(wanted.path);
          return restore_metadata(wanted.path, about);
        });
        if (inode.flags != 0) flagged_.emplace_back(wanted.path, inode.flags);
        co_return set;
      }
    }
    const char* const what = *there ? "updated" : "restored";
    if (*there && !options_.dry_run) {
      co_await world_.workers.run([&] {
        make_changeable(wanted.path);
        return true;
      });
    }
    if (options_.dry_run) {
      ++report_.files_restored;
      report_.bytes_restored += size;
      item(wanted.path, what, size);
      co_return Status{};
    }
    if (!inode.is_file()) {
      auto made = co_await world_.workers.run([&] { return restore_special(wanted.path, about); });
      if (!made) co_return fail(std::move(made.error()));
      if (!*made) {
        skipped(wanted);
        co_return Status{};
      }
    } else if (size <= kInlineFileSize) {  // its bytes are here already
      auto done = co_await world_.workers.run(
          [&] { return restore_small_file(wanted.path, as_bytes(inode.inline_data), about); });
      if (!done) co_return done;
    } else {
      auto done = co_await fetch(wanted, about);
      if (!done) co_return done;
    }
    if (inode.flags != 0) flagged_.emplace_back(wanted.path, inode.flags);
    ++report_.files_restored;
    report_.bytes_restored += size;
    if (options_.verify && inode.is_file()) written_.push_back(wanted);
    item(wanted.path, what, size);
    co_return Status{};
  }

  env::Task<Status> fetch(const Wanted& wanted, RestoredAttributes about) {
    Fetch fetch;
    auto done = co_await fetcher_.fetch({.path = wanted.path,
                                         .record = part_record(core_, wanted.inode, wanted.about, wanted.path),
                                         .inode = wanted.inode},
                                        about, fetch);
    report_.resumed_bytes += fetch.resumed;
    if (!done && fetch.missing_from) {
      co_return fail(std::move(done.error()),
                     fmt::format("from byte {} of {} on", *fetch.missing_from, wanted.about.size));
    }
    co_return done;
  }

  env::Task<Result<ExpectedContent>> content_of(const Wanted& wanted) {
    ExpectedContent content{.size = wanted.about.size, .inline_data = wanted.about.inline_data, .extents = {}};
    if (content.size <= kInlineFileSize && !content.inline_data.empty()) co_return content;
    for (uint64_t from = 0; from < content.size;) {
      auto page = co_await view_.extents(wanted.inode, from, content.size, kExtentPage);
      if (!page) co_return fail(std::move(page.error()));
      if (page->empty()) break;
      from = page->back().end();
      content.extents.insert(content.extents.end(), page->begin(), page->end());
    }
    co_return content;
  }

  env::Task<Status> verify() {
    for (const Wanted& wanted : written_) {
      auto expected = co_await content_of(wanted);
      if (!expected) co_return fail(std::move(expected.error()));
      auto same = co_await world_.workers.run([&] { return has_content(wanted.path, *expected, keys_); });
      if (!same) {
        failed(wanted.path, same.error());
      } else if (!*same) {
        failed(wanted.path, {Code::corrupt, "read again, it is not what was restored"});
      } else {
        ++report_.files_verified;
      }
    }
    co_return Status{};
  }

  Core& core_;
  env::World world_;
  const content::VolumeKeys& keys_;
  volume::View view_;
  RestoreOptions options_;
  Selection selection_;
  Meter meter_;
  Fetcher fetcher_;
  peer::Traffic traffic_before_;
  env::Semaphore slots_;
  std::map<InodeId, std::string> first_names_;                       // of hard-linked files
  std::vector<std::pair<std::string, std::string>> pending_links_;   // path, first name
  std::vector<std::pair<std::string, RestoredAttributes>> folders_;  // inner ones first
  std::vector<std::pair<std::string, uint32_t>> flagged_;            // in the order in which they are set
  std::vector<Wanted> written_;                                      // to be verified
  RestoreReport report_;
};

}  // namespace

env::Task<Result<RestoreReport>> run_restore(Core& core, RestoreOptions options) {
  Selection selection;
  struct Given {
    backup::Patterns* into;
    const std::vector<std::string>* patterns;
    bool ignore_case;
  };
  for (const Given& given :
       {Given{&selection.includes, &options.includes, false}, Given{&selection.iincludes, &options.iincludes, true},
        Given{&selection.excludes, &options.excludes, false}, Given{&selection.iexcludes, &options.iexcludes, true}}) {
    auto parsed = backup::Patterns::parse(*given.patterns, given.ignore_case);
    if (!parsed) co_return fail(std::move(parsed.error()));
    *given.into = std::move(*parsed);
  }
  if (!selection.all() && !(selection.excludes.empty() && selection.iexcludes.empty()))
    co_return fail(Code::bad_input, "--include and --exclude do not go together");
  std::error_code error;
  options.target = std::filesystem::absolute(options.target, error).lexically_normal().string();
  if (error) co_return fail(Code::bad_input, "not a path: '" + options.target + "'");
  while (options.target.size() > 1 && options.target.ends_with('/')) options.target.pop_back();
  if (options.remove && options.target == "/" && selection.all())
    co_return fail(Code::bad_input,
                   "--delete into / needs an --include: it would remove all that is not in the snapshot");
  auto open = co_await open_snapshot(core, options.snapshot, options.filter);
  if (!open) co_return fail(std::move(open.error()));
  const FoundSnapshot& found = open->found;
  Restorer restorer(core, open->backups->volume->keys(), std::move(open->view), std::move(options),
                    std::move(selection));
  auto report = co_await restorer.run(found.subfolder);
  if (report) report->snapshot = report_of(found.record, found.info);
  co_return report;
}

}  // namespace cairn::client
