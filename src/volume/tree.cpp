#include "volume/tree.h"

namespace cairn::volume {

namespace {

constexpr size_t kDiffBatch = 256;

}  // namespace

env::Task<Result<NodePtr>> NodeSource::load_child(NodePtr parent, size_t index, size_t) {
  return load(parent->child(index));
}

Tree::Tree(NodeSource& source, const content::VolumeKeys& keys) : source_(source), keys_(keys) {}

env::Task<Result<std::optional<std::string>>> Tree::get(Root root, std::string key) {
  if (!root) co_return std::nullopt;
  auto node = co_await source_.load(*root);
  if (!node) co_return fail(std::move(node.error()));
  for (;;) {
    const auto at = (*node)->find(key);
    if (!at) co_return std::nullopt;
    if ((*node)->level() == 0) {
      if ((*node)->key(*at) != key) co_return std::nullopt;
      co_return std::string((*node)->value(*at));
    }
    node = co_await source_.load_child(*node, *at, *at + 1);
    if (!node) co_return fail(std::move(node.error()));
  }
}

env::Task<Result<std::vector<Item>>> Tree::scan(Root root, std::string first, std::string last, size_t limit) {
  std::vector<Item> items;
  if (!root || first >= last || limit == 0) co_return items;
  struct Step {
    NodePtr node;
    size_t index;
  };
  std::vector<Step> path;
  auto node = co_await source_.load(*root);
  if (!node) co_return fail(std::move(node.error()));
  const auto begin = [&](const NodePtr& entered) {
    return entered->level() == 0 ? entered->lower_bound(first) : entered->find(first).value_or(0);
  };
  path.push_back({*node, begin(*node)});
  while (!path.empty()) {
    Step& step = path.back();
    if (step.index >= step.node->count()) {
      path.pop_back();
      if (!path.empty()) ++path.back().index;
      continue;
    }
    if (step.node->key(step.index) >= last) break;
    if (step.node->level() == 0) {
      items.push_back({std::string(step.node->key(step.index)), std::string(step.node->value(step.index))});
      if (items.size() == limit) break;
      ++step.index;
      continue;
    }
    const size_t end = step.node->lower_bound(last);
    auto child = co_await source_.load_child(step.node, step.index, end);
    if (!child) co_return fail(std::move(child.error()));
    path.push_back({*child, begin(*child)});
  }
  co_return items;
}

env::Task<Status> Tree::diff(Root before, Root after, std::function<env::Task<Status>(std::vector<Difference>)> visit) {
  DiffCursor cursor(source_, std::move(before), std::move(after));
  std::vector<Difference> batch;
  for (;;) {
    auto difference = co_await cursor.next();
    if (!difference) co_return fail(std::move(difference.error()));
    if (*difference) batch.push_back(std::move(**difference));
    if (!batch.empty() && (!*difference || batch.size() == kDiffBatch)) {
      auto status = co_await visit(std::move(batch));
      if (!status) co_return status;
      batch.clear();
    }
    if (!*difference) co_return Status{};
  }
}

env::Task<Result<Root>> Tree::merge(Root base, Root ours, Root theirs, Resolve resolve, NodeSink& sink) {
  DiffCursor our_changes(source_, base, ours), their_changes(source_, base, theirs);
  std::vector<Edit> edits;
  auto our = co_await our_changes.next();
  if (!our) co_return fail(std::move(our.error()));
  auto their = co_await their_changes.next();
  if (!their) co_return fail(std::move(their.error()));
  while (*our) {
    Difference& mine = **our;
    if (*their && (*their)->key < mine.key) {
      their = co_await their_changes.next();
      if (!their) co_return fail(std::move(their.error()));
      continue;
    }
    if (!*their || (*their)->key != mine.key) {
      edits.push_back({mine.key, mine.after});
    } else if ((*their)->after != mine.after) {
      auto settled = resolve(mine.key, mine.before, mine.after, (*their)->after);
      if (!settled) co_return fail(std::move(settled.error()));
      if (*settled != (*their)->after) edits.push_back({mine.key, std::move(*settled)});
    }
    our = co_await our_changes.next();
    if (!our) co_return fail(std::move(our.error()));
  }
  co_return co_await apply(std::move(theirs), views_of(edits), sink);
}

// --- differences ---
//
// Two places walk in step. The one whose entry has the smaller key goes on; equal keys are compared as whole subtrees
// when their levels are equal, else the higher one goes down. A place that comes to the end of a node goes up, so the
// two meet again on a high level as soon as their borders agree.

DiffCursor::DiffCursor(NodeSource& source, Root before, Root after) : source_(source) {
  before_.root = std::move(before);
  after_.root = std::move(after);
}

std::string_view DiffCursor::key(const Side& side) {
  if (side.root) return {};  // a root begins before all keys
  return side.path.back().node->key(side.path.back().index);
}

int DiffCursor::level(const Side& side) {
  if (side.root) return static_cast<int>(side.root->level);
  return static_cast<int>(side.path.back().node->level()) - 1;
}

bool DiffCursor::same_node(const Side& a, const Side& b) {
  const auto chunk = [](const Side& side) {
    return side.root ? side.root->chunk : side.path.back().node->child_chunk(side.path.back().index);
  };
  return chunk(a) == chunk(b);
}

env::Task<Status> DiffCursor::enter(Side& side) {
  if (side.root) {
    auto node = co_await source_.load(*side.root);
    if (!node) co_return fail(std::move(node.error()));
    side.root.reset();
    side.path.push_back({std::move(*node), 0});
    co_return Status{};
  }
  const Side::Step& step = side.path.back();
  auto node = co_await source_.load_child(step.node, step.index, step.index + 1);
  if (!node) co_return fail(std::move(node.error()));
  side.path.push_back({std::move(*node), 0});
  co_return Status{};
}

void DiffCursor::advance(Side& side) {
  if (side.root) {
    side.root.reset();
    return;
  }
  ++side.path.back().index;
  while (!side.path.empty() && side.path.back().index >= side.path.back().node->count()) {
    side.path.pop_back();
    if (!side.path.empty()) ++side.path.back().index;
  }
}

env::Task<Result<std::optional<Difference>>> DiffCursor::next() {
  const auto value = [](const Side& side) { return std::string(side.path.back().node->value(side.path.back().index)); };
  for (;;) {
    if (before_.ended() && after_.ended()) co_return std::nullopt;
    std::strong_ordering order = std::strong_ordering::equal;
    if (before_.ended()) {
      order = std::strong_ordering::greater;
    } else if (after_.ended()) {
      order = std::strong_ordering::less;
    } else {
      order = key(before_) <=> key(after_);
    }
    if (order == std::strong_ordering::equal) {
      const int b = level(before_), a = level(after_);
      if (a == b && a >= 0 && same_node(before_, after_)) {
        advance(before_);
        advance(after_);
        continue;
      }
      if (a >= 0 || b >= 0) {
        if (b >= a) CAIRN_CO_TRY(co_await enter(before_));
        if (a >= b) CAIRN_CO_TRY(co_await enter(after_));
        continue;
      }
      Difference difference{std::string(key(before_)), value(before_), value(after_)};
      advance(before_);
      advance(after_);
      if (difference.before != difference.after) co_return difference;
      continue;
    }
    Side& side = order == std::strong_ordering::less ? before_ : after_;
    if (level(side) >= 0) {
      CAIRN_CO_TRY(co_await enter(side));
      continue;
    }
    Difference difference{std::string(key(side)), std::nullopt, std::nullopt};
    (order == std::strong_ordering::less ? difference.before : difference.after) = value(side);
    advance(side);
    co_return difference;
  }
}

}  // namespace cairn::volume
