#include "volume/snapshot_writer_impl.h"

#include "base/text.h"
#include "volume/dead.h"
#include "volume/limits.h"
#include "volume/snapshots.h"
#include "volume/tree_pack.h"
#include "volume/volume.h"

namespace cairn::volume {

env::Task<Result<std::optional<std::string>>> SnapshotItems::get(std::string key) {
  Root root = root_of(key);
  return tree_.get(std::move(root), std::move(key));
}

env::Task<Result<std::vector<Item>>> SnapshotItems::scan(std::string first, std::string last, size_t limit) {
  Root root = root_of(first);
  return tree_.scan(std::move(root), std::move(first), std::move(last), limit);
}

namespace {

// A transaction's host that commits into a tree of its own.
class SnapshotWriterImpl final : public SnapshotWriter, private TransactionHost {
 public:
  SnapshotWriterImpl(SnapshotHost& host, Root base)
      : host_(host),
        base_items_(std::make_shared<SnapshotItems>(host.tree(), base, [&host] { return host.current(); })),
        current_(head_of(std::move(base))),
        transaction_(std::make_unique<TransactionImpl>(static_cast<TransactionHost&>(*this))) {}

  View base() const override { return View(base_items_, host_.chunks()); }
  Transaction& files() override { return *transaction_; }
  ChunkId root() const override { return current_->root ? current_->root->chunk : ChunkId{}; }

  env::Task<Status> save(std::string name, Bytes details, std::vector<std::string> gone) override {
    if (name.empty() || name.size() > kMaxNameSize || !is_utf8(name))
      co_return fail(Code::bad_input, "a snapshot's name");
    if (details.size() > kMaxSnapshotDetails) co_return fail(Code::too_large, "details of a snapshot");
    saving_ = Saving{.name = std::move(name), .details = std::move(details), .gone = std::move(gone)};
    auto done = co_await transaction_->commit();
    saving_.reset();
    if (!done) co_return fail(std::move(done.error()));
    co_return Status{};
  }

  StoredFigures stored() const override {
    const DataWriter& data = transaction_->data();
    StoredFigures figures = tree_figures_;
    figures.chunks = data.chunks_placed();
    figures.chunk_bytes = data.bytes_placed();
    figures.sealed_chunk_bytes = data.sealed_bytes_placed();
    return figures;
  }

 private:
  struct Saving {
    std::string name;
    Bytes details;
    std::vector<std::string> gone;
  };

  HeadPtr head_of(Root root) const {
    auto head = std::make_shared<Head>();
    head->state.sequence = host_.current()->state.sequence;  // for the headers of packs
    head->root = std::move(root);
    return head;
  }

  // --- TransactionHost ---
  env::World world() override { return host_.world(); }
  const content::VolumeKeys& keys() const override { return host_.keys(); }
  const crypto::PrivateKey& writer() const override { return host_.writer(); }
  const VolumeOptions& options() const override { return host_.options(); }
  PackIo& packs() override { return host_.packs(); }
  Tree& tree() override { return host_.tree(); }
  InodeNumbers& numbers() override { return host_.numbers(); }
  std::shared_ptr<ChunkReader> chunks() override { return host_.chunks(); }
  HeadPtr current() const override { return current_; }
  std::shared_ptr<ItemReader> items(const HeadPtr& base) override {
    return std::make_shared<SnapshotItems>(host_.tree(), base->root, [this] { return host_.current(); });
  }

  env::Task<Result<Committed>> commit(CommitRequest request) override {
    if (!saving_) co_return fail(Code::bad_input, "a snapshot is committed by saving it under its name");
    EditMap head_edits;
    std::vector<EditView> file_edits;
    for (const auto& [key, value] : *request.edits) {
      if (key.starts_with('F')) {
        file_edits.push_back(edit_of(key, value));
      } else {
        head_edits.emplace(key, value);
      }
    }
    auto named = packs_named_by(*request.edits);
    if (!named) co_return fail(std::move(named.error()));
    // The data is sent. What its packs took is as much as the edits of a large tree take, and comes at the same time.
    Buffer::release_spare_memory();
    TreePacks sink(world(), packs(), keys(), writer(), host_.current()->state.sequence, options().compression_level);
    Root root = request.base->root;
    if (!file_edits.empty()) {
      auto made = co_await tree().apply(root, std::move(file_edits), sink);
      if (!made) co_return fail(std::move(made.error()));
      CAIRN_CO_TRY(co_await sink.finish());
      root.reset();
      if (*made) root = sink.resolve(**made);
    }
    tree_figures_.nodes += sink.nodes();
    tree_figures_.node_bytes += sink.plain_bytes();
    tree_figures_.sealed_node_bytes += sink.sealed_bytes();
    std::vector<pool::PackRef> packs = std::move(request.packs);
    packs.insert(packs.end(), sink.packs().begin(), sink.packs().end());
    const SnapshotItem item{
        .info = {.name = saving_->name, .created = host_.witnessed_now(), .details = saving_->details, .root = {}},
        .root = root,
        .tree_packs = {},
        .files_only = true};
    for (const std::string& name : saving_->gone) head_edits.insert_or_assign(snapshot_key(name), std::nullopt);
    head_edits.insert_or_assign(snapshot_key(saving_->name), encode_snapshot(item));
    CAIRN_CO_TRY(co_await host_.commit_snapshot({.edits = std::move(head_edits),
                                                 .packs = std::move(packs),
                                                 .made = root,
                                                 .base = request.base->root,
                                                 .named = std::move(*named)}));
    current_ = head_of(std::move(root));
    co_return Committed{.head = current_,
                        .outcome = {.sequence = host_.current()->state.sequence,
                                    .hash = host_.current()->state.hash,
                                    .conflicts = 0,
                                    .conflict_names = {}}};
  }

  SnapshotHost& host_;
  std::shared_ptr<ItemReader> base_items_;
  HeadPtr current_;
  std::optional<Saving> saving_;
  StoredFigures tree_figures_;
  std::unique_ptr<TransactionImpl> transaction_;  // last: it uses the others
};

}  // namespace

std::unique_ptr<SnapshotWriter> make_snapshot_writer(SnapshotHost& host, Root base) {
  return std::make_unique<SnapshotWriterImpl>(host, std::move(base));
}

}  // namespace cairn::volume
