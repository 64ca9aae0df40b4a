// What lies in a drive's folder that no process has open.

#include "volume/drive/drive.h"
#include "volume/keys.h"

namespace cairn::volume {

namespace {

constexpr size_t kEntryHead = sizeof(uint64_t) + 1;  // JOURNAL.md: generation, whether there is a value

Result<DriveLeft> look(env::MetaStore& store) {
  DriveLeft left;
  auto cursor = store.cursor();
  for (cursor->seek("E"); cursor->valid() && cursor->key().starts_with('E'); cursor->next()) {
    ++left.edits;
    const std::string_view key = cursor->key().substr(1), value = cursor->value();
    const auto at = parse_inode_key(key);
    if (!at || at->kind != ItemKind::extent || value.size() <= kEntryHead || value[kEntryHead - 1] == '\0') continue;
    auto extent = decode_extent(at->offset, value.substr(kEntryHead));
    if (!extent) return fail(std::move(extent.error()));
    if (staged_place(*extent)) left.bytes += extent->length;
  }
  CAIRN_TRY(cursor->status());
  return left;
}

}  // namespace

env::Task<Result<DriveLeft>> Drive::left_behind(env::World world, std::string folder) {
  auto left = co_await world.workers.run([&]() -> Result<DriveLeft> {
    const std::string journal = folder + "/journal";
    auto there = world.disk.exists(journal);
    if (!there) return fail(std::move(there.error()));
    if (!*there) return fail(Code::not_found, "no journal in " + folder);
    auto store = world.meta_stores.open(journal);
    if (!store) return fail(std::move(store.error()));
    return look(**store);
  });
  co_return left;
}

}  // namespace cairn::volume
