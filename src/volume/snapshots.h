#pragma once
// Snapshots' items (wire.Snapshot).

#include "volume/head.h"

namespace cairn::volume {

struct SnapshotItem {
  SnapshotInfo info;
  Root root;                              // none: an empty tree
  std::vector<pool::PackRef> tree_packs;  // of the root's commit; none of files_only
  bool files_only = false;                // the tree has 'F' items alone
};

std::string encode_snapshot(const SnapshotItem& snapshot);
Result<SnapshotItem> decode_snapshot(std::string_view value);

}  // namespace cairn::volume
