#pragma once
// What is behind the public Drive: a Core, the volume's drive, and the calls that are under way.

#include "cairn/drive.h"
#include "client/calls.h"
#include "client/core.h"
#include "client/rebalance.h"
#include "client/snapshot_files.h"
#include "volume/drive/drive.h"

namespace cairn {

// Strand only, but for close(), which blocks.
class Drive::Impl {
 public:
  Impl(std::unique_ptr<client::Core> core, DriveOptions options);
  env::Task<Status> open();
  void close();
  DriveStatus status() const;
  volume::SpaceReport space() const { return drive ? drive->space() : space_; }
  DriveStatus describe(const volume::DriveStatus& now, DriveStatus status) const;

  // A call of the volume's file system: EROFS where there are only snapshots.
  template <class Begin, class Turn, class U>
  Ticket call(Begin begin, Turn turn, Reply<U> reply) {
    using T = std::invoke_result_t<Begin&>;
    return free_call(
        [this, begin = std::move(begin)]() mutable -> T { return files != nullptr ? begin() : refuse<T>(); },
        std::move(turn), std::move(reply));
  }
  // A call of the volume's file system, or the snapshots': `begin(files)`. It fails with EIO when the pool does not
  // give in time what it needs.
  template <class Begin, class Turn, class U>
  Ticket read_call(Begin begin, Turn turn, Reply<U> reply) {
    return free_call(
        [this, begin = std::move(begin)]() mutable { return snapshots ? begin(*snapshots) : begin(*files); },
        std::move(turn), std::move(reply), options.timeout);
  }
  // Starts `begin()` on the strand; its result, turned by `turn`, answers the call.
  template <class Begin, class Turn, class U>
  Ticket free_call(Begin begin, Turn turn, Reply<U> reply, std::optional<Duration> patience = std::nullopt) {
    using T = TaskResult<std::invoke_result_t<Begin&>>;
    const Ticket ticket = next_ticket.fetch_add(1, std::memory_order_relaxed);
    auto done = [turn = std::move(turn), reply = std::move(reply)](T result) mutable {
      if (!result) return reply(std::unexpected(result.error().number));
      if constexpr (std::is_void_v<U>) {
        (void)turn;
        reply({});
      } else {
        reply(turn(std::move(*result)));
      }
    };
    if (core->on_strand()) {
      if (closing) {
        done(volume::fs_fail(EINTR));
        return 0;
      }
      return calls.begin<T>(ticket, begin(), std::move(done), &failed<T>, patience) ? 0 : ticket;
    }
    world.executor.post([this, ticket, patience, begin = std::move(begin), done = std::move(done)]() mutable {
      if (closing) return done(volume::fs_fail(EINTR));
      calls.begin<T>(ticket, begin(), std::move(done), &failed<T>, patience);
    });
    return ticket;
  }

  std::unique_ptr<client::Core> core;
  DriveOptions options;
  env::World world;
  std::string folder;  // of the journal
  client::OpenVolume* volume_ = nullptr;
  std::unique_ptr<volume::Drive> drive;
  volume::FileSystem* files = nullptr;  // the drive's; null: `snapshots`
  std::unique_ptr<client::SnapshotFiles> snapshots;
  std::function<void(std::vector<DriveChange>)> folders_changed;  // of snapshots
  client::Calls calls;
  std::vector<std::unique_ptr<os::Readable>> watches;
  std::atomic<Ticket> next_ticket = 1;
  std::atomic<bool> closing = false;
  std::unique_ptr<env::TaskGroup> background;

 private:
  volume::SpaceReport space_;  // where there is no drive
  client::SettledDomains domains_;
  template <class>
  struct ResultOf;
  template <class T>
  struct ResultOf<env::Task<T>> {
    using type = T;
  };
  template <class T>
  using TaskResult = typename ResultOf<T>::type;

  template <class T>
  static T failed(int error) {
    return volume::fs_fail(error);
  }
  env::Task<void> end_late_calls();
  template <class T>
  static T refuse() {
    co_return volume::fs_fail(EROFS);
  }
  env::Task<Status> open_snapshots();
  void set_space();
  env::Task<void> keep_space();
  env::Task<void> follow_snapshots();
  env::Task<void> prune_now_and_then();
};

}  // namespace cairn
