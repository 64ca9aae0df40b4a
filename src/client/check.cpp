#include "client/check.h"

#include <algorithm>

#include "client/pack_health.h"
#include "client/snapshots.h"
#include "volume/check.h"

namespace cairn::client {

namespace {

class VolumeCheck {
 public:
  VolumeCheck(Core& core, OpenVolume& open, const CheckOptions& options, CheckReport& report)
      : core_(core), open_(open), options_(options), report_(report) {}

  env::Task<Status> run() {
    volume::VolumeHost& host = open_.volume->host();
    auto structure = co_await volume::check_structure(host, [this](const volume::CheckFault& f) { fault(f); });
    if (!structure) co_return fail(std::move(structure.error()));
    report_.trees += structure->trees;
    report_.entries += structure->inodes;
    report_.extents += structure->extents;
    report_.packs += structure->packs.size();

    auto health = co_await check_packs(core_, structure->packs,
                                       [this](uint64_t done, uint64_t total) { tell("shards", done, total); });
    report_.packs_at_goal += health.at_goal;
    report_.packs_below_goal += health.below_goal.size();
    std::set<PackId> lost(health.lost.begin(), health.lost.end());
    report_.packs_lost += lost.size();
    for (const PackId& pack : health.below_goal) report_.below_goal.push_back(pack.hex());
    for (const PackId& pack : health.lost) report_.lost.push_back(pack.hex());
    if (!lost.empty()) {
      auto named = co_await volume::name_files_in(host, lost, "too few shards of its content are left",
                                                  [this](const volume::CheckFault& f) { fault(f); });
      if (!named) co_return named;
    }
    if (!options_.read_data) co_return Status{};
    auto read = co_await read_data(structure->packs, std::move(lost));
    co_return read;
  }

 private:
  void fault(const volume::CheckFault& found) {
    ++report_.faults;
    if (options_.on_fault) options_.on_fault({open_.entry.name, found.snapshot, found.path, found.what});
  }
  void tell(const char* phase, uint64_t done, uint64_t total) {
    if (options_.on_progress) options_.on_progress(open_.entry.name, phase, done, total);
  }

  env::Task<Status> read_data(const std::vector<pool::PackRef>& packs, std::set<PackId> lost) {
    std::vector<PackId> chosen;
    uint64_t total = 0;
    for (const pool::PackRef& pack : packs) {
      const uint64_t size = uint64_t{pack.geometry.k} * pack.geometry.shard_length;
      if (lost.contains(pack.id) || (options_.choose && !options_.choose(pack.id.hex(), size))) continue;
      chosen.push_back(pack.id);
      total += size;
    }
    report_.packs_read += chosen.size();
    volume::VolumeHost& host = open_.volume->host();
    auto data = co_await volume::check_data(host, std::move(chosen), [&](uint64_t done) { tell("data", done, total); });
    if (!data) co_return fail(std::move(data.error()));
    report_.chunks_read += data->chunks;
    report_.bytes_read += data->bytes;
    report_.packs_damaged += data->damaged.size();
    for (const PackId& pack : data->damaged) report_.damaged.push_back(pack.hex());
    if (data->damaged.empty()) co_return Status{};
    auto named = co_await volume::name_files_in(host, data->damaged, "some of its content cannot be read",
                                                [this](const volume::CheckFault& f) { fault(f); });
    co_return named;
  }

  Core& core_;
  OpenVolume& open_;
  const CheckOptions& options_;
  CheckReport& report_;
};

}  // namespace

env::Task<Result<CheckReport>> check_volumes(Core& core, CheckOptions options) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  if (options.volumes.empty()) {
    auto entries = co_await core.account().list();
    if (!entries) co_return fail(std::move(entries.error()));
    for (const volume::VolumeEntry& entry : *entries) options.volumes.push_back(entry.name);
  }
  CheckReport report;
  for (const std::string& name : options.volumes) {
    auto open = co_await core.open_volume(name, false);
    if (!open) co_return fail(std::move(open.error()), name);
    auto fresh = co_await (*open)->volume->refresh();
    if (!fresh) co_return fail(std::move(fresh.error()), name);
    auto done = co_await VolumeCheck(core, **open, options, report).run();
    if (!done) co_return fail(std::move(done.error()), name);
    ++report.volumes;
    report.volume_names.push_back(name);
  }
  co_return report;
}

}  // namespace cairn::client
