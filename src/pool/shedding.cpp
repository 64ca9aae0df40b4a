#include "pool/shedding.h"

#include <set>

#include "pool/limits.h"

namespace cairn::pool {

int spare_of(const std::vector<Claim>& claims, const NodeId& self, uint32_t k,
             const std::function<bool(const NodeId&)>& alive) {
  std::set<uint8_t> slots;
  for (const Claim& claim : claims) {
    if (claim.state == ClaimState::gone || claim.node == self || !alive(claim.node)) continue;
    slots.insert(claim.shard.slot);  // this very slot, too, when another has it
  }
  return static_cast<int>(slots.size()) - static_cast<int>(k);
}

bool ShedOrder::take(int spare, uint64_t bytes) {
  if (spare < 0 || left_ == 0) return false;
  if (spare < from_) {
    below_ = std::max(below_, spare);
    return false;
  }
  left_ -= std::min(left_, bytes);
  return true;
}

bool ShedOrder::next_walk() {
  from_ = std::exchange(below_, -1);
  return from_ >= 0 && left_ > 0;
}

namespace {

struct Looked {
  ShardId shard;
  int spare = -1;
  uint64_t bytes = 0;
};

env::Task<std::optional<Looked>> look_at(peer::Peers& peers, Holder& holder, store::ShardStore& store, ShardId shard) {
  auto described = co_await store.describe(shard);
  if (!described) co_return std::nullopt;
  auto claims = co_await holder.claims_of(shard.pack);
  if (!claims) co_return std::nullopt;
  const content::PackGeometry& geometry = described->header.geometry;
  const int spare =
      spare_of(*claims, peers.identity().node, geometry.k, [&](const NodeId& node) { return peers.usable(node); });
  co_return Looked{shard, spare, geometry.shard_length};
}

env::Task<Status> drop_one(Holder& holder, ShardId shard) {
  auto status = co_await holder.drop(shard);
  co_return status;
}

}  // namespace

env::Task<Shed> shed(env::World world, peer::Peers& peers, Holder& holder, Trash* trash, StoreId id, uint64_t bytes) {
  Shed done;
  bool begun = false;
  const auto find = [&]() -> store::ShardStore* {
    for (const auto& store : holder.stores()) {
      if (store->id() == id) return store.get();
    }
    return nullptr;
  };
  store::ShardStore* store = find();
  if (store == nullptr) co_return done;
  const uint64_t used_before = store->figures().used;
  auto trimmed = co_await store->trim();
  (void)trimmed;  // it is no more than what dropping gives
  if (trash != nullptr) {
    const uint64_t purged = trash->figures().purged;
    done.trash = done.bytes = co_await trash->give_up(id, bytes);
    done.shards = trash->figures().purged - purged;
  }
  ShedOrder order(bytes - std::min(bytes, done.bytes));
  do {
    std::optional<ShardId> after;
    while (!order.enough()) {
      store = find();
      if (store == nullptr) co_return done;
      const auto page = co_await store->list(after, kShedAtOnce);
      if (page.empty()) break;
      after = page.back();
      std::vector<env::Task<std::optional<Looked>>> looks;
      for (const ShardId& shard : page) looks.push_back(look_at(peers, holder, *store, shard));
      const auto looked = co_await env::when_all(world.executor, std::move(looks));
      if (!begun) {
        int most = -1;
        for (const auto& one : looked) most = std::max(most, one ? one->spare : -1);
        order.begin_with(most);
        begun = true;
      }
      std::vector<env::Task<Status>> drops;
      std::vector<uint64_t> sizes;
      for (const auto& one : looked) {
        if (!one || !order.take(one->spare, one->bytes)) continue;
        drops.push_back(drop_one(holder, one->shard));
        sizes.push_back(one->bytes);
      }
      const auto dropped = co_await env::when_all(world.executor, std::move(drops));
      for (size_t i = 0; i < dropped.size(); ++i) {
        if (!dropped[i]) continue;
        ++done.shards;
        done.bytes += sizes[i];
      }
    }
  } while (order.next_walk());
  // The blocks are given back behind: until then the file system does not show it.
  const Time deadline = world.clock.now() + kShedPatience;
  while (done.bytes > 0 && world.clock.now() < deadline) {
    store = find();
    if (store == nullptr || store->figures().used + done.bytes <= used_before) break;
    co_await env::sleep_for(world.clock, kShedPoll);
  }
  co_return done;
}

}  // namespace cairn::pool
