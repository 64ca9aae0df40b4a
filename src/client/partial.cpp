#include "client/partial.h"

#include "crypto/hash.h"

namespace cairn::client {

namespace {
constexpr size_t kPage = 1000;
}  // namespace

PartialName partial_name(const NodeId& device, volume::InodeId parent, const LocalEntry& entry) {
  Bytes place = to_bytes(device.view());
  append_be64(place, parent);
  append(place, as_bytes(entry.name));
  Bytes version;
  append_be64(version, entry.device);
  append_be64(version, entry.inode);
  append_be64(version, entry.size);
  append_be64(version, static_cast<uint64_t>(entry.mtime));
  append_be64(version, static_cast<uint64_t>(entry.ctime));
  return {crypto::sha256(place).hex(), crypto::sha256(version).hex()};
}

env::Task<Result<size_t>> sweep_partials(volume::Transaction& edit, WallTime now, std::optional<PartialName> wanted) {
  const volume::View view = edit.view();
  auto shelf = co_await view.resolve(std::string(kPartialDirectory));
  if (!shelf && shelf.error().code == Code::not_found) co_return size_t{0};
  if (!shelf) co_return fail(std::move(shelf.error()));
  size_t gone = 0;
  std::string after;
  for (;;) {
    auto page = co_await view.list(shelf->id, after, kPage);
    if (!page) co_return fail(std::move(page.error()));
    if (page->empty()) break;
    after = page->back().name;
    for (const volume::DirectoryEntry& entry : *page) {
      bool stale = wanted && entry.name.starts_with(wanted->place + "-") && entry.name != wanted->text();
      if (!stale) {
        auto inode = co_await view.inode(entry.inode);
        if (!inode) co_return fail(std::move(inode.error()));
        stale = now - inode->ctime > kPartialLasts.count();  // ctime: when something was added last
      }
      if (!stale) continue;
      auto removed = co_await edit.remove_tree(shelf->id, entry.name);
      if (!removed) co_return fail(std::move(removed.error()));
      ++gone;
    }
  }
  co_return gone;
}

}  // namespace cairn::client
