#pragma once
// The production objects of one simulated machine: a holder (as cairnd has them) or a client (as cairn has them).

#include "content/keys.h"
#include "peer/peers.h"
#include "pool/client.h"
#include "pool/healing.h"
#include "pool/tombstone.h"
#include "pool/trash.h"
#include "proto/pack.pb.h"
#include "sim/world.h"
#include "volume/keeper_server.h"
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
  pool::TrashOptions trash;
  volume::ProposerFaults proposer;  // rules that are broken, which must be noticed
  volume::AcceptorFaults acceptor;
  bool lies = false;         // this one answers with wrong bytes
  bool equivocates = false;  // this one's keeper tells some devices one thing, and the others another

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

// The only member of a new pool, whose genesis `setup` is given.
inline peer::MemberKeys found_pool(env::Prng& prng, PoolSetup& setup) {
  crypto::AccountSecret secret{};
  prng.fill(secret);
  peer::MemberKeys member = peer::MemberKeys::derive(secret);
  Bytes nonce(32);
  prng.fill(nonce);
  setup.genesis = peer::make_genesis(member, "founder", "simulated", nonce, 0);
  return member;
}

inline peer::PeersOptions quiet_gossip(bool serve, Duration period) {
  return {.serve = serve, .probe_period = period};
}

// What became of packs by the word of all owners, for the model.
struct PackLog {
  struct Fate {
    uint64_t sequence = 0;
    bool dead = false;
  };
  std::map<PackId, pool::PackRef> written;  // at quorum: they must not be lost before they are dead
  std::map<PackId, Fate> fates;             // the one that counts (pool/GARBAGE.md)
  bool dead(const PackId& pack) const {
    const auto found = fates.find(pack);
    return found != fates.end() && found->second.dead;
  }
  void say(const std::vector<pool::PackRef>& packs, bool dead, uint64_t sequence) {
    for (const pool::PackRef& pack : packs) {
      const auto [fate, fresh] = fates.try_emplace(pack.id, Fate{sequence, dead});
      if (fresh || sequence < fate->second.sequence || (sequence == fate->second.sequence && dead)) continue;
      fate->second = {sequence, dead};
    }
  }
};

// Notes what a client says and writes.
class WatchedPackIo final : public volume::PackIo {
 public:
  WatchedPackIo(std::unique_ptr<volume::PackIo> inner, PackLog* log) : inner_(std::move(inner)), log_(log) {}
  content::PackGeometry geometry_now() const override { return inner_->geometry_now(); }
  pool::Redundancy goal() const override { return inner_->goal(); }
  env::Task<Result<pool::PackRef>> write(content::EncodedPack pack) override {
    auto written = co_await inner_->write(std::move(pack));
    if (written && log_ != nullptr) log_->written[written->id] = *written;
    co_return written;
  }
  env::Task<uint64_t> settle() override { return inner_->settle(); }
  env::Task<Result<Buffer>> read(pool::PackRef pack, uint32_t offset, uint32_t length, pool::PoolClient::Check check,
                                 pool::Purpose purpose) override {
    return inner_->read(std::move(pack), offset, length, std::move(check), purpose);
  }
  env::Task<Result<size_t>> bury(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    if (log_ != nullptr) log_->say(packs, true, sequence);
    return inner_->bury(std::move(packs), sequence);
  }
  env::Task<Status> revive(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    if (log_ != nullptr) log_->say(packs, false, sequence);
    return inner_->revive(std::move(packs), sequence);
  }
  env::Task<Result<Strangers>> strangers(std::vector<PackId> live) override {
    return inner_->strangers(std::move(live));
  }

 private:
  std::unique_ptr<volume::PackIo> inner_;
  PackLog* log_;
};

// Production acceptors behind a keeper that is none: by the device that asks, one or the other answers, both in the
// name of one instance. Or one acceptor that breaks a rule.
class FalseKeeper {
 public:
  static Result<std::unique_ptr<FalseKeeper>> open(env::World world, peer::Peers& peers, bool two,
                                                   volume::AcceptorFaults faults) {
    auto keeper = std::make_unique<FalseKeeper>();
    for (int i = 0; i < (two ? 2 : 1); ++i) {
      auto store = world.meta_stores.open(i == 0 ? "keeper" : "keeper-other");
      if (!store) return fail(std::move(store.error()));
      if (i == 1) {
        env::WriteBatch batch;
        batch.put("instance", std::string(as_text(keeper->servers_[0]->acceptor().instance())));
        CAIRN_TRY((*store)->write(batch, true));
      }
      auto acceptor = volume::Acceptor::open(std::move(*store), peers.identity(), world.random, faults);
      if (!acceptor) return fail(std::move(acceptor.error()));
      keeper->servers_.push_back(std::make_unique<volume::KeeperServer>(world, std::move(*acceptor)));
    }
    using enum wire::Method;
    for (const wire::Method method : {register_prepare, register_accept, register_peek}) {
      peers.serve(method, peer::Access::members,
                  [it = keeper.get()](peer::Request request) { return answer(it, std::move(request)); });
    }
    return keeper;
  }

 private:
  static env::Task<Result<peer::Reply>> answer(FalseKeeper* self, peer::Request request) {
    auto& server = *self->servers_[request.from.bytes[0] % self->servers_.size()];
    auto body = co_await server.handle(request.method, request.member, std::move(request.body));
    if (!body) co_return fail(std::move(body.error()));
    co_return peer::Reply{.body = std::move(*body), .payload = {}};
  }
  std::vector<std::unique_ptr<volume::KeeperServer>> servers_;
};

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
    const bool faulty = setup_.acceptor.forget_promises || setup_.acceptor.accept_lower_ballots;
    if (setup_.equivocates || faulty) {
      auto keeper = FalseKeeper::open(node_.world(), peers_, setup_.equivocates, setup_.acceptor);
      if (!keeper) co_return fail(std::move(keeper.error()), "keeper");
      false_keeper_ = std::move(*keeper);
    } else {
      auto keeper = volume::Keeper::open(node_.world(), peers_, "keeper");
      if (!keeper) co_return fail(std::move(keeper.error()), "keeper");
      keeper_ = std::move(*keeper);
    }
    auto holder = co_await pool::Holder::open(node_.world(), peers_, "claims", node_.boots());
    if (!holder) co_return fail(std::move(holder.error()), "holder");
    holder_ = std::move(*holder);
    auto trash = co_await pool::Trash::open(node_.world(), peers_, *holder_, "trash", setup_.trash);
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
    if (keeper_) co_await keeper_->close();
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
  std::unique_ptr<FalseKeeper> false_keeper_;
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
        proposer_(setup.proposer),
        tasks_(node.executor()) {
    peers_.start({setup.bootstrap});
  }

  // Opens the volume that these founding bytes name.
  env::Task<Status> open(Bytes founding, content::VolumeKey key, PackLog* log = nullptr) {
    volume_.reset();
    transport_ = volume::transport_over(peers_);
    register_.emplace(node_.world(), *transport_, founding, volume::RegisterConfig{}, proposer_);
    head_ = volume::make_head_register(*register_);
    packs_ = std::make_unique<WatchedPackIo>(volume::make_pack_io(node_.world(), pool_, peers_, founding), log);
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
  const volume::ProposerFaults proposer_;
  std::unique_ptr<volume::RegisterTransport> transport_;
  std::optional<volume::Register> register_;
  std::unique_ptr<volume::HeadRegister> head_;
  std::unique_ptr<volume::PackIo> packs_;
  std::unique_ptr<volume::Volume> volume_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::sim
