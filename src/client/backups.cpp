// The public Backups over Core.

#include "cairn/backup.h"

#include "client/backup_run.h"
#include "client/check.h"
#include "client/copy.h"
#include "client/dump.h"
#include "client/namespace_ops.h"
#include "client/restore.h"
#include "client/rewrite.h"
#include "client/snapshot_ops.h"
#include "client/snapshot_walks.h"
#include "client/snapshots.h"
#include "client/tree_path.h"

namespace cairn {

using client::Core;
using client::FoundSnapshot;

Result<BackupReport> Backups::backup(const BackupOptions& options) {
  Core& core = client_.core();
  return core.run<BackupReport>([&] { return client::run_backup(core, options); });
}

Result<std::vector<SnapshotReport>> Backups::snapshots(const SnapshotFilter& filter,
                                                       const std::vector<std::string>& names) {
  using Reports = std::vector<SnapshotReport>;
  Core& core = client_.core();
  return core.run<Reports>([&]() -> env::Task<Result<Reports>> {
    return [](Core& c, SnapshotFilter wanted, std::vector<std::string> named) -> env::Task<Result<Reports>> {
      auto backups = co_await client::open_backups(c, false);
      if (!backups && backups.error().code == Code::not_found && named.empty()) co_return Reports();
      if (!backups) co_return fail(std::move(backups.error()));
      auto chosen = co_await client::select_snapshots(**backups, std::move(wanted), std::move(named));
      if (!chosen) co_return fail(std::move(chosen.error()));
      Reports reports;
      for (const FoundSnapshot& one : *chosen) reports.push_back(client::report_of(one.record, one.info));
      co_return reports;
    }(core, filter, names);
  });
}

Result<SnapshotReport> Backups::snapshot(const std::string& name, const SnapshotFilter& filter) {
  auto found = snapshots(filter, {name});
  if (!found) return fail(std::move(found.error()));
  return std::move(found->at(0));
}

Status Backups::list(const std::string& name, const SnapshotFilter& filter, const std::vector<std::string>& folders,
                     bool recursive, const std::function<void(const SnapshotReport&)>& on_snapshot,
                     const std::function<bool(const FileStatus&)>& visit) {
  Core& core = client_.core();
  return core.run<void>([&]() -> env::Task<Status> {
    return client::list_snapshot(core, name, filter, folders, recursive, on_snapshot, visit);
  });
}

Result<CopyReport> Backups::copy(Client& from, const CopyOptions& options) {
  Core &source = from.core(), &core = client_.core();
  return core.run<CopyReport>([&] { return client::copy_snapshots(source, core, options); });
}

Result<ForgetReport> Backups::forget(const ForgetOptions& options) {
  Core& core = client_.core();
  return core.run<ForgetReport>([&] { return client::forget_snapshots(core, options); });
}

Result<TagReport> Backups::tag(const TagOptions& options) {
  Core& core = client_.core();
  return core.run<TagReport>([&] { return client::tag_snapshots(core, options); });
}

Result<RewriteReport> Backups::rewrite(const RewriteOptions& options) {
  Core& core = client_.core();
  return core.run<RewriteReport>([&] { return client::rewrite_snapshots(core, options); });
}

Status Backups::find(const FindOptions& options, const std::function<void(const SnapshotReport&)>& on_snapshot,
                     const std::function<bool(const FileStatus&)>& visit) {
  Core& core = client_.core();
  return core.run<void>([&] { return client::find_in_snapshots(core, options, on_snapshot, visit); });
}

Result<StatsReport> Backups::stats(const StatsOptions& options) {
  Core& core = client_.core();
  return core.run<StatsReport>([&] { return client::snapshot_stats(core, options); });
}

Result<CheckReport> Backups::check(const CheckOptions& options) {
  Core& core = client_.core();
  return core.run<CheckReport>([&] { return client::check_volumes(core, options); });
}

Result<RepairReport> Backups::repair(const RepairOptions& options) {
  Core& core = client_.core();
  return core.run<RepairReport>([&] { return client::repair_volumes(core, options); });
}

Result<DiffReport> Backups::diff(const std::string& before, const std::string& after, bool metadata,
                                 const std::function<bool(const DiffChange&)>& visit) {
  Core& core = client_.core();
  return core.run<DiffReport>([&] { return client::diff_snapshots(core, before, after, metadata, visit); });
}

Status Backups::dump(const std::string& name, const SnapshotFilter& filter, const std::string& path, bool zip,
                     const Client::WriteBytes& write) {
  Core& core = client_.core();
  return core.run<void>([&] { return client::dump_snapshot(core, name, filter, path, zip, write); });
}

Result<RestoreReport> Backups::restore(const RestoreOptions& options) {
  Core& core = client_.core();
  return core.run<RestoreReport>([&] { return client::run_restore(core, options); });
}

}  // namespace cairn
