#include "client/prune.h"

#include <algorithm>
#include <charconv>

#include "backup/record.h"
#include "client/rebalance.h"
#include "client/snapshots.h"

namespace cairn::client {

namespace {

Status set_max_unused(const std::string& text, volume::CollectOptions& options) {
  if (text == "unlimited") {
    options.max_unused_bytes = UINT64_MAX;
    return {};
  }
  if (text.ends_with('%')) {
    double percent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size() - 1, percent);
    if (error != std::errc() || end != text.data() + text.size() - 1 || percent < 0 || percent > 100)
      return fail(Code::bad_input, "--max-unused " + text + " is neither a share, nor a size, nor 'unlimited'");
    options.max_unused_share = percent / 100;
    return {};
  }
  auto bytes = parse_size(text);
  if (!bytes) return fail(std::move(bytes.error()), "--max-unused");
  options.max_unused_bytes = *bytes;
  return {};
}

const char* name_of(volume::CollectProgress::Phase phase) {
  using enum volume::CollectProgress::Phase;
  switch (phase) {
    case marking:
      return "marking";
    case copying:
      return "copying";
    case asking:
      return "asking";
    case burying:
      return "burying";
  }
  return "";
}

}  // namespace

env::Task<Result<PruneReport>> prune_volumes(Core& core, PruneOptions options) {
  CAIRN_CO_TRY(core.refuse_append_only());
  volume::CollectOptions collect{.dry_run = options.dry_run};
  CAIRN_CO_TRY(set_max_unused(options.max_unused, collect));
  collect.max_recode_bytes = kRecodeStep;
  if (options.max_repack_size) {
    collect.max_copy_bytes = *options.max_repack_size;
    collect.max_recode_bytes = std::min(collect.max_recode_bytes, *options.max_repack_size);
  }
  collect.copy_small = options.repack_small;
  collect.keep_forgotten = options.min_age;
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  std::vector<std::string> names = options.volumes;
  if (names.empty()) {
    auto all = co_await core.account().list();
    if (!all) co_return fail(std::move(all.error()));
    for (const volume::VolumeEntry& entry : *all) names.push_back(entry.name);
  }
  PruneReport report;
  for (const std::string& name : names) {
    auto opened = co_await core.open_volume(name, false);
    if (!opened) co_return fail(std::move(opened.error()), name);
    if (options.on_progress) {
      collect.on_progress = [&](const volume::CollectProgress& progress) {
        options.on_progress({name, name_of(progress.phase), progress.done, progress.total});
      };
    }
    auto done = co_await volume::collect_garbage((*opened)->volume->host(), collect);
    if (!done) co_return fail(std::move(done.error()), name);
    report.volumes.push_back({.name = name,
                              .packs = done->packs,
                              .bytes = done->bytes,
                              .removed_packs = done->dead_packs + done->orphans_buried,
                              .removed_bytes = done->dead_bytes,
                              .repacked_packs = done->copied_packs,
                              .repacked_bytes = done->copied_bytes,
                              .recoded_packs = done->recoded_packs,
                              .unused_bytes = done->unused_bytes,
                              .waiting_packs = done->orphans_seen,
                              .forgotten_snapshots = done->snapshots,
                              .told_packs = done->told});
    if (!options.dry_run) co_await core.adapt_keepers(**opened);
  }
  co_return report;
}

env::Task<Result<std::vector<ForgottenReport>>> list_forgotten(Core& core) {
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  auto list = co_await (*backups)->volume->forgotten_snapshots();
  if (!list) co_return fail(std::move(list.error()));
  std::vector<ForgottenReport> reports;
  for (const volume::Volume::Forgotten& one : *list) {
    if (!backup::SnapshotId::from_hex_text(one.info.name)) continue;  // not one of ours
    auto record = backup::decode_record(one.info.name, one.info.details);
    if (!record) co_return fail(std::move(record.error()));
    reports.push_back({report_of(*record, one.info), one.forgotten, one.pruned});
  }
  std::ranges::sort(reports, {},
                    [](const ForgottenReport& one) { return std::pair(one.snapshot.time, one.snapshot.id); });
  co_return reports;
}

env::Task<Result<std::vector<SnapshotReport>>> undelete_snapshots(Core& core, std::vector<std::string> names) {
  auto all = co_await list_forgotten(core);
  if (!all) co_return fail(std::move(all.error()));
  auto backups = co_await open_backups(core, false);
  if (!backups) co_return fail(std::move(backups.error()));
  std::vector<SnapshotReport> restored;
  for (const std::string& name : names) {
    std::vector<const ForgottenReport*> fitting;
    for (const ForgottenReport& one : *all) {
      if (!name.empty() && one.snapshot.id.starts_with(name)) fitting.push_back(&one);
    }
    if (fitting.empty()) co_return fail(Code::not_found, "no forgotten snapshot " + name);
    if (fitting.size() > 1) co_return fail(Code::bad_input, "several forgotten snapshots begin with " + name);
    auto done = co_await (*backups)->volume->restore_snapshot(fitting.front()->snapshot.id);
    if (!done) co_return fail(std::move(done.error()), "snapshot " + fitting.front()->snapshot.id.substr(0, 8));
    restored.push_back(fitting.front()->snapshot);
  }
  co_return restored;
}

}  // namespace cairn::client

namespace cairn {

Result<PruneReport> prune(Client& client, const PruneOptions& options) {
  client::Core& core = client.core();
  return core.run<PruneReport>([&] { return client::prune_volumes(core, options); });
}

Result<std::vector<ForgottenReport>> forgotten_snapshots(Client& client) {
  client::Core& core = client.core();
  return core.run<std::vector<ForgottenReport>>([&] { return client::list_forgotten(core); });
}

Result<std::vector<SnapshotReport>> undelete(Client& client, const std::vector<std::string>& names) {
  client::Core& core = client.core();
  return core.run<std::vector<SnapshotReport>>([&] { return client::undelete_snapshots(core, names); });
}

}  // namespace cairn
