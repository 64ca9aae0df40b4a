// Staging in memory.

#include "volume/drive/staging.h"

namespace cairn::volume {

namespace {

class MemoryStaging final : public Staging {
 public:
  MemoryStaging(env::World world, uint64_t limit) : world_(world), limit_(limit) {}

  env::Task<Result<StagedPlace>> append(Buffer bytes) override {
    if (bytes.size() > limit_ - std::min(limit_, bytes_.size())) co_return fail(Code::no_space, "staging area");
    const StagedPlace place{1, bytes_.size()};
    cairn::append(bytes_, bytes.view());
    co_return place;
  }
  env::Task<Result<Buffer>> read(StagedPlace place, size_t length) override {
    Buffer got(length);
    std::memset(got.data(), 0, length);
    const size_t have = place.offset < bytes_.size() ? std::min<size_t>(length, bytes_.size() - place.offset) : 0;
    if (have > 0) std::memcpy(got.data(), bytes_.data() + place.offset, have);
    co_return got;
  }
  std::shared_ptr<void> hold() override { return {}; }
  env::Task<Status> sync() override { co_return Status{}; }
  void use(uint64_t, int64_t bytes) override { used_ += static_cast<uint64_t>(bytes); }
  uint64_t used_bytes() const override { return used_; }
  uint64_t disk_bytes() const override { return bytes_.size(); }

 private:
  env::World world_;
  uint64_t limit_;
  Bytes bytes_;
  uint64_t used_ = 0;
};

}  // namespace

std::unique_ptr<Staging> make_memory_staging(env::World world, uint64_t limit) {
  return std::make_unique<MemoryStaging>(world, limit);
}

}  // namespace cairn::volume
