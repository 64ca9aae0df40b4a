#pragma once
// The proposer: finds a register's configuration and runs CASPaxos rounds with its keepers.

#include "volume/register_format.h"

namespace cairn::volume {

// What a quorum of the current configuration has promised.
struct RegisterView {
  RegisterConfig config;
  Ballot ballot;
  std::optional<Value> value;    // what must be carried on; none: nothing was ever chosen
  bool chosen = false;           // `value` is known to be chosen already
  std::vector<NodeId> answered;  // the keepers that promised
  WallTime now = 0;              // the middle one of their clocks
  uint64_t retained = 0;         // see RegisterState
};

// Strand only; one operation at a time. The transport outlives it.
class Proposer {
 public:
  Proposer(env::World world, RegisterTransport& transport, Founding founding, RegisterConfig first,
           ProposerFaults faults = {});

  const RegisterConfig& config() const { return config_; }
  const Founding& founding() const { return founding_; }

  // A promise by a majority of the configuration that is current, with what they accepted; finishes a change of keepers
  // that it meets on the way. Errors: not_found, too_few_peers, denied.
  env::Task<Result<RegisterView>> prepare(Time deadline);
  // Whether a majority accepted `value` under the view's ballot: true: it is chosen; false: it may be chosen or not.
  env::Task<Result<bool>> propose(RegisterView view, Value value, Time deadline);
  // Seals the current configuration over what the view holds; `next` is the current one afterwards. As propose().
  env::Task<Result<bool>> move_to(RegisterView view, RegisterConfig next, Time deadline);
  // All that the nodes have of the register, whatever their configuration: the newest one is taken over.
  struct Found {
    std::vector<std::pair<NodeId, KeeperInstance>> answered;
    std::vector<Value> values;  // checked
  };
  env::Task<Result<Found>> find_all(Time deadline);
  // Goes on from `best` with other keepers by the owner's word; the new configuration is current afterwards. False: too
  // few of them took it on.
  env::Task<Result<bool>> force(std::optional<RegisterState> best, RegisterConfig next);
  // Shows keepers that were given up, as far as they answer, where the register is now: so that nobody who asks them
  // goes on with what they have.
  env::Task<void> tell_given_up(RegisterConfig lost);
  // Signs a value for the current configuration; `previous` as in the view.
  Value make_value(const std::optional<Value>& previous, Bytes content, bool settles = false) const;
  // See Register::retained().
  env::Task<Result<std::vector<RegisterState>>> retained(Time deadline);
  // Pauses at random, the longer the more often.
  env::Task<void> back_off(int round);

  const ProposerFaults& faults() const { return faults_; }

 private:
  struct Answers;  // to one round, filled behind it
  struct Discovery;

  Ballot next_ballot();
  void learn(const Ballot& ballot);
  // The newest configuration that the nodes know of, when it is newer than `config_` or none is known; false: no such.
  env::Task<Result<bool>> discover(Time deadline);
  // Takes the configuration over when it is proven and newer; else false.
  bool adopt(const RegisterConfig& config, const wire::RegisterOrigin* origin, const wire::Signed* value);
  static env::Task<void> peek_one(Proposer& self, std::shared_ptr<Discovery> found, size_t index);
  // One request to one keeper of the round; brings it up to date when it does not know how the configuration began.
  static env::Task<void> ask_prepare(Proposer& self, std::shared_ptr<Answers> answers, size_t index);
  static env::Task<void> ask_accept(Proposer& self, std::shared_ptr<Answers> answers, size_t index);
  // Keepers that must agree: a majority. But an account that nobody has written yet is founded by promises of all of
  // its first keepers: each takes on one choice of first keepers only, so of two choices that share a keeper one comes
  // to nothing.
  size_t needed_of(const Answers& answers) const;
  // Until as many agreed as are needed, or cannot any more.
  env::Task<void> gather(std::shared_ptr<Answers> answers, Time deadline);
  // Follows the answers that name a later configuration; true when it did.
  bool follow(const Answers& answers);
  Result<Value> check_value(const wire::Signed& message);
  env::Task<Result<std::optional<RegisterView>>> prepare_round(Time deadline, bool& lonely);
  // After a round that found too few keepers: pauses before the next one, or false: it is time to give up.
  struct Loneliness;
  env::Task<bool> wait_for_keepers(Loneliness& lonely, Time deadline);

  env::World world_;
  RegisterTransport& transport_;
  Founding founding_;
  RegisterConfig first_;
  ProposerFaults faults_;
  env::Prng prng_;
  uint64_t session_;
  uint64_t counter_ = 0;  // the highest seen
  Duration patience_;     // with one keeper in one round; grows while they are silent
  bool known_ = false;
  RegisterConfig config_;                        // when known
  wire::RegisterOrigin origin_;                  // of config_, epoch > 0
  std::optional<Value> checked_;                 // the last value whose signatures were good
  size_t peeks_answered_ = 0, peeks_asked_ = 0;  // of the last discovery
  env::TaskGroup behind_;                        // last: its tasks use all of the above
};

}  // namespace cairn::volume
