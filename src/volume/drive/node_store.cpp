#include "volume/drive/node_store.h"

#include "volume/drive/limits.h"

namespace cairn::volume {

namespace {

constexpr std::string_view kHalfKey = "H";  // the half that is written to
constexpr std::string_view kHalves = "ab";

// A node, where it lies: a copy elsewhere has other places for its children.
std::string place_of(const NodeRef& ref) {
  Bytes place = to_bytes(ref.chunk.view());
  append(place, ref.pack.id.view());
  append_be32(place, ref.offset);
  return to_string(ByteView(place));
}

}  // namespace

env::Task<std::unique_ptr<LocalNodes>> LocalNodes::open(env::World world, std::string folder, uint64_t max_bytes) {
  std::unique_ptr<LocalNodes> nodes(new LocalNodes(world, max_bytes));
  auto status = co_await world.workers.run([&]() -> Status {
    auto store = world.meta_stores.open(folder, {.cache_size = 1 * kMiB, .write_buffer_size = 1 * kMiB});
    if (!store) return fail(std::move(store.error()));
    auto half = (*store)->get(kHalfKey);
    if (!half) return fail(std::move(half.error()));
    nodes->half_ = *half && **half == kHalves.substr(1) ? 1 : 0;
    const auto cursor = (*store)->cursor();
    const char prefix = kHalves[nodes->half_];
    for (cursor->seek(kHalves.substr(nodes->half_, 1)); cursor->valid() && cursor->key().starts_with(prefix);
         cursor->next())
      nodes->bytes_ += cursor->value().size();
    CAIRN_TRY(cursor->status());
    nodes->store_ = std::move(*store);
    return {};
  });
  if (!status) world.log.warning("local_nodes_unusable", "error={}", to_string(status.error()));
  co_return nodes;
}

std::string LocalNodes::key(size_t half, const std::string& place) const {
  return kHalves[half] + place;
}

env::Task<std::optional<Bytes>> LocalNodes::find(NodeRef ref) {
  const std::string place = place_of(ref);
  if (const auto at = waiting_.find(place); at != waiting_.end()) co_return at->second;
  if (!store_) co_return std::nullopt;
  const size_t newer = half_;
  bool old = false;
  auto found = co_await world_.workers.run([&]() -> std::optional<Bytes> {
    for (const size_t half : {newer, 1 - newer}) {
      auto value = store_->get(key(half, place));
      if (!value || !*value) continue;
      old = half != newer;
      return to_bytes(**value);
    }
    return std::nullopt;
  });
  if (found && old) keep(place, *found);
  co_return found;
}

void LocalNodes::keep(const NodeRef& ref, ByteView plain) {
  keep(place_of(ref), plain);
}

void LocalNodes::keep(const std::string& place, ByteView plain) {
  if (!store_ || waiting_bytes_ > kWaitingNodes || !waiting_.emplace(place, to_bytes(plain)).second) return;
  waiting_bytes_ += plain.size();
  if (std::exchange(writing_, true)) return;
  group_.spawn(write());
}

env::Task<void> LocalNodes::write() {
  while (!waiting_.empty() && store_) {
    env::WriteBatch batch;
    std::vector<std::string> taken;
    const bool full = bytes_ > max_bytes_ / 2;
    const bool sync = world_.clock.now() - synced_at_ >= kNodesSync;
    if (sync) synced_at_ = world_.clock.now();
    if (full) {
      half_ = 1 - half_;
      bytes_ = 0;
      batch.put(kHalfKey, kHalves.substr(half_, 1));
    }
    for (const auto& [place, plain] : waiting_) {
      batch.put(key(half_, place), as_text(plain));
      bytes_ += plain.size();
      taken.push_back(place);
    }
    auto status = co_await world_.workers.run([&]() -> Status {
      if (full) {
        env::WriteBatch emptied;
        const auto cursor = store_->cursor();
        const char prefix = kHalves[half_];
        for (cursor->seek(kHalves.substr(half_, 1)); cursor->valid() && cursor->key().starts_with(prefix);
             cursor->next())
          emptied.remove(cursor->key());
        CAIRN_TRY(store_->write(emptied, false));
      }
      return store_->write(batch, sync);
    });
    for (const std::string& place : taken) {
      const auto at = waiting_.find(place);
      waiting_bytes_ -= at->second.size();
      waiting_.erase(at);
    }
    if (!status) {
      world_.log.warning("local_nodes_not_written", "error={}", to_string(status.error()));
      break;
    }
  }
  writing_ = false;
  idle_.notify_all();
}

env::Task<void> LocalNodes::close() {
  while (writing_) co_await idle_.wait();
  if (!store_) co_return;
  auto status = co_await world_.workers.run([&] { return store_->write({}, true); });
  if (!status) world_.log.warning("local_nodes_not_written", "error={}", to_string(status.error()));
}

}  // namespace cairn::volume
