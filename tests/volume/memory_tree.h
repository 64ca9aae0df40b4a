#pragma once
// A tree's nodes in memory, with counters; and a loop that drives tasks which only wait for posted work.

#include <deque>
#include <map>

#include "content/chunk.h"
#include "env/task.h"
#include "volume/tree.h"

namespace cairn::test {

// Runs posted functions in order until a task has ended.
class Loop final : public env::Executor {
 public:
  void post(std::move_only_function<void()> fn) override { queue_.push_back(std::move(fn)); }
  template <class T>
  T run(env::Task<T> task) {
    std::optional<T> result;
    env::TaskGroup group(*this);
    group.spawn([](env::Task<T> inner, std::optional<T>& out) -> env::Task<void> {
      out.emplace(co_await std::move(inner));
    }(std::move(task), result));
    while (!result && !queue_.empty()) {
      auto fn = std::move(queue_.front());
      queue_.pop_front();
      fn();
    }
    CAIRN_ASSERT(result);
    return std::move(*result);
  }

 private:
  std::deque<std::move_only_function<void()>> queue_;
};

inline content::VolumeKeys test_keys(uint8_t fill = 7) {
  content::VolumeKeys keys{};
  keys.id.fill(fill);
  keys.enc.fill(static_cast<uint8_t>(fill + 1));
  return keys;
}

class MemoryNodes final : public volume::NodeSource, public volume::NodeSink {
 public:
  explicit MemoryNodes(const content::VolumeKeys& keys) : keys_(keys) {}

  env::Task<Result<volume::NodePtr>> load(volume::NodeRef ref) override {
    ++loads;
    const auto found = nodes.find(ref.chunk);
    if (found == nodes.end()) co_return fail(Code::not_found, "node");
    co_return volume::Node::parse(found->second, keys_, ref);
  }
  env::Task<Result<volume::NodeRef>> store(ChunkId id, Bytes plain, uint32_t level) override {
    ++stores;
    stored_bytes += plain.size();
    largest = std::max(largest, plain.size());
    volume::NodeRef ref{
        .chunk = id, .pack = {}, .offset = 0, .length = static_cast<uint32_t>(plain.size()), .level = level};
    nodes[id] = std::move(plain);
    co_return ref;
  }
  volume::NodeRef resolve(const volume::NodeRef& ref) const override { return ref; }

  std::map<ChunkId, Bytes> nodes;
  uint64_t loads = 0, stores = 0, stored_bytes = 0;
  size_t largest = 0;

 private:
  content::VolumeKeys keys_;
};

}  // namespace cairn::test
