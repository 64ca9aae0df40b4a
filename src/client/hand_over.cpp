#include "client/hand_over.h"

namespace cairn::client {

namespace {

constexpr Duration kPatience = std::chrono::seconds(20);
constexpr Duration kPoll = std::chrono::milliseconds(200);

}  // namespace

env::Task<Result<uint64_t>> hand_over_registers(Core& core) {
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  const Time deadline = core.world().clock.now() + kPatience;
  while (core.world().clock.now() < deadline) {
    const peer::NodeInfo* self = core.peers().membership().node(core.identity().node);
    if (self == nullptr || !self->lends || self->leaving) break;
    co_await env::sleep_for(core.world().clock, kPoll);
  }
  auto volumes = co_await core.account().list();
  if (!volumes) co_return fail(std::move(volumes.error()));
  auto account = co_await core.account().adapt_keepers();
  if (!account) co_return fail(std::move(account.error()), "account");
  uint64_t handed = 1;
  for (const volume::VolumeEntry& entry : *volumes) {
    auto open = co_await core.open_volume(entry.name, false);
    if (!open) co_return fail(std::move(open.error()), entry.name);
    auto head = co_await (*open)->head_register->adapt_keepers();
    if (!head) co_return fail(std::move(head.error()), entry.name);
    ++handed;
  }
  co_return handed;
}

}  // namespace cairn::client
