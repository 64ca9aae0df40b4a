// Open files and their bytes.

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <climits>

#include "fuse/beyond_libfuse.h"
#include "fuse/operations.h"

namespace cairn::fuse {

namespace {

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
  Session& session = Session::of(request);
  auto answer = [open = *file](Session& self, fuse_req_t to, const DriveOpened& opened) mutable {
    self.opened();
    open.fh = opened.handle;
    open.keep_cache = opened.keep_cache ? 1 : 0;
    const fuse_entry_param entry = Session::entry_of(opened.node);
    fuse_reply_create(to, &entry, &open);
  };
  session.began(request, session.drive().create(parent, name, mode & 07777, (file->flags & O_EXCL) != 0,
                                                caller_of(request), replying<DriveOpened>(request, std::move(answer))));
}

void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  Session& session = Session::of(request);
  auto answer = [open = *file](Session& self, fuse_req_t to, const DriveOpened& opened) mutable {
    self.opened();
    open.fh = opened.handle;
    open.keep_cache = opened.keep_cache ? 1 : 0;
    fuse_reply_open(to, &open);
  };
  session.began(request, session.drive().open(inode, (file->flags & O_TRUNC) != 0, kills_set_id(session.request()),
                                              replying<DriveOpened>(request, std::move(answer))));
}

void release(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* file) {
  Session& session = Session::of(request);
  session.released();
  session.began(request, session.drive().release(file->fh, replying(request)));
}

void read(fuse_req_t request, fuse_ino_t /*inode*/, size_t size, off_t offset, fuse_file_info* file) {
  Session& session = Session::of(request);
  auto answer = [](Session&, fuse_req_t to, const std::vector<Buffer>& pieces) {
    // One more for libfuse's header.
    if (pieces.size() < IOV_MAX) {
      iovec parts[IOV_MAX];
      for (size_t i = 0; i < pieces.size(); ++i)
        parts[i] = {.iov_base = const_cast<uint8_t*>(pieces[i].data()), .iov_len = pieces[i].size()};
      fuse_reply_iov(to, parts, static_cast<int>(pieces.size()));
      return;
    }
    std::string whole;
    for (const Buffer& piece : pieces) whole.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    fuse_reply_buf(to, whole.data(), whole.size());
  };
  session.began(request, session.drive().read(file->fh, static_cast<uint64_t>(offset), size,
                                              replying<std::vector<Buffer>>(request, answer)));
}

void write(fuse_req_t request, fuse_ino_t /*inode*/, const char* bytes, size_t size, off_t offset,
           fuse_file_info* file) {
  Session& session = Session::of(request);
  auto answer = [](Session&, fuse_req_t to, size_t written) { fuse_reply_write(to, written); };
  // Pages of a mapping come without the flags of any open file.
  const bool append = (file->flags & O_APPEND) != 0 && file->writepage == 0;
  session.began(request,
                session.drive().write(file->fh, static_cast<uint64_t>(offset), session.keep(bytes, size), append,
                                      kills_set_id(session.request()), replying<size_t>(request, answer)));
}

void fsync(fuse_req_t request, fuse_ino_t /*inode*/, int /*only_data*/, fuse_file_info* /*file*/) {
  Session& session = Session::of(request);
  session.began(request, session.drive().fsync(replying(request)));
}

// These requests have no flag for it. Who is not root could keep the bits by CAP_FSETID alone, which nobody uses so.
bool may_not_keep_set_id(fuse_req_t request) {
  return fuse_req_ctx(request)->uid != 0;
}

void fallocate(fuse_req_t request, fuse_ino_t /*inode*/, int mode, off_t offset, off_t length, fuse_file_info* file) {
  Session& session = Session::of(request);
  session.began(request, session.drive().allocate(file->fh, static_cast<uint32_t>(mode), static_cast<uint64_t>(offset),
                                                  static_cast<uint64_t>(length), may_not_keep_set_id(request),
                                                  replying(request)));
}

void lseek(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence, fuse_file_info* /*file*/) {
  Session& session = Session::of(request);
  auto reply = replying<uint64_t>(
      request, [](Session&, fuse_req_t to, uint64_t place) { fuse_reply_lseek(to, static_cast<off_t>(place)); });
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  const auto from = static_cast<uint64_t>(offset);
  session.began(request, whence == SEEK_DATA ? session.drive().seek_data(inode, from, std::move(reply))
                                             : session.drive().seek_hole(inode, from, std::move(reply)));
}

void copy_file_range(fuse_req_t request, fuse_ino_t /*from_inode*/, off_t from_offset, fuse_file_info* from,
                     fuse_ino_t /*to_inode*/, off_t to_offset, fuse_file_info* to, size_t length, int /*flags*/) {
  Session& session = Session::of(request);
  auto answer = [](Session&, fuse_req_t whom, size_t copied) { fuse_reply_write(whom, copied); };
  session.began(request, session.drive().copy_range(from->fh, static_cast<uint64_t>(from_offset), to->fh,
                                                    static_cast<uint64_t>(to_offset), length,
                                                    may_not_keep_set_id(request), replying<size_t>(request, answer)));
}

}  // namespace

// No flush: what a close has to write the kernel has written before (fuse/README.md). No getlk, setlk, flock: the
// kernel keeps locks by itself then.
void add_file_operations(fuse_lowlevel_ops& table) {
  table.create = create;
  table.open = open;
  table.release = release;
  table.read = read;
  table.write = write;
  table.fsync = fsync;
  table.fsyncdir = fsync;
  table.fallocate = fallocate;
  table.lseek = lseek;
  table.copy_file_range = copy_file_range;
}

}  // namespace cairn::fuse
