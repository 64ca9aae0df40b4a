#include "volume/fork.h"

#include "proto/volume.pb.h"
#include "volume/keys.h"
#include "wire/message.h"

namespace cairn::volume {

namespace {

constexpr size_t kMaxNote = kMiB;

}  // namespace

env::Task<Result<std::optional<ParkedHead>>> ForkNote::load() {
  if (path_.empty()) co_return std::nullopt;
  auto bytes = co_await world_.workers.run([&] { return env::read_file(world_.disk, path_, kMaxNote); });
  if (!bytes && bytes.error().code == Code::not_found) co_return std::nullopt;
  if (!bytes) co_return fail(std::move(bytes.error()), path_);
  auto message = wire::decode<wire::ParkedHead>(ByteView(*bytes));
  if (!message) co_return fail(std::move(message.error()), path_);
  auto hash = Hash::from(message->hash());
  if (!hash) co_return fail(Code::corrupt, path_);
  ParkedHead head{.state = {.sequence = message->sequence(),
                            .hash = *hash,
                            .content = to_bytes(message->content()),
                            .written = message->written()}};
  if (auto writer = NodeId::from(message->writer())) head.state.writer = *writer;
  for (const std::string& raw : message->recent()) {
    auto one = Hash::from(raw);
    if (!one) co_return fail(Code::corrupt, path_);
    head.state.recent.push_back(*one);
  }
  co_return std::optional(std::move(head));
}

env::Task<Status> ForkNote::keep(const ParkedHead& head) {
  if (path_.empty()) co_return Status{};
  wire::ParkedHead message;
  message.set_sequence(head.state.sequence);
  message.set_hash(head.state.hash.raw());
  message.set_writer(head.state.writer.raw());
  message.set_written(head.state.written);
  message.set_content(to_string(ByteView(head.state.content)));
  for (const Hash& hash : head.state.recent) message.add_recent(hash.raw());
  auto kept = co_await world_.workers.run([&] { return env::write_file(world_.disk, path_, wire::encode(message)); });
  co_return kept;
}

env::Task<Status> ForkNote::remove() {
  if (path_.empty()) co_return Status{};
  auto gone = co_await world_.workers.run([&] { return world_.disk.remove(path_); });
  if (!gone && gone.error().code != Code::not_found) co_return gone;
  co_return Status{};
}

std::string fork_base_name(uint64_t epoch) {
  return fmt::format("before force-head {:x}", epoch);
}

env::Task<Result<BranchEdits>> edits_of_branch(Tree& tree, Root base, Root branch, bool whole) {
  BranchEdits result;
  auto walked = co_await tree.diff(std::move(base), std::move(branch),
                                   [&](std::vector<Difference> differences) -> env::Task<Status> {
                                     for (Difference& one : differences) {
                                       const auto key = parse_inode_key(one.key);
                                       // What was on its way out, and forgotten, there: that is for the present head to
                                       // say.
                                       if (!key && (one.key.starts_with('D') || one.key.starts_with('U') || !one.after))
                                         continue;
                                       if (key && !one.after && !whole) continue;
                                       if (key && key->kind == ItemKind::entry) {
                                         for (const auto* side : {&one.before, &one.after}) {
                                           if (!*side) continue;
                                           auto entry = decode_entry("", **side);
                                           if (!entry) co_return fail(std::move(entry.error()));
                                           if (entry->type == FileType::file)
                                             result.files += side == &one.after ? 1 : -1;
                                         }
                                       }
                                       if (key && key->kind == ItemKind::inode) {
                                         for (const auto* side : {&one.before, &one.after}) {
                                           if (!*side) continue;
                                           auto inode = decode_inode(**side);
                                           if (!inode) co_return fail(std::move(inode.error()));
                                           const auto size = static_cast<int64_t>(inode->size);
                                           if (inode->type == FileType::file)
                                             result.bytes += side == &one.after ? size : -size;
                                         }
                                       }
                                       result.edits.insert_or_assign(std::move(one.key), std::move(one.after));
                                     }
                                     co_return Status{};
                                   });
  if (!walked) co_return fail(std::move(walked.error()));
  co_return result;
}

}  // namespace cairn::volume
