#pragma once
// A member's view of the pool: its nodes, its health, and the files in its volumes.
//
// Client is for one thread at a time, but for interrupt(). Paths within a volume are raw bytes, '/' between names.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cairn/result.h"
#include "cairn/text.h"
#include "cairn/units.h"

namespace cairn {

struct ClientOptions {
  std::string home;
  std::string log_level = "error";
  std::string backups = "backups";  // the volume that snapshots are in
};

// "TREE:/PATH"
struct TreePath {
  std::string tree;  // a volume's name, a snapshot's ID or "latest"
  std::string path;  // begins with '/', without a '/' at the end but for the root
  static Result<TreePath> parse(std::string_view text);
  std::string text() const { return tree + ":" + path; }
};

// --- health ---

struct NodeReport {
  std::string id, name, state, member, domain;
  std::vector<std::string> addresses;
  uint64_t used = 0, limit = 0, free = 0;  // bytes
  bool lends = false, self = false;
  bool gone = false;                              // it has left or was removed: known, and no part of the pool any more
  double last_heard_seconds = -1;                 // below 0: never
  std::string audit;                              // "ok", or what was found: "wrong bytes: 2 shards"
  uint64_t audits_passed = 0, audits_failed = 0;  // by this home's daemon
  double online = -1;                             // the part of the time for which it was there; below 0: not known
  std::string path;                               // how it is reached: "direct", "none"
};
struct MemberReport {
  std::string id, name;
  bool admin = false, removed = false, self = false;
  uint64_t nodes = 0;  // that are known
};
struct StoreReport {
  std::string id, path, state;
  uint64_t limit = 0, used = 0, free = 0, shards = 0, corrupt = 0;  // bytes; counts
  bool running = false;  // told by a running daemon, not read from the configuration
  // `state` in one word: ok, opening, offline, draining, yielding, paused, resting; "stopped" without a daemon.
  std::string phase;
  double percent = 0;  // of draining and yielding
  uint64_t stuck = 0;  // shards that found no other place
  uint64_t keep_free = 0;
  double keep_free_share = 0;
  bool removing = false;  // to be given back when it is empty
  // Of the shards: what their owners removed, until its time is over. It can be had back, and goes first when the host
  // needs its disk.
  struct Trash {
    uint64_t shards = 0, bytes = 0;
    WallTime next = 0, last = 0;  // when the first of it goes and when all has, if the daemon runs on; 0: none
  } trash;
};
// What this host lends now, and why not more.
struct LendingReport {
  std::string state;          // lending, paused, resting, leaving, left
  std::string why;            // of resting; of leaving what holds it up
  double percent = 0;         // of leaving
  uint64_t up = 0, down = 0;  // bytes a second; 0: no limit
  bool running = false;       // told by a running daemon
  std::string config_error;   // the configuration as it is now is not followed
};
struct HostingReport {
  LendingReport lending;
  std::vector<StoreReport> stores;
};
struct VolumeReport {
  std::string name, id;
  uint64_t files = 0, bytes = 0;     // entries; bytes of files
  uint64_t sequence = 0;             // of the head
  std::vector<std::string> keepers;  // NodeIDs
  uint64_t keepers_alive = 0;
  uint64_t packs = 0, stored_bytes = 0;  // bytes of shards at goal
  WallTime written = 0;
  bool deduplicates = false;
};
struct PackHealth {
  uint64_t at_goal = 0, below_goal = 0, lost = 0;
  std::vector<std::string> below;  // pack IDs, at most 16
};
struct BadHolderReport {
  std::string node, pack, what;
  uint32_t slot = 0;
  WallTime found = 0;
};
// How probable it is that a pack at its goal is lost within a year, by cairn/durability.h. The lifetime is an
// assumption, not a measurement.
struct LossReport {
  double node_lifetime_years = 0;
  bool repaired = false;   // there are further nodes on which holders rebuild what was lost; else nobody does
  double repair_days = 0;  // until then, at the most
  double per_pack = 0;
};
struct PoolReport {
  std::string id, name, member, node;
  bool daemon_running = false;
  std::vector<NodeReport> nodes;
  std::vector<StoreReport> stores;
  LendingReport lending;
  std::vector<VolumeReport> volumes;
  PackHealth packs;
  std::vector<BadHolderReport> bad_holders;
  uint32_t k = 0, m = 0;           // of a pack written now
  std::optional<LossReport> loss;  // only where the pool is as the figure assumes: all packs at their goal
  std::vector<std::string> warnings;
};
struct PingReport {
  std::string id, name, address;
  double milliseconds = 0;
};
struct Finding {  // of doctor
  bool ok = false;
  std::string what, fix;
};

// --- files ---

enum class FileType { file, directory, symlink, fifo, socket, character_device, block_device };
struct FileStatus {
  std::string path;  // within the tree
  FileType type{};
  uint32_t mode = 0, uid = 0, gid = 0, links = 0;
  uint64_t size = 0, inode = 0, device = 0;
  WallTime mtime = 0, ctime = 0, btime = 0;
  std::string target;  // of a symbolic link, raw
  std::string owner, group;
};

// How far long work has come; handed to the callback a few times a second, on a thread of the client.
struct Progress {
  uint64_t files_done = 0, files_total = 0;  // total 0: not known yet
  uint64_t bytes_done = 0, bytes_total = 0;
  uint64_t bytes_safe = 0;  // put: committed to the pool
  double seconds = 0;
  std::string current;
};
using OnProgress = std::function<void(const Progress&)>;
using OnFileError = std::function<void(const std::string& path, const Error& error)>;

struct TransferOptions {
  OnProgress on_progress;
  OnFileError on_error;          // a file that could not be read or restored; the rest goes on
  uint64_t offset = 0;           // get_stream: only the bytes from here on,
  uint64_t length = UINT64_MAX;  // and so many at most
  bool wait_placed = false;      // put: return once every pack is at its goal (or cannot be)
};
// Ranges asked of holders, for one purpose.
struct ReadFigures {
  uint64_t requests = 0;
  uint64_t bytes = 0;    // of the answers on the wire
  uint64_t holders = 0;  // different ones
};
struct TransferReport {
  uint64_t files = 0, directories = 0, others = 0;  // transferred
  uint64_t unchanged = 0;                           // skipped: the same size and times are there already
  uint64_t resumed_bytes = 0;                       // that an earlier, interrupted run had moved
  uint64_t bytes = 0;                               // of content
  uint64_t failed = 0;
  uint64_t packs = 0, requests = 0;             // packs written; requests on the wire
  uint64_t bytes_sent = 0, bytes_received = 0;  // on the wire
  uint64_t decoded_reads = 0, raced_reads = 0;  // ranges decoded from other holders; slow holders that were raced
  ReadFigures data_reads, tree_reads;           // get: of the files' content; of the tree that says where it is
  uint64_t packs_below_goal = 0;
  double seconds = 0;
};

namespace client {
class Core;
}

class Client {
 public:
  // Code::not_found when the home holds no pool. Reaches for the pool in the background.
  static Result<std::unique_ptr<Client>> open(const ClientOptions& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Async-signal-safe: what runs ends with Code::interrupted.
  void interrupt();

  Result<PoolReport> report();
  Result<std::vector<NodeReport>> nodes();
  Result<HostingReport> hosting();
  // What should be said beside the results so far, such as that a volume has a fork; each once.
  std::vector<std::string> take_warnings();
  // For a node that leaves: registers of its own member move to other keepers; how many.
  Result<uint64_t> hand_over_registers();
  Result<PingReport> ping(const std::string& node);  // ID, its first digits, or name
  std::vector<Finding> doctor();

  // By name, ID or its first digits; for admins, whose daemon must run. All sessions of whom it concerns end at once,
  // everywhere. A removed member stays removed; so does a revoked device.
  Result<std::vector<MemberReport>> members();
  Result<MemberReport> find_member(const std::string& member);
  Result<MemberReport> remove_member(const std::string& member);
  Result<NodeReport> find_device(const std::string& node);
  Result<NodeReport> revoke_device(const std::string& node);
  // The code with which a further device of this member joins (join_device()) that may add snapshots to the volume
  // "backups-NAME" and never remove. The code is a secret.
  Result<std::string> add_append_only_device(const std::string& name);

  Result<VolumeReport> create_volume(const std::string& name, bool deduplicates);
  Result<std::vector<VolumeReport>> volumes();
  Result<VolumeReport> volume(const std::string& name);

  // cp-like: into an existing folder or one that ends in '/', else under the given name. Files that are there with the
  // same size and mtime are skipped. What is interrupted goes on where it stopped when called again.
  Result<TransferReport> put(const std::vector<std::string>& sources, const std::string& destination,
                             const TransferOptions& options);
  Result<TransferReport> get(const std::string& source, const std::string& destination, const TransferOptions& options);
  // From `read` until it returns 0 bytes; in one file.
  using ReadBytes = std::function<Result<size_t>(void* into, size_t size)>;
  using WriteBytes = std::function<Status(const void* from, size_t size)>;
  Result<TransferReport> put_stream(const ReadBytes& read, const std::string& destination,
                                    const TransferOptions& options);
  Result<TransferReport> get_stream(const std::string& source, const WriteBytes& write, const TransferOptions& options);

  // Entries of a folder, or the one file, handed over in order of name (recursive: depth first). Returning false ends
  // it.
  Status list(const std::string& path, bool recursive, const std::function<bool(const FileStatus&)>& visit);
  Result<FileStatus> stat(const std::string& path);
  Status mkdir(const std::string& path, bool parents);
  Status move(const std::string& from, const std::string& to);
  Status remove(const std::string& path, bool recursive);

  // For the other classes of this library.
  client::Core& core();

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn
