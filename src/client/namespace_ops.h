#pragma once
// ls, stat, mkdir, mv, rm, and making volumes.

#include "cairn/backup.h"
#include "client/core.h"

namespace cairn::client {

env::Task<Status> list_folder(Core& core, TreePath path, bool recursive, std::function<bool(const FileStatus&)> visit);
FileStatus describe(std::string path, volume::InodeId id, const volume::Inode& inode);
// As Backups::list().
env::Task<Status> list_snapshot(Core& core, std::string name, SnapshotFilter filter, std::vector<std::string> folders,
                                bool recursive, std::function<void(const SnapshotReport&)> on_snapshot,
                                std::function<bool(const FileStatus&)> visit);
env::Task<Result<FileStatus>> stat_path(Core& core, TreePath path);
env::Task<Status> make_folder(Core& core, TreePath path, bool parents);
env::Task<Status> move_path(Core& core, TreePath from, TreePath to);
env::Task<Status> remove_path(Core& core, TreePath path, bool recursive);
env::Task<Result<VolumeReport>> create_volume(Core& core, std::string name, bool deduplicates);
env::Task<Result<VolumeReport>> one_volume(Core& core, std::string name);

}  // namespace cairn::client
