#pragma once
// The contents of simulated files: what the process sees, and what the disk would keep.

#include "sim/disk.h"

namespace cairn::sim {

// Ranges of page numbers.
class PageSet {
 public:
  void add(uint64_t first, uint64_t last);  // [first, last)
  void remove(uint64_t first, uint64_t last);
  uint64_t missing(uint64_t first, uint64_t last) const;  // how many of them are not in the set
  uint64_t count() const;

 private:
  std::map<uint64_t, uint64_t> ranges_;  // first -> last (exclusive), apart from each other
};

using Page = std::array<uint8_t, kPage>;

class Inode {
 public:
  Inode(SimDisk& disk, bool folder) : disk_(disk), folder_(folder) {}
  bool folder() const { return folder_; }
  uint64_t size() const { return now_.size; }
  uint64_t allocated() const { return now_.taken.count() * kPage; }

  size_t read(uint64_t offset, MutableByteView into) const;
  Status write(uint64_t offset, ByteView bytes);
  void truncate(uint64_t size);
  Status allocate(uint64_t offset, uint64_t length);
  void punch(uint64_t offset, uint64_t length);
  void sync();
  // What a power loss leaves.
  void crash(env::Prng& prng);
  bool flip(uint64_t offset, unsigned bit);
  void each_page(const std::function<void(uint64_t page, ByteView bytes)>& visit) const;
  size_t pages() const { return now_.pages.size(); }
  // The number and place of the n-th page that has bytes.
  uint64_t page_number(size_t n) const { return std::next(now_.pages.begin(), static_cast<ptrdiff_t>(n))->first; }

  uint32_t users = 0;   // names and open handles; without any the space is free
  bool counted = true;  // its space is in SimDisk::used_

 private:
  struct State {
    uint64_t size = 0;
    std::map<uint64_t, std::shared_ptr<Page>> pages;  // absent: zeros. Never changed while shared
    PageSet taken;                                    // blocks of the file
  };
  Page& writable(uint64_t page);
  void zero(uint64_t first, uint64_t last);  // byte range

  SimDisk& disk_;
  bool folder_;
  State now_, durable_;
  std::set<uint64_t> dirty_;  // pages that differ, maybe
};

class SimFile final : public env::File {
 public:
  SimFile(SimDisk& disk, std::shared_ptr<Inode> inode, std::string path, bool writable);
  ~SimFile() override;
  using env::File::write_at;
  Result<size_t> read_at(uint64_t offset, MutableByteView into) override;
  Status write_at(uint64_t offset, std::span<const ByteView> parts) override;
  Status sync() override;
  Result<uint64_t> size() override;
  Status truncate(uint64_t size) override;
  Status allocate(uint64_t offset, uint64_t length) override;
  Status punch_hole(uint64_t offset, uint64_t length) override;
  Result<uint64_t> allocated() override;

 private:
  Status usable(bool write) const;
  SimDisk& disk_;
  std::shared_ptr<Inode> inode_;
  std::string path_;
  bool writable_;
  uint64_t life_;
};

}  // namespace cairn::sim
