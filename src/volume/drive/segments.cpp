#include "volume/drive/segments.h"

#include <algorithm>
#include <charconv>

#include "volume/drive/limits.h"

namespace cairn::volume {

namespace {

constexpr std::string_view kSuffix = ".staged";

std::optional<uint64_t> number_of(std::string_view name) {
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number, 16);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

SegmentStaging::SegmentStaging(env::World world, StagingOptions options)
    : world_(world),
      options_(std::move(options)),
      syncing_(world.executor, 1),
      holds_(std::make_shared<std::set<uint64_t>>()),
      group_(world.executor) {}

SegmentStaging::~SegmentStaging() = default;

env::Task<Result<std::unique_ptr<SegmentStaging>>> SegmentStaging::open(env::World world, StagingOptions options,
                                                                        uint64_t above) {
  std::unique_ptr<SegmentStaging> staging(new SegmentStaging(world, std::move(options)));
  CAIRN_CO_TRY(co_await staging->load(above));
  co_return staging;
}

std::string SegmentStaging::path_of(uint64_t segment) const {
  return fmt::format("{}/{:016x}{}", options_.folder, segment, kSuffix);
}

env::Task<Status> SegmentStaging::load(uint64_t above) {
  struct Found {
    uint64_t number, size, disk;
  };
  auto found = co_await world_.workers.run([&]() -> Result<std::vector<Found>> {
    CAIRN_TRY(world_.disk.make_dirs(options_.folder));
    auto names = world_.disk.list(options_.folder);
    if (!names) return fail(std::move(names.error()));
    std::vector<Found> list;
    for (const std::string& name : *names) {
      const auto number = number_of(name);
      if (!number) continue;
      auto file = world_.disk.open(path_of(*number), env::OpenMode::read_write);
      if (!file) return fail(std::move(file.error()));
      auto size = (*file)->size();
      if (!size) return fail(std::move(size.error()));
      // Nothing is appended to it any more: what was reserved behind its end is given back.
      CAIRN_TRY((*file)->truncate(*size));
      auto disk = (*file)->allocated();
      if (!disk) return fail(std::move(disk.error()));
      list.push_back({*number, *size, *disk});
    }
    return list;
  });
  if (!found) co_return fail(std::move(found.error()), "staging area");
  next_ = above + 1;
  for (const Found& file : *found) {
    Segment& segment = segments_[file.number];
    segment.end = file.size;
    segment.disk = file.disk;
    disk_ += file.disk;
    next_ = std::max(next_, file.number + 1);
  }
  co_return Status{};
}

// Much at once goes past the system's cache of pages, which a copy into costs more than a checksum; it has places of
// whole pages for that. It is uploaded from memory or read once.
bool SegmentStaging::past_cache(const Buffer& bytes) {
  return bytes.size() >= kStagingCopy && bytes.size() % kPageAlignment == 0;
}

Status SegmentStaging::make_room(size_t bytes, size_t alignment) {
  if (current_ != 0) {
    const auto at = segments_.find(current_);
    if (at != segments_.end()) {
      const uint64_t begin = (at->second.end + alignment - 1) / alignment * alignment;
      if (begin + bytes <= at->second.disk) {
        at->second.end = begin;
        return {};
      }
    }
  }
  const uint64_t size = std::max<uint64_t>(options_.segment_size, bytes);
  if (disk_ > options_.limit || size > options_.limit - disk_) return fail(Code::no_space, "staging area is full");
  current_ = next_++;
  segments_[current_] = {.file = {}, .end = 0, .disk = size, .used = 0, .fresh = true};
  disk_ += size;
  return {};
}

env::Task<Result<StagedPlace>> SegmentStaging::append(Buffer bytes) {
  CAIRN_ASSERT(!bytes.empty());
  if (auto room = make_room(bytes.size(), past_cache(bytes) ? kPageAlignment : 1); !room)
    co_return fail(std::move(room.error()));
  Segment& segment = segments_.at(current_);
  const StagedPlace place{current_, segment.end};
  segment.end += bytes.size();
  segment.unused_since = next_hold_;
  appended_ += bytes.size();
  ++segment.writing;
  const env::OneShot<Status> done(world_.executor);
  queue_.push_back({{place.segment, place.offset}, std::move(bytes), done});
  if (!writing_) {
    writing_ = true;
    group_.spawn(write_queue());
  }
  auto status = co_await done;
  if (!status) co_return fail(std::move(status.error()));
  co_return place;
}

Status SegmentStaging::write_run(std::shared_ptr<env::File>& file, uint64_t segment, uint64_t& allocated,
                                 const std::vector<Append>& run) const {
  if (!file) {
    auto made = world_.disk.open(path_of(segment), env::OpenMode::create_new);
    if (!made) return fail(std::move(made.error()));
    Status room = (*made)->allocate(0, allocated);
    if (!room && room.error().code == Code::no_space &&
        run.back().place.second + run.back().bytes.size() <= kSmallSegment) {
      allocated = kSmallSegment;
      room = (*made)->allocate(0, allocated);
    }
    if (!room) {
      made->reset();
      (void)world_.disk.remove(path_of(segment));
      return room;
    }
    file = std::move(*made);
  }
  std::vector<ByteView> parts;
  parts.reserve(run.size());
  for (const Append& append : run) parts.push_back(append.bytes.view());
  const uint64_t begin = run.front().place.second;
  return past_cache(run.front().bytes) ? file->write_past_cache(begin, parts) : file->write_at(begin, parts);
}

env::Task<void> SegmentStaging::write_queue() {
  while (!queue_.empty()) {
    const uint64_t number = queue_.front().place.first;
    std::vector<Append> run;
    const auto fits = [&](const Append& next) {
      return run.empty() || (next.place == Place{number, run.back().place.second + run.back().bytes.size()} &&
                             past_cache(next.bytes) == past_cache(run.front().bytes));
    };
    for (size_t bytes = 0;
         !queue_.empty() && fits(queue_.front()) && bytes < kStagingRun && run.size() < kStagingParts;) {
      bytes += queue_.front().bytes.size();
      run.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    Segment& segment = segments_.at(number);
    std::shared_ptr<env::File> file = segment.file;
    uint64_t allocated = segment.disk;
    Status written = segment.fresh || file ? Status{} : fail(Code::io, "a segment that could not be made");
    if (written) written = co_await world_.workers.run([&] { return write_run(file, number, allocated, run); });
    segment.fresh = false;
    segment.file = file;
    if (written) {
      dirty_.insert(number);
      new_names_ = new_names_ || run.front().place.second == 0;
      disk_ -= segment.disk - allocated;
      segment.disk = allocated;
    } else {
      world_.log.warning("staging_write_failed", "segment={} error={}", number, to_string(written.error()));
      if (!file) {  // there is no such file: it takes no space
        disk_ -= segment.disk;
        segment.disk = 0;
      }
      if (current_ == number) current_ = 0;
    }
    segment.writing -= run.size();
    for (Append& append : run) {
      if (written) remember(append.place, append.bytes);
      append.done.set(written);
    }
  }
  writing_ = false;
}

void SegmentStaging::remember(Place place, const Buffer& bytes) {
  if (bytes.size() > options_.memory_bytes) return;
  memory_[place] = bytes.size() < kStagingCopy ? Buffer::copy_of(bytes) : bytes;
  memory_order_.push_back(place);
  memory_size_ += bytes.size();
  while (memory_size_ > options_.memory_bytes) {
    const auto oldest = memory_.find(memory_order_.front());
    memory_order_.pop_front();
    if (oldest == memory_.end()) continue;
    memory_size_ -= oldest->second.size();
    memory_.erase(oldest);
  }
}

std::optional<Buffer> SegmentStaging::remembered(StagedPlace place, size_t length) const {
  auto at = memory_.upper_bound({place.segment, place.offset});
  if (at == memory_.begin()) return std::nullopt;
  --at;
  const auto covers = [&](uint64_t offset) {
    return at != memory_.end() && at->first.first == place.segment && at->first.second <= offset &&
           offset < at->first.second + at->second.size();
  };
  if (!covers(place.offset)) return std::nullopt;
  const uint64_t skip = place.offset - at->first.second;
  if (at->second.size() - skip >= length) return at->second.slice(skip, length);
  Buffer whole(length);
  for (size_t done = 0; done < length; ++at) {
    const uint64_t from = place.offset + done;
    if (!covers(from)) return std::nullopt;
    const uint64_t inside = from - at->first.second;
    const size_t part = std::min<size_t>(length - done, at->second.size() - inside);
    std::memcpy(whole.data() + done, at->second.data() + inside, part);
    done += part;
  }
  return whole;
}

env::Task<Result<Buffer>> SegmentStaging::read(StagedPlace place, size_t length) {
  if (auto known = remembered(place, length)) co_return std::move(*known);
  const auto held = hold();
  const auto at = segments_.find(place.segment);
  std::shared_ptr<env::File> file = at == segments_.end() ? nullptr : at->second.file;
  const bool there = at != segments_.end();
  Buffer bytes(length);
  auto status = co_await world_.workers.run([&]() -> Status {
    size_t done = 0;
    if (!file && there) {
      auto opened = world_.disk.open(path_of(place.segment), env::OpenMode::read);
      if (!opened && opened.error().code != Code::not_found) return fail(std::move(opened.error()));
      if (opened) file = std::move(*opened);
    }
    while (file && done < length) {
      auto got = file->read_at(place.offset + done, bytes.span().subspan(done));
      if (!got) return fail(std::move(got.error()));
      if (*got == 0) break;
      done += *got;
    }
    std::memset(bytes.data() + done, 0, length - done);
    return {};
  });
  if (!status) co_return fail(std::move(status.error()), "staging area");
  if (const auto again = segments_.find(place.segment); again != segments_.end() && !again->second.file)
    again->second.file = file;
  co_return bytes;
}

std::shared_ptr<void> SegmentStaging::hold() {
  struct Hold {
    std::shared_ptr<std::set<uint64_t>> holds;
    uint64_t number;
    ~Hold() { holds->erase(number); }
  };
  holds_->insert(next_hold_);
  auto token = std::make_shared<Hold>();
  token->holds = holds_;
  token->number = next_hold_++;
  return token;
}

env::Task<Status> SegmentStaging::sync() {
  const auto turn = co_await syncing_.acquire();
  if (synced()) co_return Status{};
  const std::set<uint64_t> numbers = std::exchange(dirty_, {});
  const bool names = std::exchange(new_names_, false);
  struct Undone {  // also when the frame is destroyed
    SegmentStaging& owner;
    const std::set<uint64_t>& numbers;
    bool names, done = false;
    ~Undone() {
      if (done) return;
      owner.dirty_.insert(numbers.begin(), numbers.end());
      owner.new_names_ = owner.new_names_ || names;
    }
  } undone{*this, numbers, names};
  std::vector<std::shared_ptr<env::File>> files;
  for (const uint64_t number : numbers) {
    const auto at = segments_.find(number);
    if (at != segments_.end() && at->second.file) files.push_back(at->second.file);
  }
  auto status = co_await world_.workers.run([&]() -> Status {
    for (const auto& file : files) CAIRN_TRY(file->sync());
    if (names) CAIRN_TRY(world_.disk.sync_dir(options_.folder));
    return {};
  });
  undone.done = status.has_value();
  co_return status;
}

void SegmentStaging::use(uint64_t number, int64_t bytes) {
  used_ += static_cast<uint64_t>(bytes);
  Segment& segment = segments_[number];  // one that a power loss took may be named
  segment.used += bytes;
  next_ = std::max(next_, number + 1);
  if (segment.used == 0) segment.unused_since = next_hold_;
}

std::vector<uint64_t> SegmentStaging::unused() const {
  std::vector<uint64_t> found;
  const uint64_t oldest = holds_->empty() ? next_hold_ : *holds_->begin();
  for (const auto& [number, segment] : segments_) {
    const bool free = segment.used == 0 && segment.writing == 0 && number != current_;
    if (free && oldest >= segment.unused_since) found.push_back(number);
  }
  return found;
}

env::Task<std::vector<uint64_t>> SegmentStaging::remove(std::vector<uint64_t> segments) {
  const std::vector<uint64_t> still = unused();
  std::erase_if(segments, [&](uint64_t number) { return !std::binary_search(still.begin(), still.end(), number); });
  if (segments.empty()) co_return segments;
  for (const uint64_t number : segments) {
    const auto at = segments_.find(number);
    disk_ -= at->second.disk;
    segments_.erase(at);
    dirty_.erase(number);
    for (auto part = memory_.lower_bound({number, 0}); part != memory_.end() && part->first.first == number;) {
      memory_size_ -= part->second.size();
      part = memory_.erase(part);
    }
  }
  std::erase_if(memory_order_, [&](const Place& place) { return !memory_.contains(place); });
  co_await world_.workers.run([&] {
    for (const uint64_t number : segments) {
      const Status gone = world_.disk.remove(path_of(number));
      if (!gone && gone.error().code != Code::not_found)
        world_.log.warning("segment_not_removed", "segment={} error={}", number, to_string(gone.error()));
    }
    return true;
  });
  co_return segments;
}

}  // namespace cairn::volume
