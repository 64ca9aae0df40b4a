#include "pool/move_orders.h"

#include "pool/limits.h"
#include "pool/tombstone.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::pool {

MoveOrders::MoveOrders(peer::Peers& peers, ShardMover& mover, Drain& drain)
    : peers_(peers), mover_(mover), drain_(drain) {
  peers_.serve(wire::Method::shard_move, peer::Access::members,
               [this](peer::Request request) { return serve(std::move(request)); });
}

env::Task<Result<peer::Reply>> MoveOrders::serve(peer::Request request) {
  auto message = wire::decode<wire::ShardMoveRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  auto pack = PackId::from(message->pack());
  if (!pack) co_return fail(std::move(pack.error()));
  auto to = NodeId::from(message->to());
  if (!to) co_return fail(std::move(to.error()));
  if (message->slot() >= kMaxSlots) co_return fail(Code::bad_input, "no such slot");
  if (message->founding().size() > kMaxFounding) co_return fail(Code::too_large, "founding");
  auto owner = owner_of_volume(as_bytes(message->founding()), peers_.identity().pool);
  if (!owner) co_return fail(std::move(owner.error()));
  if (owner->owner != request.member) co_return fail(Code::denied, "only a volume's owner may have its shards moved");
  if (at_work_ >= kMaxMoveOrders) co_return fail(Code::overloaded, "too many moves");
  struct AtWork {
    size_t& count;
    explicit AtWork(size_t& counted) : count(counted) { ++count; }
    AtWork(const AtWork&) = delete;
    AtWork& operator=(const AtWork&) = delete;
    ~AtWork() { --count; }
  } at_work(at_work_);
  auto picture = co_await mover_.look(*pack);
  if (!picture) co_return fail(std::move(picture.error()));
  if (picture->header.volume != owner->volume) co_return fail(Code::denied, "a pack of another volume");
  auto moved = co_await drain_.move_to({*pack, static_cast<uint8_t>(message->slot())}, *to);
  if (!moved) co_return fail(std::move(moved.error()));
  ++carried_out_;
  co_return peer::Reply{.body = wire::encode(wire::ShardMoveResponse()), .payload = {}};
}

}  // namespace cairn::pool
