#pragma once
// Session: one FUSE connection: its requests become calls of the drive, their answers the replies.
//
// Requests are read, answered and interrupted on the drive's strand: no thread is woken on the way of a request that
// needs no waiting. The session ends with ENODEV, when the kernel has unmounted it.

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "cairn/mount.h"
#include "fuse/library.h"
#include "fuse/notifier.h"

namespace cairn::fuse {

// The largest read and write: what the kernel takes by default at most (256 pages).
inline constexpr size_t kMaxTransfer = 1 * kMiB;
// A request's header and fixed part, in front of a write's bytes; libfuse and the kernel allow for a page.
inline constexpr size_t kRequestHeader = 4096;
// In front of the bytes of a write: fuse_in_header and fuse_write_in of linux/fuse.h.
inline constexpr size_t kWriteHeader = 80;
// A write of less is copied out of the receive buffer, so that it does not keep a whole one.
inline constexpr size_t kKeepBuffer = 64 * kKiB;
// Requests read in one turn, so that the network has its turns too.
inline constexpr int kRequestsPerTurn = 16;
// How long the kernel may keep names and attributes: others' changes are told to it (Notifier).
inline constexpr double kKernelCacheSeconds = 24 * 3600;
// Reads ahead and writes of pages under way before the kernel holds back (its default is 12, which starves 1 MiB reads
// ahead of several files).
inline constexpr unsigned kMaxBackground = 64;
// Read-ahead of the kernel, where this process may set it: two transfers under way while one is being read.
inline constexpr size_t kReadAhead = 4 * kMiB;
// A call that a signal interrupted gets this long to end by itself; then it is looked at again each so often.
inline constexpr int kInterruptSeconds = 1;

class Session {
 public:
  Session(Drive& drive, MountOptions options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status start();
  bool wait_for(Duration duration);
  void detach();

  // --- for the operations; strand only ---
  Drive& drive() { return drive_; }
  const MountOptions& options() const { return options_; }
  static Session& of(fuse_req_t request) { return *static_cast<Session*>(fuse_req_userdata(request)); }
  // A call that was begun for the request: a signal ends it.
  void began(fuse_req_t request, Drive::Ticket ticket);
  // The same for a request that libfuse knows nothing of: it is ended with the session, if it has not been by then.
  void began_beyond(Drive::Ticket ticket) {
    if (ticket != 0) beyond_.push_back(ticket);
  }
  // The request is answered.
  void ended(fuse_req_t request) {
    if (!waiting_.empty()) waiting_.erase(request);
  }
  // Files and directories of it that are open: of the answers to open and release.
  void opened() { ++open_; }
  void released() { --open_; }
  // A write's bytes, which lie in the request that is being processed.
  Buffer keep(const char* bytes, size_t size);
  // Whether the request comes from who made the mount, or root.
  bool from_owner(fuse_req_t request) const;

  // --- for what libfuse does not know (beyond_libfuse.h) ---
  int device() const { return fuse_session_fd(session_); }
  // The kernel's first request, and the features that it offers.
  void first_request(uint64_t unique, uint32_t offered) {
    first_ = unique;
    offered_ = offered;
  }
  bool is_first_reply(uint64_t unique) const { return first_ == unique; }
  uint32_t offered() const { return offered_; }
  // The bytes of the request that is being processed.
  ByteView request() const { return request_; }

  void answer_attributes(fuse_req_t request, const DriveNode& node) const;
  void answer_entry(fuse_req_t request, const DriveNode& node) const;
  static fuse_entry_param entry_of(const DriveNode& node);

 private:
  struct Waiting {
    Drive::Ticket ticket = 0;
    pid_t pid = 0;
    bool interrupted = false;
  };

  static void on_init(void* self, fuse_conn_info* connection);
  static void on_interrupt(fuse_req_t request, void* self);
  // Nobody has a file open, and the directory where it was mounted shows something else: it has been unmounted, though
  // a mount namespace that somebody made meanwhile still has a copy.
  bool left_alone();
  bool on_readable();
  bool on_timer();
  void arm_timer();
  void set_read_ahead() const;
  void finish();
  std::string mount_arguments() const;

  Drive& drive_;
  MountOptions options_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  dev_t mounted_device_ = 0;
  std::atomic<int64_t> open_ = 0;
  int timer_ = -1;
  uid_t owner_;
  Buffer receive_;
  bool receive_kept_ = false;
  ByteView request_;
  uint64_t first_ = 0;
  uint32_t offered_ = 0;
  std::map<fuse_req_t, Waiting> waiting_;
  std::vector<Drive::Ticket> beyond_;  // those that had to wait, also when they have ended
  std::unique_ptr<Notifier> notifier_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool serving_ = false, ended_ = false;  // under mutex_
};

// libfuse's table, filled by the two files of operations.
void add_tree_operations(fuse_lowlevel_ops& table);
void add_file_operations(fuse_lowlevel_ops& table);

}  // namespace cairn::fuse
