// The operations of the public Drive, each a call of the volume's file system.

#include "client/drive.h"

namespace cairn {

namespace {

FileType type_of(volume::FileType type) {
  return static_cast<FileType>(static_cast<int>(type) - 1);
}
volume::FileType type_of(FileType type) {
  return static_cast<volume::FileType>(static_cast<int>(type) + 1);
}
static_assert(static_cast<int>(FileType::file) + 1 == static_cast<int>(volume::FileType::file) &&
              static_cast<int>(FileType::directory) + 1 == static_cast<int>(volume::FileType::directory) &&
              static_cast<int>(FileType::symlink) + 1 == static_cast<int>(volume::FileType::symlink) &&
              static_cast<int>(FileType::fifo) + 1 == static_cast<int>(volume::FileType::fifo) &&
              static_cast<int>(FileType::socket) + 1 == static_cast<int>(volume::FileType::socket) &&
              static_cast<int>(FileType::character_device) + 1 ==
                  static_cast<int>(volume::FileType::character_device) &&
              static_cast<int>(FileType::block_device) + 1 == static_cast<int>(volume::FileType::block_device));

DriveNode to_node(uint64_t id, const volume::Inode& inode) {
  return {.inode = id,
          .parent = inode.parent,
          .type = type_of(inode.type),
          .mode = inode.mode,
          .uid = inode.uid,
          .gid = inode.gid,
          .links = inode.links,
          .size = inode.size,
          .device = inode.rdev,
          .mtime = inode.mtime,
          .ctime = inode.ctime,
          .atime = inode.atime};
}
DriveNode node(volume::NodeInfo info) {
  return to_node(info.id, info.inode);
}
DriveOpened opened(volume::FileSystem::Opened open) {
  return {.handle = open.handle, .keep_cache = open.keep_cache, .node = node(std::move(open.node))};
}
std::vector<DriveEntry> entries(std::vector<volume::DirectoryItem> items) {
  std::vector<DriveEntry> result;
  result.reserve(items.size());
  for (volume::DirectoryItem& item : items) {
    DriveEntry& entry = result.emplace_back(DriveEntry{.name = std::move(item.entry.name),
                                                       .inode = item.entry.inode,
                                                       .cookie = item.cookie,
                                                       .type = type_of(item.entry.type)});
    if (item.inode) entry.node = to_node(entry.inode, *item.inode);
  }
  return result;
}
volume::Caller caller_of(const DriveCaller& caller) {
  return {.uid = caller.uid, .gid = caller.gid, .umask = caller.umask};
}
// Hands a result on as it is.
struct AsIs {
  template <class T>
  T operator()(T value) const {
    return value;
  }
};

}  // namespace

Drive::Ticket Drive::lookup(uint64_t parent, std::string name, Reply<DriveNode> reply) {
  return impl_->read_call([parent, name = std::move(name)](auto& files) { return files.lookup(parent, name); }, node,
                          std::move(reply));
}

Drive::Ticket Drive::make_node(uint64_t parent, std::string name, FileType type, uint32_t mode, uint64_t device,
                               DriveCaller caller, Reply<DriveNode> reply) {
  return impl_->call(
      [=, i = impl_.get(), name = std::move(name)] {
        return i->files->make_node(parent, name, type_of(type), mode, device, caller_of(caller));
      },
      node, std::move(reply));
}

Drive::Ticket Drive::make_directory(uint64_t parent, std::string name, uint32_t mode, DriveCaller caller,
                                    Reply<DriveNode> reply) {
  return impl_->call(
      [=, i = impl_.get(), name = std::move(name)] {
        return i->files->make_directory(parent, name, mode, caller_of(caller));
      },
      node, std::move(reply));
}

Drive::Ticket Drive::make_symlink(uint64_t parent, std::string name, std::string target, DriveCaller caller,
                                  Reply<DriveNode> reply) {
  return impl_->call(
      [=, i = impl_.get(), name = std::move(name), target = std::move(target)] {
        return i->files->make_symlink(parent, name, target, caller_of(caller));
      },
      node, std::move(reply));
}

Drive::Ticket Drive::link(uint64_t inode, uint64_t parent, std::string name, Reply<DriveNode> reply) {
  return impl_->call([=, i = impl_.get(), name = std::move(name)] { return i->files->link(inode, parent, name); }, node,
                     std::move(reply));
}

Drive::Ticket Drive::unlink(uint64_t parent, std::string name, Reply<void> reply) {
  return impl_->call([=, i = impl_.get(), name = std::move(name)] { return i->files->unlink(parent, name); }, AsIs{},
                     std::move(reply));
}

Drive::Ticket Drive::remove_directory(uint64_t parent, std::string name, Reply<void> reply) {
  return impl_->call([=, i = impl_.get(), name = std::move(name)] { return i->files->remove_directory(parent, name); },
                     AsIs{}, std::move(reply));
}

Drive::Ticket Drive::rename(uint64_t from_parent, std::string from, uint64_t to_parent, std::string to, uint32_t flags,
                            Reply<void> reply) {
  return impl_->call([=, i = impl_.get(), from = std::move(from),
                      to = std::move(to)] { return i->files->rename(from_parent, from, to_parent, to, flags); },
                     AsIs{}, std::move(reply));
}

Drive::Ticket Drive::attributes(uint64_t inode, Reply<DriveNode> reply) {
  return impl_->read_call([=](auto& files) { return files.attributes(inode); }, node, std::move(reply));
}

Drive::Ticket Drive::set_attributes(uint64_t inode, DriveAttributes set, DriveCaller caller, Reply<DriveNode> reply) {
  const volume::AttributeSet wanted{.mode = set.mode,
                                    .uid = set.uid,
                                    .gid = set.gid,
                                    .size = set.size,
                                    .atime = set.atime,
                                    .mtime = set.mtime,
                                    .atime_now = set.atime_now,
                                    .mtime_now = set.mtime_now,
                                    .kill_set_id = set.kill_set_id};
  return impl_->call([=, i = impl_.get()] { return i->files->set_attributes(inode, wanted, caller_of(caller)); }, node,
                     std::move(reply));
}

Drive::Ticket Drive::read_link(uint64_t inode, Reply<std::string> reply) {
  return impl_->read_call([=](auto& files) { return files.read_link(inode); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::get_xattr(uint64_t inode, std::string name, Reply<std::string> reply) {
  return impl_->read_call([=, name = std::move(name)](auto& files) { return files.get_xattr(inode, name); }, AsIs{},
                          std::move(reply));
}

Drive::Ticket Drive::list_xattrs(uint64_t inode, Reply<std::vector<std::string>> reply) {
  return impl_->read_call([=](auto& files) { return files.list_xattrs(inode); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::set_xattr(uint64_t inode, std::string name, std::string value, uint32_t flags,
                               std::optional<std::vector<uint32_t>> groups, Reply<void> reply) {
  return impl_->call([=, i = impl_.get(), name = std::move(name),
                      value = std::move(value)] { return i->files->set_xattr(inode, name, value, flags, groups); },
                     AsIs{}, std::move(reply));
}

Drive::Ticket Drive::remove_xattr(uint64_t inode, std::string name, Reply<void> reply) {
  return impl_->call([=, i = impl_.get(), name = std::move(name)] { return i->files->remove_xattr(inode, name); },
                     AsIs{}, std::move(reply));
}

Drive::Ticket Drive::create(uint64_t parent, std::string name, uint32_t mode, bool exclusive, DriveCaller caller,
                            Reply<DriveOpened> reply) {
  return impl_->call(
      [=, i = impl_.get(), name = std::move(name)] {
        return i->files->create(parent, name, mode, exclusive, caller_of(caller));
      },
      opened, std::move(reply));
}

Drive::Ticket Drive::make_unnamed(uint64_t directory, uint32_t mode, DriveCaller caller, Reply<DriveOpened> reply) {
  return impl_->call([=, i = impl_.get()] { return i->files->make_unnamed(directory, mode, caller_of(caller)); },
                     opened, std::move(reply));
}

Drive::Ticket Drive::open(uint64_t inode, bool truncate, bool kill_set_id, Reply<DriveOpened> reply) {
  return impl_->read_call([=](auto& files) { return files.open(inode, truncate, kill_set_id); }, opened,
                          std::move(reply));
}

Drive::Ticket Drive::release(uint64_t handle, Reply<void> reply) {
  return impl_->read_call([=](auto& files) { return files.release(handle); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::open_directory(uint64_t directory, Reply<uint64_t> reply) {
  return impl_->read_call([=](auto& files) { return files.open_directory(directory); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::read_directory(uint64_t handle, uint64_t cookie, size_t limit, bool with_nodes,
                                    Reply<std::vector<DriveEntry>> reply) {
  return impl_->read_call([=](auto& files) { return files.read_directory(handle, cookie, limit, with_nodes); }, entries,
                          std::move(reply));
}

Drive::Ticket Drive::release_directory(uint64_t handle, Reply<void> reply) {
  return impl_->read_call([=](auto& files) { return files.release_directory(handle); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::read(uint64_t handle, uint64_t offset, size_t length, Reply<std::vector<Buffer>> reply) {
  return impl_->read_call([=](auto& files) { return files.read(handle, offset, length); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::write(uint64_t handle, uint64_t offset, Buffer bytes, bool append, bool kill_set_id,
                           Reply<size_t> reply) {
  return impl_->call(
      [=, i = impl_.get(), bytes = std::move(bytes)]() mutable {
        return i->files->write(handle, offset, std::move(bytes), append, kill_set_id);
      },
      AsIs{}, std::move(reply));
}

Drive::Ticket Drive::allocate(uint64_t handle, uint32_t mode, uint64_t offset, uint64_t length, bool kill_set_id,
                              Reply<void> reply) {
  return impl_->call([=, i = impl_.get()] { return i->files->allocate(handle, mode, offset, length, kill_set_id); },
                     AsIs{}, std::move(reply));
}

Drive::Ticket Drive::seek_data(uint64_t inode, uint64_t offset, Reply<uint64_t> reply) {
  return impl_->read_call([=](auto& files) { return files.seek_data(inode, offset); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::seek_hole(uint64_t inode, uint64_t offset, Reply<uint64_t> reply) {
  return impl_->read_call([=](auto& files) { return files.seek_hole(inode, offset); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::copy_range(uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset, size_t length,
                                bool kill_set_id, Reply<size_t> reply) {
  return impl_->call(
      [=, i = impl_.get()] { return i->files->copy_range(from, from_offset, to, to_offset, length, kill_set_id); },
      AsIs{}, std::move(reply));
}

Drive::Ticket Drive::fsync(Reply<void> reply) {
  const auto run = [](Impl* impl) -> env::Task<volume::FsStatus> {
    if (!impl->drive) co_return volume::FsStatus{};
    auto done = co_await impl->drive->fsync();
    co_return done;
  };
  return impl_->free_call([=, i = impl_.get()] { return run(i); }, AsIs{}, std::move(reply));
}

Drive::Ticket Drive::sync(std::function<void(const DriveStatus&)> progress, Reply<void> reply) {
  const auto run = [](Impl* impl, std::function<void(const DriveStatus&)> tell) -> env::Task<volume::FsStatus> {
    std::function<void(const volume::DriveStatus&)> hand_over;
    if (tell) hand_over = [impl, tell](const volume::DriveStatus& now) { tell(impl->describe(now, impl->status())); };
    if (!impl->drive) co_return volume::FsStatus{};
    auto done = co_await impl->drive->sync(std::move(hand_over));
    if (!done) co_return std::unexpected(volume::errno_of(done.error()));
    co_return volume::FsStatus{};
  };
  return impl_->free_call([=, i = impl_.get(), progress = std::move(progress)] { return run(i, progress); }, AsIs{},
                          std::move(reply));
}

Drive::Ticket Drive::space(Reply<DriveSpace> reply) {
  const auto run = [](Impl* impl) -> env::Task<volume::FsResult<DriveSpace>> {
    const volume::SpaceReport space = impl->space();
    co_return DriveSpace{.total = space.total, .free = space.free, .files = space.files};
  };
  return impl_->free_call([=, i = impl_.get()] { return run(i); }, AsIs{}, std::move(reply));
}

}  // namespace cairn
