#include "client/snapshots.h"

#include <algorithm>

namespace cairn::client {

env::Task<Result<OpenVolume*>> open_backups(Core& core, bool create) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  const std::string& name = core.backups_name();
  auto opened = co_await core.open_volume(name, create);
  if (!opened && opened.error().code == Code::not_found)
    co_return fail(Code::not_found, name == "backups" ? "there are no backups yet"
                                                      : "no volume " + name + ": make it with `cairn volume create " +
                                                            name + " --dedup`");
  if (opened && create && !(*opened)->entry.deduplicates)
    co_return fail(Code::bad_input, "volume " + name + " is a drive: snapshots go into one that was made with --dedup");
  co_return opened;
}

env::Task<Result<std::vector<FoundSnapshot>>> all_snapshots(OpenVolume& backups) {
  auto list = co_await backups.volume->snapshots();
  if (!list) co_return fail(std::move(list.error()));
  std::vector<FoundSnapshot> found;
  for (volume::SnapshotInfo& info : *list) {
    if (!backup::SnapshotId::from_hex_text(info.name)) continue;  // not one of ours
    auto record = backup::decode_record(info.name, info.details);
    if (!record) co_return fail(std::move(record.error()));
    found.push_back({std::move(*record), std::move(info), "/"});
  }
  std::ranges::sort(found, {}, [](const FoundSnapshot& one) { return std::pair(one.record.time, one.record.id); });
  co_return found;
}

env::Task<Result<FoundSnapshot>> find_snapshot(OpenVolume& backups, std::string name, SnapshotFilter filter) {
  auto parsed = backup::parse_snapshot_name(name);
  if (!parsed) co_return fail(std::move(parsed.error()));
  auto all = co_await all_snapshots(backups);
  if (!all) co_return fail(std::move(all.error()));
  std::vector<backup::Record> records;
  for (const FoundSnapshot& one : *all) records.push_back(one.record);
  auto index = backup::find_snapshot(records, *parsed, filter_of(filter));
  if (!index) co_return fail(std::move(index.error()));
  FoundSnapshot found = std::move((*all)[*index]);
  found.subfolder = parsed->subfolder;
  co_return found;
}

env::Task<Result<std::vector<FoundSnapshot>>> select_snapshots(OpenVolume& backups, SnapshotFilter filter,
                                                               std::vector<std::string> names) {
  auto all = co_await all_snapshots(backups);
  if (!all) co_return fail(std::move(all.error()));
  const backup::Filter wanted = filter_of(filter);
  std::vector<FoundSnapshot> chosen;
  if (names.empty()) {
    for (FoundSnapshot& one : *all) {
      if (wanted.matches(one.record)) chosen.push_back(std::move(one));
    }
    co_return chosen;
  }
  std::vector<backup::Record> records;
  for (const FoundSnapshot& one : *all) records.push_back(one.record);
  for (const std::string& name : names) {
    auto parsed = backup::parse_snapshot_name(name);
    if (!parsed) co_return fail(std::move(parsed.error()));
    auto index = backup::find_snapshot(records, *parsed, wanted);
    if (!index) co_return fail(std::move(index.error()), name);
    const auto same = [&](const FoundSnapshot& one) { return one.record.id == records[*index].id; };
    if (std::ranges::any_of(chosen, same)) continue;
    chosen.push_back((*all)[*index]);
    chosen.back().subfolder = parsed->subfolder;
  }
  co_return chosen;
}

backup::Filter filter_of(const SnapshotFilter& filter) {
  backup::Filter result{.hosts = filter.hosts, .tags = {}, .paths = filter.paths};
  for (const std::string& list : filter.tags) result.tags.push_back(backup::parse_tag_list(list));
  return result;
}

SnapshotReport report_of(const backup::Record& record, const volume::SnapshotInfo& info) {
  const backup::Summary& figures = record.summary;
  return {.id = record.id.hex(),
          .tree = info.root.hex(),
          .parent = record.parent.is_zero() ? "" : record.parent.hex(),
          .original = record.original.is_zero() ? "" : record.original.hex(),
          .time = record.time,
          .host = record.host,
          .user = record.user,
          .set = record.set,
          .program_version = record.program_version,
          .uid = record.uid,
          .gid = record.gid,
          .paths = record.paths,
          .tags = record.tags,
          .excludes = record.excludes,
          .partial = record.partial,
          .summary = {.files_new = figures.files_new,
                      .files_changed = figures.files_changed,
                      .files_unmodified = figures.files_unmodified,
                      .dirs_new = figures.dirs_new,
                      .dirs_changed = figures.dirs_changed,
                      .dirs_unmodified = figures.dirs_unmodified,
                      .data_blobs = figures.data_blobs,
                      .tree_blobs = figures.tree_blobs,
                      .data_added = figures.data_added,
                      .data_added_packed = figures.data_added_packed,
                      .total_files_processed = figures.total_files_processed,
                      .total_bytes_processed = figures.total_bytes_processed,
                      .backup_start = figures.backup_start,
                      .backup_end = figures.backup_end}};
}

env::Task<Result<OpenSnapshot>> open_snapshot(Core& core, std::string name, SnapshotFilter filter) {
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto found = co_await find_snapshot(**backups, std::move(name), std::move(filter));
  if (!found) co_return fail(std::move(found.error()));
  auto view = co_await (*backups)->volume->view_snapshot(found->record.id.hex());
  if (!view) co_return fail(std::move(view.error()));
  co_return OpenSnapshot{.backups = *backups, .found = std::move(*found), .view = std::move(*view)};
}

env::Task<Result<volume::View>> tree_view(Core& core, std::string tree) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  auto opened = co_await core.open_volume(tree, false);
  if (opened) co_return (*opened)->volume->view();
  const bool names_a_snapshot = backup::parse_snapshot_name(tree).has_value();
  if (opened.error().code != Code::not_found || !names_a_snapshot) co_return fail(std::move(opened.error()));
  auto backups = co_await open_backups(core, false);
  if (!backups && backups.error().code == Code::not_found) co_return fail(std::move(opened.error()));
  if (!backups) co_return fail(std::move(backups.error()));
  auto found = co_await find_snapshot(**backups, std::move(tree), {});
  if (!found) co_return fail(std::move(found.error()));
  auto view = co_await (*backups)->volume->view_snapshot(found->record.id.hex());
  co_return view;
}

}  // namespace cairn::client
