#include "sim/files.h"

namespace cairn::sim {

void PageSet::add(uint64_t first, uint64_t last) {
  if (first >= last) return;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second >= first) --it;
  while (it != ranges_.end() && it->first <= last) {
    first = std::min(first, it->first);
    last = std::max(last, it->second);
    it = ranges_.erase(it);
  }
  ranges_[first] = last;
}

void PageSet::remove(uint64_t first, uint64_t last) {
  if (first >= last) return;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second > first) --it;
  while (it != ranges_.end() && it->first < last) {
    const auto [begin, end] = *it;
    it = ranges_.erase(it);
    if (begin < first) ranges_[begin] = first;
    if (end > last) ranges_[last] = end;
  }
}

uint64_t PageSet::missing(uint64_t first, uint64_t last) const {
  if (first >= last) return 0;
  uint64_t missing = last - first;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin()) --it;
  for (; it != ranges_.end() && it->first < last; ++it) {
    const uint64_t begin = std::max(first, it->first);
    const uint64_t end = std::min(last, it->second);
    if (begin < end) missing -= end - begin;
  }
  return missing;
}

uint64_t PageSet::count() const {
  uint64_t count = 0;
  for (const auto& [first, last] : ranges_) count += last - first;
  return count;
}

size_t Inode::read(uint64_t offset, MutableByteView into) const {
  if (offset >= now_.size) return 0;
  const size_t length = std::min<uint64_t>(into.size(), now_.size - offset);
  for (size_t done = 0; done < length;) {
    const uint64_t page = (offset + done) / kPage;
    const size_t within = (offset + done) % kPage;
    const size_t step = std::min<size_t>(kPage - within, length - done);
    const auto found = now_.pages.find(page);
    if (found == now_.pages.end()) {
      std::memset(into.data() + done, 0, step);
    } else {
      std::memcpy(into.data() + done, found->second->data() + within, step);
    }
    done += step;
  }
  return length;
}

Page& Inode::writable(uint64_t page) {
  dirty_.insert(page);
  auto& place = now_.pages[page];
  if (!place) {
    place = std::make_shared<Page>();
  } else if (place.use_count() > 1) {
    place = std::make_shared<Page>(*place);
  }
  return *place;
}

Status Inode::write(uint64_t offset, ByteView bytes) {
  if (bytes.empty()) return {};
  const uint64_t first = offset / kPage;
  const uint64_t last = (offset + bytes.size() + kPage - 1) / kPage;
  CAIRN_TRY(disk_.take_space(now_.taken.missing(first, last) * kPage));
  now_.taken.add(first, last);
  for (size_t done = 0; done < bytes.size();) {
    const size_t within = (offset + done) % kPage;
    const size_t step = std::min<size_t>(kPage - within, bytes.size() - done);
    std::memcpy(writable((offset + done) / kPage).data() + within, bytes.data() + done, step);
    done += step;
  }
  now_.size = std::max<uint64_t>(now_.size, offset + bytes.size());
  return {};
}

void Inode::zero(uint64_t first, uint64_t last) {
  for (auto it = now_.pages.lower_bound(first / kPage); it != now_.pages.end() && it->first * kPage < last;) {
    const uint64_t page = it->first;
    const uint64_t begin = std::max(first, page * kPage) - page * kPage;
    const uint64_t end = std::min(last, (page + 1) * kPage) - page * kPage;
    if (begin == 0 && end == kPage) {
      dirty_.insert(page);
      it = now_.pages.erase(it);
      continue;
    }
    ++it;
    std::memset(writable(page).data() + begin, 0, end - begin);
  }
}

void Inode::truncate(uint64_t size) {
  if (size < now_.size) {
    zero(size, UINT64_MAX);
    const uint64_t before = now_.taken.count();
    now_.taken.remove((size + kPage - 1) / kPage, UINT64_MAX);
    disk_.give_space((before - now_.taken.count()) * kPage);
  }
  now_.size = size;
}

Status Inode::allocate(uint64_t offset, uint64_t length) {
  const uint64_t first = offset / kPage;
  const uint64_t last = (offset + length + kPage - 1) / kPage;
  CAIRN_TRY(disk_.take_space(now_.taken.missing(first, last) * kPage));
  now_.taken.add(first, last);
  return {};
}

void Inode::punch(uint64_t offset, uint64_t length) {
  zero(offset, offset + length);
  const uint64_t before = now_.taken.count();
  now_.taken.remove((offset + kPage - 1) / kPage, (offset + length) / kPage);
  disk_.give_space((before - now_.taken.count()) * kPage);
}

void Inode::sync() {
  for (const uint64_t page : dirty_) {
    const auto found = now_.pages.find(page);
    if (found == now_.pages.end()) {
      durable_.pages.erase(page);
    } else {
      durable_.pages[page] = found->second;
    }
  }
  dirty_.clear();
  durable_.size = now_.size;
  durable_.taken = now_.taken;
}

void Inode::crash(env::Prng& prng) {
  if (folder_) return;
  State after = durable_;
  // The length is metadata of its own: it may be on the disk before the data is, and the other way round.
  if (prng.chance(0.5)) after.size = now_.size;
  if (prng.chance(0.5)) after.taken = now_.taken;
  const bool all = prng.chance(0.15);
  const bool none = !all && prng.chance(0.15);
  for (const uint64_t page : dirty_) {
    if (none) break;
    const auto newer = now_.pages.find(page);
    const auto older = durable_.pages.find(page);
    auto mixed = older == durable_.pages.end() ? std::make_shared<Page>() : std::make_shared<Page>(*older->second);
    for (uint64_t sector = 0; sector < kPage; sector += kSector) {
      if (!all && prng.chance(0.5)) continue;
      if (newer == now_.pages.end()) {
        std::memset(mixed->data() + sector, 0, kSector);
      } else {
        std::memcpy(mixed->data() + sector, newer->second->data() + sector, kSector);
      }
    }
    after.pages[page] = std::move(mixed);
  }
  for (auto it = after.pages.begin(); it != after.pages.end();) {
    if (it->first * kPage >= after.size) {
      it = after.pages.erase(it);
      continue;
    }
    if ((it->first + 1) * kPage > after.size) {  // what lies beyond the end reads as zeros when the file grows again
      auto cut = std::make_shared<Page>(*it->second);
      const uint64_t keep = after.size - it->first * kPage;
      std::memset(cut->data() + keep, 0, kPage - keep);
      it->second = std::move(cut);
    }
    after.taken.add(it->first, it->first + 1);
    ++it;
  }
  now_ = after;
  durable_ = std::move(after);
  dirty_.clear();
}

bool Inode::flip(uint64_t offset, unsigned bit) {
  if (offset >= now_.size) return false;
  const uint64_t page = offset / kPage;
  const auto flipped = [&](State& state) {
    const auto found = state.pages.find(page);
    if (found == state.pages.end()) return false;
    found->second = std::make_shared<Page>(*found->second);
    (*found->second)[offset % kPage] ^= static_cast<uint8_t>(1U << (bit % 8));
    return true;
  };
  const bool dirty = dirty_.contains(page);
  const bool now = flipped(now_);
  if (now && !dirty) durable_.pages[page] = now_.pages[page];
  return now;
}

void Inode::each_page(const std::function<void(uint64_t, ByteView)>& visit) const {
  for (const auto& [page, bytes] : now_.pages) visit(page, *bytes);
  for (const auto& [page, bytes] : durable_.pages) {
    if (dirty_.contains(page)) visit(page, *bytes);
  }
}

SimFile::SimFile(SimDisk& disk, std::shared_ptr<Inode> inode, std::string path, bool writable)
    : disk_(disk), inode_(std::move(inode)), path_(std::move(path)), writable_(writable), life_(disk.life_) {
  ++inode_->users;
}

SimFile::~SimFile() {
  if (life_ == disk_.life_) disk_.unlink(inode_);
}

Status SimFile::usable(bool write) const {
  if (life_ != disk_.life_) return fail(Code::io, path_ + ": a handle from before the crash");
  if (write && !writable_) return fail(Code::io, path_ + ": opened for reading");
  return {};
}

Result<size_t> SimFile::read_at(uint64_t offset, MutableByteView into) {
  CAIRN_TRY(usable(false));
  CAIRN_TRY(disk_.begin_read("read", into.size()));
  return inode_->read(offset, into);
}

Status SimFile::write_at(uint64_t offset, std::span<const ByteView> parts) {
  CAIRN_TRY(usable(true));
  uint64_t length = 0;
  for (const ByteView part : parts) length += part.size();
  bool effect = false;
  const Status allowed = disk_.begin_change("write", path_, length, &effect);
  if (!allowed && !effect) return allowed;
  for (const ByteView part : parts) {
    const Status written = inode_->write(offset, part);
    if (allowed && !written) return fail(written.error(), path_);
    offset += part.size();
  }
  return allowed;
}

Status SimFile::sync() {
  CAIRN_TRY(usable(false));
  bool effect = false;
  const Status allowed = disk_.begin_change("sync", path_, 0, &effect);
  disk_.cost_sync();
  if ((allowed || effect) && !disk_.lying_) inode_->sync();
  return allowed;
}

Result<uint64_t> SimFile::size() {
  CAIRN_TRY(usable(false));
  CAIRN_TRY(disk_.begin_read("size", 0));
  return inode_->size();
}

Status SimFile::truncate(uint64_t size) {
  CAIRN_TRY(usable(true));
  bool effect = false;
  const Status allowed = disk_.begin_change("truncate", path_, 0, &effect);
  if (allowed || effect) inode_->truncate(size);
  return allowed;
}

Status SimFile::allocate(uint64_t offset, uint64_t length) {
  CAIRN_TRY(usable(true));
  bool effect = false;
  const Status allowed = disk_.begin_change("allocate", path_, 0, &effect);
  if (!allowed && !effect) return allowed;
  const Status taken = inode_->allocate(offset, length);
  return allowed ? taken : allowed;
}

Status SimFile::punch_hole(uint64_t offset, uint64_t length) {
  CAIRN_TRY(usable(true));
  bool effect = false;
  const Status allowed = disk_.begin_change("punch", path_, 0, &effect);
  if (allowed || effect) inode_->punch(offset, length);
  return allowed;
}

Result<uint64_t> SimFile::allocated() {
  CAIRN_TRY(usable(false));
  CAIRN_TRY(disk_.begin_read("allocated", 0));
  return inode_->allocated();
}

}  // namespace cairn::sim
