#include "pool/client.h"

#include "pool/client_state.h"
#include "pool/limits.h"
#include "pool/locator.h"
#include "pool/pack_completer.h"
#include "pool/pack_reader.h"
#include "pool/pack_writer.h"
#include "proto/pack.pb.h"

namespace cairn::pool {

class PoolClient::Impl {
 public:
  Impl(env::World world, peer::Peers& peers, PoolOptions options)
      : state(world, peers, options),
        locator(state),
        reader(state, locator),
        completer(state, locator, reader),
        writer(state) {}

  ClientState state;
  PackLocator locator;
  PackReader reader;
  PackCompleter completer;
  PackWriter writer;
};

PoolClient::PoolClient(env::World world, peer::Peers& peers, PoolOptions options)
    : impl_(std::make_unique<Impl>(world, peers, options)) {}
PoolClient::~PoolClient() = default;

content::PackGeometry PoolClient::geometry_now() const {
  return impl_->writer.geometry_now();
}

Redundancy PoolClient::goal() const {
  return impl_->writer.goal();
}

env::Task<Result<WriteOutcome>> PoolClient::write(content::EncodedPack pack) {
  return impl_->writer.write(std::move(pack));
}

env::Task<uint64_t> PoolClient::settle() {
  return impl_->writer.settle();
}

env::Task<Result<Buffer>> PoolClient::read(PackRef pack, uint32_t offset, uint32_t length, Check check,
                                           Purpose purpose) {
  return impl_->reader.read(std::move(pack), offset, length, std::move(check), purpose);
}

env::Task<Result<uint32_t>> PoolClient::live_slots(PackRef pack, Answers answers) {
  co_await impl_->locator.locate(pack, true, answers);
  const auto live = impl_->locator.live_holders(pack, answers);
  co_return static_cast<uint32_t>(std::ranges::count_if(live, [](const NodeId& node) { return !node.is_zero(); }));
}

env::Task<std::vector<NodeId>> PoolClient::live_holders(PackRef pack) {
  co_await impl_->locator.locate(pack, true);
  co_return impl_->locator.live_holders(pack);
}

env::Task<Status> PoolClient::move_shard(ShardId shard, NodeId from, NodeId to, Bytes founding) {
  wire::ShardMoveRequest request;
  request.set_pack(shard.pack.raw());
  request.set_slot(shard.slot);
  request.set_to(to.raw());
  request.set_founding(founding.data(), founding.size());
  auto done = co_await peer::ask<wire::ShardMoveResponse>(impl_->state.peers, from, wire::Method::shard_move, request,
                                                          kMoveOrderTimeout);
  if (!done) co_return fail(std::move(done.error()));
  co_return Status{};
}

env::Task<Result<Completion>> PoolClient::complete(PackRef pack, Answers answers) {
  return impl_->completer.complete(std::move(pack), std::move(answers));
}

PoolCounters PoolClient::counters() const {
  PoolCounters counters = impl_->state.counters;
  counters.data.holders = impl_->state.asked[0].size();
  counters.tree.holders = impl_->state.asked[1].size();
  return counters;
}

void PoolClient::on_bad_shard(std::function<void(const BadShard&)> handler) {
  impl_->state.bad_shard = std::move(handler);
}

env::Task<void> PoolClient::stop() {
  impl_->writer.stop();
  co_return;
}

}  // namespace cairn::pool
