#pragma once
// Transaction: edits of a volume that become visible all at once, by commit().
//
// Edits collect in memory; bytes of files go to packs in the pool as they come, with bounded memory. commit() may be
// called many times: what was edited since the last one becomes visible, and the transaction goes on upon the new head.
// When full() says so, commit before going on (a put of millions of files is a row of commits). A FileWriter that is
// not finished is left out of a commit, so no half file ever appears.
//
// One task at a time may edit; several FileWriters may be open, and View's reads may run beside. Times that the caller
// does not give are now. After an error of one operation the transaction is as before that operation; after a failed
// commit() its edits are still there and it may be tried again.

#include <memory>

#include "volume/view.h"

namespace cairn::volume {

// What a new inode is given.
struct NewInode {
  uint32_t mode = 0644;
  uint32_t uid = 0, gid = 0;
  std::string owner, group;
  std::optional<WallTime> mtime, atime, ctime, btime;
  uint64_t source_inode = 0, source_device = 0;
};

// Only what is set is changed.
struct AttributeChange {
  std::optional<uint32_t> mode, uid, gid;
  std::optional<std::string> owner, group;
  std::optional<WallTime> mtime, atime, btime;
  std::optional<WallTime> ctime;  // of backups; else it is now
  std::optional<uint64_t> source_inode, source_device;
  std::optional<uint32_t> flags;
};

enum class RenameMode {
  replace,     // as rename(2)
  no_replace,  // Code::exists when the new name is there
  exchange,    // both names are there and change places
};

struct CommitOutcome {
  uint64_t sequence = 0;  // of the head that now stands
  Hash hash;
  uint64_t conflicts = 0;  // files kept beside ours under a conflict name
  std::vector<std::string> conflict_names;
};

// Puts bytes into a file from its beginning on. Nothing of it is seen before finish(). Destroying it without finish()
// leaves the file as it was.
class FileWriter {
 public:
  virtual ~FileWriter() = default;
  // The continuation of the file. Waits while too much is under way. Errors: too_few_peers, no_space, what a pack
  // that was sent before ended with.
  virtual env::Task<Status> write(Buffer bytes) = 0;
  // A hole.
  virtual env::Task<Status> skip(uint64_t length) = 0;
  // The bytes so far are the file's whole content now. mtime as given, else now.
  virtual env::Task<Status> finish(std::optional<WallTime> mtime = std::nullopt) = 0;
};

class Volume;

class Transaction {
 public:
  virtual ~Transaction() = default;

  // The tree with this transaction's edits.
  virtual View view() const = 0;

  // New names. Errors: exists, not_found (the parent), bad_input (parent is no directory; a name that is empty, ".",
  // "..", longer than 255 bytes or has '/' or NUL in it), no_space (Transaction is full by far: commit).
  virtual env::Task<Result<InodeId>> make_directory(InodeId parent, std::string name, NewInode about) = 0;
  virtual env::Task<Result<InodeId>> make_file(InodeId parent, std::string name, NewInode about) = 0;
  virtual env::Task<Result<InodeId>> make_symlink(InodeId parent, std::string name, std::string target,
                                                  NewInode about) = 0;
  // fifo, socket, device
  virtual env::Task<Result<InodeId>> make_node(InodeId parent, std::string name, FileType type, uint64_t rdev,
                                               NewInode about) = 0;
  // Another name for what is no directory.
  virtual env::Task<Status> link(InodeId inode, InodeId parent, std::string name) = 0;
  // The directory at `path` with all that are missing above it.
  virtual env::Task<Result<InodeId>> make_directories(std::string path, NewInode about) = 0;

  // As rename(2): replaces a file by what is no directory, an empty directory by a directory; two names of one file are
  // left alone. Code::bad_input for a directory into itself, or a directory over a file and the other way round;
  // Code::exists for a directory that is not empty.
  virtual env::Task<Status> rename(InodeId from_parent, std::string from, InodeId to_parent, std::string to,
                                   RenameMode mode = RenameMode::replace) = 0;
  // Code::bad_input for a directory.
  virtual env::Task<Status> unlink(InodeId parent, std::string name) = 0;
  // Code::exists when it is not empty; Code::bad_input for what is no directory.
  virtual env::Task<Status> remove_directory(InodeId parent, std::string name) = 0;
  // Whatever it is, with all below it.
  virtual env::Task<Status> remove_tree(InodeId parent, std::string name) = 0;
  // The same in pieces: what lies deepest first, and at most about `most` entries. True when all of it has gone; until
  // then what is left is a tree as any other: commit, and call again.
  virtual env::Task<Result<bool>> remove_some(InodeId parent, std::string name, size_t most) = 0;

  virtual env::Task<Status> set_attributes(InodeId inode, AttributeChange change) = 0;
  virtual env::Task<Status> set_xattr(InodeId inode, std::string name, std::string value) = 0;
  // Code::not_found.
  virtual env::Task<Status> remove_xattr(InodeId inode, std::string name) = 0;

  // A file's content as a whole, from its beginning.
  virtual env::Task<Result<std::unique_ptr<FileWriter>>> write_file(InodeId inode) = 0;
  // Bytes in the midst of a file; it grows when they reach beyond its end.
  virtual env::Task<Status> write(InodeId inode, uint64_t offset, Buffer bytes) = 0;
  virtual env::Task<Status> truncate(InodeId inode, uint64_t size) = 0;

  // Memory that the edits take, and whether it is time to commit.
  virtual size_t edit_bytes() const = 0;
  virtual bool full() const = 0;
  virtual bool empty() const = 0;
  // Bytes handed over so far, and of these the ones in packs that the pool has taken.
  virtual uint64_t bytes_written() const = 0;
  virtual uint64_t bytes_placed() const = 0;

  // Until all bytes that were written are in packs at quorum. commit() does this first.
  virtual env::Task<Status> flush() = 0;
  // Returns once a head that has all edits is chosen. Others' commits in between are merged: see FORMAT.md.
  // Errors: too_few_peers, no_space, unreachable; unknown_outcome only when it could not even be read back (the edits
  // are kept: commit again, it finds its own head).
  virtual env::Task<Result<CommitOutcome>> commit() = 0;
  // Forgets all edits since the last commit.
  virtual void discard() = 0;
};

}  // namespace cairn::volume
