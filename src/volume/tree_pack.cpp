#include "volume/tree_pack.h"

#include "content/chunk.h"

namespace cairn::volume {

namespace {

// Nodes sealed before others have their turn on the strand: about 2 ms.
constexpr size_t kNodesPerTurn = 32;

}  // namespace

TreePacks::TreePacks(env::World world, PackIo& packs, const content::VolumeKeys& keys, const crypto::PrivateKey& writer,
                     uint64_t head_sequence, int compression_level)
    : world_(world),
      io_(packs),
      keys_(keys),
      writer_(writer),
      head_sequence_(head_sequence),
      compression_level_(compression_level) {}

env::Task<Result<NodeRef>> TreePacks::store(ChunkId id, Bytes plain, uint32_t level) {
  if (++since_turn_ >= kNodesPerTurn) {
    since_turn_ = 0;
    const env::OneShot<bool> turn(world_.executor);
    world_.executor.post([turn] { turn.set(true); });
    co_await turn;
  }
  if (!builder_) {
    const content::PackGeometry geometry = io_.geometry_now();
    builder_ = std::make_unique<content::PackBuilder>(geometry.k, geometry.m, content::PackLayout::contiguous);
    capacity_ = uint64_t{geometry.k} * kMaxShardSize;
  }
  Bytes sealed;
  sealed.reserve(plain.size() + content::kSealOverhead);
  content::seal_chunk(keys_, id, content::ChunkType::tree_node, plain, compression_level_, world_.random, sealed);
  ++nodes_;
  plain_bytes_ += plain.size();
  sealed_bytes_ += sealed.size();
  const auto ticket = builder_->add_sealed(sealed);
  CAIRN_ASSERT(ticket);  // room for a node of any size was left before
  const content::PackBuilder::Place place = builder_->place(*ticket);
  NodeRef ref{.chunk = id, .pack = {}, .offset = place.offset, .length = place.length, .level = level};
  pack_of_.insert_or_assign(id, sent_.size());
  fresh_bytes_ += plain.size();
  fresh_.push_back({ref, std::move(plain)});
  for (; fresh_bytes_ > kFreshNodes; fresh_.pop_front()) fresh_bytes_ -= fresh_.front().plain.size();
  if (builder_->size() + kMaxNodeBytes + content::kSealOverhead > capacity_) CAIRN_CO_TRY(co_await send());
  co_return ref;
}

NodeRef TreePacks::resolve(const NodeRef& ref) const {
  NodeRef resolved = ref;
  if (!ref.pack.id.is_zero()) return resolved;
  const auto pack = pack_of_.find(ref.chunk);
  if (pack != pack_of_.end() && pack->second < sent_.size()) resolved.pack = sent_[pack->second];
  return resolved;
}

env::Task<Status> TreePacks::send() {
  const std::unique_ptr<content::PackBuilder> builder = std::move(builder_);
  auto encoded = co_await world_.workers.run(
      [&] { return builder->finish(keys_.volume, head_sequence_, writer_, world_.random); });
  if (!encoded) co_return fail(std::move(encoded.error()));
  auto sent = co_await io_.write(std::move(*encoded));
  if (!sent) co_return fail(std::move(sent.error()));
  sent_.push_back(std::move(*sent));
  co_return Status{};
}

std::deque<TreePacks::Fresh> TreePacks::take_fresh() {
  for (Fresh& node : fresh_) node.ref = resolve(node.ref);
  return std::exchange(fresh_, {});
}

env::Task<Status> TreePacks::finish() {
  if (!builder_) co_return Status{};
  auto status = co_await send();
  co_return status;
}

}  // namespace cairn::volume
