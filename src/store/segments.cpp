#include "store/segments.h"

#include "store/limits.h"

namespace cairn::store {

namespace {

constexpr std::string_view kSuffix = ".seg";

std::optional<uint32_t> number_of(std::string_view name) {
  if (name.size() != 8 + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  auto raw = from_hex(name.substr(0, 8));
  if (!raw) return std::nullopt;
  return read_be32(raw->data());
}

}  // namespace

// Only a truncation that makes the file shorter is sure to give back blocks behind its end.
Status cut_off(env::File& file, uint64_t end) {
  auto size = file.size();
  if (!size) return fail(std::move(size.error()));
  if (*size <= end) CAIRN_TRY(file.truncate(end + kBlockSize));
  return file.truncate(end);
}

std::string SegmentFiles::path(uint32_t number) const {
  return fmt::format("{}/{:08x}{}", folder_, number, kSuffix);
}

Result<std::vector<uint32_t>> SegmentFiles::list() {
  auto names = disk_.list(folder_);
  if (!names) return fail(std::move(names.error()), "segments");
  std::vector<uint32_t> numbers;
  for (const std::string& name : *names) {
    if (const auto number = number_of(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<std::shared_ptr<env::File>> SegmentFiles::get(uint32_t number) {
  {
    const std::lock_guard lock(mutex_);
    for (auto it = open_.begin(); it != open_.end(); ++it) {
      if (it->first != number) continue;
      open_.splice(open_.begin(), open_, it);
      return it->second;
    }
  }
  auto file = disk_.open(path(number), env::OpenMode::read_write);
  if (!file) return fail(std::move(file.error()));
  return keep(number, std::move(*file));
}

Result<std::shared_ptr<env::File>> SegmentFiles::create(uint32_t number) {
  auto file = disk_.open(path(number), env::OpenMode::create_new);
  if (!file) return fail(std::move(file.error()), "new segment");
  CAIRN_TRY(disk_.sync_dir(folder_));
  return keep(number, std::move(*file));
}

Status SegmentFiles::remove(uint32_t number) {
  auto status = disk_.remove(path(number));
  {
    const std::lock_guard lock(mutex_);  // after the removal: nobody opens it any more
    std::erase_if(open_, [number](const auto& entry) { return entry.first == number; });
  }
  if (!status && status.error().code != Code::not_found) return status;
  return disk_.sync_dir(folder_);
}

void SegmentFiles::close_all() {
  const std::lock_guard lock(mutex_);
  open_.clear();
}

std::shared_ptr<env::File> SegmentFiles::keep(uint32_t number, std::unique_ptr<env::File> file) {
  std::shared_ptr<env::File> shared = std::move(file);
  const std::lock_guard lock(mutex_);
  for (const auto& [other, handle] : open_) {
    if (other == number) return handle;  // another thread was quicker
  }
  open_.emplace_front(number, shared);
  if (open_.size() > kOpenSegments) open_.pop_back();
  return shared;
}

}  // namespace cairn::store
