#pragma once
// Journal: the edits that a drive has accepted, in a MetaStore in its folder, until they are in a head. See JOURNAL.md.
//
// Strand only. record() writes at once; while something is being written on a worker it queues behind that, so that the
// store has everything in the order of the calls. A queued record whose write failed stays first in the queue and is
// tried again with the next; until then nothing more is accepted.

#include <deque>

#include "volume/drive/pending.h"
#include "volume/drive/staging.h"

namespace cairn::volume {

using JournalId = std::array<uint8_t, 16>;

// What an earlier process left.
struct JournalContent {
  HeadPtr base;  // that the edits were made upon; none in a new journal
  // Edits up to here may be in `candidate`, a head that may have been chosen; 0: none.
  uint64_t sealed_generation = 0;
  HeadPtr candidate;
  EditMap sealed, active;
  Figures sealed_figures, active_figures;
  uint64_t next_generation = 1;  // above all that there are
  uint64_t last_segment = 0;     // the highest that an extent names
};

class Journal final : public JournalSink {
 public:
  // Code::overloaded when another process has it open; corrupt, unsupported.
  static env::Task<Result<std::unique_ptr<Journal>>> open(env::World world, std::string folder,
                                                          const content::VolumeKeys& keys);
  // The last head that a journal knows, for Volume::open() without the pool; nothing when there is no journal.
  static env::Task<Result<std::optional<RegisterState>>> last_head(env::World world, std::string folder);
  ~Journal() override;

  const JournalId& id() const { return id_; }
  JournalContent take_content() { return std::move(content_); }

  Status record(uint64_t generation, const EditMap& edits, Figures figures) override;
  // All that was recorded before the call, and the bytes in `staging` that it names, are durable when it returns. Calls
  // at the same time share the work.
  env::Task<Status> sync(Staging& staging);
  // Nothing was recorded since the last sync().
  bool synced() const { return recorded_ == durable_; }

  // A head that has the edits up to `generation` is about to be swapped in. Durable.
  env::Task<Status> candidate(uint64_t generation, HeadPtr head);
  // Edits up to `generation` are in `base`; `edits` are those, `newer` the ones since. Durable. What is to be written
  // is settled with the call, not when the task begins.
  env::Task<Status> finish(uint64_t generation, HeadPtr base, const EditMap& edits, const EditMap& newer);
  // The edits `before` become `after`, upon another base. Nothing is recorded meanwhile; after an error all is as
  // before.
  env::Task<Status> rebase(HeadPtr base, const EditMap& before, const EditMap& after, uint64_t generation,
                           Figures figures);

 private:
  struct Write {
    env::WriteBatch batch;
    bool sync = false;
    bool stays = false;  // after a failure; else it has not happened
    std::optional<env::OneShot<Status>> done;
  };
  Journal(env::World world, std::unique_ptr<env::MetaStore> store);
  env::Task<Status> load(const content::VolumeKeys& keys);
  env::OneShot<Status> queue(env::WriteBatch batch, bool sync, bool stays);
  static env::Task<Status> wait(env::OneShot<Status> done);
  env::Task<void> write_queue();
  void start();

  env::World world_;
  std::unique_ptr<env::MetaStore> store_;
  JournalId id_{};
  JournalContent content_;
  std::map<uint64_t, Figures> figures_;  // of each generation
  std::deque<Write> queue_;
  bool writing_ = false;
  std::optional<Error> failed_;  // of the front of the queue
  uint64_t recorded_ = 0, durable_ = 0;
  bool syncing_ = false;
  uint64_t sync_asked_ = 0, sync_done_ = 0;
  env::Signal sync_ended_;
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace cairn::volume
