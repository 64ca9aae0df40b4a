#pragma once
// The segment files of a store: names, and a bounded number of open handles. Thread-safe; calls block.

#include <mutex>
#include <vector>

#include "env/disk.h"

namespace cairn::store {

// Ends the file at `end` and gives back what is preallocated behind it. Not yet durable.
Status cut_off(env::File& file, uint64_t end);

class SegmentFiles {
 public:
  SegmentFiles(env::Disk& disk, std::string folder) : disk_(disk), folder_(std::move(folder)) {}

  const std::string& folder() const { return folder_; }
  std::string path(uint32_t number) const;
  // Numbers of the segments that are there, ascending.
  Result<std::vector<uint32_t>> list();
  // Code::not_found.
  Result<std::shared_ptr<env::File>> get(uint32_t number);
  // The name is durable when it returns.
  Result<std::shared_ptr<env::File>> create(uint32_t number);
  // Durable; that it is not there is success.
  Status remove(uint32_t number);
  void close_all();

 private:
  std::shared_ptr<env::File> keep(uint32_t number, std::unique_ptr<env::File> file);

  env::Disk& disk_;
  std::string folder_;
  std::mutex mutex_;
  std::list<std::pair<uint32_t, std::shared_ptr<env::File>>> open_;  // the last used first
};

}  // namespace cairn::store
