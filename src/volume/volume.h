#pragma once
// Volume: one encrypted file tree, open on this device.
//
//   auto volume = co_await Volume::open(world, *packs, *head, keys, device_key, options);
//   auto view = (*volume)->view();                       // what the head says
//   auto transaction = (*volume)->begin();               // edits; see transaction.h
//
// On the strand. The volume outlives its views, transactions and their tasks; what it is given outlives it.

#include <functional>

#include "content/keys.h"
#include "crypto/signature.h"
#include "env/world.h"
#include "volume/limits.h"
#include "volume/pack_io.h"
#include "volume/transaction.h"
#include "volume/tree.h"

namespace cairn::volume {

struct SnapshotInfo;
struct VolumeOptions {
  bool read_only = false;
  bool deduplicates = false;           // chunk IDs by content and content-defined chunks; else random and fixed
  uint32_t extent_size = kExtentSize;  // of fixed extents
  int compression_level = 1;
  TransferDepth depth = kSparing;
  size_t node_cache_bytes = 32 * kMiB;
  // File with the highest head seen here, made when it is not there; empty: no such check.
  std::string high_water_path;
  // The last head that is known here: taken when the keepers cannot be reached, so that a volume opens offline.
  std::optional<RegisterState> last_head;
  std::optional<RootOwner> root_owner;
  // How long a read of the pool is tried again while the pool is away; zero: it fails at once.
  Duration read_patience{};
  // This device may only add: what others' heads have lost is not its business.
  bool append_only = false;
  // Snapshots that a device which may only add may take away itself (those of its runs that have not ended).
  std::function<bool(const SnapshotInfo&)> may_vanish;
  // A snapshot that such a device had taken out is there again.
  std::function<void(const std::string& name, const NodeId& device)> on_recovered;
  // A node's name for people, for conflict names; else the first digits of its ID.
  std::function<std::string(const NodeId&)> name_of_node;
};

struct HeadInfo {
  uint64_t sequence = 0;  // 0: nothing was ever written
  Hash hash;
  NodeId writer;
  WallTime written = 0;
  uint64_t files = 0;  // names of files in the tree
  uint64_t bytes = 0;  // of their sizes
};

struct SnapshotInfo {
  std::string name;
  WallTime created = 0;
  Bytes details;  // what the maker kept beside it
  ChunkId root;   // equal for equal trees; zero for an empty one
};

// What becomes of a snapshot: it goes, or it is called `new_name` and has other details.
struct SnapshotChange {
  std::string name;
  std::optional<std::string> new_name;
  Bytes details;
};

struct VolumeCounters {
  uint64_t node_loads = 0;      // tree nodes that were not in the cache
  uint64_t node_requests = 0;   // range reads for them
  uint64_t chunk_requests = 0;  // range reads for files' bytes
  uint64_t packs_written = 0;
  uint64_t commits = 0, merges = 0;
};

class SnapshotWriter;
class VolumeHost;

class Volume {
 public:
  // Reads the head. Errors: too_few_peers; corrupt when the keepers give a head that is older than one seen before
  // (the text names both).
  static env::Task<Result<std::unique_ptr<Volume>>> open(env::World world, PackIo& packs, HeadRegister& head,
                                                         content::VolumeKeys keys, crypto::PrivateKey writer,
                                                         VolumeOptions options);
  virtual ~Volume() = default;

  // Reads the head anew; views made before stay what they were. The same errors as open().
  virtual env::Task<Status> refresh() = 0;
  virtual HeadInfo head() const = 0;
  // A head that was seen on this device is not in the volume any more: its keepers were given up (`cairn volume
  // force-head`). Opening and refresh() put its changes upon the present head as soon as its bytes are known, here or
  // from a keeper that came back.
  struct Fork {
    uint64_t sequence = 0;  // of the head that was seen
    Hash hash;
    RegisterForced at;       // where the ways parted
    bool joined = false;     // its changes are in the present head
    uint64_t conflicts = 0;  // of these, files that are there twice now
  };
  virtual std::optional<Fork> fork() const = 0;
  virtual const content::VolumeKeys& keys() const = 0;

  virtual View view() const = 0;
  // Code::denied for a volume opened read-only.
  virtual Result<std::unique_ptr<Transaction>> begin() = 0;

  // Snapshots: names of roots that are kept. The snapshot's root is the head's at the time.
  virtual env::Task<Result<std::vector<SnapshotInfo>>> snapshots() = 0;
  // `name`: UTF-8 of 1 to 255 bytes. Code::exists, Code::bad_input. `details`: at most kMaxSnapshotDetails.
  virtual env::Task<Status> make_snapshot(std::string name, Bytes details = {}) = 0;
  // It can be had back until its packs are gone. Code::not_found.
  virtual env::Task<Status> remove_snapshot(std::string name) = 0;
  // Snapshots that were removed and may be had back, with when they were and whether their packs are on their way out.
  struct Forgotten {
    SnapshotInfo info;
    WallTime forgotten = 0;
    bool pruned = false;
  };
  virtual env::Task<Result<std::vector<Forgotten>>> forgotten_snapshots() = 0;
  // Code::not_found; Code::damaged when some of its packs are gone; Code::exists.
  virtual env::Task<Status> restore_snapshot(std::string name) = 0;
  virtual env::Task<Result<View>> view_snapshot(std::string name) = 0;
  // All at once; gives how many were there. What is not there is left out.
  virtual env::Task<Result<size_t>> change_snapshots(std::vector<SnapshotChange> changes) = 0;
  // A snapshot that is written file by file and never in the head: see snapshot_writer.h. Upon the files of another
  // snapshot, or upon none. Code::not_found; Code::denied for a volume opened read-only.
  virtual env::Task<Result<std::unique_ptr<SnapshotWriter>>> begin_snapshot(std::optional<std::string> base) = 0;
  // The items that differ between the files of two snapshots, in the order of their keys (volume/keys.h), in batches.
  virtual env::Task<Status> diff_snapshots(std::string before, std::string after,
                                           std::function<env::Task<Status>(std::vector<Difference>)> visit) = 0;

  // All packs that the head needs, by what is known of their holders: those of files, and of the tree.
  virtual env::Task<Result<std::vector<pool::PackRef>>> packs_in_use() = 0;

  // Now, by the clocks of the keepers that were asked last: what is kept for a time is measured by it, so that a wrong
  // clock of this machine removes nothing.
  virtual WallTime witnessed_now() const = 0;
  // A head that a device which may only add has replaced could not be looked through: nothing may be removed for good.
  virtual bool unsettled() const = 0;

  virtual VolumeCounters counters() const = 0;
  // For a drive upon this volume.
  virtual VolumeHost& host() = 0;
};

}  // namespace cairn::volume
