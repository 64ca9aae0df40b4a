#pragma once
// Uploader: staged bytes into packs in the pool, and the extents that show them into placed ones.
//
// What was sent is remembered by its place in the staging area, whatever becomes of the edits that show it: a commit
// that is tried again, or merged, sends nothing twice. The staged extents of one unit (128 KiB, aligned) of a file go
// into one chunk. Units that are full are sent early, before their commit begins. Strand only.

#include <deque>

#include "volume/data_writer.h"
#include "volume/drive/chunk_cache.h"
#include "volume/drive/staging.h"
#include "volume/transaction_impl.h"

namespace cairn::volume {

class Uploader {
 public:
  // All outlive it; `active` are the edits that grow.
  Uploader(VolumeHost& host, Staging& staging, ChunkCache& chunks, const EditMap& active);

  // Edits that have come to `active`.
  void note(const EditMap& edits);
  // Early sending may begin (and goes on until stop()).
  void start();
  void stop();

  // Until the staged bytes that `edits` show when it is called are in packs. `edits` may change meanwhile.
  env::Task<Status> upload(const EditMap& edits);
  // The edits with placed extents, and the packs that no tree names yet. Code::damaged when a place is missing:
  // upload() first, and nothing may have changed since.
  struct Placed {
    EditMap edits;
    std::vector<pool::PackRef> packs;
  };
  Result<Placed> place(const EditMap& edits) const;
  // Trees name these packs now; packs that are begun say which head they follow.
  void committed(const std::vector<pool::PackRef>& packs, uint64_t sequence);
  // Nothing shows these segments' bytes any more.
  void forget(const std::vector<uint64_t>& segments);

  // Bytes of `edits` that have not been sent.
  uint64_t unsent(const EditMap& edits) const;
  uint64_t uploaded_bytes() const { return writer_.bytes_placed(); }

 private:
  using Place = std::pair<uint64_t, uint64_t>;  // segment, offset
  using Unit = std::pair<InodeId, uint64_t>;    // number of the unit in the file
  struct Part {                                 // of the staging area, that was sent
    uint64_t length = 0;
    ChunkId chunk;
    uint32_t chunk_offset = 0;
  };
  struct Sent {
    PackId pack;  // zero: on its way
    uint32_t offset = 0, length = 0;
    size_t parts = 0;  // that name it
  };
  const Part* find(StagedPlace place, uint64_t length, uint64_t* inside) const;
  static std::optional<Extent> staged_extent(const std::string& key, const std::optional<std::string>& value,
                                             InodeId* inode);
  env::Task<Status> send_unit(const EditMap& edits, Unit unit, bool only_full);
  env::Task<Status> send_chunk(std::vector<Extent> extents);
  env::Task<void> send_early();
  void add_part(Place place, Part part);
  void drop_part(std::map<Place, Part>::iterator at);
  void collect();

  VolumeHost& host_;
  Staging& staging_;
  ChunkCache& chunks_;
  const EditMap& active_;
  env::Semaphore turn_;  // sending a unit
  env::Signal changed_;
  std::deque<Unit> full_units_;
  std::set<Unit> known_units_;  // in full_units_
  size_t paused_ = 0;
  bool early_failed_ = false;
  std::map<Place, Part> parts_;
  std::unordered_map<ChunkId, Sent> sent_;
  std::deque<ChunkId> under_way_;
  std::map<PackId, pool::PackRef> packs_;  // that no tree names yet
  DataWriter writer_;
  env::TaskGroup group_;  // last: its tasks use the others
};

}  // namespace cairn::volume
