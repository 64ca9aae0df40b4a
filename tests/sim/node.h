#pragma once
// SimNode: one simulated machine with its own strand, clock, disk, network, random numbers and workers.

#include <deque>

#include "env/world.h"
#include "sim/disk.h"
#include "sim/network.h"

namespace cairn::sim {

enum class CrashKind {
  power,    // unsynced writes are lost or torn; peers hear nothing until the node is back
  process,  // kill -9: the disk keeps what was written; peers see their streams reset
};

struct NodeCounters {
  uint64_t jobs = 0;  // run by Workers
};

// Made by SimWorld::add_node. The World stays valid for the node's whole life, over crashes.
class SimNode {
 public:
  SimNode(SimWorld& world, NodeIndex index, uint64_t seed);
  ~SimNode();
  SimNode(const SimNode&) = delete;
  SimNode& operator=(const SimNode&) = delete;

  env::World world();
  NodeIndex index() const { return index_; }
  const std::string& name() const { return name_; }  // "n7"
  const std::string& host() const { return host_; }  // "10.0.0.8"
  bool up() const { return up_; }
  uint64_t boots() const { return boots_; }

  // Who the node is to others; before its first connect. public_key: SPKI in DER whose SHA-256 is `id`.
  void set_identity(const NodeId& id, Bytes public_key);
  const NodeId& id() const { return id_; }
  const Bytes& public_key() const { return public_key_; }

  // The production objects of the node, all in one: crash() destroys them first. One at a time.
  template <class T>
  T& own(std::shared_ptr<T> owner) {
    CAIRN_ASSERT(up_ && !owner_);
    owner_ = owner;
    return *owner;
  }
  void disown() { owner_.reset(); }  // an orderly end

  // Destroys what the node owns (whose last words no longer reach disk or network), drops its events, ends its streams.
  // Never from inside one of the node's own events. Objects that are not owned must be gone or be left alone for ever.
  void crash(CrashKind kind = CrashKind::power);
  // After crash(): the node is up again over what its disk kept.
  env::World restart();

  // Clocks. drift: how much the node's clock runs fast, in parts per million.
  void set_drift(int64_t parts_per_million);
  void jump_wall_clock(Duration by) { wall_offset_ += by.count(); }
  // Virtual time that a job costs beside its disk calls: up to so much.
  void set_job_time(Duration most) { job_time_ = most; }

  SimDisk& disk() { return disk_; }
  env::Executor& executor();
  env::Clock& clock();
  env::Workers& workers();
  env::SecureRandom& random();
  NodeNetwork& node_network() { return network_; }
  SimWorld& world_of() { return world_; }
  const NodeCounters& counters() const { return counters_; }
  uint64_t failed_logs() const { return error_lines_; }  // lines of level error

 private:
  class Strand;
  class LocalClock;
  class Threads;
  class Random;
  class TraceLog;
  friend class SimWorld;

  SimWorld& world_;
  NodeIndex index_;
  std::string name_, host_;
  env::Prng prng_;
  SimDisk disk_;
  NodeNetwork network_;
  NodeId id_;
  Bytes public_key_;
  bool up_ = true;
  uint64_t boots_ = 1;
  Time booted_{};           // the simulation's time of the last boot
  Duration clock_start_{};  // what the local clock showed then
  int64_t drift_ = 0, wall_offset_ = 0;
  Duration job_time_ = std::chrono::microseconds(200);
  uint64_t error_lines_ = 0;
  NodeCounters counters_;
  std::unique_ptr<Strand> strand_;
  std::unique_ptr<LocalClock> clock_;
  std::unique_ptr<Threads> threads_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<TraceLog> log_;
  std::shared_ptr<void> owner_;
};

}  // namespace cairn::sim
