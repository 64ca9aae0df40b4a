#include "fuse/notifier.h"

#include "fuse/library.h"

namespace cairn::fuse {

Notifier::Notifier(fuse_session* session) : session_(session), thread_([this] { run(); }) {}

Notifier::~Notifier() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  more_.notify_all();
  thread_.join();
}

void Notifier::add(std::vector<DriveChange> changes) {
  {
    const std::lock_guard guard(mutex_);
    queue_.insert(queue_.end(), std::make_move_iterator(changes.begin()), std::make_move_iterator(changes.end()));
  }
  more_.notify_all();
}

void Notifier::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    more_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const DriveChange change = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    tell(change);
    lock.lock();
  }
}

// Errors are ignored: what the kernel does not know it need not forget, and a mount that has gone forgets everything.
void Notifier::tell(const DriveChange& change) {
  switch (change.kind) {
    case DriveChange::Kind::content:
      fuse_lowlevel_notify_inval_inode(session_, change.inode, 0, 0);
      return;
    case DriveChange::Kind::attributes:
      fuse_lowlevel_notify_inval_inode(session_, change.inode, -1, 0);
      return;
    case DriveChange::Kind::entry:
      fuse_lowlevel_notify_inval_entry(session_, change.inode, change.name.data(), change.name.size());
      // The listing that the kernel keeps of the directory, and its times.
      fuse_lowlevel_notify_inval_inode(session_, change.inode, 0, 0);
      return;
  }
}

}  // namespace cairn::fuse
