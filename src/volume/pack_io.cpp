#include "volume/pack_io.h"

namespace cairn::volume {

namespace {

class PoolPackIo final : public PackIo {
 public:
  explicit PoolPackIo(pool::PoolClient& pool) : pool_(pool) {}
  content::PackGeometry geometry_now() const override { return pool_.geometry_now(); }
  env::Task<Result<pool::PackRef>> write(content::EncodedPack pack) override {
    auto outcome = co_await pool_.write(std::move(pack));
    if (!outcome) co_return fail(std::move(outcome.error()));
    co_return std::move(outcome->ref);
  }
  env::Task<uint64_t> settle() override { return pool_.settle(); }
  env::Task<Result<Buffer>> read(pool::PackRef pack, uint32_t offset, uint32_t length, pool::PoolClient::Check check,
                                 pool::Purpose purpose) override {
    return pool_.read(std::move(pack), offset, length, std::move(check), purpose);
  }

 private:
  pool::PoolClient& pool_;
};

class RegisterHead final : public HeadRegister {
 public:
  explicit RegisterHead(Register& head) : head_(head) {}
  env::Task<Result<RegisterState>> read() override { return head_.read(); }
  env::Task<Result<RegisterState>> write(RegisterState expected, Bytes content) override {
    auto state = co_await head_.write(expected, std::move(content));
    co_return state;
  }
  std::vector<Hash> attempted() const override { return head_.attempted(); }

 private:
  Register& head_;
};

}  // namespace

std::unique_ptr<PackIo> make_pack_io(pool::PoolClient& pool) {
  return std::make_unique<PoolPackIo>(pool);
}
std::unique_ptr<HeadRegister> make_head_register(Register& head) {
  return std::make_unique<RegisterHead>(head);
}

}  // namespace cairn::volume
