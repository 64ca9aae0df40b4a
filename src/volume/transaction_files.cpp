// Transaction: attributes and bytes of files.

#include "content/chunk.h"
#include "volume/item_edits.h"
#include "volume/transaction_impl.h"
#include "volume/volume.h"

namespace cairn::volume {

env::Task<Status> TransactionImpl::set_attributes(InodeId id, AttributeChange change) {
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  Inode& about = **inode;
  if (change.mode) about.mode = *change.mode & 07777;
  if (change.uid) about.uid = *change.uid;
  if (change.gid) about.gid = *change.gid;
  if (change.owner) about.owner = std::move(*change.owner);
  if (change.group) about.group = std::move(*change.group);
  if (change.mtime) about.mtime = *change.mtime;
  if (change.atime) about.atime = *change.atime;
  if (change.btime) about.btime = *change.btime;
  if (change.source_inode) about.source_inode = *change.source_inode;
  if (change.source_device) about.source_device = *change.source_device;
  if (change.flags) about.flags = *change.flags;
  about.ctime = change.ctime.value_or(work.now);
  apply(work);
  co_return Status{};
}

env::Task<Status> TransactionImpl::set_xattr(InodeId id, std::string name, std::string value) {
  if (name.empty() || name.size() > kMaxNameSize) co_return fail(Code::bad_input, "length of an attribute's name");
  if (value.size() > kMaxXattrSize) co_return fail(Code::too_large, "an extended attribute has at most 64 KiB");
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  (*inode)->has_xattrs = true;
  (*inode)->ctime = work.now;
  work.edits.emplace(xattr_key(id, name), std::move(value));
  apply(work);
  co_return Status{};
}

env::Task<Status> TransactionImpl::remove_xattr(InodeId id, std::string name) {
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  const KeyRange range = range_of(id, ItemKind::xattr);
  auto value = co_await items_->get(xattr_key(id, name));
  if (!value) co_return fail(std::move(value.error()));
  if (!*value) co_return fail(Code::not_found, name);
  auto all = co_await items_->scan(range.first, range.last, 2);
  if (!all) co_return fail(std::move(all.error()));
  (*inode)->has_xattrs = all->size() > 1;
  (*inode)->ctime = work.now;
  work.edits.emplace(xattr_key(id, name), std::nullopt);
  apply(work);
  co_return Status{};
}

env::Task<Result<Extent>> TransactionImpl::add_chunk(Buffer plain) {
  Extent extent{.length = static_cast<uint32_t>(plain.size())};
  if (!host_.options().deduplicates) {
    extent.chunk = host_.world().random.id<ChunkId>();
    CAIRN_CO_TRY(co_await data_.add(extent.chunk, std::move(plain)));
    co_return extent;
  }
  extent.chunk = co_await host_.world().workers.run(
      [&] { return content::hashed_chunk_id(host_.keys(), content::ChunkType::data, plain); });
  if (added_.contains(extent.chunk)) co_return extent;
  auto known = co_await items_->get(chunk_key(extent.chunk));
  if (!known) co_return fail(std::move(known.error()));
  if (*known) {
    auto there = decode_extent(0, **known);
    if (!there) co_return fail(std::move(there.error()));
    extent.pack = there->pack;
    extent.pack_offset = there->pack_offset;
    extent.sealed_length = there->sealed_length;
    co_return extent;
  }
  if (!added_.insert(extent.chunk).second) co_return extent;  // another writer was first meanwhile
  auto added = co_await data_.add(extent.chunk, std::move(plain));
  if (!added) {
    added_.erase(extent.chunk);
    co_return fail(std::move(added.error()));
  }
  co_return extent;
}

env::Task<Status> TransactionImpl::replace_content(InodeId id, uint64_t size, std::string inline_data,
                                                   std::vector<Extent> extents, std::optional<WallTime> mtime) {
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  if (!(*inode)->is_file()) co_return fail(Code::bad_input, "not a file");
  CAIRN_CO_TRY(co_await carve_extents(items_, id, 0, UINT64_MAX, work.edits));
  for (const Extent& extent : extents)
    work.edits.insert_or_assign(extent_key(id, extent.offset), encode_extent(extent));
  work.bytes += static_cast<int64_t>(size) - static_cast<int64_t>((*inode)->size);
  inline_bytes_ += inline_data.size();
  (*inode)->size = size;
  (*inode)->inline_data = std::move(inline_data);
  (*inode)->mtime = mtime.value_or(work.now);
  (*inode)->ctime = work.now;
  ++(*inode)->version;
  apply(work);
  co_return Status{};
}

env::Task<Result<std::unique_ptr<FileWriter>>> TransactionImpl::write_file(InodeId id) {
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  if (!(*inode)->is_file()) co_return fail(Code::bad_input, "not a file");
  co_return make_file_writer(*this, id);
}

env::Task<Status> TransactionImpl::write_extents(Work& work, InodeId id, uint64_t offset, Buffer bytes) {
  const uint64_t unit = host_.options().extent_size;
  size_t done = 0;
  while (done < bytes.size()) {
    const uint64_t at = offset + done;
    const size_t length = std::min<uint64_t>(bytes.size() - done, unit - at % unit);
    auto extent = co_await add_chunk(bytes.slice(done, length));
    if (!extent) co_return fail(std::move(extent.error()));
    extent->offset = at;
    work.edits.insert_or_assign(extent_key(id, at), encode_extent(*extent));
    done += length;
  }
  co_return Status{};
}

env::Task<Status> TransactionImpl::write(InodeId id, uint64_t offset, Buffer bytes) {
  if (bytes.empty()) co_return Status{};
  if (offset > INT64_MAX - bytes.size()) co_return fail(Code::too_large, "a file's size");
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  Inode& about = **inode;
  if (!about.is_file()) co_return fail(Code::bad_input, "not a file");
  const uint64_t end = offset + bytes.size(), size = std::max(about.size, end);
  const bool is_inline = about.size == 0 || !about.inline_data.empty();
  if (is_inline && size <= kInlineFileSize) {
    about.inline_data.resize(size);
    std::memcpy(about.inline_data.data() + offset, bytes.data(), bytes.size());
  } else {
    if (!about.inline_data.empty()) {
      const std::string data = std::exchange(about.inline_data, {});
      CAIRN_CO_TRY(co_await write_extents(work, id, 0, Buffer::copy_of(as_bytes(data))));
      // It is cut below like any other extent.
      for (auto& [key, value] : work.edits) overlay_.set(key, std::move(value));
      overlay_.set(inode_key(id), encode_inode(about));
      work.edits.clear();
    }
    CAIRN_CO_TRY(co_await carve_extents(items_, id, offset, end, work.edits));
    CAIRN_CO_TRY(co_await write_extents(work, id, offset, std::move(bytes)));
  }
  work.bytes += static_cast<int64_t>(size - about.size);
  about.size = size;
  about.mtime = about.ctime = work.now;
  ++about.version;
  apply(work);
  co_return Status{};
}

env::Task<Status> TransactionImpl::truncate(InodeId id, uint64_t size) {
  if (size > INT64_MAX) co_return fail(Code::too_large, "a file's size");
  const auto turn = co_await turn_.acquire();
  Work work = begin_work();
  auto inode = co_await use(work, id);
  if (!inode) co_return fail(std::move(inode.error()));
  Inode& about = **inode;
  if (!about.is_file()) co_return fail(Code::bad_input, "not a file");
  if (size < about.size) {
    if (about.inline_data.size() > size) about.inline_data.resize(size);
    CAIRN_CO_TRY(co_await carve_extents(items_, id, size, UINT64_MAX, work.edits));
  }
  work.bytes += static_cast<int64_t>(size) - static_cast<int64_t>(about.size);
  about.size = size;
  about.mtime = about.ctime = work.now;
  ++about.version;
  apply(work);
  co_return Status{};
}

}  // namespace cairn::volume
