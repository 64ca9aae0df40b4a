#pragma once
// ItemReader: the items of the one ordered key space, as a tree has them or as a transaction sees them.

#include "volume/tree.h"

namespace cairn::volume {

class ItemReader {
 public:
  virtual ~ItemReader() = default;
  virtual env::Task<Result<std::optional<std::string>>> get(std::string key) = 0;
  // Items with first <= key < last in order, at most `limit`. The end is reached when fewer come back.
  virtual env::Task<Result<std::vector<Item>>> scan(std::string first, std::string last, size_t limit) = 0;
};

// What one root has. The tree outlives it.
class TreeItems final : public ItemReader {
 public:
  TreeItems(Tree& tree, Root root) : tree_(tree), root_(std::move(root)) {}
  env::Task<Result<std::optional<std::string>>> get(std::string key) override {
    return tree_.get(root_, std::move(key));
  }
  env::Task<Result<std::vector<Item>>> scan(std::string first, std::string last, size_t limit) override {
    return tree_.scan(root_, std::move(first), std::move(last), limit);
  }

 private:
  Tree& tree_;
  Root root_;
};

}  // namespace cairn::volume
