#include <map>

#include "client/check.h"
#include "client/pack_health.h"
#include "client/rewrite.h"
#include "client/snapshots.h"

namespace cairn::client {

namespace {

// Packs of a volume that lack shards are given new ones.
env::Task<Status> complete_packs(Core& core, OpenVolume& open, const std::set<std::string>& wanted,
                                 RepairReport& report) {
  auto packs = co_await open.volume->packs_in_use();
  if (!packs) co_return fail(std::move(packs.error()));
  const std::set<NodeId> answering = co_await who_answers(core);
  for (const pool::PackRef& pack : *packs) {
    if (!wanted.contains(pack.id.hex())) continue;
    auto done = co_await core.pool().complete(pack, [&](const NodeId& node) { return answering.contains(node); });
    if (!done) {
      ++report.packs_left;
      core.world().log.warning("pack_not_completed", "pack={} error=\"{}\"", pack.id.short_hex(),
                               to_string(done.error()));
      continue;
    }
    report.shards_placed += done->placed;
    done->placed == done->missing ? ++report.packs_completed : ++report.packs_left;
  }
  co_return Status{};
}

}  // namespace

env::Task<Result<RepairReport>> repair_volumes(Core& core, RepairOptions options) {
  RepairReport report;
  std::map<std::string, std::set<std::string>> lost;  // by snapshot of the backups
  const auto told = options.check.on_fault;
  options.check.on_fault = [&](const CheckFault& fault) {
    if (told) told(fault);
    if (fault.path.empty()) return;
    if (fault.volume != core.backups_name() || fault.snapshot.empty()) {
      ++report.files_lost;
    } else {
      lost[fault.snapshot].insert(fault.path);
    }
  };
  auto before = co_await check_volumes(core, options.check);
  if (!before) co_return fail(std::move(before.error()));
  report.before = std::move(*before);
  if (!options.dry_run && !report.before.below_goal.empty()) {
    const std::set<std::string> wanted(report.before.below_goal.begin(), report.before.below_goal.end());
    for (const std::string& name : report.before.volume_names) {
      auto open = co_await core.open_volume(name, false);
      if (!open) co_return fail(std::move(open.error()), name);
      auto done = co_await complete_packs(core, **open, wanted, report);
      if (!done) co_return fail(std::move(done.error()), name);
    }
  }
  for (auto& [snapshot, paths] : lost) {
    RewriteOptions rewrite{.names = {snapshot}, .paths = std::move(paths), .mark = "repaired"};
    rewrite.forget = options.forget;
    rewrite.dry_run = options.dry_run;
    auto done = co_await rewrite_snapshots(core, std::move(rewrite));
    if (!done) co_return fail(std::move(done.error()), snapshot);
    report.files_dropped += done->removed_files;
    report.rewritten.insert(report.rewritten.end(), done->changed.begin(), done->changed.end());
  }
  co_return report;
}

}  // namespace cairn::client
