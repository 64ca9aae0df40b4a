#include "client/rebalance.h"

#include "pool/limits.h"
#include "pool/rebalance.h"
#include "pool/throttle.h"
#include "volume/collect.h"
#include "volume/dead.h"
#include "volume/keys.h"

namespace cairn::client {

namespace {

// Moves that are ordered at the same time, and packs whose holders are asked for.
constexpr uint64_t kMovesAtOnce = 8;
constexpr size_t kLocatedAtOnce = 8;
// How long dead packs are thought to take room: the holders' trash.
constexpr WallTime kTrashLasts = 72LL * 3600 * 1'000'000'000;

class Rebalancing {
 public:
  Rebalancing(Core& core, RebalanceOptions options)
      : core_(core), options_(std::move(options)), moves_(core.world().executor, kMovesAtOnce) {}

  env::Task<Result<RebalanceReport>> run() {
    auto settled = co_await core_.settle();
    if (!settled) co_return fail(std::move(settled.error()));
    auto names = options_.volumes;
    if (names.empty()) {
      auto all = co_await core_.account().list();
      if (!all) co_return fail(std::move(all.error()));
      for (const volume::VolumeEntry& entry : *all) names.push_back(entry.name);
    }
    auto config = core_.home().config();
    rate_ = options_.rate ? *options_.rate : config && config->healing.rate ? *config->healing.rate : pool::kMoveRate;
    throttle_.emplace(core_.world().clock, std::max<uint64_t>(rate_, 1));
    for (const std::string& name : names) {
      auto open = co_await core_.open_volume(name, false);
      if (!open) co_return fail(std::move(open.error()), name);
      auto& report = report_.volumes.emplace_back();
      report.name = name;
      auto recoded = co_await recode(**open, report);
      if (!recoded) co_return fail(std::move(recoded.error()), name);
    }
    const uint64_t below = co_await core_.pool().settle();
    (void)below;  // such packs lack a shard, and are told as such
    const pool::Redundancy goal = core_.pool().goal();
    report_.k = goal.code.k;
    report_.m = goal.code.m;
    report_.domains = goal.domains;
    auto fills = co_await look_at_nodes(names);
    if (!fills) co_return fail(std::move(fills.error()));
    pool::Balancer balancer(*fills);
    for (size_t i = 0; i < names.size(); ++i) {
      auto open = co_await core_.open_volume(names[i], false);
      if (!open) co_return fail(std::move(open.error()), names[i]);
      auto moved = co_await move(**open, balancer, report_.volumes[i]);
      if (!moved) co_return fail(std::move(moved.error()), names[i]);
      if (!options_.dry_run) co_await core_.adapt_keepers(**open);
    }
    std::tie(report_.least_used, report_.most_used) = balancer.levels();
    co_return std::move(report_);
  }

 private:
  void tell(const std::string& volume, const char* phase, uint64_t done, uint64_t total) {
    if (options_.on_progress) options_.on_progress(volume, phase, done, total);
  }

  // Packs whose code is not what it should be, a step at a time.
  env::Task<Status> recode(OpenVolume& open, RebalanceReport::Volume& report) {
    uint64_t done_before = 0, total = 0;
    volume::CollectOptions collect{.dry_run = true,
                                   .recode = volume::Recode::all,
                                   .max_recode_bytes = kRecodeStep,
                                   .max_unused_bytes = UINT64_MAX,
                                   .copy_rate = rate_,
                                   // Nothing goes by this but what was written anew.
                                   .keep_forgotten = Duration::max(),
                                   .ask_holders = false};
    collect.on_progress = [&](const volume::CollectProgress& progress) {
      const bool copies = progress.phase == volume::CollectProgress::Phase::copying;
      tell(open.entry.name, copies ? "copying" : "marking", done_before + (copies ? progress.done : 0), total);
    };
    auto found = co_await volume::collect_garbage(open.volume->host(), collect);
    if (!found) co_return fail(std::move(found.error()));
    report.unfit_packs = found->unfit_packs;
    if (options_.dry_run) {
      report.recoded_packs = found->unfit_packs;
      report.recoded_bytes = found->unfit_bytes;
      co_return Status{};
    }
    total = found->unfit_bytes;
    collect.dry_run = false;
    while (report.unfit_packs > 0) {
      auto step = co_await volume::collect_garbage(open.volume->host(), collect);
      if (!step) co_return fail(std::move(step.error()));
      report.recoded_packs += step->recoded_packs;
      report.recoded_bytes += step->recoded_bytes;
      done_before += step->recoded_bytes;
      // What is kept for forgotten snapshots alone stays as it is; it goes with them.
      if (std::exchange(report.unfit_packs, step->unfit_packs) <= step->unfit_packs) break;
    }
    auto fresh = co_await open.volume->refresh();
    co_return fresh;
  }

  // How full the nodes are, without what is on its way out of their trash.
  env::Task<Result<std::vector<pool::NodeFill>>> look_at_nodes(std::vector<std::string> names) {
    std::map<NodeId, uint64_t> trash;
    const WallTime now = core_.world().clock.wall_now();
    for (const std::string& name : names) {
      auto open = co_await core_.open_volume(name, false);
      if (!open) co_return fail(std::move(open.error()), name);
      volume::VolumeHost& host = (*open)->volume->host();
      const volume::KeyRange range = volume::range_of_prefix('D');
      auto items = co_await host.tree().scan(host.current()->root, range.first, range.last, SIZE_MAX);
      if (!items) co_return fail(std::move(items.error()), name);
      for (const volume::Item& item : *items) {
        auto dead = volume::decode_dead_pack(item.value);
        if (!dead) co_return fail(std::move(dead.error()), name);
        if (dead->sequence == 0 || dead->orphan || now - dead->buried > kTrashLasts) continue;
        for (const NodeId& holder : dead->pack.holders) trash[holder] += dead->pack.geometry.shard_length;
      }
    }
    std::vector<pool::NodeFill> fills;
    for (const peer::NodeInfo& node : core_.peers().membership().nodes()) {
      if (!node.lends || node.leaving || core_.peers().state(node.id) != peer::NodeState::alive) continue;
      const uint64_t going = std::min(trash[node.id], node.used);
      fills.push_back(
          {.node = node.id, .domain = node.domain_key(), .used = node.used - going, .free = node.free + going});
    }
    co_return fills;
  }

  env::Task<Status> move(OpenVolume& open, pool::Balancer& balancer, RebalanceReport::Volume& report) {
    auto packs = co_await open.volume->packs_in_use();
    if (!packs) co_return fail(std::move(packs.error()));
    report.packs = packs->size();
    for (const pool::PackRef& pack : *packs) ++report.codes[{pack.geometry.k, pack.geometry.m}];
    std::ranges::sort(*packs, {}, &pool::PackRef::id);
    std::vector<std::vector<NodeId>> holders(packs->size());
    {
      env::TaskGroup asks(core_.world().executor);
      env::Semaphore places(core_.world().executor, kLocatedAtOnce);
      for (size_t i = 0; i < packs->size(); ++i) {
        auto place = co_await places.acquire();
        tell(open.entry.name, "locating", i, packs->size());
        asks.spawn([](Core& core, const pool::PackRef& pack, std::vector<NodeId>& out,
                      [[maybe_unused]] env::Semaphore::Permit permit) -> env::Task<void> {
          out = co_await core.pool().live_holders(pack);
        }(core_, (*packs)[i], holders[i], std::move(place)));
      }
      co_await asks.join();
    }
    std::vector<pool::ShardMove> moves;
    uint64_t total = 0;
    for (size_t i = 0; i < packs->size(); ++i) {
      const pool::PackRef& pack = (*packs)[i];
      if (std::ranges::any_of(holders[i], [](const NodeId& node) { return node.is_zero(); })) {
        ++report.incomplete_packs;
        continue;
      }
      for (pool::ShardMove& one : balancer.plan(pack.id, pack.geometry, holders[i])) {
        total += one.bytes;
        moves.push_back(one);
      }
    }
    if (options_.dry_run) {
      report.moved_shards = moves.size();
      report.moved_bytes = total;
      co_return Status{};
    }
    env::TaskGroup orders(core_.world().executor);
    for (const pool::ShardMove& one : moves) {
      co_await throttle_->take(one.bytes);
      auto place = co_await moves_.acquire();
      tell(open.entry.name, "moving", report.moved_bytes, total);
      orders.spawn(carry_out(*this, open, one, balancer, report, std::move(place)));
    }
    co_await orders.join();
    tell(open.entry.name, "moving", report.moved_bytes, total);
    co_return Status{};
  }

  static env::Task<void> carry_out(Rebalancing& self, OpenVolume& open, pool::ShardMove one, pool::Balancer& balancer,
                                   RebalanceReport::Volume& report, [[maybe_unused]] env::Semaphore::Permit permit) {
    auto done = co_await self.core_.pool().move_shard(one.shard, one.from, one.to, open.entry.founding);
    if (done) {
      ++report.moved_shards;
      report.moved_bytes += one.bytes;
      co_return;
    }
    balancer.undo(one);
    ++report.failed_moves;
    if (self.options_.on_error)
      self.options_.on_error(fmt::format("slot {} of pack {} from {} to {}", one.shard.slot, one.shard.pack.short_hex(),
                                         self.core_.node_name(one.from), self.core_.node_name(one.to)),
                             done.error());
  }

  Core& core_;
  RebalanceOptions options_;
  uint64_t rate_ = 0;
  std::optional<pool::Throttle> throttle_;
  env::Semaphore moves_;
  RebalanceReport report_;
};

}  // namespace

env::Task<Result<RebalanceReport>> rebalance_volumes(Core& core, RebalanceOptions options) {
  Rebalancing rebalancing(core, std::move(options));
  auto report = co_await rebalancing.run();
  co_return report;
}

}  // namespace cairn::client

namespace cairn {

Result<RebalanceReport> rebalance(Client& client, const RebalanceOptions& options) {
  client::Core& core = client.core();
  return core.run<RebalanceReport>([&] { return client::rebalance_volumes(core, options); });
}

}  // namespace cairn
