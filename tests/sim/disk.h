#pragma once
// SimDisk: the disk of one simulated node, and the LevelDB stores on it. It survives the node's crashes.
//
// A crash by power loss keeps what was synced. Of the rest each sector of 512 bytes is kept or lost on its own, each
// name that was changed without sync_dir is changed or not, and each meta store loses a suffix of its unsynced batches.
// A crash of the process alone loses nothing that was written.

#include <map>
#include <set>

#include "env/disk.h"
#include "env/meta_store.h"
#include "env/random.h"
#include "sim/trace.h"

namespace cairn::sim {

inline constexpr uint64_t kSector = 512;
inline constexpr uint64_t kPage = 4096;

struct DiskCounters {
  uint64_t reads = 0, writes = 0, syncs = 0, names = 0;  // calls; names: create, rename, remove, sync_dir
  uint64_t bytes_read = 0, bytes_written = 0;
  uint64_t meta_writes = 0, meta_syncs = 0;
  uint64_t on_strand = 0;  // synced writes that were not made from Workers
};

struct DiskSpeed {
  Duration per_call = std::chrono::microseconds(50);
  Duration per_sync = std::chrono::milliseconds(2);  // on average; half to one and a half of it
  uint64_t bytes_per_second = 500'000'000;
};

class Inode;      // files.h
class MetaState;  // meta_store.h

class SimDisk final : public env::Disk, public env::MetaStores {
 public:
  SimDisk(uint64_t seed, Trace& trace, std::string node);
  ~SimDisk() override;

  // env::Disk
  Result<std::unique_ptr<env::File>> open(const std::string& path, env::OpenMode mode) override;
  Status make_dirs(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status sync_dir(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<env::Space> space(const std::string& path) override;
  Result<std::unique_ptr<env::DiskLock>> lock(const std::string& path) override;
  // env::MetaStores
  Result<std::unique_ptr<env::MetaStore>> open(const std::string& path, env::MetaStoreOptions options) override;

  // Faults.
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }
  uint64_t used() const { return used_; }
  // Each call fails with Code::io with this probability, and does nothing.
  void set_error_chance(double reads, double writes) {
    read_errors_ = reads;
    write_errors_ = writes;
  }
  // A disk that says "synced" and is not: for tests that must notice what that loses.
  void set_lying(bool lying) { lying_ = lying; }
  // After `operations` more that change or sync something, all fail with Code::io until the node's crash() and
  // restart(). The one that meets the limit may have had its effect. Handler: told once, inside that operation.
  void crash_after(uint64_t operations, std::function<void()> handler = {});
  bool dead() const { return dead_; }
  uint64_t operations() const { return operations_; }
  // Flips one bit where the disk keeps it: no read error, only wrong bytes. False when there is no such byte.
  bool flip_bit(const std::string& path, uint64_t offset, unsigned bit);
  // One bit somewhere in the stored bytes of a file whose path begins so; where, or nothing when there is no byte.
  struct Rot {
    std::string path;
    uint64_t offset;
  };
  std::optional<Rot> rot_somewhere(const std::string& prefix, env::Prng& prng);
  // All files and meta stores whose path begins so are no more: a disk was replaced. While the node is down.
  void wipe(const std::string& prefix);
  // The meta store there cannot be opened any more: Code::corrupt. False when there is none.
  bool damage_meta_store(const std::string& path);

  // Everything that is stored, for scans: each file's pages and each key and value.
  void each_byte_run(const std::function<void(const std::string& path, ByteView bytes)>& visit) const;
  std::vector<std::string> files() const;
  DiskCounters counters() const { return counters_; }
  void set_speed(DiskSpeed speed) { speed_ = speed; }

  // For SimNode.
  enum class Loss { unsynced, nothing };
  void crash(Loss loss);
  void restart();
  // Virtual time that the calls since the last take have cost.
  Duration take_elapsed() { return std::exchange(elapsed_, Duration{}); }
  void set_in_worker(bool in_worker) { in_worker_ = in_worker; }

 private:
  friend class Inode;
  friend class SimFile;
  friend class SimLock;
  friend class SimMetaStore;
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  struct NameChange {  // not yet durable; a rename has two names
    std::string folder, path, removed;
    std::shared_ptr<Inode> now;  // null: `path` is removed
  };

  // Before each call; `what` for the trace. A failure is to be handed on; `effect` says that it happens all the same.
  Status begin_read(std::string_view what, uint64_t bytes);
  Status begin_change(std::string_view what, const std::string& path, uint64_t bytes, bool* effect);
  void cost_sync();
  Status take_space(uint64_t bytes);
  void give_space(uint64_t bytes) { used_ -= bytes; }
  std::shared_ptr<Inode> find(const std::string& path) const;
  void change_name(NameChange change);
  static void apply(Names& names, const NameChange& change);
  bool has_children(const std::string& path) const;
  void unlink(const std::shared_ptr<Inode>& inode);
  void recount();

  env::Prng prng_;
  Trace& trace_;
  std::string node_;
  Names names_, durable_names_;
  std::vector<NameChange> changes_;
  std::map<std::string, std::shared_ptr<MetaState>> meta_;
  std::set<std::string> locks_;
  uint64_t life_ = 1;  // handles of an earlier one are dead
  uint64_t capacity_ = 64 * kGiB, used_ = 0;
  double read_errors_ = 0, write_errors_ = 0;
  uint64_t operations_ = 0;
  std::optional<uint64_t> crash_at_;
  std::function<void()> on_dead_;
  bool dead_ = false, in_worker_ = false, lying_ = false;
  DiskCounters counters_;
  DiskSpeed speed_;
  Duration elapsed_{};
};

}  // namespace cairn::sim
