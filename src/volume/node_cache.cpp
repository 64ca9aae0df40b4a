#include "volume/node_cache.h"

#include "content/chunk.h"

namespace cairn::volume {

// Marks nodes as being loaded, and wakes those that wait for them whatever becomes of the load.
class NodeCache::Claim {
 public:
  Claim(NodeCache& cache, const std::vector<NodeRef>& run) : cache_(cache) {
    for (const NodeRef& ref : run) {
      if (cache_.loading_.insert(ref.chunk).second) chunks_.push_back(ref.chunk);
    }
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() {
    for (const ChunkId& chunk : chunks_) cache_.loading_.erase(chunk);
    cache_.loaded_.notify_all();
  }

 private:
  NodeCache& cache_;
  std::vector<ChunkId> chunks_;
};

NodeCache::NodeCache(env::Executor& executor, PackIo& packs, const content::VolumeKeys& keys, size_t max_bytes)
    : packs_(packs), keys_(keys), max_bytes_(max_bytes), loaded_(executor) {}

NodePtr NodeCache::find(const NodeRef& ref) {
  const auto slot = slots_.find(ref.chunk);
  if (slot == slots_.end() || !slot->second.node->ref().same_place(ref)) return nullptr;
  recent_.splice(recent_.begin(), recent_, slot->second.position);
  return slot->second.node;
}

void NodeCache::insert(NodePtr node) {
  const ChunkId chunk = node->ref().chunk;
  if (const auto other = slots_.find(chunk); other != slots_.end()) {
    if (other->second.node->ref().same_place(node->ref())) return;
    bytes_ -= other->second.node->memory();
    recent_.erase(other->second.position);
    slots_.erase(other);
  }
  recent_.push_front(chunk);
  bytes_ += node->memory();
  slots_.emplace(chunk, Slot{std::move(node), recent_.begin()});
  while (bytes_ > max_bytes_ && recent_.size() > 1) {
    const auto oldest = slots_.find(recent_.back());
    bytes_ -= oldest->second.node->memory();
    slots_.erase(oldest);
    recent_.pop_back();
  }
}

Result<NodePtr> NodeCache::open(const NodeRef& ref, ByteView sealed, std::vector<Bytes>* plains) const {
  auto plain = content::open_chunk(keys_, ref.chunk, content::ChunkType::tree_node, sealed);
  if (!plain) return fail(plain.error());
  if (plains != nullptr) plains->push_back(*plain);
  return Node::parse(std::move(*plain), keys_, ref);
}

void NodeCache::add(const NodeRef& ref, Bytes plain) {
  if (store_ != nullptr) store_->keep(ref, plain);
  if (find(ref) != nullptr) return;
  if (auto node = Node::parse(std::move(plain), keys_, ref)) insert(std::move(*node));
}

env::Task<Result<NodePtr>> NodeCache::load(NodeRef ref) {
  for (;;) {
    if (NodePtr node = find(ref)) co_return node;
    if (!loading_.contains(ref.chunk)) break;
    co_await loaded_.wait();
  }
  std::vector<NodeRef> run;
  run.push_back(std::move(ref));
  auto node = co_await fetch(std::move(run));
  co_return node;
}

env::Task<Result<NodePtr>> NodeCache::load_child(NodePtr parent, size_t index, size_t last) {
  const NodeRef wanted = parent->child(index);
  for (;;) {
    if (NodePtr node = find(wanted)) co_return node;
    if (!loading_.contains(wanted.chunk)) break;
    co_await loaded_.wait();
  }
  if (walk_parent_ == parent->ref().chunk && walk_next_ == index) last = parent->count();
  last = std::min({last, parent->count(), index + kNodeReadAhead});
  std::vector<NodeRef> run;
  run.push_back(wanted);
  uint64_t length = run.front().length;
  size_t next = index + 1;
  for (; next < last; ++next) {
    const ChunkId chunk = parent->child_chunk(next);
    if (slots_.contains(chunk) || loading_.contains(chunk)) break;
    NodeRef ref = parent->child(next);
    const NodeRef& before = run.back();
    if (ref.pack.id != before.pack.id || ref.offset != before.offset + before.length) break;
    if (length + ref.length > kReadRun) break;
    length += ref.length;
    run.push_back(std::move(ref));
  }
  walk_parent_ = parent->ref().chunk;
  walk_next_ = next;
  auto node = co_await fetch(std::move(run));
  co_return node;
}

env::Task<Result<NodePtr>> NodeCache::fetch(std::vector<NodeRef> run) {
  const Claim claim(*this, run);
  if (store_ != nullptr) {
    auto kept = co_await store_->find(run.front());
    if (kept) {
      if (auto node = Node::parse(std::move(*kept), keys_, run.front())) {
        insert(*node);
        co_return node;
      }
    }
  }
  ++counters_.requests;
  uint32_t length = 0;
  for (const NodeRef& ref : run) length += ref.length;
  // Checked here, so that a holder that gives wrong bytes is passed over: a few nodes, some 10 us each.
  std::vector<NodePtr> nodes;
  std::vector<Bytes> plains;
  const auto check = [&](ByteView sealed) {
    nodes.clear();
    plains.clear();
    size_t at = 0;
    for (const NodeRef& ref : run) {
      if (sealed.size() - at < ref.length) return false;
      auto node = open(ref, sealed.subspan(at, ref.length), store_ == nullptr ? nullptr : &plains);
      if (!node) return false;
      nodes.push_back(std::move(*node));
      at += ref.length;
    }
    return at == sealed.size();
  };
  const NodeRef& first = run.front();
  auto sealed = co_await packs_.read(first.pack, first.offset, length, check, pool::Purpose::tree);
  if (!sealed) co_return fail(std::move(sealed.error()), "tree node");
  if (nodes.size() != run.size() && !check(sealed->view())) {
    co_return fail(Code::corrupt, "tree node " + first.chunk.short_hex() + " in pack " + first.pack.id.short_hex());
  }
  counters_.loads += nodes.size();
  for (size_t i = 0; store_ != nullptr && i < plains.size(); ++i) store_->keep(run[i], plains[i]);
  // The wanted one last, so that it is the last to be dropped.
  for (size_t i = nodes.size(); i-- > 0;) insert(nodes[i]);
  co_return nodes.front();
}

}  // namespace cairn::volume
