#pragma once
// PackSet: a set of packs that may be a million: some 12 bytes for each instead of 80. Two packs whose IDs, which are
// hashes, begin with the same 64 bits count as one. Pure.

#include <algorithm>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace cairn::pool {

class PackSet {
 public:
  void insert(const PackId& pack) {
    const uint64_t key = key_of(pack);
    auto& part = parts_[part_of(key)];
    const auto at = std::ranges::lower_bound(part, key);
    if (at != part.end() && *at == key) return;
    part.insert(at, key);
    ++size_;
  }
  void erase(const PackId& pack) {
    const uint64_t key = key_of(pack);
    const auto found = parts_.find(part_of(key));
    if (found == parts_.end()) return;
    auto& part = found->second;
    const auto at = std::ranges::lower_bound(part, key);
    if (at == part.end() || *at != key) return;
    part.erase(at);
    --size_;
    if (part.empty()) parts_.erase(found);
  }
  size_t size() const { return size_; }

 private:
  static uint64_t key_of(const PackId& pack) { return read_be64(pack.bytes.data()); }
  static uint64_t part_of(uint64_t key) {
    return key >> 52;
  }  // of a million, some 250 in a part: sorted, moved at once

  std::map<uint64_t, std::vector<uint64_t>> parts_;
  size_t size_ = 0;
};

}  // namespace cairn::pool
