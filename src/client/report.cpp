#include "client/report.h"

#include "cairn/durability.h"
#include "client/pack_health.h"
#include "pool/limits.h"
#include "proto/membership.pb.h"

namespace cairn::client {

namespace {

constexpr Duration kAskTimeout = std::chrono::seconds(5);
constexpr size_t kMaxNamedPacks = 16;
// Assumed for the loss probability: a machine of a member is lost for good, or leaves, once in this time. Fleets of
// disks do ten times better (Backblaze: 0.4 to 2 % a year), but a home machine is more than its disk.
constexpr double kNodeLifetimeYears = 5;

// Which shards were found wrong, by holder.
std::map<NodeId, size_t> wrong_shards(Core& core) {
  std::map<NodeId, size_t> counts;
  auto bad = read_bad_holders(core.world().disk, core.home().path());
  if (!bad) return counts;
  for (const BadHolder& entry : *bad) ++counts[entry.bad.holder];
  return counts;
}

NodeReport describe(Core& core, const peer::NodeInfo& node, const std::map<NodeId, size_t>& wrong) {
  NodeReport report{
      .id = node.id.hex(), .name = node.name, .state = std::string(peer::to_string(core.peers().state(node.id)))};
  const peer::Member* member = core.peers().membership().member(node.member);
  report.member = member != nullptr ? member->name : node.member.short_hex();
  report.domain = node.domain;
  for (const auto& address : node.addresses) report.addresses.push_back(address.text());
  report.used = node.used;
  report.limit = node.limit;
  report.free = node.free;
  report.lends = node.lends;
  report.self = node.id == core.identity().node;
  report.path = !core.peers().usable(node.id) ? "none" : "direct";
  const auto found = wrong.find(node.id);
  report.audit = found == wrong.end()
                     ? "ok"
                     : fmt::format("wrong bytes: {} shard{}", found->second, found->second == 1 ? "" : "s");
  return report;
}

// The daemon of this home tells how things stand; nothing when none runs.
env::Task<std::optional<wire::AdminStatusResponse>> ask_daemon(Core& core) {
  if (!core.home().daemon_running()) co_return std::nullopt;
  auto answer = co_await peer::ask<wire::AdminStatusResponse>(
      core.peers(), core.identity().node, wire::Method::admin_status, wire::AdminStatusRequest{}, kAskTimeout);
  if (!answer) co_return std::nullopt;
  co_return std::move(answer->message);
}

// By what this process met, or what the daemon did.
env::Task<std::optional<std::string>> refused_by_pool(Core& core) {
  if (auto why = core.peers().refusal()) co_return why->context;
  auto daemon = co_await ask_daemon(core);
  if (daemon && !daemon->refused().empty()) co_return daemon->refused();
  co_return std::nullopt;
}

env::Task<Status> add_health(Core& core, OpenVolume& open, PackHealth& health, uint64_t& packs, uint64_t& stored) {
  auto list = co_await open.volume->packs_in_use();
  if (!list) co_return fail(std::move(list.error()));
  packs += list->size();
  for (const pool::PackRef& pack : *list)
    stored += static_cast<uint64_t>(pack.geometry.k + pack.geometry.m) * pack.geometry.shard_length;
  const PacksHealth found = co_await check_packs(core, std::move(*list));
  health.at_goal += found.at_goal;
  health.below_goal += found.below_goal.size();
  health.lost += found.lost.size();
  for (const auto* packs_below : {&found.lost, &found.below_goal}) {
    for (const PackId& pack : *packs_below) {
      if (health.below.size() < kMaxNamedPacks) health.below.push_back(pack.hex());
    }
  }
  co_return Status{};
}

VolumeReport describe(const OpenVolume& open, const volume::RegisterState& head) {
  const volume::HeadInfo info = open.volume->head();
  VolumeReport report{.name = open.entry.name,
                      .id = open.entry.volume.hex(),
                      .files = info.files,
                      .bytes = info.bytes,
                      .sequence = info.sequence};
  for (const NodeId& keeper : head.config.keepers) report.keepers.push_back(keeper.hex());
  report.written = info.written;
  report.deduplicates = open.entry.deduplicates;
  return report;
}

}  // namespace

env::Task<Result<VolumeReport>> volume_report(Core& core, OpenVolume& open, bool with_packs) {
  auto head = co_await open.head_register->read();
  if (!head) co_return fail(std::move(head.error()), open.entry.name);
  auto fresh = co_await open.volume->refresh();
  if (!fresh) co_return fail(std::move(fresh.error()), open.entry.name);
  VolumeReport report = describe(open, *head);
  for (const NodeId& keeper : head->config.keepers) report.keepers_alive += core.peers().usable(keeper) ? 1 : 0;
  if (with_packs) {
    auto list = co_await open.volume->packs_in_use();
    if (!list) co_return fail(std::move(list.error()), open.entry.name);
    for (const pool::PackRef& pack : *list) {
      ++report.packs;
      report.stored_bytes += static_cast<uint64_t>(pack.geometry.k + pack.geometry.m) * pack.geometry.shard_length;
    }
  }
  co_return report;
}

env::Task<Result<std::vector<VolumeReport>>> volume_reports(Core& core, bool with_packs) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  auto entries = co_await core.account().list();
  if (!entries) co_return fail(std::move(entries.error()));
  std::vector<VolumeReport> reports;
  for (const volume::VolumeEntry& entry : *entries) {
    auto open = co_await core.open_volume(entry.name, false);
    if (!open) co_return fail(std::move(open.error()));
    auto report = co_await volume_report(core, **open, with_packs);
    if (!report) co_return fail(std::move(report.error()));
    reports.push_back(std::move(*report));
  }
  co_return reports;
}

env::Task<Result<std::vector<NodeReport>>> node_reports(Core& core) {
  auto settled = co_await core.settle();  // without a peer the nodes are shown as they were last known
  auto daemon = co_await ask_daemon(core);
  const auto wrong = wrong_shards(core);
  std::vector<NodeReport> reports;
  std::vector<peer::NodeInfo> nodes = core.peers().membership().nodes();
  for (peer::NodeInfo& node : core.peers().membership().removed_nodes()) nodes.push_back(std::move(node));
  for (const peer::NodeInfo& node : nodes) {
    NodeReport report = describe(core, node, wrong);
    if (daemon) {
      for (const auto& seen : daemon->nodes()) {
        if (seen.node() != node.id.raw()) continue;
        if (seen.last_heard_ms() > 0) report.last_heard_seconds = static_cast<double>(seen.last_heard_ms()) / 1000;
        report.audits_passed = seen.audits_passed();
        report.audits_failed = seen.audits_failed();
        if (seen.observed_ms() > 0)
          report.online = static_cast<double>(seen.online_ms()) / static_cast<double>(seen.observed_ms());
        if (report.audit == "ok" && report.audits_failed > 0)
          report.audit =
              fmt::format("failed {} of {} audits", report.audits_failed, report.audits_failed + report.audits_passed);
        // The daemon has watched for longer than this command has run.
        if (!report.self && seen.state() <= static_cast<uint32_t>(peer::NodeState::removed))
          report.state = std::string(peer::to_string(static_cast<peer::NodeState>(seen.state())));
      }
    }
    report.gone = report.state == "left" || report.state == "removed";
    if (report.self) report.state = daemon ? "alive" : "stopped";
    reports.push_back(std::move(report));
  }
  if (!settled && reports.empty()) co_return fail(std::move(settled.error()));
  co_return reports;
}

env::Task<Result<HostingReport>> hosting_report(Core& core) {
  auto config = core.home().config();
  auto daemon = co_await ask_daemon(core);
  if (!config && !daemon) co_return fail(std::move(config.error()));
  HostingReport report;
  if (daemon) {
    const auto& lending = daemon->lending();
    report.lending = {.state = lending.state(),
                      .why = lending.why(),
                      .percent = lending.percent(),
                      .up = lending.up(),
                      .down = lending.down(),
                      .running = true,
                      .config_error = lending.config_error()};
  } else {
    report.lending.state = config->left ? "left" : config->leaving ? "leaving" : config->paused ? "paused" : "stopped";
  }
  if (!config) report.lending.config_error = to_string(config.error());
  if (daemon) {
    for (const auto& store : daemon->stores()) {
      report.stores.push_back({.id = to_hex(as_bytes(store.id())),
                               .path = store.path(),
                               .state = store.state(),
                               .limit = store.limit(),
                               .used = store.used(),
                               .free = store.free(),
                               .shards = store.shards(),
                               .corrupt = store.corrupt(),
                               .running = true,
                               .phase = store.phase(),
                               .percent = store.percent(),
                               .stuck = store.stuck(),
                               .keep_free = store.keep_free(),
                               .keep_free_share = store.keep_free_share(),
                               .removing = config && config->is_removing(store.path())});
      if (store.trash_shards() == 0) continue;
      const auto in = [now = core.world().clock.wall_now()](uint64_t ms) {
        return now + static_cast<WallTime>(ms) * 1'000'000;
      };
      report.stores.back().trash = {.shards = store.trash_shards(),
                                    .bytes = store.trash_bytes(),
                                    .next = in(store.trash_next_ms()),
                                    .last = in(store.trash_last_ms())};
    }
  }
  if (!config) co_return report;
  for (const StoreSpec& spec : config->stores) {
    if (std::ranges::find(report.stores, spec.path, &StoreReport::path) != report.stores.end()) continue;
    report.stores.push_back({.path = spec.path,
                             .state = daemon ? "not taken up yet" : "daemon not running",
                             .limit = spec.limit,
                             .phase = daemon ? "opening" : "stopped",
                             .keep_free = spec.keep_free,
                             .keep_free_share = spec.keep_free_share,
                             .removing = config->is_removing(spec.path)});
  }
  co_return report;
}

env::Task<Result<PoolReport>> pool_report(Core& core) {
  PoolReport report;
  const peer::Membership& membership = core.peers().membership();
  report.id = membership.pool().hex();
  report.name = membership.pool_name();
  report.node = core.identity().node.hex();
  const peer::Member* self = membership.member(core.identity().member.id());
  report.member = self != nullptr ? self->name : "";
  report.daemon_running = core.home().daemon_running();
  auto nodes = co_await node_reports(core);
  if (!nodes) co_return fail(std::move(nodes.error()));
  report.nodes = std::move(*nodes);
  if (auto why = co_await refused_by_pool(core)) report.warnings.push_back("the pool refuses this device: " + *why);
  auto hosting = co_await hosting_report(core);
  if (!hosting) co_return fail(std::move(hosting.error()));
  report.stores = std::move(hosting->stores);
  report.lending = std::move(hosting->lending);
  if (!report.lending.config_error.empty())
    report.warnings.push_back("the configuration is not followed: " + report.lending.config_error);
  for (const StoreReport& store : report.stores) {
    if (store.running && (store.phase == "offline" || store.stuck > 0))
      report.warnings.push_back(fmt::format("store {}: {}", store.path, store.state));
    if (store.corrupt > 0)
      report.warnings.push_back(fmt::format("store {}: {} shards have rotted on this disk", store.path, store.corrupt));
  }
  auto settled = co_await core.settle();
  if (!settled) {
    report.warnings.emplace_back("no peer answers: volumes and packs cannot be looked at");
    co_return report;
  }
  const content::PackGeometry geometry = core.pool().geometry_now();
  report.k = geometry.k;
  report.m = geometry.m;
  if (geometry.m == 0)
    report.warnings.emplace_back(
        "only one failure domain is alive: files are kept once, and the loss of one machine loses them");

  auto entries = co_await core.account().list();
  if (!entries) {
    report.warnings.push_back("the account cannot be read: " + to_string(entries.error()));
    entries = std::vector<volume::VolumeEntry>{};
  }
  for (const volume::VolumeEntry& entry : *entries) {
    auto open = co_await core.open_volume(entry.name, false);
    if (!open) {
      report.warnings.push_back(fmt::format("volume {} cannot be read: {}", entry.name, to_string(open.error())));
      continue;
    }
    auto head = co_await volume_report(core, **open, false);
    if (!head) {
      report.warnings.push_back(fmt::format("volume {} cannot be read: {}", entry.name, to_string(head.error())));
      continue;
    }
    auto checked = co_await add_health(core, **open, report.packs, head->packs, head->stored_bytes);
    if (!checked)
      report.warnings.push_back(
          fmt::format("packs of volume {} cannot be listed: {}", entry.name, to_string(checked.error())));
    report.volumes.push_back(std::move(*head));
  }
  // A pack below its goal has a worse chance than the figure says, and one that could not be looked at an unknown one.
  if (report.packs.below_goal == 0 && report.packs.lost == 0 && report.packs.at_goal > 0 && report.warnings.empty()) {
    // What a lost node held is rebuilt on a further one, where there is one.
    const auto lending = static_cast<size_t>(std::ranges::count_if(
        report.nodes, [](const NodeReport& node) { return node.lends && node.state == "alive"; }));
    const bool repaired = lending > report.k + report.m;
    constexpr double kRepairDays = std::chrono::duration<double, std::ratio<86400>>(pool::kLongestGrace).count();
    report.loss =
        LossReport{.node_lifetime_years = kNodeLifetimeYears, .repaired = repaired, .repair_days = kRepairDays};
    report.loss->per_pack =
        estimate_loss({.k = report.k,
                       .m = report.m,
                       .lifetime_years = kNodeLifetimeYears,
                       .repair_years = repaired ? kRepairDays / 365 : std::numeric_limits<double>::infinity(),
                       .samples = 0})
            .markov;
  }
  auto bad = read_bad_holders(core.world().disk, core.home().path());
  if (bad) {
    for (const BadHolder& entry : *bad) {
      report.bad_holders.push_back({.node = entry.bad.holder.hex(),
                                    .pack = entry.bad.shard.pack.hex(),
                                    .what = entry.bad.what,
                                    .slot = entry.bad.shard.slot,
                                    .found = entry.found});
    }
  }
  co_return report;
}

env::Task<Result<PingReport>> ping_node(Core& core, std::string node) {
  auto settled = co_await core.settle();
  std::optional<peer::NodeInfo> found;
  for (const peer::NodeInfo& info : core.peers().membership().nodes()) {
    if (info.name != node && !info.id.hex().starts_with(node)) continue;
    if (found)
      co_return fail(Code::bad_input, fmt::format("'{}' fits several nodes: give more digits of the ID", node));
    found = info;
  }
  if (!found || node.empty()) co_return fail(Code::not_found, "no node of this name or ID");
  if (!settled && found->addresses.empty()) co_return fail(std::move(settled.error()));
  wire::PingRequest request;
  request.set_echo(core.world().random.u64());
  auto first = co_await peer::ask<wire::PingResponse>(core.peers(), found->id, wire::Method::ping, request,
                                                      kAskTimeout);  // makes the session
  if (!first) co_return fail(std::move(first.error()));
  const Time start = core.world().clock.now();
  auto second =
      co_await peer::ask<wire::PingResponse>(core.peers(), found->id, wire::Method::ping, request, kAskTimeout);
  if (!second) co_return fail(std::move(second.error()));
  if (second->message.echo() != request.echo()) co_return fail(Code::corrupt, "the answer is not to what was asked");
  co_return PingReport{
      .id = found->id.hex(),
      .name = found->name,
      .address = found->addresses.empty() ? "" : found->addresses.front().text(),
      .milliseconds = std::chrono::duration<double, std::milli>(core.world().clock.now() - start).count()};
}

env::Task<Result<std::vector<Finding>>> examine(Core& core) {
  std::vector<Finding> findings;
  const auto note = [&](bool ok, std::string what, std::string fix) {
    findings.push_back({ok, std::move(what), std::move(fix)});
  };
  auto config = core.home().config();
  note(config.has_value(), config ? "configuration reads well" : to_string(config.error()),
       "mend " + core.home().file("config.toml"));
  const bool daemon = core.home().daemon_running();
  note(daemon, daemon ? "the daemon runs" : "the daemon of this home does not run",
       "start `cairnd --home " + core.home().path() + "`");
  auto hosting = co_await hosting_report(core);
  if (hosting) {
    if (hosting->stores.empty()) note(true, "this machine lends no space (`cairn store add` does)", "");
    for (const StoreReport& store : hosting->stores) {
      if (!store.running) continue;
      note(store.phase != "offline" && store.stuck == 0, fmt::format("store {}: {}", store.path, store.state),
           store.phase == "offline"
               ? "mount its disk; when it is lost for good: `cairn store rm --lost " + store.path + "`"
               : "have another machine join or lend more, so that the shards have somewhere to go");
      note(store.corrupt == 0, fmt::format("store {}: {} rotten shards", store.path, store.corrupt),
           "replace the disk: look at it with smartctl");
    }
  }
  auto settled = co_await core.settle();
  note(settled.has_value(), settled ? "peers answer" : "no peer answers",
       "look at this machine's network, and whether others run cairnd");
  if (!settled) co_return findings;
  auto nodes = co_await node_reports(core);
  if (nodes) {
    for (const NodeReport& node : *nodes) {
      if (node.state == "left" || node.state == "removed") continue;
      if (!node.self)
        note(node.state == "alive", fmt::format("node {} ({}) is {}", node.name, node.id.substr(0, 8), node.state),
             "start its cairnd, or see whether a firewall closes its port");
      note(node.audit == "ok", fmt::format("node {} ({}): {}", node.name, node.id.substr(0, 8), node.audit),
           "its disk may be dying: run `cairn doctor` there");
    }
  }
  auto report = co_await pool_report(core);
  if (report) {
    note(report->m > 0, fmt::format("packs are coded {}+{}", report->k, report->m),
         "have one more machine join: `cairn invite`");
    note(report->packs.lost == 0, fmt::format("{} packs cannot be read now", report->packs.lost),
         "bring machines back that are away");
    note(report->packs.below_goal == 0, fmt::format("{} packs below their goal", report->packs.below_goal),
         "bring machines back that are away");
  }
  co_return findings;
}

}  // namespace cairn::client
