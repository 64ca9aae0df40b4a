#pragma once
// PosixDisk: env::Disk on the operating system's files. Thread-safe; every call may block.

#include "env/disk.h"

namespace cairn::os {

class PosixDisk final : public env::Disk {
 public:
  // Relative paths start at `root`; empty: at the working folder of the process.
  explicit PosixDisk(std::string root = {}) : root_(std::move(root)) {}

  Result<std::unique_ptr<env::File>> open(const std::string& path, env::OpenMode mode) override;
  Status make_dirs(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status sync_dir(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<env::Space> space(const std::string& path) override;
  Result<std::unique_ptr<env::DiskLock>> lock(const std::string& path) override;

 private:
  std::string real(const std::string& path) const;
  std::string root_;
};

}  // namespace cairn::os
