#include "volume/pack_io.h"

#include <algorithm>
#include <map>

#include "pool/tombstones.h"
#include "volume/errors.h"

namespace cairn::volume {

namespace {

class PoolPackIo final : public PackIo {
 public:
  PoolPackIo(env::World world, pool::PoolClient& pool, peer::Peers& peers, Bytes founding)
      : world_(world), pool_(pool), peers_(peers), tombstones_(world, peers, std::move(founding)) {}
  content::PackGeometry geometry_now() const override { return pool_.geometry_now(); }
  pool::Redundancy goal() const override { return pool_.goal(); }
  env::Task<Result<pool::PackRef>> write(content::EncodedPack pack) override {
    auto outcome = co_await pool_.write(std::move(pack));
    if (!outcome) co_return fail(std::move(outcome.error()));
    co_return std::move(outcome->ref);
  }
  env::Task<uint64_t> settle() override { return pool_.settle(); }
  env::Task<Result<Buffer>> read(pool::PackRef pack, uint32_t offset, uint32_t length, pool::PoolClient::Check check,
                                 pool::Purpose purpose) override {
    return pool_.read(std::move(pack), offset, length, std::move(check), purpose);
  }

  env::Task<Result<size_t>> bury(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    auto reports = co_await tombstones_.tell(packs, pool::Fate::dead, sequence);
    if (!reports) co_return fail(std::move(reports.error()));
    size_t known = 0;
    for (size_t i = 0; i < packs.size(); ++i) {
      const pool::FateReport& report = (*reports)[i];
      if (report.live > 0) continue;  // somebody has had it back
      if (report.in_trash + report.gone > packs[i].geometry.m) ++known;
    }
    co_return known;
  }
  env::Task<Status> revive(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    auto reports = co_await tombstones_.tell(packs, pool::Fate::kept, sequence);
    if (!reports) co_return fail(std::move(reports.error()));
    for (size_t i = 0; i < packs.size(); ++i) {
      // As many as a commit asks for when the pack is new.
      const auto& geometry = packs[i].geometry;
      if ((*reports)[i].live < geometry.k + (geometry.m + 1) / 2)
        co_return fail(Code::damaged,
                       fmt::format("pack {} was pruned: {} of {} shards could be had back", packs[i].id.short_hex(),
                                   (*reports)[i].live, geometry.k + geometry.m));
    }
    co_return Status{};
  }
  env::Task<Result<Strangers>> strangers(std::vector<PackId> live) override {
    Strangers result{.packs = {}, .all_asked = true};
    std::map<PackId, std::vector<NodeId>> found;
    for (const peer::NodeInfo& node : peers_.membership().nodes()) {
      if (!node.lends) continue;
      auto there = co_await tombstones_.strangers(node.id, live);
      if (!there) {
        world_.log.warning("not_reconciled", "node={} error=\"{}\"", node.id.short_hex(), to_string(there.error()));
        result.all_asked = false;
        continue;
      }
      for (const PackId& pack : *there) {
        if (auto& holders = found[pack]; holders.size() < kMaxSlots) holders.push_back(node.id);
      }
    }
    for (auto& [pack, holders] : found) {
      result.packs.push_back({.id = pack,
                              .geometry = {.k = static_cast<uint32_t>(holders.size()), .m = 0, .shard_length = 0},
                              .holders = std::move(holders)});
    }
    co_return result;
  }

 private:
  env::World world_;
  pool::PoolClient& pool_;
  peer::Peers& peers_;
  pool::Tombstones tombstones_;
};

class RegisterHead final : public HeadRegister {
 public:
  explicit RegisterHead(Register& head) : head_(head) {}
  env::Task<Result<RegisterState>> read() override { return head_.read(); }
  env::Task<Result<RegisterState>> write(RegisterState expected, Bytes content) override {
    auto state = co_await head_.write(expected, std::move(content));
    co_return state;
  }
  std::vector<Hash> attempted() const override { return head_.attempted(); }
  env::Task<Result<std::vector<RegisterState>>> strays() override {
    auto remains = co_await head_.look_at_remains();
    if (!remains) co_return fail(std::move(remains.error()));
    co_return std::move(remains->strays);
  }
  env::Task<Result<std::vector<RegisterState>>> retained() override { return head_.retained(); }

 private:
  Register& head_;
};

// Between the tries of a read: someone who waits for a disk does not notice less.
constexpr Duration kFirstRetry = std::chrono::milliseconds(100);
constexpr Duration kLastRetry = std::chrono::seconds(2);
// What a holder is given to answer when the pool has long been away.
constexpr Duration kAskAgain = std::chrono::seconds(5);

class PatientPackIo final : public PackIo {
 public:
  PatientPackIo(PackIo& inner, env::World world, Duration patience)
      : inner_(inner), world_(world), patience_(patience) {}
  content::PackGeometry geometry_now() const override { return inner_.geometry_now(); }
  pool::Redundancy goal() const override { return inner_.goal(); }
  env::Task<Result<pool::PackRef>> write(content::EncodedPack pack) override { return inner_.write(std::move(pack)); }
  env::Task<uint64_t> settle() override { return inner_.settle(); }
  env::Task<Result<Buffer>> read(pool::PackRef pack, uint32_t offset, uint32_t length, pool::PoolClient::Check check,
                                 pool::Purpose purpose) override {
    const Time began = world_.clock.now();
    // Once the pool has been away for that long, who asks again (the kernel does, for each page) is told soon.
    const Time deadline =
        away_since_ ? std::max(*away_since_ + patience_, began + std::min(patience_, kAskAgain)) : began + patience_;
    Duration pause = kFirstRetry;
    for (;;) {
      auto got = co_await env::with_deadline(world_.executor, world_.clock, deadline,
                                             inner_.read(pack, offset, length, check, purpose));
      const bool away = !got && is_away(got.error().code);
      away ? void(away_since_ = away_since_.value_or(began)) : away_since_.reset();
      if (!away || world_.clock.now() + pause >= deadline) {
        if (!got && warnings_.allow(world_.clock.now()))
          world_.log.warning("read_failed", "errno=EHOSTUNREACH error={}", to_string(got.error()));
        co_return got;
      }
      co_await env::sleep_for(world_.clock, pause);
      pause = std::min(2 * pause, kLastRetry);
    }
  }
  env::Task<Result<size_t>> bury(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    return inner_.bury(std::move(packs), sequence);
  }
  env::Task<Status> revive(std::vector<pool::PackRef> packs, uint64_t sequence) override {
    return inner_.revive(std::move(packs), sequence);
  }
  env::Task<Result<Strangers>> strangers(std::vector<PackId> live) override {
    return inner_.strangers(std::move(live));
  }

 private:
  PackIo& inner_;
  env::World world_;
  Duration patience_;
  std::optional<Time> away_since_;  // a read that began then failed for it, and none succeeded since
  RateLimit warnings_{10, std::chrono::minutes(1)};
};

}  // namespace

std::unique_ptr<PackIo> make_patient(PackIo& inner, env::World world, Duration patience) {
  return std::make_unique<PatientPackIo>(inner, world, patience);
}
std::unique_ptr<PackIo> make_pack_io(env::World world, pool::PoolClient& pool, peer::Peers& peers, Bytes founding) {
  return std::make_unique<PoolPackIo>(world, pool, peers, std::move(founding));
}
std::unique_ptr<HeadRegister> make_head_register(Register& head) {
  return std::make_unique<RegisterHead>(head);
}

}  // namespace cairn::volume
