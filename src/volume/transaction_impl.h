#pragma once
// The transaction behind transaction.h: an overlay, the writer of its data packs, and the operations upon them.

#include "volume/chunk_reader.h"
#include "volume/data_writer.h"
#include "volume/head.h"
#include "volume/keys.h"
#include "volume/merge.h"
#include "volume/node_cache.h"
#include "volume/overlay.h"
#include "volume/transaction.h"

namespace cairn::volume {

// What a transaction brings to a commit.
struct CommitRequest {
  HeadPtr base;                      // that the edits were made upon
  const EditMap* edits = nullptr;    // all places known; outlive the commit
  std::vector<pool::PackRef> packs;  // new packs of data
  int64_t files = 0, bytes = 0;      // changes of the head's figures
};
struct Committed {
  HeadPtr head;  // has the edits
  CommitOutcome outcome;
};

// Called with the new head before it is swapped in (its state has sequence and content): what is kept here of it
// survives whatever becomes of the swap. An error ends the commit.
using BeforeSwap = std::function<env::Task<Status>(HeadPtr next)>;

// What a transaction needs of its volume, which outlives it.
class TransactionHost {
 public:
  virtual ~TransactionHost() = default;
  virtual env::World world() = 0;
  virtual const content::VolumeKeys& keys() const = 0;
  virtual const crypto::PrivateKey& writer() const = 0;
  virtual const VolumeOptions& options() const = 0;
  virtual PackIo& packs() = 0;
  virtual Tree& tree() = 0;
  virtual InodeNumbers& numbers() = 0;
  virtual std::shared_ptr<ChunkReader> chunks() = 0;
  virtual HeadPtr current() const = 0;
  // What a transaction upon `base` stands on.
  virtual std::shared_ptr<ItemReader> items(const HeadPtr& base) {
    return std::make_shared<TreeItems>(tree(), base->root);
  }
  // Merges and tries again until it is in.
  virtual env::Task<Result<Committed>> commit(CommitRequest request) = 0;
};

// What a drive needs beside it: it merges on its own.
class VolumeHost : public TransactionHost {
 public:
  virtual NodeSource& nodes() = 0;
  // Nodes are looked for there before the pool is asked, and kept there. Null: no longer.
  virtual void set_node_store(NodeStore* store) = 0;
  // Reads the register.
  virtual env::Task<Result<HeadPtr>> latest() = 0;
  // One try, upon `request.base`'s root: it may lie elsewhere than the head's, but is of the same content.
  // Code::conflict when `request.base` is not the head any more; Code::unknown_outcome is left for the caller
  // to find out. The head that comes back has the edits and nothing else that the base has not.
  virtual env::Task<Result<HeadPtr>> commit_upon(CommitRequest request, BeforeSwap before) = 0;
  // As Volume has them.
  virtual WallTime witnessed_now() const = 0;
  virtual bool unsettled() const = 0;
  // Edits upon `base` as edits upon `theirs`.
  virtual env::Task<Result<MergeResult>> merge_upon(HeadPtr base, HeadPtr theirs, const EditMap* ours) = 0;
};

class TransactionImpl final : public Transaction {
 public:
  explicit TransactionImpl(TransactionHost& host);

  View view() const override;
  env::Task<Result<InodeId>> make_directory(InodeId parent, std::string name, NewInode about) override;
  env::Task<Result<InodeId>> make_file(InodeId parent, std::string name, NewInode about) override;
  env::Task<Result<InodeId>> make_symlink(InodeId parent, std::string name, std::string target,
                                          NewInode about) override;
  env::Task<Result<InodeId>> make_node(InodeId parent, std::string name, FileType type, uint64_t rdev,
                                       NewInode about) override;
  env::Task<Status> link(InodeId inode, InodeId parent, std::string name) override;
  env::Task<Result<InodeId>> make_directories(std::string path, NewInode about) override;
  env::Task<Status> rename(InodeId from_parent, std::string from, InodeId to_parent, std::string to,
                           RenameMode mode) override;
  env::Task<Status> unlink(InodeId parent, std::string name) override;
  env::Task<Status> remove_directory(InodeId parent, std::string name) override;
  env::Task<Status> remove_tree(InodeId parent, std::string name) override;
  env::Task<Result<bool>> remove_some(InodeId parent, std::string name, size_t most) override;
  env::Task<Status> set_attributes(InodeId inode, AttributeChange change) override;
  env::Task<Status> set_xattr(InodeId inode, std::string name, std::string value) override;
  env::Task<Status> remove_xattr(InodeId inode, std::string name) override;
  env::Task<Result<std::unique_ptr<FileWriter>>> write_file(InodeId inode) override;
  env::Task<Status> write(InodeId inode, uint64_t offset, Buffer bytes) override;
  env::Task<Status> truncate(InodeId inode, uint64_t size) override;
  size_t edit_bytes() const override { return overlay_.bytes(); }
  bool full() const override { return overlay_.bytes() >= kTransactionBytes; }
  bool empty() const override { return overlay_.empty(); }
  uint64_t bytes_written() const override { return data_.bytes_added() + inline_bytes_; }
  uint64_t bytes_placed() const override { return data_.bytes_placed() + inline_bytes_; }
  env::Task<Status> flush() override { return data_.flush(); }
  env::Task<Result<CommitOutcome>> commit() override;
  void discard() override;
  const DataWriter& data() const { return data_; }

  // --- for FileWriterImpl ---
  TransactionHost& host() { return host_; }
  // The content of a file from now on: inline, or extents (of chunks that add_chunk() took).
  env::Task<Status> replace_content(InodeId inode, uint64_t size, std::string inline_data, std::vector<Extent> extents,
                                    std::optional<WallTime> mtime);
  // A chunk of plaintext: its ID, and where it lies if that is known already (volumes that deduplicate).
  env::Task<Result<Extent>> add_chunk(Buffer plain);
  void writer_opened() { ++open_writers_; }
  void writer_closed() { --open_writers_; }

 private:
  // One operation's changes, applied all at once when it has succeeded.
  struct Work {
    std::map<InodeId, Inode> inodes;  // as they will be
    EditMap edits;                    // all others
    int64_t files = 0, bytes = 0;
    WallTime now = 0;
  };
  Work begin_work();
  void apply(Work& work);
  // The inode in `work`, loaded when it is not there. Valid as long as `work`.
  env::Task<Result<Inode*>> use(Work& work, InodeId id);
  env::Task<Result<Inode*>> use_directory(Work& work, InodeId id);
  env::Task<Result<InodeId>> create(InodeId parent, std::string name, Inode inode);
  // Takes one name from an inode that is no directory, and all of it with its last name.
  env::Task<Status> drop_name(Work& work, InodeId id);
  env::Task<Status> erase_inode(Work& work, InodeId id);
  env::Task<Status> write_extents(Work& work, InodeId id, uint64_t offset, Buffer bytes);
  // Puts the places of chunks whose packs are at quorum into the extents.
  Status place_extents();
  bool fresh(std::string_view key) const;

  // Items for View: extents have places. Items as they stand: extents of this transaction may have none.
  class PlacedItems;

  TransactionHost& host_;
  HeadPtr base_;
  InodeId fresh_from_ = 0;  // inodes numbered from here on are not in the base
  Overlay overlay_;
  std::shared_ptr<OverlayItems> items_;
  std::shared_ptr<ItemReader> placed_items_;
  int64_t files_ = 0, bytes_ = 0;
  uint64_t inline_bytes_ = 0;
  size_t open_writers_ = 0;
  std::set<ChunkId> added_;  // of volumes that deduplicate: chunks whose packs are not at quorum yet
  env::Semaphore turn_;      // operations that change something take turns
  DataWriter data_;
};

// 1 to 255 bytes, not "." or "..", no '/' and no NUL. Code::bad_input.
Status check_name(std::string_view name);

std::unique_ptr<FileWriter> make_file_writer(TransactionImpl& transaction, InodeId inode);

}  // namespace cairn::volume
