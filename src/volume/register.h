#pragma once
// The compare-and-swap register of a volume's head or a member's account: CASPaxos (Rystsov 2018) over keepers.

#include "env/world.h"
#include "peer/peers.h"

namespace cairn::volume {

struct RegisterConfig {
  uint64_t epoch = 0;
  std::vector<NodeId> keepers;  // 1, 3 or 5
};

struct RegisterState {
  uint64_t sequence = 0;  // 0: nothing was ever written
  Hash hash;              // of the value's body
  Bytes content;
  NodeId writer;
  RegisterConfig config;
  WallTime written = 0;
};

// How a keeper's messages travel; the simulator's and the real one are the same code over peer::Peers.
class Register {
 public:
  // `founding`: wire.RegisterFounding bytes; RegisterId is their SHA-256.
  Register(env::World world, peer::Peers& peers, Bytes founding);
  ~Register();
  RegisterId id() const;

  // What is chosen now (a full round: linearizable). sequence 0 when nothing was ever written: known only when a majority
  // of the nodes that could be its keepers say so. Errors: too_few_peers.
  env::Task<Result<RegisterState>> read();

  // Writes `content` when what is chosen still has this sequence and hash. Errors: conflict (somebody was first;
  // read again), too_few_peers (nothing was sent that could be chosen), unknown_outcome (it may be chosen: read again and
  // look for the own value).
  env::Task<Result<RegisterState>> write(const RegisterState& expected, Bytes content);

  // Moves the register to the keepers that suit the pool now (1, 3 or 5 by live nodes), when they are fewer than they
  // should be or gone.
  env::Task<Status> adapt_keepers();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The acceptor's side: registers its handlers with `peers` (before start()); state in a MetaStore at `path`, each promise
// durable before it is answered.
class Keeper {
 public:
  static Result<std::unique_ptr<Keeper>> open(env::World world, peer::Peers& peers, std::string path);
  virtual ~Keeper() = default;
  virtual env::Task<void> close() = 0;
};

}  // namespace cairn::volume
