#include "client/copy.h"

#include <algorithm>

#include "client/meter.h"
#include "client/snapshot_source.h"
#include "client/snapshots.h"

namespace cairn::client {

namespace {

// What `from` has to copy, oldest first. On its strand.
env::Task<Result<std::vector<FoundSnapshot>>> chosen_of(Core& from, SnapshotFilter filter,
                                                        std::vector<std::string> names) {
  auto backups = co_await open_backups(from, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto chosen = co_await select_snapshots(**backups, std::move(filter), std::move(names));
  if (!chosen) co_return fail(std::move(chosen.error()));
  std::erase_if(*chosen, [](const FoundSnapshot& one) { return one.record.partial; });  // its run saves it anew
  std::ranges::sort(*chosen, {}, [](const FoundSnapshot& one) { return std::pair(one.record.time, one.record.id); });
  co_return chosen;
}

env::Task<Result<volume::View>> view_of(Core& from, std::string name) {
  auto backups = co_await open_backups(from, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto view = co_await (*backups)->volume->view_snapshot(std::move(name));
  co_return view;
}

backup::SnapshotId first_name(const backup::Record& record) {
  return record.original.is_zero() ? record.id : record.original;
}

// Whether `copy` says of the same run what `record` says.
bool same(const backup::Record& record, const backup::Record& copy) {
  return !copy.partial && first_name(record) == first_name(copy) && record.time == copy.time &&
         record.host == copy.host && record.user == copy.user && record.uid == copy.uid && record.gid == copy.gid &&
         record.paths == copy.paths && record.tags == copy.tags && record.excludes == copy.excludes &&
         record.set == copy.set;
}

void add(SnapshotSummary& sum, const backup::Summary& one) {
  sum.files_new += one.files_new;
  sum.files_changed += one.files_changed;
  sum.files_unmodified += one.files_unmodified;
  sum.dirs_new += one.dirs_new;
  sum.dirs_changed += one.dirs_changed;
  sum.dirs_unmodified += one.dirs_unmodified;
  sum.data_blobs += one.data_blobs;
  sum.tree_blobs += one.tree_blobs;
  sum.data_added += one.data_added;
  sum.data_added_packed += one.data_added_packed;
  sum.total_files_processed += one.total_files_processed;
  sum.total_bytes_processed += one.total_bytes_processed;
}

}  // namespace

env::Task<Result<CopyReport>> copy_snapshots(Core& from, Core& core, CopyOptions options) {
  const env::World world = core.world();
  auto chosen = co_await world.workers.run([&] {
    return from.run<std::vector<FoundSnapshot>>([&] { return chosen_of(from, options.filter, options.names); });
  });
  if (!chosen) co_return fail(std::move(chosen.error()), "the volume to copy from");
  auto target = co_await open_backups(core, true);
  if (!target) co_return fail(std::move(target.error()));
  auto there = co_await all_snapshots(**target);
  if (!there) co_return fail(std::move(there.error()));
  CopyReport report;
  Meter meter(world.clock, options.on_progress);
  uint64_t files_before = 0, bytes_before = 0;
  for (const FoundSnapshot& one : *chosen) {
    const SnapshotReport about = report_of(one.record, one.info);
    const auto known =
        std::ranges::find_if(*there, [&](const FoundSnapshot& copy) { return same(one.record, copy.record); });
    if (known != there->end()) {
      ++report.skipped;
      if (options.on_done) options.on_done(about, known->record.id.hex(), true);
      continue;
    }
    if (options.on_begin) options.on_begin(about);
    if (options.dry_run) {
      ++report.copied;
      if (options.on_done) options.on_done(about, "", false);
      continue;
    }
    auto view = co_await world.workers.run(
        [&] { return from.run<volume::View>([&] { return view_of(from, one.record.id.hex()); }); });
    if (!view) co_return fail(std::move(view.error()), "snapshot " + one.record.id.short_hex());
    const auto source = make_snapshot_source(from, std::move(*view));
    backup::ArchiveOptions with{.about = one.record, .errors_end = true};
    with.about.original = first_name(one.record);
    with.about.parent = {};
    with.about.summary = {};
    with.about.from_clock = false;  // it is saved long after
    with.on_progress = [&](const backup::ArchiveProgress& now) {
      meter.progress.files_done = files_before + now.files_done;
      meter.progress.bytes_done = bytes_before + now.bytes_done;
      meter.progress.bytes_safe = bytes_before + now.bytes_safe;
      meter.progress.current = now.current;
      meter.tick();
    };
    backup::Archiver archiver(world, *(*target)->volume, *source, std::move(with));
    auto result = co_await archiver.run();
    if (!result) co_return fail(std::move(result.error()), "snapshot " + one.record.id.short_hex());
    files_before = meter.progress.files_done;
    bytes_before = meter.progress.bytes_done;
    ++report.copied;
    add(report.summary, result->record.summary);
    if (options.on_done) options.on_done(about, result->record.id.hex(), false);
  }
  if (report.copied > 0 && !options.dry_run) {
    report.packs_below_goal = co_await core.pool().settle();
    co_await core.adapt_keepers(**target);
  }
  report.seconds = meter.seconds();
  co_return report;
}

}  // namespace cairn::client
