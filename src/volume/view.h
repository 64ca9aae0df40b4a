#pragma once
// View: a file tree as it was at one root, or as a transaction sees it. Reading only.
//
// Names are raw bytes. Symbolic links are never followed here: that is the business of who shows them. A View is a
// handle that is cheap to copy; its volume (and transaction, where it is one's) outlives it and every task it starts.

#include <functional>
#include <memory>
#include <optional>

#include "env/task.h"
#include "volume/inode.h"

namespace cairn::volume {

// An inode with its number.
struct NodeInfo {
  InodeId id = 0;
  Inode inode;
};

// Reads a file's bytes in order, with bounded memory, several requests under way and neighbouring chunks in one
// request.
class FileReader {
 public:
  // A run of bytes that are there; what lies between two pieces, and after the last up to the file's size, is a hole.
  struct Piece {
    uint64_t offset = 0;  // in the file
    Buffer bytes;
  };
  virtual ~FileReader() = default;
  // The next piece, in order; nothing at the end. Errors: too_few_peers, damaged, corrupt.
  virtual env::Task<Result<std::optional<Piece>>> next() = 0;
};

class ItemReader;   // volume/items.h: the tree, or the tree under a transaction's edits
class ChunkReader;  // volume/chunk_reader.h: opens the chunks of packs

class View {
 public:
  View(std::shared_ptr<ItemReader> items, std::shared_ptr<ChunkReader> chunks);
  ~View();
  View(const View&);
  View& operator=(const View&);

  // Code::not_found.
  env::Task<Result<Inode>> inode(InodeId id) const;
  // Many at once, in the order asked for; neighbours in the tree are read together. Nothing for one that is not there.
  env::Task<Result<std::vector<std::optional<Inode>>>> inodes(std::vector<InodeId> ids) const;
  // Code::not_found; Code::bad_input when `parent` is no directory.
  env::Task<Result<DirectoryEntry>> lookup(InodeId parent, std::string name) const;
  // "/docs/a.txt" or "docs/a.txt"; "" and "/" are the root; "." is left out, ".." goes up. Code::not_found.
  env::Task<Result<NodeInfo>> resolve(std::string path) const;
  // The directory that holds the last part of `path`, and that part. Code::bad_input for the root.
  struct Place {
    InodeId parent = 0;
    std::string name;
  };
  env::Task<Result<Place>> resolve_parent(std::string path) const;
  // At most `limit` entries in the order of their bytes, beginning after the name `after` ("": from the first on).
  env::Task<Result<std::vector<DirectoryEntry>>> list(InodeId directory, std::string after, size_t limit) const;
  env::Task<Result<std::vector<Xattr>>> xattrs(InodeId id) const;
  // At most `limit` extents that touch first <= byte < last, in order. Inline files have none.
  env::Task<Result<std::vector<Extent>>> extents(InodeId id, uint64_t first, uint64_t last, size_t limit) const;
  // Of a symbolic link: its target. Code::bad_input for another type.
  env::Task<Result<std::string>> read_link(InodeId id) const;

  // Bytes of a file, zeros for holes; fewer than asked only at its end.
  env::Task<Result<Bytes>> read(InodeId id, uint64_t offset, size_t length) const;
  // first <= byte < last. The reader keeps what it needs of the View.
  env::Task<Result<std::unique_ptr<FileReader>>> open_reader(InodeId id, uint64_t first = 0,
                                                             uint64_t last = UINT64_MAX) const;

 private:
  std::shared_ptr<ItemReader> items_;
  std::shared_ptr<ChunkReader> chunks_;
};

}  // namespace cairn::volume
