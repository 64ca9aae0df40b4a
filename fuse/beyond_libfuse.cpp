#include "fuse/beyond_libfuse.h"

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace cairn::fuse {

namespace {

template <class T>
const T* at(ByteView request, size_t offset) {
  return request.size() < offset + sizeof(T) ? nullptr : reinterpret_cast<const T*>(request.data() + offset);
}

void send(int device, uint64_t unique, int error, std::initializer_list<iovec> parts) {
  fuse_out_header header{.len = sizeof header, .error = -error, .unique = unique};
  iovec all[4] = {{.iov_base = &header, .iov_len = sizeof header}};
  int count = 1;
  for (const iovec& part : parts) {
    all[count++] = part;
    header.len += static_cast<uint32_t>(part.iov_len);
  }
  // An error means that the request or the whole mount has gone.
  [[maybe_unused]] const ssize_t written = ::writev(device, all, count);
}

fuse_entry_out entry_out(const DriveNode& node) {
  const fuse_entry_param entry = Session::entry_of(node);
  const struct stat& from = entry.attr;
  constexpr auto kSeconds = static_cast<uint64_t>(kKernelCacheSeconds);
  return {.nodeid = entry.ino,
          .entry_valid = kSeconds,
          .attr_valid = kSeconds,
          .attr = {.ino = from.st_ino,
                   .size = static_cast<uint64_t>(from.st_size),
                   .blocks = static_cast<uint64_t>(from.st_blocks),
                   .atime = static_cast<uint64_t>(from.st_atim.tv_sec),
                   .mtime = static_cast<uint64_t>(from.st_mtim.tv_sec),
                   .ctime = static_cast<uint64_t>(from.st_ctim.tv_sec),
                   .atimensec = static_cast<uint32_t>(from.st_atim.tv_nsec),
                   .mtimensec = static_cast<uint32_t>(from.st_mtim.tv_nsec),
                   .ctimensec = static_cast<uint32_t>(from.st_ctim.tv_nsec),
                   .mode = from.st_mode,
                   .nlink = static_cast<uint32_t>(from.st_nlink),
                   .uid = from.st_uid,
                   .gid = from.st_gid,
                   .rdev = static_cast<uint32_t>(from.st_rdev),
                   .blksize = static_cast<uint32_t>(from.st_blksize)}};
}

void make_unnamed(Session& session, const fuse_in_header& header, const fuse_create_in& arguments) {
  const int device = session.device();
  const DriveCaller caller{.uid = header.uid, .gid = header.gid, .umask = arguments.umask};
  session.began_beyond(
      session.drive().make_unnamed(header.nodeid, arguments.mode & 07777, caller,
                                   [&session, device, unique = header.unique](std::expected<DriveOpened, int> opened) {
                                     if (!opened) return send(device, unique, opened.error(), {});
                                     session.opened();
                                     fuse_entry_out entry = entry_out(opened->node);
                                     fuse_open_out open{.fh = opened->handle};
                                     send(device, unique, 0, {{&entry, sizeof entry}, {&open, sizeof open}});
                                   }));
}

ssize_t write_reply(int device, iovec* parts, int count, void* self) {
  auto& session = *static_cast<Session*>(self);
  const auto* header = static_cast<const fuse_out_header*>(parts[0].iov_base);
  if (count == 2 && header->error == 0 && session.is_first_reply(header->unique) &&
      parts[1].iov_len >= sizeof(fuse_init_out)) {
    static_cast<fuse_init_out*>(parts[1].iov_base)->flags |= session.offered() & FUSE_HANDLE_KILLPRIV_V2;
  }
  return ::writev(device, parts, count);
}

ssize_t read_request(int device, void* into, size_t size, void* /*self*/) {
  return ::read(device, into, size);
}

}  // namespace

bool answer_beyond_libfuse(Session& session, ByteView request) {
  const auto* header = at<fuse_in_header>(request, 0);
  if (header == nullptr) return false;
  if (header->opcode == FUSE_INIT) {
    if (const auto* init = at<fuse_init_in>(request, sizeof *header))
      session.first_request(header->unique, init->flags);
    return false;
  }
  if (header->opcode != FUSE_TMPFILE) return false;
  const auto* arguments = at<fuse_create_in>(request, sizeof *header);
  if (arguments == nullptr) return false;
  make_unnamed(session, *header, *arguments);
  return true;
}

Status extend_replies(fuse_session* library) {
  // The user data of the hooks is the session's own.
  const fuse_custom_io io{.writev = write_reply, .read = read_request};
  if (fuse_session_custom_io(library, &io, fuse_session_fd(library)) != 0)
    return fail(Code::unsupported, "libfuse does not let its replies be extended");
  return {};
}

bool kills_set_id(ByteView request) {
  const auto* header = at<fuse_in_header>(request, 0);
  if (header == nullptr) return false;
  if (header->opcode == FUSE_WRITE) {
    const auto* write = at<fuse_write_in>(request, sizeof *header);
    return write != nullptr && (write->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
  }
  if (header->opcode == FUSE_SETATTR) {
    const auto* set = at<fuse_setattr_in>(request, sizeof *header);
    return set != nullptr && (set->valid & FATTR_KILL_SUIDGID) != 0;
  }
  if (header->opcode == FUSE_OPEN) {
    const auto* open = at<fuse_open_in>(request, sizeof *header);
    return open != nullptr && (open->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
  }
  return false;
}

}  // namespace cairn::fuse
