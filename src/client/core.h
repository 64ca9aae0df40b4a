#pragma once
// Core: what a command of `cairn` stands on: the real world, sessions with the pool, the account, open volumes.
//
// Made on the caller's thread; its network thread is the strand. Everything but run(), call() and interrupt() is for
// tasks on the strand.

#include <atomic>
#include <set>
#include <thread>

#include "cairn/client.h"
#include "client/bad_holders.h"
#include "client/home.h"
#include "os/real_world.h"
#include "pool/client.h"
#include "volume/account.h"
#include "volume/volume.h"

namespace cairn::client {

// How long a command waits for the pool before it says that too few peers can be reached.
inline constexpr Duration kSettleTimeout = std::chrono::seconds(10);

// Volumes that were made for devices which may only add: "backups-NAME".
inline constexpr std::string_view kAppendOnlyPrefix = "backups-";

// Who runs this process: the root of a volume that nobody has owned yet becomes theirs.
volume::RootOwner this_user();

struct OpenVolume {
  volume::VolumeEntry entry;
  std::unique_ptr<volume::Register> head_register;
  std::unique_ptr<volume::HeadRegister> head;
  std::unique_ptr<volume::PackIo> packs;
  std::unique_ptr<volume::Volume> volume;
  bool append_only = false;  // made for a device that may only add to it
};

class Core {
 public:
  static Result<std::unique_ptr<Core>> open(const ClientOptions& options);
  ~Core();

  env::World world() { return world_; }
  os::EventLoop& loop() { return real_->loop(); }
  bool on_strand() const { return real_->loop().on_strand(); }  // any thread
  const Home& home() const { return home_; }
  const std::string& backups_name() const { return backups_name_; }  // of the volume that snapshots are in
  const peer::Identity& identity() const { return identity_; }
  peer::Peers& peers() { return *peers_; }
  pool::PoolClient& pool() { return *pool_; }
  volume::Account& account() { return *account_; }

  // Until the node table was exchanged with a peer. Code::too_few_peers.
  env::Task<Status> settle();
  // By name. main and backups are made at first use when `create`. Code::not_found.
  // `adjust`: how it is opened otherwise than by default; the volume may then be one that was seen here before, while
  // the pool is away.
  using Adjust = std::function<env::Task<Status>(const volume::VolumeEntry&, volume::VolumeOptions&)>;
  env::Task<Result<OpenVolume*>> open_volume(std::string name, bool create, Adjust adjust = {});
  // Moves the account and this volume's head to the keepers that suit the pool now, where they are fewer than they
  // should be or some are gone. Failing is no error of the command's: it is tried again by the next one.
  env::Task<void> adapt_keepers(OpenVolume& open);
  std::string node_name(const NodeId& node);
  // What the person should hear of beside the result; taken away by this. On the caller's thread, after run().
  std::vector<std::string> take_warnings() { return std::exchange(warnings_, {}); }
  // This device may add snapshots to one volume, and nothing else: Code::denied.
  Status refuse_append_only() const;
  bool append_only() const { return identity_.certificate.append_only; }

  // Runs the task made by `start` on the strand and waits for its result on the caller's thread. interrupt() ends it
  // with Code::interrupted; that the pool refuses this device ends it with Code::denied, unless it goes on then.
  enum class Refused : uint8_t { ends, goes_on };
  template <class T>
  Result<T> run(std::function<env::Task<Result<T>>()> start, Refused refused = Refused::ends) {
    std::optional<Result<T>> result;
    auto ended = run_until_done(refused, [&]() -> env::Task<void> {
      return [](Core& core, std::function<env::Task<Result<T>>()> begin,
                std::optional<Result<T>>& out) -> env::Task<void> {
        out.emplace(co_await begin());
        if (!*out) core.explain(out->error());
      }(*this, start, result);
    });
    if (!result) return fail(std::move(ended));
    return std::move(*result);
  }
  // Async-signal-safe.
  void interrupt() { interrupted_.store(true); }
  bool interrupted() const { return interrupted_.load(); }

 private:
  Core(std::unique_ptr<Log> log, std::unique_ptr<os::RealWorld> real, Home home, peer::Identity identity);
  // As it was when the account was last read here.
  std::optional<volume::VolumeEntry> seen_volume(const std::string& name) const;
  // Of a device that was removed everything fails, and that is why.
  void explain(Error& error) const;
  // This device was removed or revoked: the member log says so, or peers do and nobody else has answered for a while.
  std::optional<Error> removed();
  // Why it was ended before it was done.
  Error run_until_done(Refused refused, std::function<env::Task<void>()> start);
  env::Task<void> shut_down();

  std::unique_ptr<Log> log_;
  std::unique_ptr<os::RealWorld> real_;
  env::World world_;
  Home home_;
  std::string backups_name_;
  peer::Identity identity_;
  std::optional<Home::Grant> grant_;
  std::unique_ptr<peer::Peers> peers_;
  std::unique_ptr<pool::PoolClient> pool_;
  std::unique_ptr<volume::Account> account_;
  std::map<VolumeId, std::unique_ptr<OpenVolume>> volumes_;
  std::vector<BadHolder> bad_holders_;  // found and not yet written down
  std::vector<std::string> warnings_;
  std::set<VolumeId> log_forks_;  // told already
  bool settled_ = false;
  std::optional<Time> refused_since_;
  bool membership_changed_ = false;
  std::atomic<bool> interrupted_ = false;
  std::thread thread_;
};

}  // namespace cairn::client
