#pragma once
// What get and restore both do to bring one entry of a tree back: its attributes, a large file's bytes.

#include "client/core.h"
#include "client/local_restore.h"
#include "client/meter.h"

namespace cairn::client {

// What must be known of extended attributes and times to bring an entry back. The view outlives the task.
env::Task<Result<RestoredAttributes>> attributes_of(const volume::View& view, volume::InodeId id, volume::Inode about);

struct FetchedFile {
  std::string path;   // where it goes
  PartRecord record;  // of part_record()
  volume::InodeId inode = 0;
};
// What came of it, also of one that failed.
struct Fetch {
  uint64_t resumed = 0;  // bytes that an earlier run had brought
  // Where the bytes that could not be had begin; none when it was not they that failed.
  std::optional<uint64_t> missing_from;
};
// Fetches the large files of one run. What it is given outlives it; it outlives its tasks.
class Fetcher {
 public:
  Fetcher(env::World world, const volume::View& view, Meter& meter)
      : world_(world), view_(view), meter_(meter), write_ended_(world.executor) {}

  // The file's bytes, piece by piece, under a temporary name; its own when it is whole. Goes on where an interrupted
  // run stopped. The meter counts the bytes. What it is given by reference outlives the task.
  env::Task<Status> fetch(FetchedFile file, const RestoredAttributes& about, Fetch& fetch);

 private:
  class Writes;

  env::World world_;
  const volume::View& view_;
  Meter& meter_;
  size_t writes_ = 0;  // under way, of all files
  env::Signal write_ended_;
};

// The record of a large file that goes to this absolute path: what was fetched of another version is of no use.
PartRecord part_record(const Core& core, volume::InodeId inode, const volume::Inode& about, std::string_view path);

}  // namespace cairn::client
