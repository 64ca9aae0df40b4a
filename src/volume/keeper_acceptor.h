#pragma once
// The acceptor: what one keeper promises, accepts and remembers, in a MetaStore.
//
// Keys: "instance" -> KeeperInstance; "r" + RegisterId -> wire.KeeperState; "o" + RegisterId -> wire.RegisterOrigin of
// the configuration that the state is in (epoch > 0); "s" + RegisterId -> wire.KeeperStrays;
// "f" + RegisterId -> wire.RegisterOrigin of a later configuration without this keeper, after a force;
// "h" + RegisterId + key -> wire.RetainedValue.

#include <atomic>
#include <map>
#include <mutex>

#include "env/meta_store.h"
#include "env/random.h"
#include "volume/register_format.h"

namespace cairn::volume {

// Deliberate breaches of the protocol, for the tests that must catch them. Production leaves all of them false.
struct AcceptorFaults {
  bool forget_promises = false;       // promises are not synced
  bool accept_lower_ballots = false;  // promises do not bind
  bool skip_origin = false;           // a new configuration begins empty
};

// Whose device asks, and when by the keeper's clock.
struct Requester {
  Requester(const MemberId& from) : member(from) {}  // NOLINT(google-explicit-constructor)
  MemberId member;
  std::optional<RegisterId> only;  // a device that may only add, and to this register alone
  WallTime now = 0;
};

// Calls block (they sync): make them from Workers, at most one at a time for one register. Thread-safe otherwise.
class Acceptor {
 public:
  static Result<std::unique_ptr<Acceptor>> open(std::unique_ptr<env::MetaStore> store, const peer::Identity& identity,
                                                env::SecureRandom& random, AcceptorFaults faults = {});

  const KeeperInstance& instance() const { return instance_; }
  // Of how many registers this is a keeper now: not those that have moved on.
  Result<size_t> registers_here() const;

  // What the keeper says no to is a verdict; an Error is a message that is not of
  // the right form (corrupt), not by the owner (denied), too many registers (no_space), or a failed disk (io).
  Result<wire::RegisterPrepareResponse> prepare(const wire::RegisterPrepareRequest& request, const Requester& from);
  Result<wire::RegisterAcceptResponse> accept(const wire::RegisterAcceptRequest& request, const Requester& from);
  Result<wire::RegisterPeekResponse> peek(const wire::RegisterPeekRequest& request, const Requester& from);
  // What append-only devices have replaced, until a value that settles it comes: nothing that they do makes it go.
  Result<wire::RegisterRetainedResponse> retained(const wire::RegisterRetainedRequest& request, const Requester& from);

 private:
  struct State {
    RegisterConfig config;
    Ballot promised, accepted;
    std::optional<Value> value;
    wire::RegisterOrigin origin;
    std::vector<wire::Signed> strays;  // to be kept beside it, when it is saved
    uint64_t retained = 0, retained_bytes = 0;
    bool new_register = false;
    bool new_config = false;
  };
  // The state in which a request for `config` is to be answered, or the verdict that ends it.
  struct Entry {
    wire::RegisterVerdict verdict = wire::AGREED;
    State state;  // AGREED: of `config`; MOVED: of the later one
  };

  Acceptor(std::unique_ptr<env::MetaStore> store, const peer::Identity& identity, AcceptorFaults faults);
  Status load_registers();
  Result<Founding> check_request(ByteView founding, const Requester& from) const;
  // Before `value` takes the place of what is there: what must be kept of that, and what need not be kept any more.
  Status retain(const Founding& founding, State& state, const Value& value, const Requester& from,
                env::WriteBatch& batch);
  Result<std::optional<State>> load(const Founding& founding);
  Result<Entry> enter(const Founding& founding, const RegisterConfig& config, const wire::RegisterOrigin* origin);
  // Where the register went on when its owner gave up the keepers that this one is among.
  Result<std::optional<State>> superseded_by(const Founding& founding);
  Result<std::vector<wire::Signed>> strays_of(const RegisterId& id) const;
  Status save(const Founding& founding, const State& state, bool sync, env::WriteBatch batch = {});

  std::unique_ptr<env::MetaStore> store_;
  NodeId node_;
  PoolId pool_;
  crypto::PrivateKey device_;
  AcceptorFaults faults_;
  KeeperInstance instance_{};
  // After a failed sync nobody knows what is on the disk: no more answers until it is opened again.
  std::atomic<bool> broken_ = false;
  std::mutex mutex_;
  std::map<MemberId, uint32_t> registers_;  // kept here, by owner; under mutex_
};

}  // namespace cairn::volume
