#pragma once
// NoStore: stands where a store was that is no longer lent, so that who walks over a node's stores is not disturbed.
// Holds nothing and takes nothing.

#include "store/shard_store.h"

namespace cairn::store {

class NoStore final : public ShardStore {
 public:
  StoreId id() const override { return {}; }
  const StoreOptions& options() const override { return options_; }
  StoreFigures figures() const override { return {}; }
  Status set_limits(uint64_t, uint64_t, double) override { return {}; }
  void set_taking(bool) override {}
  env::Task<Status> put(content::PackHeader, uint8_t, uint32_t, Buffer, std::vector<NodeId>) override {
    co_return fail(Code::no_space, "no store");
  }
  env::Task<Result<Buffer>> read(ShardId, uint32_t, uint32_t) override { co_return fail(Code::not_found); }
  env::Task<Result<ProvenRange>> read_proven(ShardId, uint32_t, uint32_t) override { co_return fail(Code::not_found); }
  env::Task<Result<StoredShard>> describe(ShardId) override { co_return fail(Code::not_found); }
  env::Task<Result<std::vector<bool>>> holds(std::vector<ShardId> shards) override {
    co_return std::vector<bool>(shards.size());
  }
  env::Task<std::vector<std::optional<StoredShard>>> describe_all(std::vector<ShardId> shards) override {
    co_return std::vector<std::optional<StoredShard>>(shards.size());
  }
  env::Task<std::vector<PackHere>> describe_packs(std::vector<PackId> packs) override {
    co_return std::vector<PackHere>(packs.size());
  }
  env::Task<std::vector<uint8_t>> slots_of(PackId) override { co_return std::vector<uint8_t>(); }
  env::Task<Status> remove(ShardId) override { co_return fail(Code::not_found); }
  env::Task<Status> trim() override { co_return Status{}; }
  env::Task<std::vector<ShardId>> list(std::optional<ShardId>, size_t) override { co_return std::vector<ShardId>(); }
  void on_verified(std::move_only_function<void(const Verified&)>) override {}
  void on_rot(std::move_only_function<void(ShardId)>) override {}
  env::Task<Status> scrub(uint64_t) override { co_return Status{}; }
  env::Task<Status> settle() override { co_return Status{}; }
  env::Task<void> close() override { co_return; }

 private:
  StoreOptions options_;
};

}  // namespace cairn::store
