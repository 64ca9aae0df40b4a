#include "peer/introductions.h"

#include "peer/limits.h"
#include "peer/newcomer.h"

namespace cairn::peer {

Introductions::Introductions(env::World world, const Identity& identity, Membership& membership, SessionTable& table,
                             std::function<void()> changed)
    : world_(world),
      identity_(identity),
      membership_(membership),
      table_(table),
      changed_(std::move(changed)),
      heard_(kIntroductions, kIntroduceEvery),
      tasks_(world.executor) {
  if (table_.options().serve)
    table_.serve(wire::Method::introduce, Access::strangers,
                 [this](Request request) { return hear(std::move(request)); });
}

void Introductions::stop() {
  tasks_.cancel();
}

env::Task<Result<Reply>> Introductions::hear(Request request) {
  // To look at what a stranger sends costs a signature for each entry.
  if (!heard_.allow(world_.clock.now())) co_return fail(Code::overloaded, "too many introductions");
  auto message = wire::decode<wire::IntroduceRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  wire::GossipResponse records;
  *records.mutable_log() = std::move(*message->mutable_log());
  if (membership_.merge(records)) {
    world_.log.info("introduced", "by={} entries={}", request.from.short_hex(), records.log_size());
    changed_();
  }
  co_return Reply{.body = wire::encode(wire::IntroduceResponse()), .payload = {}};
}

void Introductions::unknown_to(const NodeId& node) {
  const NodeInfo* info = membership_.node(node);
  if (info == nullptr || !membership_.admits(identity_.certificate)) return;
  const Time now = world_.clock.now();
  std::erase_if(tried_, [&](const auto& tried) { return now - tried.second >= kIntroduceEvery; });
  if (!tried_.emplace(node, now).second) return;
  tasks_.spawn(introduce_to(this, node, info->addresses));
}

env::Task<void> Introductions::introduce_to(Introductions* self, NodeId node, std::vector<env::Address> addresses) {
  for (const env::Address& address : addresses) {
    auto done = co_await introduce(self->world_, self->identity_.pool, node, address, self->membership_.log(),
                                   self->table_.options().connect_timeout);
    if (!done) {
      self->world_.log.debug("introduction_failed", "node={} why={}", node.short_hex(), to_string(done.error()));
      continue;
    }
    self->table_.forgive(node);
    co_return;
  }
}

}  // namespace cairn::peer
