#pragma once
// Pending: what a drive has accepted and not yet committed, as layers of items above the tree.
//
//   orphans    inodes without a name that are still open: never committed, gone with the last close
//   active     edits since the last seal()
//   sealed     edits that are being committed
//   base       the tree that both were made upon
//
// A read looks in them from above. Strand only; nothing here waits. A JournalSink, if there is one, has each change
// before apply() returns. Who changes something holds no lock across a wait between reading and apply(): see
// FileSystem.

#include <functional>
#include <memory>
#include <set>

#include "volume/drive/staged.h"
#include "volume/head.h"
#include "volume/keys.h"
#include "volume/overlay.h"

namespace cairn::volume {

// Changes of the head's figures that edits bring.
struct Figures {
  int64_t files = 0, bytes = 0;
};

// Takes each change of the layers that must survive a crash.
class JournalSink {
 public:
  virtual ~JournalSink() = default;
  // All or nothing, in the order of the calls; survives the end of the process within a moment, a power loss once the
  // journal was synced.
  virtual Status record(uint64_t generation, const EditMap& edits, Figures figures) = 0;
};

class Pending {
 public:
  // `tree` outlives it. `fresh_from`: inodes from this number on, up to `numbers`' next, are not in the base.
  Pending(Tree& tree, InodeNumbers& numbers, HeadPtr base, JournalSink* journal);

  // Items with all layers. Valid as long as this; a reader that waits sees the layers as they are when it goes on.
  std::shared_ptr<ItemReader> items() const { return items_; }
  const HeadPtr& base() const { return base_; }

  // One operation's changes, all or nothing. Edits of inodes that are orphans stay in their layer. Errors are the
  // journal's: no_space, io; nothing is changed then.
  Status apply(EditMap edits, Figures figures);

  // The inode becomes an orphan with these items (all of its own: inode, xattrs, extents). Removing it from the shared
  // layers is the caller's apply().
  void add_orphan(InodeId inode, EditMap items);
  bool is_orphan(InodeId inode) const { return orphans_.contains(inode); }
  // Ends it and gives its items back (to be applied, when the inode gets a name; else dropped).
  EditMap take_orphan(InodeId inode);

  // What is not in a head yet.
  bool clean() const { return active_.empty() && sealed_.empty(); }
  bool has_active() const { return !active_.empty(); }
  size_t memory() const { return active_.bytes() + sealed_.bytes() + orphan_items_.bytes(); }
  uint64_t staged_bytes() const { return staged_bytes_; }  // that extents of all layers show
  uint64_t generation() const { return generation_; }      // of active
  // Called with each change of the bytes that extents show of a segment.
  void on_staged(std::function<void(uint64_t segment, int64_t bytes)> changed) { on_staged_ = std::move(changed); }

  // --- committing: one batch at a time ---
  struct Batch {
    HeadPtr base;
    const EditMap* edits = nullptr;  // until committed() or unseal()
    uint64_t generation = 0;
    Figures figures;
  };
  // The active edits become the sealed ones. Only when nothing is sealed.
  Batch seal();
  // The sealed edits are in `head`, which has nothing else that the base has not.
  void committed(HeadPtr head);
  // Takes the sealed edits back under the active ones.
  void unseal();
  // Other edits upon another base, that mean the same: after a merge. Nothing is sealed. The caller has recorded them.
  void rebase(HeadPtr base, EditMap edits, Figures figures);
  // Edits that an earlier process left in the journal, before any other; twice when some of them are to be sealed.
  void restore(EditMap edits, Figures figures, uint64_t generation);
  const EditMap& active() const { return active_.edits(); }
  const EditMap& sealed() const { return sealed_.edits(); }
  Figures figures() const { return active_figures_; }

 private:
  class Layers;
  void put(Overlay& layer, const std::string& key, std::optional<std::string> value);
  void clear(Overlay& layer);
  void count(std::string_view key, const std::optional<std::string>& value, int64_t sign);
  bool fresh(std::string_view key) const;

  Tree& tree_;
  InodeNumbers& numbers_;
  HeadPtr base_;
  JournalSink* journal_;
  InodeId fresh_from_, sealed_fresh_from_ = 0;
  std::set<InodeId> orphans_;
  Overlay orphan_items_, active_, sealed_;
  Figures active_figures_, sealed_figures_;
  uint64_t generation_ = 1;
  uint64_t staged_bytes_ = 0;
  uint64_t moves_ = 0;  // of edits from layer to layer: a scan that saw one begins anew
  std::function<void(uint64_t, int64_t)> on_staged_;
  std::shared_ptr<ItemReader> items_;
};

}  // namespace cairn::volume
