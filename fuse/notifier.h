#pragma once
// Notifier: tells the kernel what it must forget, on a thread of its own.
//
// Such a notification may wait for a lock that a request holds which waits for us: so never on the drive's strand.

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "cairn/drive.h"

struct fuse_session;

namespace cairn::fuse {

class Notifier {
 public:
  explicit Notifier(fuse_session* session);
  // Waits for the notification that is under way: the strand must be answering requests, or the session be unmounted.
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void add(std::vector<DriveChange> changes);  // any thread

 private:
  void run();
  void tell(const DriveChange& change);
  fuse_session* session_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<DriveChange> queue_;  // under mutex_
  bool stopping_ = false;          // under mutex_
  std::thread thread_;
};

}  // namespace cairn::fuse
