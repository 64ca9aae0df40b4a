#pragma once
// A Disk over another one that lacks something: hole punching, or a true answer about free space.

#include "env/world.h"

namespace cairn::store {

class WrappedDisk final : public env::Disk {
 public:
  explicit WrappedDisk(env::Disk& inner) : inner_(inner) {}
  bool can_punch = true;
  bool lie_about_space = false;

  Result<std::unique_ptr<env::File>> open(const std::string& path, env::OpenMode mode) override {
    auto file = inner_.open(path, mode);
    if (!file) return file;
    return std::unique_ptr<env::File>(std::make_unique<WrappedFile>(*this, std::move(*file)));
  }
  Status make_dirs(const std::string& path) override { return inner_.make_dirs(path); }
  Status rename(const std::string& from, const std::string& to) override { return inner_.rename(from, to); }
  Status remove(const std::string& path) override { return inner_.remove(path); }
  Status sync_dir(const std::string& path) override { return inner_.sync_dir(path); }
  Result<std::vector<std::string>> list(const std::string& path) override { return inner_.list(path); }
  Result<bool> exists(const std::string& path) override { return inner_.exists(path); }
  Result<env::Space> space(const std::string& path) override {
    if (lie_about_space) return env::Space{kTiB, kTiB};
    return inner_.space(path);
  }
  Result<std::unique_ptr<env::DiskLock>> lock(const std::string& path) override { return inner_.lock(path); }

 private:
  class WrappedFile final : public env::File {
   public:
    WrappedFile(WrappedDisk& disk, std::unique_ptr<env::File> inner) : disk_(disk), inner_(std::move(inner)) {}
    Result<size_t> read_at(uint64_t offset, MutableByteView into) override { return inner_->read_at(offset, into); }
    Status write_at(uint64_t offset, std::span<const ByteView> parts) override {
      return inner_->write_at(offset, parts);
    }
    Status sync() override { return inner_->sync(); }
    Result<uint64_t> size() override { return inner_->size(); }
    Status truncate(uint64_t size) override { return inner_->truncate(size); }
    Status allocate(uint64_t offset, uint64_t length) override { return inner_->allocate(offset, length); }
    Status punch_hole(uint64_t offset, uint64_t length) override {
      if (!disk_.can_punch) return fail(Code::unsupported, "no holes here");
      return inner_->punch_hole(offset, length);
    }
    Result<uint64_t> allocated() override { return inner_->allocated(); }

   private:
    WrappedDisk& disk_;
    std::unique_ptr<env::File> inner_;
  };
  env::Disk& inner_;
};

inline env::World with_disk(const env::World& world, env::Disk& disk) {
  return {world.executor, world.clock, world.network, disk, world.meta_stores, world.random, world.workers, world.log};
}

}  // namespace cairn::store
