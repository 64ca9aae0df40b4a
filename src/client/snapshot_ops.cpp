#include "client/snapshot_ops.h"

#include <algorithm>
#include <ctime>

#include "backup/retention.h"
#include "client/snapshots.h"

namespace cairn::client {

namespace {

// The zone of this machine.
int64_t local_offset(WallTime time) {
  const auto seconds = static_cast<std::time_t>(time / 1'000'000'000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  return parts.tm_gmtoff;
}

env::Task<Status> remove(OpenVolume& backups, const std::vector<SnapshotReport>& snapshots) {
  std::vector<volume::SnapshotChange> changes;
  for (const SnapshotReport& one : snapshots)
    changes.push_back({.name = one.id, .new_name = std::nullopt, .details = {}});
  if (changes.empty()) co_return Status{};
  auto done = co_await backups.volume->change_snapshots(std::move(changes));
  if (!done) co_return fail(std::move(done.error()));
  co_return Status{};
}

std::string group_name(const backup::Group& group) {
  return fmt::format("host {}, paths {}, tags {}", group.host.empty() ? "any" : group.host, fmt::join(group.paths, " "),
                     fmt::join(group.tags, ","));
}

}  // namespace

env::Task<Result<ForgetReport>> forget_snapshots(Core& core, ForgetOptions options) {
  backup::Policy policy;
  for (const auto& [option, value] : options.keep) {
    auto set = backup::set_keep_option(policy, option, value);
    if (!set) co_return fail(std::move(set.error()));
  }
  auto by = backup::parse_group_by(options.group_by);
  if (!by) co_return fail(std::move(by.error()));
  if (policy.empty() && options.names.empty())
    co_return fail(Code::bad_input, "no policy was given, so no snapshot is removed (for instance --keep-last 7)");
  CAIRN_CO_TRY(core.refuse_append_only());
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  const bool by_name = !options.names.empty();
  auto chosen = co_await select_snapshots(**backups, by_name ? SnapshotFilter{} : options.filter, options.names);
  if (!chosen) co_return fail(std::move(chosen.error()));

  ForgetReport report;
  if (by_name) {
    for (const FoundSnapshot& one : *chosen) report.removed.push_back(report_of(one.record, one.info));
  } else {
    std::map<backup::SnapshotId, volume::SnapshotInfo> infos;
    std::vector<backup::Record> records;
    std::map<backup::SnapshotId, WallTime> claimed;
    for (FoundSnapshot& one : *chosen) {
      // What a policy counts by is not what a machine's clock says, but when the keepers saw it.
      claimed.emplace(one.record.id, one.record.time);
      one.record.time = backup::retention_time(one.record, one.info.created, (*backups)->append_only);
      infos.emplace(one.record.id, std::move(one.info));
      records.push_back(std::move(one.record));
    }
    for (const backup::Group& group : backup::group(std::move(records), *by)) {
      const auto verdicts = backup::judge(policy, group.snapshots, (*backups)->volume->witnessed_now(), local_offset);
      ForgetReport::Group out{.host = group.host, .paths = group.paths, .tags = group.tags, .keep = {}, .remove = {}};
      bool one_is_left = false;
      for (size_t i = 0; i < verdicts.size(); ++i) {
        const backup::Record& record = group.snapshots[i];
        SnapshotReport snapshot = report_of(record, infos.at(record.id));
        snapshot.time = claimed.at(record.id);
        if (verdicts[i].keep) {
          one_is_left = one_is_left || !record.partial;
          out.keep.push_back({std::move(snapshot), verdicts[i].reasons});
        } else {
          report.removed.push_back(snapshot);
          out.remove.push_back(std::move(snapshot));
        }
      }
      if (!one_is_left && !out.remove.empty())
        co_return fail(Code::denied,
                       "the policy would leave no snapshot of " + group_name(group) + ": nothing was removed");
      report.groups.push_back(std::move(out));
    }
  }
  if (!options.dry_run) {
    auto done = co_await remove(**backups, report.removed);
    if (!done) co_return fail(std::move(done.error()));
  }
  co_return report;
}

env::Task<Result<TagReport>> tag_snapshots(Core& core, TagOptions options) {
  CAIRN_CO_TRY(core.refuse_append_only());
  const bool changes_by_degrees = !options.add.empty() || !options.remove.empty();
  if (options.set.has_value() == changes_by_degrees)
    co_return fail(Code::bad_input, "say either --set, or --add and --remove");
  const auto tags_of = [](const std::vector<std::string>& lists) {
    std::vector<std::string> tags;
    for (const std::string& list : lists) {
      for (std::string& tag : backup::parse_tag_list(list)) {
        if (!tag.empty() && std::ranges::find(tags, tag) == tags.end()) tags.push_back(std::move(tag));
      }
    }
    return tags;
  };
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto chosen = co_await select_snapshots(**backups, options.filter, options.names);
  if (!chosen) co_return fail(std::move(chosen.error()));
  TagReport report;
  std::vector<volume::SnapshotChange> changes;
  for (FoundSnapshot& one : *chosen) {
    backup::Record record = one.record;
    if (options.set) {
      record.tags = tags_of(*options.set);
    } else {
      for (std::string& tag : tags_of(options.add)) {
        if (std::ranges::find(record.tags, tag) == record.tags.end()) record.tags.push_back(std::move(tag));
      }
      for (const std::string& tag : tags_of(options.remove)) std::erase(record.tags, tag);
    }
    // A running backup saves its snapshot under the name it began with.
    if (record.tags == one.record.tags || record.partial) continue;
    if (record.original.is_zero()) record.original = record.id;
    record.id = core.world().random.id<backup::SnapshotId>();
    report.changed.emplace_back(one.record.id.hex(), record.id.hex());
    changes.push_back(
        {.name = one.record.id.hex(), .new_name = record.id.hex(), .details = backup::encode_record(record)});
  }
  if (!changes.empty()) {
    auto done = co_await (*backups)->volume->change_snapshots(std::move(changes));
    if (!done) co_return fail(std::move(done.error()));
  }
  co_return report;
}

}  // namespace cairn::client
