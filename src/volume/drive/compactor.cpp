#include "volume/drive/compactor.h"

#include "volume/drive/limits.h"
#include "volume/file_reader.h"

namespace cairn::volume {

namespace {

// Extents in a row without a hole between them.
struct Run {
  uint64_t offset = 0;
  std::vector<Extent> extents;
  std::vector<Extent> staged;  // what takes their place
};

std::vector<Run> runs_of(const std::vector<Extent>& extents) {
  std::vector<Run> runs;
  for (const Extent& extent : extents) {
    if (runs.empty() || runs.back().extents.back().end() != extent.offset)
      runs.push_back({.offset = extent.offset, .extents = {}, .staged = {}});
    runs.back().extents.push_back(extent);
  }
  std::erase_if(runs, [](const Run& run) { return run.extents.size() < 2; });
  return runs;
}

}  // namespace

Compactor::Compactor(env::World world, Pending& pending, SegmentStaging& staging, ChunkCache& chunks,
                     std::function<env::Task<Status>(std::function<env::Task<Status>()>)> exclusively)
    : world_(world), pending_(pending), staging_(staging), chunks_(chunks), exclusively_(std::move(exclusively)) {}

std::vector<Compactor::Unit> Compactor::candidates() const {
  std::vector<Unit> units;
  Unit last;
  size_t edits = 0;
  // Cutting an extent in two makes two edits at least.
  const auto end = [&] {
    if (edits >= 2 && units.size() < kExaminedUnits) units.push_back(last);
    edits = 0;
  };
  for (const auto& [key, value] : pending_.active()) {
    const auto parsed = parse_inode_key(key);
    if (!parsed || parsed->kind != ItemKind::extent) continue;
    const Unit unit{parsed->inode, parsed->offset / kExtentSize};
    if (unit != last) end();
    last = unit;
    ++edits;
  }
  end();
  return units;
}

env::Task<Result<std::vector<Extent>>> Compactor::extents_of(Unit unit) {
  const uint64_t first = unit.second * kExtentSize;
  auto extents = co_await find_extents(pending_.items(), unit.first, first, first + kExtentSize, SIZE_MAX / 2);
  co_return extents;
}

env::Task<void> Compactor::compact() {
  size_t rewritten = 0;
  for (const Unit& unit : candidates()) {
    if (rewritten >= kCompactedUnits) co_return;
    const uint64_t before = units_;
    auto status = co_await rewrite(unit);
    if (!status) {
      world_.log.debug("unit_not_compacted", "error={}", to_string(status.error()));
      co_return;
    }
    rewritten += units_ - before;
  }
}

env::Task<Status> Compactor::rewrite(Unit unit) {
  const auto held = staging_.hold();
  auto before = co_await extents_of(unit);
  if (!before) co_return fail(std::move(before.error()));
  if (before->size() <= kExtentsOfUnit || pending_.is_orphan(unit.first)) co_return Status{};
  const uint64_t first = unit.second * kExtentSize;
  if (before->front().offset < first || before->back().end() > first + kExtentSize) co_return Status{};
  std::vector<Run> runs = runs_of(*before);
  for (Run& run : runs) {
    Buffer bytes(run.extents.back().end() - run.offset);
    std::vector<Extent> placed;
    for (const Extent& extent : run.extents) {
      const auto place = staged_place(extent);
      if (!place) {
        placed.push_back(extent);
        continue;
      }
      auto part = co_await staging_.read(*place, extent.length);
      if (!part) co_return fail(std::move(part.error()));
      std::memcpy(bytes.data() + (extent.offset - run.offset), part->data(), part->size());
    }
    if (!placed.empty()) {
      auto pieces = co_await chunks_.read(pending_.items(), std::move(placed));
      if (!pieces) co_return fail(std::move(pieces.error()));
      for (const FileReader::Piece& piece : *pieces)
        std::memcpy(bytes.data() + (piece.offset - run.offset), piece.bytes.data(), piece.bytes.size());
    }
    const auto length = static_cast<uint32_t>(bytes.size());
    auto place = co_await staging_.append(std::move(bytes));
    if (!place) co_return fail(std::move(place.error()));
    run.staged.push_back({.offset = run.offset, .length = length, .chunk = staged_chunk(*place)});
  }
  if (runs.empty()) co_return Status{};
  auto status = co_await exclusively_([&]() -> env::Task<Status> {
    auto now = co_await extents_of(unit);
    if (!now) co_return fail(std::move(now.error()));
    if (*now != *before || pending_.is_orphan(unit.first)) co_return Status{};  // it was written to
    EditMap edits;
    for (const Run& run : runs) {
      for (const Extent& old : run.extents) edits.insert_or_assign(extent_key(unit.first, old.offset), std::nullopt);
      for (const Extent& fresh : run.staged)
        edits.insert_or_assign(extent_key(unit.first, fresh.offset), encode_extent(fresh));
    }
    CAIRN_CO_TRY(pending_.apply(std::move(edits), {}));
    ++units_;
    co_return Status{};
  });
  co_return status;
}

}  // namespace cairn::volume
