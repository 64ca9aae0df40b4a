#pragma once
// PoolSim: the simulated pool of pool_sim.h; pool_sim.cpp has the machines and faults, pool_sim_work.cpp the clients
// and the model, pool_sim_healing.cpp what is required of holders that are left to themselves.

#include "sim/identity.h"
#include "sim/pool_machines.h"
#include "sim/pool_sim.h"
#include "sim/secrets.h"

namespace cairn::sim {

namespace pool_simulation {

using env::Task;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr size_t kMarkerSize = 16;
// A seed of 300 nodes costs twice as much when they are watched for the half hours that healing takes: larger pools are
// only when it is asked for.
inline constexpr size_t kLargePool = 100;

struct Content {
  uint64_t seed = 0;
  size_t size = 0;
};

// What was ever put at a path, in the order in which its one writer did so; nullopt: it is not there. Commits whose
// fate is not known are among them: each is at its place in that order, or never was.
struct Path {
  std::vector<std::optional<Content>> versions{std::nullopt};
  size_t floor = 0;  // seen or acknowledged: who begins to read now must not see one before it
  size_t add(std::optional<Content> content) {
    versions.push_back(content);
    return versions.size() - 1;
  }
  void seen(size_t version) { floor = std::max(floor, version); }
};

// Objects of a crashed machine: the power went while they stood somewhere in the midst, so they are never run nor
// destroyed. Kept reachable for LeakSanitizer.
template <class Machine>
void bury(std::unique_ptr<Machine> machine) {
  static auto* graveyard = new std::vector<Machine*>;
  graveyard->push_back(machine.release());
}

class PoolSim {
 public:
  PoolSim(uint64_t seed, PoolSimOptions options)
      : options_(std::move(options)), sim_(seed), prng_(seed ^ 0x706f6f6cULL), member_(member_of(seed)) {
    result_.seed = seed;
    if (options_.reader) sim_.trace().set_reader(options_.reader);
  }

  PoolSimResult run() {
    try {
      begin();
      env::TaskGroup faults(sim_.executor());
      faults.spawn(make_faults(*this));
      sim_.run(faults.join(), std::chrono::hours(2));
      end();
    } catch (const Stuck& stuck) {
      result_.failures.emplace_back(stuck.what());
    }
    result_.trace = sim_.trace().hash();
    result_.events = sim_.scheduler().executed();
    result_.network_bytes = sim_.network().total().bytes;
    // What is left of a run that broke off stays as it is.
    for (auto& holder : holders_) bury(std::move(holder));
    for (auto& client : clients_) bury(std::move(client));
    return std::move(result_);
  }

 private:
  static peer::MemberKeys member_of(uint64_t seed) {
    crypto::AccountSecret secret{};
    env::Prng(seed ^ 0x6d656d62ULL).fill(secret);
    return peer::MemberKeys::derive(secret);
  }
  void failure(std::string text) {
    sim_.trace().event(sim_.now(), "check", text);
    if (result_.failures.size() < 20) result_.failures.push_back(std::move(text));
  }

  void begin();
  void end();
  void start_holder(size_t i, bool create);
  void start_client(size_t i);
  void crash_holder(size_t i, CrashKind kind);
  void crash_client(size_t i);
  void repair_all();
  Status open_reader();

  // pool_sim_healing.cpp
  void heal();
  void lose_some();
  void give_space_back();
  void be_away_for_long();
  struct Whole {                              // of the head's packs
    size_t missing = 0, twice = 0, dead = 0;  // slots; shards of packs that have a tombstone
    std::string example;
    PackId example_pack;
  };
  Task<Whole> look_at_packs();
  Task<std::string> known_of(PackId pack);
  void note_packs();
  void require_whole(const std::string& when, bool without_dead = false);
  Task<uint64_t> repair_cost(size_t holder);
  Task<void> note_given(size_t holder);
  uint64_t cost_of_given() const;
  uint64_t bytes_moved() const;
  uint64_t rot_found() const;
  std::map<PackId, uint32_t> most_in_a_domain();
  Task<void> check_drop(ShardId shard, NodeId keeper);
  size_t machine_of(const NodeId& node) const;
  bool counts(size_t holder) const {
    return holders_[holder] && holders_[holder]->ready() && !holders_[holder]->lies();
  }
  size_t down() const;
  Duration some_days(int64_t most);
  static Task<void> make_faults(PoolSim& self);
  void one_fault();

  // Clients.
  static Task<void> act(PoolSim& self, size_t index, ClientMachine& me);
  Task<void> put(size_t index, ClientMachine& me);
  Task<void> remove(size_t index, ClientMachine& me);
  Task<Status> collect(ClientMachine& me, Duration orphan_grace);
  Task<Status> commit(ClientMachine& me, volume::Transaction& transaction, Status done,
                      std::map<std::string, size_t> versions);
  size_t machine_of_client(ClientMachine& me) const { return me.node().index() - options_.nodes; }
  void saw_head(size_t machine, uint64_t sequence, const Hash& hash, uint64_t at_least);
  void not_corrupt(const char* what, const Error& error);
  Task<Status> put_file(volume::Transaction& transaction, std::string path, Content content);
  Task<void> get(ClientMachine& me);
  // The path must have a content that it was given, none before `floor`. Errors of the read itself are handed on.
  Task<Status> check(volume::View view, std::string path, size_t floor);
  Bytes bytes_of(Content content) const;

  PoolSimOptions options_;
  SimWorld sim_;
  env::Prng prng_;
  peer::MemberKeys member_;
  PoolSetup setup_;
  Secrets secrets_;
  Bytes marker_;
  std::vector<peer::Identity> identities_;
  std::vector<std::unique_ptr<HolderMachine>> holders_;
  std::vector<std::unique_ptr<ClientMachine>> clients_;  // node i + options.nodes
  Bytes founding_;
  content::VolumeKey key_{};
  std::map<std::string, Path> paths_;
  PackLog log_;
  std::map<uint64_t, Hash> heads_;  // all that anybody saw
  uint64_t highest_ = 0;
  std::map<size_t, std::pair<uint64_t, Hash>> seen_;  // by machine: its last head
  std::optional<size_t> equivocator_;
  std::set<size_t> liars_;
  std::map<std::pair<size_t, ShardId>, uint64_t>
      given_;                    // shards that liars had since machines were lost: to rebuild one
  std::vector<size_t> keepers_;  // of the volume's head, as it was founded
  size_t keepers_lost_ = 0;
  std::vector<uint64_t> next_name_;
  uint64_t rot_limit_ = 0;
  uint32_t m_ = 0;
  std::set<size_t> destroyed_;        // they do not come back
  std::vector<pool::PackRef> packs_;  // that must be kept: of the acknowledged head, then the others
  size_t packs_in_head_ = 0;
  uint64_t last_commits_ = 0;  // of the last collection
  bool left_alone_ = false;    // no fault is under way but those that heal() makes
  bool over_ = false;
  PoolSimResult result_;
  env::TaskGroup checks_{sim_.executor()};
};

}  // namespace pool_simulation

}  // namespace cairn::sim
