#include "volume/overlay.h"

#include "volume/keys.h"

namespace cairn::volume {

size_t Overlay::cost(const std::string& key, const std::optional<std::string>& value) {
  constexpr size_t kMapNode = 120;  // of std::map with two strings and an optional
  return kMapNode + key.size() + (value ? value->size() : 0);
}

void Overlay::set(const std::string& key, std::optional<std::string> value) {
  forget(key);
  bytes_ += cost(key, value);
  edits_.emplace(key, std::move(value));
}

void Overlay::forget(const std::string& key) {
  const auto at = edits_.find(key);
  if (at == edits_.end()) return;
  bytes_ -= cost(at->first, at->second);
  edits_.erase(at);
}

void Overlay::clear() {
  edits_.clear();
  bytes_ = 0;
}

env::Task<Result<std::optional<std::string>>> OverlayItems::get(std::string key) {
  if (const auto edit = overlay_.edits().find(key); edit != overlay_.edits().end()) co_return edit->second;
  if (fresh_(key)) co_return std::nullopt;
  const std::shared_ptr<ItemReader> base = base_();
  auto value = co_await base->get(std::move(key));
  co_return value;
}

env::Task<Result<std::vector<Item>>> OverlayItems::scan(std::string first, std::string last, size_t limit) {
  std::vector<Item> items;
  // A range within one inode that was made since: the base has nothing of it.
  const bool only_overlay = fresh_(first) && inode_of_key(first) == inode_of_key(last);
  std::string from = std::move(first);
  const std::shared_ptr<ItemReader> base = base_();
  while (items.size() < limit && from < last) {
    const size_t wanted = limit - items.size();
    std::vector<Item> page;
    if (!only_overlay) {
      auto part = co_await base->scan(from, last, wanted);
      if (!part) co_return fail(std::move(part.error()));
      page = std::move(*part);
    }
    // What the page covers.
    const std::string upper = page.size() < wanted ? last : page.back().key + '\0';
    auto edit = overlay_.edits().lower_bound(from);
    auto item = page.begin();
    while (items.size() < limit) {
      const bool have_edit = edit != overlay_.edits().end() && edit->first < upper;
      const bool have_item = item != page.end();
      if (!have_edit && !have_item) break;
      if (have_edit && (!have_item || edit->first <= item->key)) {
        if (have_item && edit->first == item->key) ++item;
        if (edit->second) items.push_back({edit->first, *edit->second});
        ++edit;
      } else {
        items.push_back(std::move(*item));
        ++item;
      }
    }
    from = upper;
  }
  co_return items;
}

}  // namespace cairn::volume
