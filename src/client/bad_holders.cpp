#include "client/bad_holders.h"

#include "proto/home.pb.h"
#include "wire/message.h"

namespace cairn::client {

Result<std::vector<BadHolder>> read_bad_holders(env::Disk& disk, const std::string& home) {
  auto bytes = env::read_file(disk, home + "/bad_holders", 1 * kMiB);
  if (!bytes && bytes.error().code == Code::not_found) return std::vector<BadHolder>{};
  if (!bytes) return fail(bytes.error());
  auto kept = wire::decode<wire::BadHolders>(ByteView(*bytes));
  if (!kept) return fail(kept.error(), "bad_holders");
  std::vector<BadHolder> list;
  for (const auto& entry : kept->found()) {
    auto node = NodeId::from(entry.node());
    auto pack = PackId::from(entry.pack());
    if (!node || !pack || entry.slot() >= kMaxSlots) return fail(Code::corrupt, "bad_holders");
    list.push_back({{*node, {*pack, static_cast<uint8_t>(entry.slot())}, entry.what()}, entry.found()});
  }
  return list;
}

Status add_bad_holders(env::Disk& disk, const std::string& home, const std::vector<BadHolder>& found) {
  auto list = read_bad_holders(disk, home);
  if (!list) list = std::vector<BadHolder>{};  // a damaged list is begun anew: it is a report, not data
  for (const BadHolder& bad : found) {
    std::erase_if(*list, [&](const BadHolder& old) {
      return old.bad.holder == bad.bad.holder && old.bad.shard == bad.bad.shard;
    });
    list->push_back(bad);
  }
  if (list->size() > kMaxBadHolders) list->erase(list->begin(), list->end() - kMaxBadHolders);
  wire::BadHolders kept;
  for (const BadHolder& bad : *list) {
    auto* entry = kept.add_found();
    entry->set_node(bad.bad.holder.raw());
    entry->set_pack(bad.bad.shard.pack.raw());
    entry->set_slot(bad.bad.shard.slot);
    entry->set_found(bad.found);
    entry->set_what(bad.bad.what);
  }
  return env::write_file(disk, home + "/bad_holders", wire::encode(kept));
}

}  // namespace cairn::client
