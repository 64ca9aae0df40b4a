#pragma once
// Overlay: edits that are not in the tree yet, and the items as they are with them.

#include <functional>
#include <map>

#include "volume/items.h"

namespace cairn::volume {

// Sorted by key; no value: removed.
using EditMap = std::map<std::string, std::optional<std::string>, std::less<>>;

class Overlay {
 public:
  const EditMap& edits() const { return edits_; }
  void set(const std::string& key, std::optional<std::string> value);
  // As if the key had never been edited.
  void forget(const std::string& key);
  void clear();
  bool empty() const { return edits_.empty(); }
  size_t bytes() const { return bytes_; }  // of memory, about

 private:
  static size_t cost(const std::string& key, const std::optional<std::string>& value);
  EditMap edits_;
  size_t bytes_ = 0;
};

// `base` under the edits of `overlay`, which outlives it. Keys for which `fresh` says so are not in the base: no need
// to look.
class OverlayItems final : public ItemReader {
 public:
  OverlayItems(const Overlay& overlay, std::function<std::shared_ptr<ItemReader>()> base,
               std::function<bool(std::string_view)> fresh)
      : overlay_(overlay), base_(std::move(base)), fresh_(std::move(fresh)) {}
  env::Task<Result<std::optional<std::string>>> get(std::string key) override;
  env::Task<Result<std::vector<Item>>> scan(std::string first, std::string last, size_t limit) override;

 private:
  const Overlay& overlay_;
  std::function<std::shared_ptr<ItemReader>()> base_;
  std::function<bool(std::string_view)> fresh_;
};

}  // namespace cairn::volume
