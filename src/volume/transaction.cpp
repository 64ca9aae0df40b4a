// The frame of a transaction: its items, its operations' changes, commit. Names: transaction_names.cpp; bytes and
// attributes: transaction_files.cpp.

#include <algorithm>

#include "volume/item_edits.h"
#include "volume/pack_ref.h"
#include "volume/transaction_impl.h"
#include "volume/volume.h"

namespace cairn::volume {

// What View reads: an extent whose chunk is still on its way is waited for.
class TransactionImpl::PlacedItems final : public ItemReader {
 public:
  explicit PlacedItems(TransactionImpl& owner) : owner_(owner) {}
  env::Task<Result<std::optional<std::string>>> get(std::string key) override {
    if (key.starts_with('P')) {
      for (const pool::PackRef& pack : owner_.data_.packs()) {
        if (pack_key(pack.id) == key) co_return encode_pack_ref(pack);
      }
    }
    auto value = co_await owner_.items_->get(std::move(key));
    co_return value;
  }
  env::Task<Result<std::vector<Item>>> scan(std::string first, std::string last, size_t limit) override {
    auto items = co_await owner_.items_->scan(std::move(first), std::move(last), limit);
    if (!items) co_return items;
    bool flushed = false;
    for (Item& item : *items) {
      const auto key = parse_inode_key(item.key);
      if (!key || key->kind != ItemKind::extent) continue;
      auto extent = decode_extent(key->offset, item.value);
      if (!extent) co_return fail(std::move(extent.error()));
      if (!extent->pack.is_zero()) continue;
      auto place = owner_.data_.find(extent->chunk);
      if (!place && !flushed) {
        CAIRN_CO_TRY(co_await owner_.data_.flush());
        flushed = true;
        place = owner_.data_.find(extent->chunk);
      }
      if (!place) co_return fail(Code::damaged, "a chunk of this transaction has no place");
      extent->pack = place->pack;
      extent->pack_offset = place->offset;
      extent->sealed_length = place->length;
      item.value = encode_extent(*extent);
    }
    co_return items;
  }

 private:
  TransactionImpl& owner_;
};

TransactionImpl::TransactionImpl(TransactionHost& host)
    : host_(host),
      base_(host.current()),
      fresh_from_(host.numbers().unused()),
      turn_(host.world().executor, 1),
      data_(host.world(), host.packs(), host.keys(), host.writer(), host.options().compression_level,
            host.options().depth.pack_memory) {
  items_ = std::make_shared<OverlayItems>(
      overlay_, [this] { return host_.items(base_); }, [this](std::string_view key) { return fresh(key); });
  placed_items_ = std::make_shared<PlacedItems>(*this);
  data_.set_head_sequence(base_->state.sequence);
}

bool TransactionImpl::fresh(std::string_view key) const {
  const auto inode = inode_of_key(key);
  return inode && *inode >= fresh_from_ && *inode < host_.numbers().unused();
}

View TransactionImpl::view() const {
  return View(placed_items_, host_.chunks());
}

TransactionImpl::Work TransactionImpl::begin_work() {
  Work work;
  work.now = host_.world().clock.wall_now();
  return work;
}

void TransactionImpl::apply(Work& work) {
  for (const auto& [id, inode] : work.inodes) overlay_.set(inode_key(id), encode_inode(inode));
  for (auto& [key, value] : work.edits) {
    if (!value && fresh(key)) {
      overlay_.forget(key);
    } else {
      overlay_.set(key, std::move(value));
    }
  }
  files_ += work.files;
  bytes_ += work.bytes;
}

env::Task<Result<Inode*>> TransactionImpl::use(Work& work, InodeId id) {
  if (const auto known = work.inodes.find(id); known != work.inodes.end()) co_return &known->second;
  auto inode = co_await load_inode(items_, id);
  if (!inode) co_return fail(std::move(inode.error()));
  if (!*inode) co_return fail(Code::not_found, "no such inode");
  if (const auto& owner = host_.options().root_owner; id == kRootInode && owner) own_root(**inode, *owner, work.now);
  co_return &work.inodes.emplace(id, std::move(**inode)).first->second;
}

env::Task<Result<Inode*>> TransactionImpl::use_directory(Work& work, InodeId id) {
  auto inode = co_await use(work, id);
  if (inode && !(*inode)->is_directory()) co_return fail(Code::bad_input, "not a directory");
  co_return inode;
}

Status TransactionImpl::place_extents() {
  EditMap placed;
  for (const auto& [key, value] : overlay_.edits()) {
    if (!value) continue;
    const auto parsed = parse_inode_key(key);
    if (!parsed || parsed->kind != ItemKind::extent) continue;
    auto extent = decode_extent(parsed->offset, *value);
    if (!extent) return fail(extent.error());
    if (!extent->pack.is_zero()) continue;
    const auto place = data_.find(extent->chunk);
    if (!place) return fail(Code::damaged, "a chunk of this transaction has no place");
    extent->pack = place->pack;
    extent->pack_offset = place->offset;
    extent->sealed_length = place->length;
    placed.emplace(key, encode_extent(*extent));
  }
  for (auto& [key, value] : placed) overlay_.set(key, std::move(value));
  for (auto chunk = added_.begin(); chunk != added_.end();) {
    const auto place = data_.find(*chunk);
    if (!place) {
      ++chunk;
      continue;
    }
    overlay_.set(chunk_key(*chunk), encode_extent({.length = 1,
                                                   .chunk = *chunk,
                                                   .pack = place->pack,
                                                   .pack_offset = place->offset,
                                                   .sealed_length = place->length}));
    chunk = added_.erase(chunk);
  }
  return {};
}

env::Task<Result<CommitOutcome>> TransactionImpl::commit() {
  CAIRN_CO_TRY(co_await data_.flush());
  const auto turn = co_await turn_.acquire();
  CAIRN_CO_TRY(co_await data_.flush());  // what came in while others had their turn
  CAIRN_CO_TRY(place_extents());
  const size_t packs = data_.packs().size();
  CommitRequest request{
      .base = base_, .edits = &overlay_.edits(), .packs = data_.packs(), .files = files_, .bytes = bytes_};
  auto committed = co_await host_.commit(std::move(request));
  if (!committed) co_return fail(std::move(committed.error()));
  base_ = committed->head;
  fresh_from_ = host_.numbers().unused();
  overlay_.clear();
  files_ = bytes_ = 0;
  // A writer that is still open has extents in these packs that a later commit brings.
  data_.forget(packs, open_writers_ == 0);
  data_.set_head_sequence(base_->state.sequence);
  co_return std::move(committed->outcome);
}

void TransactionImpl::discard() {
  overlay_.clear();
  files_ = bytes_ = 0;
}

}  // namespace cairn::volume
