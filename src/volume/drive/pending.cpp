#include "volume/drive/pending.h"

namespace cairn::volume {

namespace {

// Items of the tree that are looked at together to find one that no edit removes.
constexpr size_t kMostAsked = 4096;

}  // namespace

// The items as all layers have them. A scan that waited for the tree while the layers were moved begins anew.
class Pending::Layers final : public ItemReader {
 public:
  explicit Layers(Pending& owner) : owner_(owner) {}

  env::Task<Result<std::optional<std::string>>> get(std::string key) override {
    const auto inode = inode_of_key(key);
    if (inode && owner_.is_orphan(*inode)) {
      const auto at = owner_.orphan_items_.edits().find(key);
      if (at == owner_.orphan_items_.edits().end()) co_return std::nullopt;
      co_return at->second;
    }
    for (const Overlay* layer : {&owner_.active_, &owner_.sealed_}) {
      if (const auto at = layer->edits().find(key); at != layer->edits().end()) co_return at->second;
    }
    if (owner_.fresh(key)) co_return std::nullopt;
    auto value = co_await owner_.tree_.get(owner_.base_->root, std::move(key));
    co_return value;
  }

  env::Task<Result<std::vector<Item>>> scan(std::string first, std::string last, size_t limit) override {
    const auto inode = inode_of_key(first);
    const bool one_inode = inode && inode_of_key(last) == inode;
    if (one_inode && owner_.is_orphan(*inode)) co_return above(first, last, {}, limit, true);
    const bool in_base = !(one_inode && owner_.fresh(first));
    std::vector<Item> items;
    std::string from = first;
    size_t ask = 0;
    while (items.size() < limit && from < last) {
      const size_t wanted = limit - items.size();
      // Where many items were removed, one step for each would be long.
      ask = std::max(wanted, 2 * std::min(ask, kMostAsked / 2));
      std::vector<Item> page;
      if (in_base) {
        const uint64_t moves = owner_.moves_;
        auto part = co_await owner_.tree_.scan(owner_.base_->root, from, last, ask);
        if (!part) co_return fail(std::move(part.error()));
        if (moves != owner_.moves_) continue;
        page = std::move(*part);
      }
      const std::string upper = page.size() < ask ? last : page.back().key + '\0';
      for (Item& item : above(from, upper, std::move(page), wanted, false)) items.push_back(std::move(item));
      from = upper;
    }
    co_return items;
  }

 private:
  // The tree's items of a range under the layers above it. Looks at no more edits than it needs for `limit` items.
  std::vector<Item> above(const std::string& first, const std::string& last, std::vector<Item> base, size_t limit,
                          bool orphan) const {
    struct Layer {
      EditMap::const_iterator at, end;
      bool ended(const std::string& before) const { return at == end || at->first >= before; }
    };
    std::vector<Layer> layers;  // from above
    for (const Overlay* layer :
         orphan ? std::vector{&owner_.orphan_items_} : std::vector{&owner_.active_, &owner_.sealed_})
      layers.push_back({layer->edits().lower_bound(first), layer->edits().end()});
    std::vector<Item> items;
    auto item = base.begin();
    while (items.size() < limit) {
      const Layer* edit = nullptr;
      for (const Layer& layer : layers) {
        if (!layer.ended(last) && (edit == nullptr || layer.at->first < edit->at->first)) edit = &layer;
      }
      if (edit == nullptr && item == base.end()) break;
      if (edit == nullptr || (item != base.end() && item->key < edit->at->first)) {
        items.push_back(std::move(*item));
        ++item;
        continue;
      }
      const auto& [key, value] = *edit->at;
      if (value) items.push_back({key, *value});
      if (item != base.end() && item->key == key) ++item;
      for (Layer& layer : layers) {
        if (!layer.ended(last) && layer.at->first == key) ++layer.at;
      }
    }
    return items;
  }

  Pending& owner_;
};

Pending::Pending(Tree& tree, InodeNumbers& numbers, HeadPtr base, JournalSink* journal)
    : tree_(tree),
      numbers_(numbers),
      base_(std::move(base)),
      journal_(journal),
      fresh_from_(numbers.unused()),
      items_(std::make_shared<Layers>(*this)) {}

bool Pending::fresh(std::string_view key) const {
  const auto inode = inode_of_key(key);
  return inode && *inode >= fresh_from_ && *inode < numbers_.unused();
}

void Pending::count(std::string_view key, const std::optional<std::string>& value, int64_t sign) {
  if (!value) return;
  const auto parsed = parse_inode_key(key);
  if (!parsed || parsed->kind != ItemKind::extent) return;
  const auto extent = decode_extent(parsed->offset, *value);
  if (!extent) return;
  const auto place = staged_place(*extent);
  if (!place) return;
  const int64_t bytes = sign * static_cast<int64_t>(extent->length);
  staged_bytes_ += static_cast<uint64_t>(bytes);
  if (on_staged_) on_staged_(place->segment, bytes);
}

void Pending::put(Overlay& layer, const std::string& key, std::optional<std::string> value) {
  count(key, value, 1);  // first, so that what is replaced by a part of itself is never without a user
  if (const auto old = layer.edits().find(key); old != layer.edits().end()) count(key, old->second, -1);
  layer.set(key, std::move(value));
}

void Pending::clear(Overlay& layer) {
  for (const auto& [key, value] : layer.edits()) count(key, value, -1);
  layer.clear();
}

Status Pending::apply(EditMap edits, Figures figures) {
  EditMap of_orphans;
  for (auto at = edits.begin(); at != edits.end();) {
    const auto inode = inode_of_key(at->first);
    auto next = std::next(at);
    if (inode && is_orphan(*inode)) of_orphans.insert(edits.extract(at));
    at = next;
  }
  if (journal_ != nullptr && !edits.empty()) CAIRN_TRY(journal_->record(generation_, edits, figures));
  for (auto& [key, value] : of_orphans) {
    if (value) {
      put(orphan_items_, key, std::move(value));
    } else if (const auto old = orphan_items_.edits().find(key); old != orphan_items_.edits().end()) {
      count(key, old->second, -1);
      orphan_items_.forget(key);
    }
  }
  // A removal of what no layer below has is kept too: the journal may have an earlier value.
  for (auto& [key, value] : edits) put(active_, key, std::move(value));
  active_figures_.files += figures.files;
  active_figures_.bytes += figures.bytes;
  return {};
}

void Pending::add_orphan(InodeId inode, EditMap items) {
  orphans_.insert(inode);
  for (auto& [key, value] : items) put(orphan_items_, key, std::move(value));
}

EditMap Pending::take_orphan(InodeId inode) {
  EditMap items;
  const KeyRange range = range_of(inode);
  for (auto at = orphan_items_.edits().lower_bound(range.first);
       at != orphan_items_.edits().end() && at->first < range.last; ++at)
    items.insert(*at);
  for (const auto& [key, value] : items) {
    count(key, value, -1);
    orphan_items_.forget(key);
  }
  orphans_.erase(inode);
  return items;
}

Pending::Batch Pending::seal() {
  CAIRN_ASSERT(sealed_.empty());
  std::swap(active_, sealed_);
  sealed_figures_ = std::exchange(active_figures_, {});
  sealed_fresh_from_ = numbers_.unused();
  ++moves_;
  return {.base = base_, .edits = &sealed_.edits(), .generation = generation_++, .figures = sealed_figures_};
}

void Pending::committed(HeadPtr head) {
  base_ = std::move(head);
  fresh_from_ = sealed_fresh_from_;
  clear(sealed_);
  sealed_figures_ = {};
  ++moves_;
}

void Pending::unseal() {
  EditMap newer = active_.edits();
  std::swap(active_, sealed_);
  // The same extents are counted in both for a moment.
  for (auto& [key, value] : newer) put(active_, key, value);
  clear(sealed_);
  active_figures_.files += sealed_figures_.files;
  active_figures_.bytes += sealed_figures_.bytes;
  sealed_figures_ = {};
  ++moves_;
}

void Pending::rebase(HeadPtr base, EditMap edits, Figures figures) {
  CAIRN_ASSERT(sealed_.empty());
  std::swap(active_, sealed_);
  for (auto& [key, value] : edits) put(active_, key, std::move(value));
  clear(sealed_);
  active_figures_ = figures;
  base_ = std::move(base);
  // Numbers that were given out since the old base was read may be in the new one by way of a merge; few, so look.
  fresh_from_ = numbers_.unused();
  ++moves_;
}

void Pending::restore(EditMap edits, Figures figures, uint64_t generation) {
  CAIRN_ASSERT(active_.empty());
  for (auto& [key, value] : edits) put(active_, key, std::move(value));
  active_figures_ = figures;
  generation_ = generation;
  ++moves_;
}

}  // namespace cairn::volume
