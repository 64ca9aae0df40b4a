#include "volume/inode.h"

#include "proto/volume.pb.h"
#include "volume/limits.h"
#include "wire/message.h"

namespace cairn::volume {

namespace {

bool known_type(int type) {
  return type >= wire::Inode::FILE && type <= wire::Inode::BLOCK_DEVICE;
}

}  // namespace

std::string encode_inode(const Inode& inode) {
  wire::Inode message;
  message.set_type(static_cast<wire::Inode::Type>(inode.type));
  message.set_mode(inode.mode);
  message.set_uid(inode.uid);
  message.set_gid(inode.gid);
  message.set_links(inode.links);
  message.set_size(inode.size);
  message.set_mtime(inode.mtime);
  message.set_ctime(inode.ctime);
  message.set_atime(inode.atime);
  message.set_btime(inode.btime);
  message.set_rdev(inode.rdev);
  message.set_inline_data(inode.inline_data);
  message.set_owner(inode.owner);
  message.set_group(inode.group);
  message.set_version(inode.version);
  message.set_has_xattrs(inode.has_xattrs);
  message.set_parent(inode.parent);
  message.set_source_inode(inode.source_inode);
  message.set_source_device(inode.source_device);
  message.set_flags(inode.flags);
  return wire::encode_text(message);
}

Result<Inode> decode_inode(std::string_view value) {
  auto message = wire::decode<wire::Inode>(as_bytes(value));
  if (!message) return fail(message.error());
  if (!known_type(message->type())) return fail(Code::corrupt, "inode of an unknown type");
  if (message->inline_data().size() > kInlineFileSize) return fail(Code::corrupt, "inode with too much inline data");
  Inode inode{.type = static_cast<FileType>(message->type()),
              .mode = message->mode(),
              .uid = message->uid(),
              .gid = message->gid(),
              .links = message->links(),
              .size = message->size(),
              .mtime = message->mtime(),
              .ctime = message->ctime(),
              .atime = message->atime(),
              .btime = message->btime(),
              .rdev = message->rdev(),
              .inline_data = std::move(*message->mutable_inline_data()),
              .owner = std::move(*message->mutable_owner()),
              .group = std::move(*message->mutable_group()),
              .version = message->version(),
              .has_xattrs = message->has_xattrs(),
              .parent = message->parent(),
              .source_inode = message->source_inode(),
              .source_device = message->source_device(),
              .flags = message->flags()};
  if (!inode.inline_data.empty() && inode.size < inode.inline_data.size()) {
    return fail(Code::corrupt, "inode with more inline data than bytes");
  }
  return inode;
}

std::string encode_entry(InodeId inode, FileType type) {
  wire::DirectoryEntry message;
  message.set_inode(inode);
  message.set_type(static_cast<wire::Inode::Type>(type));
  return wire::encode_text(message);
}

Result<DirectoryEntry> decode_entry(std::string_view name, std::string_view value) {
  auto message = wire::decode<wire::DirectoryEntry>(as_bytes(value));
  if (!message) return fail(message.error());
  if (!known_type(message->type()) || message->inode() == 0) return fail(Code::corrupt, "directory entry");
  return DirectoryEntry{std::string(name), message->inode(), static_cast<FileType>(message->type())};
}

std::string encode_extent(const Extent& extent) {
  wire::Extent message;
  message.set_length(extent.length);
  message.set_chunk(extent.chunk.raw());
  message.set_pack(extent.pack.raw());
  message.set_offset(extent.pack_offset);
  message.set_sealed_length(extent.sealed_length);
  message.set_chunk_offset(extent.chunk_offset);
  return wire::encode_text(message);
}

Result<Extent> decode_extent(uint64_t offset, std::string_view value) {
  auto message = wire::decode<wire::Extent>(as_bytes(value));
  if (!message) return fail(message.error());
  const auto chunk = ChunkId::from(message->chunk());
  const auto pack = PackId::from(message->pack());
  if (!chunk || !pack || message->length() == 0 || message->length() > kMaxChunkSize ||
      message->chunk_offset() > kMaxChunkSize - message->length() || offset > UINT64_MAX - message->length()) {
    return fail(Code::corrupt, "extent");
  }
  return Extent{.offset = offset,
                .length = message->length(),
                .chunk = *chunk,
                .pack = *pack,
                .pack_offset = message->offset(),
                .sealed_length = message->sealed_length(),
                .chunk_offset = message->chunk_offset()};
}

Inode empty_root() {
  return {.type = FileType::directory, .mode = 0755, .inline_data = {}, .owner = {}, .group = {}, .parent = kRootInode};
}

void own_root(Inode& root, const RootOwner& owner, WallTime now) {
  if (root.btime != 0 || root.uid != 0 || root.gid != 0) return;
  root.uid = owner.uid;
  root.gid = owner.gid;
  root.btime = now;
  if (root.mtime == 0) root.atime = root.mtime = root.ctime = now;
}

}  // namespace cairn::volume
