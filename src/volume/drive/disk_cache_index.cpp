#include "volume/drive/disk_cache_index.h"

namespace cairn::volume {

namespace {

constexpr size_t kFirstTable = 1024;

}  // namespace

DiskIndex::Print DiskIndex::print_of(const ChunkId& chunk) {
  const auto print = read_le<uint64_t>(chunk.bytes.data());
  return print == 0 ? 1 : print;
}

DiskIndex::DiskIndex() : table_(kFirstTable) {}

DiskIndex::Entry* DiskIndex::find(Print print) {
  for (size_t i = home(print);; i = (i + 1) & (table_.size() - 1)) {
    if (table_[i].print == print) return &table_[i];
    if (table_[i].print == 0) return nullptr;
  }
}

void DiskIndex::put(const Entry& entry) {
  if (Entry* there = find(entry.print)) {
    *there = entry;
    return;
  }
  if ((size_ + 1) * 8 > table_.size() * 7) grow();
  size_t i = home(entry.print);
  while (table_[i].print != 0) i = (i + 1) & (table_.size() - 1);
  table_[i] = entry;
  ++size_;
}

void DiskIndex::erase(Print print) {
  Entry* there = find(print);
  if (there == nullptr) return;
  // Closes the gap: an entry further on moves into it when its home is not between the two.
  const size_t mask = table_.size() - 1;
  auto gap = static_cast<size_t>(there - table_.data());
  for (size_t i = (gap + 1) & mask; table_[i].print != 0; i = (i + 1) & mask) {
    if (((i - home(table_[i].print)) & mask) >= ((i - gap) & mask)) {
      table_[gap] = table_[i];
      gap = i;
    }
  }
  table_[gap] = {};
  --size_;
}

void DiskIndex::clear() {
  table_.assign(kFirstTable, {});
  table_.shrink_to_fit();
  size_ = 0;
}

void DiskIndex::grow() {
  std::vector<Entry> old(table_.size() * 2);
  old.swap(table_);
  for (const Entry& entry : old) {
    if (entry.print == 0) continue;
    size_t i = home(entry.print);
    while (table_[i].print != 0) i = (i + 1) & (table_.size() - 1);
    table_[i] = entry;
  }
}

}  // namespace cairn::volume
