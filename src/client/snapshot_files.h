#pragma once
// SnapshotFiles: snapshots as a file system for reading: one, or several, each a folder of the root.
//
// The same calls as volume::FileSystem has, for those that change nothing. Snapshots never change; where each has a
// folder, these come and go with them. Strand only; the volume outlives it.

#include <deque>
#include <map>

#include "client/core.h"
#include "volume/drive/file_system.h"

namespace cairn::client {

class SnapshotFiles {
 public:
  struct Tree {
    std::string name;     // of its folder
    std::string id = {};  // of the snapshot
    ChunkId made = {};    // its tree: another one under the same ID is another folder
    volume::View view;
    volume::InodeId root = volume::kRootInode;  // what is shown of it
    WallTime time = 0;
    bool gone = false;  // forgotten since: what is open stays so
  };
  template <class T>
  using Reply = env::Task<volume::FsResult<T>>;

  // `as_folders`: the root has a folder for each; else there is one tree, and the root is its.
  // `volume`: of folders, whose snapshots they are.
  SnapshotFiles(volume::Volume* volume, bool as_folders) : volume_(volume), as_folders_(as_folders) {}
  void add(Tree tree) { trees_.push_back(std::move(tree)); }
  // Looks which snapshots there are now; gives the names of folders that came or went.
  env::Task<Result<std::vector<std::string>>> follow();

  Reply<volume::NodeInfo> lookup(uint64_t parent, std::string name);
  Reply<volume::NodeInfo> attributes(uint64_t number);
  Reply<std::string> read_link(uint64_t number);
  Reply<std::string> get_xattr(uint64_t number, std::string name);
  Reply<std::vector<std::string>> list_xattrs(uint64_t number);
  Reply<volume::FileSystem::Opened> open(uint64_t number, bool truncate, bool kill_set_id);
  env::Task<volume::FsStatus> release(uint64_t handle);
  Reply<uint64_t> open_directory(uint64_t number);
  Reply<std::vector<volume::DirectoryItem>> read_directory(uint64_t handle, uint64_t cookie, size_t limit,
                                                           bool with_inodes);
  env::Task<volume::FsStatus> release_directory(uint64_t handle);
  Reply<std::vector<Buffer>> read(uint64_t handle, uint64_t offset, size_t length);
  Reply<uint64_t> seek_data(uint64_t number, uint64_t offset);
  Reply<uint64_t> seek_hole(uint64_t number, uint64_t offset);

 private:
  struct Place {
    size_t tree = 0;
    volume::InodeId inode = 0;
    auto operator<=>(const Place&) const = default;
  };
  struct Open {
    Place place;
    bool root = false;                            // of all folders
    std::vector<size_t> trees = {};               // then: whose these are
    std::vector<volume::DirectoryEntry> entries;  // as far as it was listed
    bool whole = false;
  };
  bool is_folder_of_all(uint64_t number) const { return as_folders_ && number == volume::kRootInode; }
  std::optional<Place> place_of(uint64_t number) const;
  uint64_t number_of(Place place);
  volume::NodeInfo shown(Place place, volume::Inode inode);
  volume::NodeInfo folder_of_all() const;
  Reply<volume::Inode> load(Place place);
  env::Task<volume::FsStatus> list_more(Open& open, size_t until);

  template <class T>
  Reply<T> answered(env::Task<Result<T>> task) {
    auto result = co_await std::move(task);
    if (!result) co_return std::unexpected(volume::errno_of(result.error()));
    co_return std::move(*result);
  }

  std::deque<Tree> trees_;  // what is being read of one stays where it is when others come
  volume::Volume* volume_;
  uint64_t sequence_ = 0;  // of the head that was looked at
  bool as_folders_;
  // Numbers of what was looked up in one of several trees: 2 and on.
  std::map<Place, uint64_t> numbers_;
  std::vector<Place> places_;
  std::map<uint64_t, Open> open_;
  uint64_t next_handle_ = 1;
};

// The volume `name` as snapshots, or the snapshot `name` ("latest", an ID). Code::not_found.
env::Task<Result<std::unique_ptr<SnapshotFiles>>> open_snapshot_files(Core& core, std::string name, bool as_folders);

}  // namespace cairn::client
