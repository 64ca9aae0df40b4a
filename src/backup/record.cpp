#include "backup/record.h"

#include <algorithm>

#include "proto/backup.pb.h"
#include "wire/message.h"

namespace cairn::backup {

namespace {

constexpr uint32_t kVersion = 1;

// In the order of the fields' numbers.
template <class Summary, class Visit>
void for_each_figure(Summary& summary, wire::BackupSummary& message, Visit visit) {
#define CAIRN_FIGURE(name) visit(summary.name, message.name(), [&](auto value) { message.set_##name(value); })
  CAIRN_FIGURE(files_new);
  CAIRN_FIGURE(files_changed);
  CAIRN_FIGURE(files_unmodified);
  CAIRN_FIGURE(dirs_new);
  CAIRN_FIGURE(dirs_changed);
  CAIRN_FIGURE(dirs_unmodified);
  CAIRN_FIGURE(data_blobs);
  CAIRN_FIGURE(tree_blobs);
  CAIRN_FIGURE(data_added);
  CAIRN_FIGURE(data_added_packed);
  CAIRN_FIGURE(total_files_processed);
  CAIRN_FIGURE(total_bytes_processed);
  CAIRN_FIGURE(backup_start);
  CAIRN_FIGURE(backup_end);
#undef CAIRN_FIGURE
}

Result<SnapshotId> optional_id(const std::string& raw) {
  if (raw.empty()) return SnapshotId{};
  auto id = SnapshotId::from(raw);
  if (!id) return fail(Code::corrupt, "ID of a snapshot");
  return *id;
}

}  // namespace

WallTime retention_time(const Record& record, WallTime witnessed, bool strictly) {
  constexpr WallTime kTolerance = 3600LL * 1'000'000'000;  // of clocks that are kept well enough
  if (witnessed == 0) return record.time;
  if (record.time > witnessed + kTolerance) return witnessed;
  if (!record.from_clock && !strictly) return record.time;
  const WallTime took = std::max<WallTime>(record.summary.backup_end - record.summary.backup_start, 0);
  // A run takes no weeks: a claim that it did would be another way to be older.
  constexpr WallTime kLongest = 7LL * 24 * kTolerance;
  return record.time < witnessed - std::min(took, kLongest) - kTolerance ? witnessed : record.time;
}

Bytes encode_record(const Record& record) {
  wire::BackupSnapshot message;
  message.set_version(kVersion);
  message.set_time(record.time);
  if (!record.parent.is_zero()) message.set_parent(record.parent.raw());
  if (!record.original.is_zero()) message.set_original(record.original.raw());
  message.set_host(record.host);
  message.set_user(record.user);
  message.set_uid(record.uid);
  message.set_gid(record.gid);
  for (const std::string& path : record.paths) message.add_paths(path);
  for (const std::string& tag : record.tags) message.add_tags(tag);
  for (const std::string& exclude : record.excludes) message.add_excludes(exclude);
  message.set_set(record.set);
  message.set_program_version(record.program_version);
  message.set_partial(record.partial);
  message.set_from_clock(record.from_clock);
  for_each_figure(record.summary, *message.mutable_summary(),
                  [](const auto& ours, auto, const auto& set) { set(ours); });
  return wire::encode(message);
}

Result<Record> decode_record(const std::string& id, ByteView details) {
  auto message = wire::decode<wire::BackupSnapshot>(details);
  if (!message) return fail(std::move(message.error()), "record of snapshot " + id);
  if (message->version() != kVersion) return fail(Code::unsupported, "snapshot " + id + " is of a later version");
  auto own = SnapshotId::from_hex_text(id);
  if (!own) return fail(Code::corrupt, "'" + id + "' is no ID of a snapshot");
  auto parent = optional_id(message->parent());
  if (!parent) return fail(std::move(parent.error()));
  auto original = optional_id(message->original());
  if (!original) return fail(std::move(original.error()));
  Record record{.id = *own,
                .time = message->time(),
                .parent = *parent,
                .original = *original,
                .host = message->host(),
                .user = message->user(),
                .uid = message->uid(),
                .gid = message->gid(),
                .paths = {message->paths().begin(), message->paths().end()},
                .tags = {message->tags().begin(), message->tags().end()},
                .excludes = {message->excludes().begin(), message->excludes().end()},
                .set = message->set(),
                .program_version = message->program_version(),
                .partial = message->partial(),
                .from_clock = message->from_clock(),
                .summary = {}};
  for_each_figure(record.summary, *message->mutable_summary(),
                  [](auto& ours, auto theirs, const auto&) { ours = theirs; });
  return record;
}

}  // namespace cairn::backup
