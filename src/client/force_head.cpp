// force-head: a volume goes on from the best head that is known, with other keepers.

#include "cairn/force_head.h"

#include "client/core.h"
#include "volume/drive/drive.h"
#include "volume/head.h"

namespace cairn::client {

namespace {

env::Task<Result<ForceHeadReport>> run_force_head(Core& core, std::string name, bool give_up) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  ForceHeadReport report{.volume = name};
  auto entry = co_await core.account().find(name);
  if (!entry && entry.error().code == Code::not_found) co_return fail(std::move(entry.error()));
  if (!entry) {
    // The account may be at the same keepers.
    report.account_lost = true;
    auto seen = core.account().last_seen();
    if (!seen) co_return fail(std::move(entry.error()));
    const auto found = std::ranges::find(*seen, name, &volume::VolumeEntry::name);
    if (found == seen->end()) co_return fail(Code::not_found, "no volume '" + name + "' was seen here");
    entry = *found;
  }
  volume::Register head(core.world(), core.peers(), entry->founding);
  auto remains = co_await head.look_at_remains();
  if (!remains) co_return fail(std::move(remains.error()), name);
  if (remains->majority() && !report.account_lost)
    co_return fail(Code::conflict, "a majority of the keepers answers: nothing is lost, and nothing is to be forced");
  for (const NodeId& node : remains->answering) report.answering.push_back(core.node_name(node));
  for (const NodeId& node : remains->lost) report.lost.push_back(core.node_name(node));
  volume::HighWaterMark mark(core.world(), core.home().file("heads/" + entry->volume.hex()));
  auto marked = co_await mark.load();
  if (marked) report.seen = mark.sequence();
  // A drive on this device keeps the head that it last knew; one that is mounted now keeps it to itself.
  auto known = co_await volume::Drive::last_head(core.world(), core.home().file("drives") + "/" + entry->volume.hex());
  if (!known) known = std::optional<volume::RegisterState>();
  const volume::RegisterState* best = remains->best ? &*remains->best : nullptr;
  if (*known && (best == nullptr || (*known)->sequence > best->sequence)) best = &**known;
  if (best != nullptr) {
    report.best = best->sequence;
    report.best_written = best->written;
  }
  if (!give_up) co_return report;
  if (report.account_lost) {
    auto done = co_await core.account().force_keepers();
    if (!done) co_return fail(std::move(done.error()));
  }
  if (!remains->majority()) {
    auto forced = co_await head.force(std::move(*known));
    if (!forced) co_return fail(std::move(forced.error()), name);
  }
  auto state = co_await head.read();
  if (!state) co_return fail(std::move(state.error()), name);
  report.forced = true;
  report.sequence = state->sequence;
  for (const NodeId& node : state->config.keepers) report.keepers.push_back(core.node_name(node));
  // Opened once, so that this device knows of it; what it had seen beyond is parked, or joined.
  auto open = co_await core.open_volume(name, false);
  if (!open) co_return fail(std::move(open.error()), name);
  co_return report;
}

}  // namespace

}  // namespace cairn::client

namespace cairn {

Result<ForceHeadReport> force_head(Client& client, const std::string& volume, bool give_up) {
  client::Core& core = client.core();
  return core.run<ForceHeadReport>([&] { return client::run_force_head(core, volume, give_up); });
}

}  // namespace cairn
