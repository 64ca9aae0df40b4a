#pragma once
// The production objects of one simulated machine: a holder (as cairnd has them) or a client (as cairn has them).

#include "content/keys.h"
#include "peer/peers.h"
#include "pool/client.h"
#include "pool/healing.h"
#include "pool/trash.h"
#include "proto/pack.pb.h"
#include "sim/world.h"
#include "volume/register.h"
#include "volume/volume.h"

namespace cairn::sim {

// What all machines of a pool are given.
struct PoolSetup {
  Bytes genesis;
  env::Address bootstrap;
  Duration probe_period = std::chrono::seconds(10);   // the rounds of 30 nodes cost most of the time
  std::optional<std::pair<uint32_t, uint32_t>> code;  // (k, m)
  pool::HealingOptions healing = quick_healing();
  size_t nodes_per_domain = 1;
  bool lies = false;  // this one answers with wrong bytes

  // A day is 24 seconds; what would be shorter than it can be is at its least (RepairTimes::scaled).
  static pool::HealingOptions quick_healing() {
    pool::HealingOptions options = pool::HealingOptions{}.scaled(1.0 / 3600);
    options.audit.every = std::chrono::seconds(20);
    options.audit.scrub_rate = 64 * kMiB;
    options.repair.times.states_every = pool::kStatesEvery;
    options.audit.save_every = std::chrono::minutes(1);  // all scores of all nodes change all the time
    return options;
  }
};

inline peer::PeersOptions quiet_gossip(bool serve, Duration period) {
  return {.serve = serve, .probe_period = period};
}

class HolderMachine {
 public:
  HolderMachine(SimNode& node, const peer::Identity& identity, const PoolSetup& setup)
      : node_(node),
        tasks_(node.executor()),
        peers_(node.world(), identity, *peer::Membership::from_genesis(setup.genesis),
               quiet_gossip(true, setup.probe_period)),
        setup_(setup) {}

  // Opens all and begins to serve. `create`: the first start.
  env::Task<Status> open(bool create) {
    auto keeper = volume::Keeper::open(node_.world(), peers_, "keeper");
    if (!keeper) co_return fail(std::move(keeper.error()), "keeper");
    keeper_ = std::move(*keeper);
    auto holder = co_await pool::Holder::open(node_.world(), peers_, "claims", node_.boots());
    if (!holder) co_return fail(std::move(holder.error()), "holder");
    holder_ = std::move(*holder);
    auto trash = co_await pool::Trash::open(node_.world(), peers_, *holder_, "trash");
    if (!trash) co_return fail(std::move(trash.error()), "trash");
    trash_ = std::move(*trash);
    store::StoreOptions options{.path = "store", .limit = 64 * kMiB, .keep_free_share = 0.01};
    auto store = co_await store::ShardStore::open(node_.world(), std::move(options), create);
    if (!store) co_return fail(std::move(store.error()), "store");
    CAIRN_CO_TRY(holder_->add_store(std::move(*store)));
    healing_ = std::make_unique<pool::Healing>(node_.world(), peers_, *holder_, setup_.healing);
    healing_->repair().skip([this](PackId pack) { return trash_->tombstoned(pack); });
    if (setup_.lies) lie();
    auto address = peers_.listen({node_.host(), 7000});
    if (!address) co_return fail(std::move(address.error()), "listen");
    const store::StoreFigures figures = holder_->figures();
    peer::NodeInfo info;
    info.name = node_.name();
    info.addresses = {*address};
    info.limit = figures.limit;
    info.used = figures.used;
    info.free = figures.free;
    info.domain = domain();
    info.boot_seq = node_.boots();
    info.lends = true;
    peers_.set_own_record(info);
    peers_.start({setup_.bootstrap});
    co_await healing_->start();
    ready_ = true;
    co_return Status{};
  }
  env::Task<void> close() {
    co_await peers_.stop();
    co_await trash_->close();
    co_await healing_->stop();
    co_await holder_->close();
    co_await keeper_->close();
  }
  bool ready() const { return ready_; }
  env::TaskGroup& tasks() { return tasks_; }
  bool lies() const { return setup_.lies; }
  std::string domain() const { return fmt::format("d{}", node_.index() / setup_.nodes_per_domain); }
  pool::Holder& holder() { return *holder_; }
  pool::Trash& trash() { return *trash_; }
  pool::Healing& healing() { return *healing_; }
  peer::Peers& peers() { return peers_; }

 private:
  // What is asked of its shards is answered at once, and wrongly; claims are what they were.
  void lie() {
    peers_.serve(wire::Method::shard_get, peer::Access::members,
                 [](peer::Request request) -> env::Task<Result<peer::Reply>> {
                   return [](peer::Request asked) -> env::Task<Result<peer::Reply>> {
                     auto message = wire::decode<wire::ShardGetRequest>(ByteView(asked.body));
                     if (!message) co_return fail(std::move(message.error()));
                     wire::ShardGetResponse response;
                     response.set_offset(message->offset());
                     Buffer bytes(message->length());
                     std::memset(bytes.data(), 0x5a, bytes.size());
                     co_return peer::Reply{wire::encode(response), std::move(bytes)};
                   }(std::move(request));
                 });
    peers_.serve(wire::Method::audit, peer::Access::members, [](peer::Request) -> env::Task<Result<peer::Reply>> {
      return
          []() -> env::Task<Result<peer::Reply>> { co_return peer::Reply{wire::encode(wire::AuditResponse()), {}}; }();
    });
  }

  SimNode& node_;
  env::TaskGroup tasks_;
  peer::Peers peers_;
  const PoolSetup setup_;
  std::unique_ptr<volume::Keeper> keeper_;
  std::unique_ptr<pool::Holder> holder_;
  std::unique_ptr<pool::Trash> trash_;
  std::unique_ptr<pool::Healing> healing_;
  bool ready_ = false;
};

class ClientMachine {
 public:
  ClientMachine(SimNode& node, const peer::Identity& identity, const PoolSetup& setup)
      : node_(node),
        peers_(node.world(), identity, *peer::Membership::from_genesis(setup.genesis),
               quiet_gossip(false, setup.probe_period)),
        pool_(node.world(), peers_, {.put_timeout = std::chrono::seconds(15), .code = setup.code}),
        tasks_(node.executor()) {
    peers_.start({setup.bootstrap});
  }

  // Opens the volume that these founding bytes name.
  env::Task<Status> open(Bytes founding, content::VolumeKey key) {
    register_.emplace(node_.world(), peers_, founding);
    head_ = volume::make_head_register(*register_);
    packs_ = volume::make_pack_io(node_.world(), pool_, peers_, founding);
    const auto keys = content::VolumeKeys::derive(key, id_cast<VolumeId>(crypto::sha256(founding)));
    volume::VolumeOptions options{.node_cache_bytes = kMiB, .high_water_path = "high-water"};
    auto opened = co_await volume::Volume::open(node_.world(), *packs_, *head_, keys, peers_.identity().device,
                                                std::move(options));
    if (!opened) co_return fail(std::move(opened.error()));
    volume_ = std::move(*opened);
    co_return Status{};
  }
  env::Task<void> close() {
    tasks_.cancel();
    volume_.reset();
    co_await pool_.stop();
    co_await peers_.stop();
  }
  SimNode& node() { return node_; }
  peer::Peers& peers() { return peers_; }
  pool::PoolClient& pool() { return pool_; }
  volume::Volume& volume() { return *volume_; }
  env::TaskGroup& tasks() { return tasks_; }

 private:
  SimNode& node_;
  peer::Peers peers_;
  pool::PoolClient pool_;
  std::optional<volume::Register> register_;
  std::unique_ptr<volume::HeadRegister> head_;
  std::unique_ptr<volume::PackIo> packs_;
  std::unique_ptr<volume::Volume> volume_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::sim
