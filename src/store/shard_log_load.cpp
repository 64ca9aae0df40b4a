// ShardLog: opening, start-up scan and rebuild of the index.

#include "store/shard_log.h"

namespace cairn::store {

ShardLog::ShardLog(env::World world, Marker marker, Options options)
    : world_(world),
      marker_(marker),
      options_(std::move(options)),
      keep_free_(options_.keep_free),
      keep_free_share_(options_.keep_free_share),
      segment_blocks_(static_cast<uint32_t>(segment_size(options_.limit) / kBlockSize)),
      files_(world.disk, options_.path + "/segments") {}

void ShardLog::unload() {
  scanning_.reset();
  to_scan_.clear();
  index_.reset();
  files_.close_all();
}

void ShardLog::wipe_index_files() {
  auto names = world_.disk.list(index_path());
  if (!names) return;
  for (const std::string& name : *names) {
    if (auto status = world_.disk.remove(index_path() + "/" + name); !status) {
      world_.log.warning("store_index_wipe", "file={} error=\"{}\"", name, to_string(status.error()));
    }
  }
  if (auto status = world_.disk.sync_dir(index_path()); !status) {
    world_.log.warning("store_index_wipe", "error=\"{}\"", to_string(status.error()));
  }
}

Status ShardLog::open_index() {
  const env::MetaStoreOptions options{.write_buffer_size = index_write_buffer(options_.limit)};
  auto opened = world_.meta_stores.open(index_path(), options);
  if (!opened && opened.error().code == Code::corrupt) {
    world_.log.warning("store_index_corrupt", "path={} error=\"{}\"", options_.path, to_string(opened.error()));
    wipe_index_files();
    opened = world_.meta_stores.open(index_path(), options);
  }
  if (!opened && opened.error().code == Code::no_space) {
    spend_reserve();
    opened = world_.meta_stores.open(index_path(), options);
  }
  if (!opened) return fail(std::move(opened.error()), "store index");
  index_ = std::make_unique<Index>(std::move(*opened));
  return {};
}

Status ShardLog::write_index(const IndexBatch& batch, bool sync) {
  auto status = index_->write(batch, sync);
  if (!status && status.error().code == Code::no_space) spend_reserve();
  return status;
}

// Where there is too little room it is tried again later; until then no put is taken.
void ShardLog::hold_reserve() {
  const uint64_t size = reserve_bytes(options_.limit);
  auto file = world_.disk.open(reserve_path(), env::OpenMode::create);
  if (!file) return;
  auto held = (*file)->allocated();
  has_reserve_ = held && *held >= size;
  if (has_reserve_ || !held || totals_.space.available < 2 * size) return;
  has_reserve_ = (*file)->allocate(0, size) && (*file)->sync();
}

void ShardLog::spend_reserve() {
  has_reserve_ = false;
  auto status = world_.disk.remove(reserve_path());
  if (status) status = world_.disk.sync_dir(options_.path);
  world_.log.warning("store_disk_full", "path={} reserve={}", options_.path,
                     status ? "spent" : to_string(status.error()));
}

Status ShardLog::start_rebuild() {
  rebuilding_ = true;
  segments_.clear();
  meta_ = IndexMeta{.id = marker_.id};
  CAIRN_TRY(index_->clear());
  return {};
}

Status ShardLog::load() {
  unload();
  broken_ = true;  // until scan() is through
  rebuilding_ = false;
  damage_noted_ = false;
  segments_.clear();
  active_.reset();
  allocated_end_ = 0;
  totals_ = {};
  bytes_since_checkpoint_ = 0;
  records_since_checkpoint_ = 0;

  CAIRN_TRY(mounted());
  auto damaged = world_.disk.exists(damage_path());
  if (!damaged) return fail(std::move(damaged.error()));
  if (*damaged) wipe_index_files();
  CAIRN_TRY(open_index());

  auto meta = index_->meta();
  auto known = index_->segments();
  const bool usable = meta && *meta && (*meta)->id == marker_.id && known;
  if (usable && !*damaged) {
    meta_ = **meta;
    segments_ = std::move(*known);
  } else {
    for (const auto* error : {meta ? nullptr : &meta.error(), known ? nullptr : &known.error()}) {
      if (error != nullptr && error->code != Code::corrupt) return fail(*error, "store index");
    }
    CAIRN_TRY(start_rebuild());
  }

  auto present = files_.list();
  if (!present) return fail(std::move(present.error()));
  for (auto& [number, info] : segments_) {
    if (info.sealed) {
      if (!std::binary_search(present->begin(), present->end(), number)) {
        world_.log.error("store_segment_missing", "path={} segment={} shards={}", options_.path, number, info.records);
      }
    } else {
      to_scan_.push_back({number, info.end, false});
    }
  }
  for (const uint32_t number : *present) {
    if (segments_.contains(number)) continue;
    if (number > meta_.high_water) {
      to_scan_.push_back({number, 0, false});
    } else {
      CAIRN_TRY(files_.remove(number));  // a crash came between forgetting it and removing it
    }
  }
  std::sort(to_scan_.begin(), to_scan_.end(), [](const ToScan& a, const ToScan& b) { return a.number > b.number; });
  if (!to_scan_.empty()) to_scan_.front().last = true;  // taken from the back
  if (rebuilding_ && !present->empty()) {
    world_.log.warning("store_index_rebuild", "path={} segments={}", options_.path, present->size());
  }
  return {};
}

// What is found is made durable (file, then index) before the next step: the process before this one may have been
// killed between its write and its sync, and a receipt may be given for a shard that is found to be here.
Result<bool> ShardLog::scan() {
  if (!scanning_ && to_scan_.empty()) {
    IndexBatch done;
    meta_.high_water = segments_.empty() ? meta_.high_water : std::max(meta_.high_water, segments_.rbegin()->first);
    done.put_meta(meta_);
    CAIRN_TRY(write_index(done, true));
    if (rebuilding_) {
      auto status = world_.disk.remove(damage_path());
      if (!status && status.error().code != Code::not_found) return fail(std::move(status.error()));
      CAIRN_TRY(world_.disk.sync_dir(options_.path));
      rebuilding_ = false;
    }
    recount();
    measure_index();
    note_garbage();
    if (auto space = world_.disk.space(options_.path)) totals_.space = *space;
    hold_reserve();
    broken_ = false;
    return false;
  }
  if (!scanning_) {
    const ToScan& next = to_scan_.back();
    auto file = files_.get(next.number);
    if (!file && file.error().code == Code::not_found) {
      world_.log.error("store_segment_missing", "path={} segment={}", options_.path, next.number);
      segments_[next.number].sealed = true;
      IndexBatch batch;
      batch.put_segment(next.number, segments_[next.number]);
      CAIRN_TRY(write_index(batch, true));
      to_scan_.pop_back();
      return true;
    }
    if (!file) return fail(std::move(file.error()), "segment");
    auto scanner = SegmentScanner::open(*file, next.number, next.from, marker_.stamp, !rebuilding_ || next.last);
    if (!scanner) return fail(std::move(scanner.error()));
    scanning_.emplace(std::move(*scanner));
  }

  SegmentInfo& info = segments_[scanning_->number()];
  IndexBatch batch;
  std::set<ShardId> met;  // in this batch, so not yet in the index
  uint64_t budget = kScanStepBytes;
  bool ended = false;
  for (uint32_t records = 0; records < kScanStepRecords; ++records) {
    auto record = scanning_->next(budget);
    if (!record) return fail(std::move(record.error()));
    if (!*record) {
      ended = scanning_->at_end();
      break;
    }
    const Place place = (*record)->place();
    const ShardId shard = (*record)->shard;
    if (place.block > info.end) {
      const Hole gap{place.segment, info.end, place.block - info.end};
      batch.put_hole(gap);
      info.held += gap.blocks;
    }
    info.end = place.block + place.blocks;
    info.held += place.blocks;
    auto there = index_->find(shard);
    if (!there && there.error().code != Code::corrupt) return fail(std::move(there.error()));
    if (met.contains(shard) || (there && *there)) {
      batch.put_hole({place.segment, place.block, place.blocks});  // a copy that a crash left
      continue;
    }
    met.insert(shard);
    batch.put_shard(shard, {place, false});
    batch.put_unverified(place, shard);
    info.live += place.blocks;
    ++info.records;
    ++info.unverified;
  }
  const uint32_t number = scanning_->number();
  if (ended) {
    CAIRN_TRY(cut_off(scanning_->file(), uint64_t{info.end} * kBlockSize));
    const bool last = to_scan_.back().last;
    if (!last) info.sealed = true;
    if (last) {
      active_ = number;
      allocated_end_ = uint64_t{info.end} * kBlockSize;
    }
    to_scan_.pop_back();
  }
  CAIRN_TRY(scanning_->file().sync());
  if (ended) scanning_.reset();
  batch.put_segment(number, info);
  CAIRN_TRY(write_index(batch, ended));
  return true;
}

void ShardLog::recount() {
  totals_.held_blocks = totals_.live_blocks = totals_.records = totals_.unverified = 0;
  for (const auto& [number, info] : segments_) {
    totals_.held_blocks += info.held;
    totals_.live_blocks += info.live;
    totals_.records += info.records;
    totals_.unverified += info.unverified;
  }
  totals_.corrupt = meta_.corrupt;
  totals_.tail_blocks = active_ ? allocated_end_ / kBlockSize - segments_[*active_].end : 0;
}

// The index is not ours to count, so its files are looked at. Where they cannot be, the allowance must do.
void ShardLog::measure_index() {
  auto names = world_.disk.list(index_path());
  if (!names) return;
  uint64_t bytes = 0;
  for (const std::string& name : *names) {
    auto file = world_.disk.open(index_path() + "/" + name, env::OpenMode::read);
    if (!file) continue;  // merged away meanwhile
    auto allocated = (*file)->allocated();
    if (allocated) bytes += *allocated;
  }
  totals_.index_bytes = bytes;
}

void ShardLog::set_keep_free(uint64_t bytes, double share) {
  keep_free_ = bytes;
  keep_free_share_ = share;
}

uint64_t ShardLog::keep_free(const env::Space& space) const {
  const uint64_t wanted =
      std::max(keep_free_.load(), static_cast<uint64_t>(keep_free_share_.load() * static_cast<double>(space.total)));
  return has_reserve_ ? wanted : wanted + 2 * reserve_bytes(options_.limit);
}

}  // namespace cairn::store
