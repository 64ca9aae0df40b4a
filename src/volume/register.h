#pragma once
// The compare-and-swap register of a volume's head or a member's account: CASPaxos (Rystsov 2018) over keepers. The
// rules, and why they are safe: volume/REGISTER.md.

#include "env/world.h"
#include "peer/peers.h"

namespace cairn::volume {

// Made at random with a keeper's store: a node that lost its disk returns as another keeper.
using KeeperInstance = std::array<uint8_t, 16>;

struct RegisterConfig {
  uint64_t epoch = 0;
  std::vector<NodeId> keepers;            // 1, 3 or 5
  std::vector<KeeperInstance> instances;  // beside `keepers`
  friend bool operator==(const RegisterConfig&, const RegisterConfig&) = default;
};

// The owner gave up a majority of keepers (Register::force).
struct RegisterForced {
  uint64_t epoch = 0;     // that the register went on with
  uint64_t sequence = 0;  // of the value that it went on from
  Hash hash;
  RegisterConfig lost;
  WallTime when = 0;
  NodeId by;
  friend bool operator==(const RegisterForced&, const RegisterForced&) = default;
};

struct RegisterState {
  uint64_t sequence = 0;  // of what was written; 0: nothing was ever written
  Hash hash;              // of the value's body; a change of keepers changes neither
  Bytes content;
  NodeId writer;
  RegisterConfig config;
  WallTime written = 0;
  std::vector<Hash> recent;            // of the values before this one, oldest first, at most kRecentValues
  std::vector<RegisterForced> forced;  // oldest first
  WallTime now = 0;       // when it was read, by the keepers' clocks: the middle one of those that answered
  uint64_t retained = 0;  // values that append-only devices have replaced, at the keeper that has most
  bool settled = false;   // of write()'s `expected`: these were looked through, the keepers need them no more
  // The epoch that the last force began; 0: there was none. Of two states the one of the higher is the present one.
  uint64_t era() const { return forced.empty() ? 0 : forced.back().epoch; }
};

// Whether a value of before is missing from what the register went on with: where the one who saw it, in `era`, is on a
// branch of its own. The force at which the ways parted.
std::optional<RegisterForced> parted_from(const RegisterState& state, uint64_t era, uint64_t sequence,
                                          const Hash& hash);

// Whether the value `hash`, written as number `sequence`, is in the chain that ends in `state`; nothing when the state
// does not reach back so far.
std::optional<bool> chain_contains(const RegisterState& state, uint64_t sequence, const Hash& hash);

// A node as the register sees it.
struct KeeperCandidate {
  NodeId node;
  std::string domain;
  bool lends = false;   // lends space, and is not leaving: may become a keeper
  bool usable = false;  // worth asking
  bool gone = false;    // departed, left or removed: does not count as a keeper that may return
};

// How a register's messages travel and what is known of the nodes: over peer::Peers in production.
class RegisterTransport {
 public:
  virtual ~RegisterTransport() = default;
  virtual const peer::Identity& identity() const = 0;
  virtual env::Task<Result<Bytes>> call(NodeId to, wire::Method method, Bytes body, Duration timeout) = 0;
  virtual std::vector<KeeperCandidate> nodes() const = 0;  // by NodeId
};
// `peers` outlives it.
std::unique_ptr<RegisterTransport> transport_over(peer::Peers& peers);

// Founding bytes of a member's account register: they follow from pool and member key alone.
Bytes account_founding(const PoolId& pool, ByteView owner_key);
// Keepers that suit the pool now: 1 with fewer than 3 live lending nodes, 3 with 3 or 4, 5 from 5 on; spread over
// domains, by rendezvous on the register; all of them answered. Errors: too_few_peers. The transport outlives the task.
env::Task<Result<RegisterConfig>> choose_first_keepers(env::World world, RegisterTransport& transport, Bytes founding);
// Founding bytes of a new volume's head, which name its first keepers. VolumeID = their SHA-256.
env::Task<Result<Bytes>> found_head(env::World world, RegisterTransport& transport);

// Deliberate breaches of the protocol, for the tests that must catch them. Production leaves all of them false.
struct ProposerFaults {
  bool trust_one_answer = false;  // a read returns the newest value seen without making sure that it is chosen
};

// Strand only. Operations of one object run one after the other.
class Register {
 public:
  // `founding`: wire.RegisterFounding bytes; RegisterId is their SHA-256. Only devices of the owner may use it.
  Register(env::World world, peer::Peers& peers, Bytes founding);
  // `first`: for an account that may have to be founded here, the keepers of epoch 0. At most one such choice may exist
  // for one register, ever (account.h). The transport outlives it.
  Register(env::World world, RegisterTransport& transport, Bytes founding, RegisterConfig first = {},
           ProposerFaults faults = {});
  ~Register();
  RegisterId id() const;

  // What is chosen now (a full round: linearizable); sequence 0 when nothing was ever written.
  // Errors: not_found (an account: all nodes that could be asked answered, and none keeps it), too_few_peers, denied
  // (not the owner's device), damaged (older than what this object has seen or expect_at_least() said; names the
  // keepers).
  env::Task<Result<RegisterState>> read();

  // Writes `content` when what is chosen still has this sequence and hash. Errors: conflict (somebody was first;
  // read again), too_few_peers and the others of read() (nothing was sent that could be chosen), unknown_outcome (it
  // may be chosen now or later: read again and look for attempted() in the chain), too_large.
  env::Task<Result<RegisterState>> write(const RegisterState& expected, Bytes content);
  // Hashes of the values that the last write() sent: more than one when the keepers changed meanwhile.
  const std::vector<Hash>& attempted() const;

  // What is known of a register whose keepers' majority does not answer.
  struct Remains {
    RegisterConfig config;                // the newest that is known
    std::vector<NodeId> answering, lost;  // of its keepers; with another disk: lost
    std::optional<RegisterState> best;    // of what they and others have accepted; may never have been chosen
    std::vector<RegisterState> strays;    // of before an earlier force, that the present chain does not have
    bool majority() const { return answering.size() > config.keepers.size() / 2; }
  };
  // Asks all nodes. Errors: denied, too_few_peers (nobody answers).
  env::Task<Result<Remains>> look_at_remains();
  // Gives the present keepers up: the register goes on from the best value known, or from `known` when that is later,
  // with keepers that suit the pool now. For when a majority is lost for ever: values that only it has are not in the
  // register any more. Should it come back, nobody follows it, and its values are found as strays. Errors: conflict (a
  // majority answers: nothing is lost), too_few_peers, denied.
  env::Task<Result<RegisterState>> force(std::optional<RegisterState> known);

  // Moves the register to the keepers that suit the pool now, when they are fewer than they should be or some are gone.
  // May be broken off at any point and taken up again by any device of the owner. Errors: as read().
  env::Task<Status> adapt_keepers();

  // What append-only devices have replaced since a full device settled it: all that any keeper has, oldest first. Of
  // each only sequence, content and writer are told. Errors: as read().
  env::Task<Result<std::vector<RegisterState>>> retained();

  // The caller's high-water mark: an older state is refused with Code::damaged.
  void expect_at_least(uint64_t sequence);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The acceptor's side: registers its handlers with `peers` (before start()); state in a MetaStore at `path`, each
// promise durable before it is answered.
class Keeper {
 public:
  static Result<std::unique_ptr<Keeper>> open(env::World world, peer::Peers& peers, std::string path);
  virtual ~Keeper() = default;
  // Of how many registers this node is a keeper now; those that have moved on do not count.
  virtual env::Task<Result<size_t>> registers_here() = 0;
  virtual env::Task<void> close() = 0;
};

}  // namespace cairn::volume
