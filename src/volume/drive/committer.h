#pragma once
// Committer: the task that brings a drive's pending edits into the volume's head, and others' commits to the drive.
//
// One thing at a time: a commit, or following a head that somebody else has moved. What of a commit is on which disk
// when, and how its fate is found out after a crash: JOURNAL.md. Strand only.

#include "volume/drive/compactor.h"
#include "volume/drive/file_system.h"
#include "volume/drive/journal.h"
#include "volume/drive/segments.h"
#include "volume/drive/uploader.h"

namespace cairn::volume {

// What it needs of the file system above the same pending edits.
struct FileHooks {
  std::function<env::Task<Status>(std::function<env::Task<Status>()> work)> exclusively;
  std::function<bool(InodeId)> is_open;
  std::function<void(InodeId, EditMap)> keep_open;
  std::function<void(InodeId)> content_changed;
  std::function<env::Task<void>()> compact;  // before a commit that is not pressed for
};

struct CommitterOptions {
  bool read_only = false;
  Duration commit_after = std::chrono::seconds(5);
  uint64_t commit_bytes = 64 * kMiB;
  Duration poll_head = std::chrono::seconds(1);
  Duration timeout = std::chrono::seconds(30);  // of following a head while operations wait
};

struct CommitterCounters {
  uint64_t commits = 0, conflicts = 0;
};

// Up to which generation of a journal's edits are in a head's tree.
env::Task<Result<uint64_t>> generation_in(VolumeHost& host, JournalId journal, HeadPtr head);
// What later edits stand upon when the candidate turned out to be in `head`: that itself when nothing else is in it.
HeadPtr base_after(const HeadPtr& candidate, const HeadPtr& head);

class Committer {
 public:
  // All outlive it.
  Committer(VolumeHost& host, Pending& pending, Journal& journal, SegmentStaging& staging, Uploader& uploader,
            FileHooks files, CommitterOptions options);

  // The pending edits that are sealed may be in this head: from a journal. Before start().
  void restore(Pending::Batch sealed, HeadPtr candidate);
  void start();
  // Nothing more is uploaded or committed; then only to be destroyed.
  void stop();
  void on_change(std::function<void(std::vector<Change>)> changed) { on_change_ = std::move(changed); }

  // Edits have come to the active layer.
  void noted();
  // A commit of what there is, as soon as can be.
  void ask();
  // The same, and what nothing shows any more goes at once.
  void ask_for_space();
  // Returns once what was accepted before the call is in the pool. `progress` is called now and then.
  env::Task<Status> sync(std::function<void()> progress);
  // Reads the head and follows it.
  env::Task<Status> refresh();

  // Some bytes or edits may have been given free, or there is news of the pool: to test a condition again.
  env::Signal& changed() { return changed_; }
  // A commit, or what it leaves, may still give space free.
  bool frees_space() const;
  bool pool_reachable() const { return poll_worked_ && failures_ == 0; }
  const std::string& last_error() const { return last_error_; }
  const CommitterCounters& counters() const { return counters_; }

 private:
  env::Task<void> run();
  env::Task<void> poll();
  env::Task<void> wait(std::optional<Time> until);
  bool moved() const;
  bool commit_due(Time now) const;
  std::optional<Time> next_time() const;
  env::Task<Status> step();
  env::Task<Status> commit();
  env::Task<Status> find_out();
  env::Task<void> finish(HeadPtr base);
  void unseal();
  env::Task<Status> sweep();
  void worked();
  void failed(const Error& error);

  // Following (committer_follow.cpp).
  struct Following;
  env::Task<Status> follow();
  env::Task<Status> rebase(Following& following);
  env::Task<Result<bool>> merge(Following& following);

  VolumeHost& host_;
  env::World world_;
  Pending& pending_;
  Journal& journal_;
  SegmentStaging& staging_;
  Uploader& uploader_;
  FileHooks files_;
  CommitterOptions options_;
  std::function<void(std::vector<Change>)> on_change_;
  env::Prng prng_;

  std::optional<Pending::Batch> batch_;     // sealed
  std::vector<pool::PackRef> batch_packs_;  // that it names
  HeadPtr candidate_;                       // of the sealed batch: it may be chosen
  uint64_t asked_ = 0, committed_ = 0;      // generations
  std::optional<Time> active_since_;
  uint64_t appended_at_seal_ = 0;
  Time retry_at_{};
  uint32_t failures_ = 0;
  bool poll_worked_ = true, stopped_ = false, sweep_asked_ = false;
  std::string last_error_;
  CommitterCounters counters_;
  env::Signal wake_, changed_;
  env::Semaphore turn_;   // steps
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace cairn::volume
