#pragma once
// Lending: what this host lends, by its configuration and by how its owner needs it: stores that come, change and go,
// hours and rates, battery and metered links, and disks that fill.
//
// Strand only. Everything it is given outlives it. Order: start(), then any; stop() before the holder is closed.

#include "cairn/daemon.h"
#include "client/home.h"
#include "os/workers.h"
#include "peer/peers.h"
#include "pool/drain.h"
#include "pool/holder.h"
#include "proto/membership.pb.h"
#include "store/headroom.h"

namespace cairn::node {

class Lending {
 public:
  Lending(env::World world, client::Home home, peer::Peers& peers, pool::Holder& holder, pool::Trash& trash,
          pool::ShardMover& mover);

  // Opens the stores and follows the host from then on.
  env::Task<void> start(client::Config config);
  env::Task<void> stop();
  // What counts from now on; the next look makes it so.
  void configure(client::Config config);
  // The configuration as it is now cannot be understood; empty: it can.
  void config_refused(std::string why) { config_error_ = std::move(why); }
  // A round of following: stores are opened and given back, rates and rests set. Every few seconds.
  env::Task<void> follow();

  // Of how many registers this node is a keeper: it leaves when others keep them, or their owners do not come.
  void keeps(std::function<env::Task<Result<size_t>>()> registers) { registers_ = std::move(registers); }
  // Moves shards that are wanted elsewhere, too.
  pool::Drain& drain() { return drain_; }

  bool resting() const { return !resting_.empty(); }
  // Every store of the configuration; then what is claimed and lies in none is lost.
  bool all_open() const;
  void tell(peer::NodeInfo& info) const;
  void describe(wire::AdminStatusResponse& response) const;

 private:
  struct Lent {  // a store of the configuration
    StoreSpec spec;
    bool removing = false;
    std::string trouble = "not open yet";  // why it is not open; empty: it is
    StoreId id;                            // when it is
    bool away = false;                     // open, but its disk is not there now
    store::Headroom headroom;
    store::Headroom::Demand demand;
    bool shedding = false;
    Time shed_again{};       // not before: there was nothing more to drop
    bool was_empty = false;  // at the last round already: nothing is on its way into it any more
    std::string shed_note;   // what was dropped last
  };
  using LentList = std::list<Lent>;  // tasks keep hold of one while others come and go

  store::ShardStore* open_store(const Lent& lent) const;
  env::Task<void> open(Lent& lent);
  env::Task<void> refit(Lent& lent);
  env::Task<void> look_for_disk(Lent& lent);
  env::Task<void> reopen(Lent& lent);
  // Closed, its files removed, out of the configuration.
  env::Task<Status> give_back(Lent& lent);
  env::Task<void> look_at_host();
  void set_goals();
  env::Task<void> finish();
  env::Task<void> leave_if_empty();
  env::Task<void> disown();
  static env::Task<void> watch_disks(Lending* self);
  env::Task<Duration> look_at_disks();
  static env::Task<void> shed_some(Lending* self, StoreId id);
  struct Look {
    StoreId id;
    std::string path;
    env::Space space;
    store::Headroom::Own own;  // of this store
  };
  void note_own(Look& look) const;
  Lent* find(const StoreId& id);
  struct Phase {
    std::string word, text;
    double percent = 0;
    uint64_t stuck = 0;
  };
  Phase phase_of(const Lent& lent) const;
  Phase leaving_phase() const;
  bool is_empty() const;

  env::World world_;
  client::Home home_;
  peer::Peers& peers_;
  pool::Holder& holder_;
  pool::Trash& trash_;
  pool::Drain drain_;
  client::Config config_;
  std::string config_error_;
  LentList lent_;
  std::string sysfs_;
  client::Allowance allowance_;
  std::string resting_;  // why; empty: not
  bool on_battery_ = false, on_metered_ = false;
  std::optional<Time> asked_power_, asked_metered_;
  std::string leave_note_;
  std::function<env::Task<Result<size_t>>()> registers_;
  std::optional<Time> emptied_;  // while leaving: since when only registers are left
  os::WorkerPool looks_;         // of its own: others wait for disks at which the host is busy
  env::TaskGroup sheds_;         // never cut off: what was dropped must be said
  env::TaskGroup tasks_;
};

}  // namespace cairn::node
