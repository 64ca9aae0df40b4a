#include "volume/tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "env/random.h"
#include "volume/memory_tree.h"

namespace cairn::volume {
namespace {

using test::Loop;
using test::MemoryNodes;
using Model = std::map<std::string, std::string>;

struct Fixture {
  Loop loop;
  content::VolumeKeys keys = test::test_keys();
  MemoryNodes nodes{keys};
  Tree tree{nodes, keys};

  Root apply(Root root, const std::vector<Edit>& edits) {
    auto made = loop.run(tree.apply(std::move(root), views_of(edits), nodes));
    REQUIRE(made);
    return *made;
  }
  Root load(const Model& model) {
    std::vector<Edit> edits;
    for (const auto& [key, value] : model) edits.push_back({key, value});
    return apply(std::nullopt, edits);
  }
  std::vector<Item> scan(const Root& root, std::string first, std::string last, size_t limit = SIZE_MAX) {
    auto items = loop.run(tree.scan(root, std::move(first), std::move(last), limit));
    REQUIRE(items);
    return std::move(*items);
  }
  Model all(const Root& root) {
    Model model;
    for (Item& item : scan(root, "", "\xff\xff")) model.emplace(std::move(item.key), std::move(item.value));
    return model;
  }
  std::vector<Difference> diff(const Root& before, const Root& after) {
    std::vector<Difference> found;
    auto status = loop.run(tree.diff(before, after, [&](std::vector<Difference> batch) {
      return [](std::vector<Difference> part, std::vector<Difference>& out) -> env::Task<Status> {
        for (Difference& difference : part) out.push_back(std::move(difference));
        co_return Status{};
      }(std::move(batch), found);
    }));
    REQUIRE(status);
    return found;
  }
};

std::string random_key(env::Prng& prng, uint64_t space) {
  std::string key = fmt::format("{:x}", prng.below(space));
  if (prng.chance(0.3)) key += std::string(prng.below(40), static_cast<char>('a' + prng.below(3)));
  return key;
}
std::string random_value(env::Prng& prng) {
  Bytes bytes(prng.chance(0.05) ? prng.below(6000) : prng.below(120));
  prng.fill(bytes);
  return to_string(ByteView(bytes));
}
// Edits of the model, and the same as the tree takes them.
std::vector<Edit> random_batch(env::Prng& prng, Model& model, size_t count, uint64_t space) {
  std::map<std::string, std::optional<std::string>> edits;
  for (size_t i = 0; i < count; ++i) {
    std::string key = random_key(prng, space);
    if (prng.chance(0.4)) {
      auto at = model.lower_bound(key);
      if (at != model.end()) key = at->first;
      edits[key] = std::nullopt;
    } else {
      edits[key] = random_value(prng);
    }
  }
  std::vector<Edit> batch;
  for (auto& [key, value] : edits) {
    if (value) model[key] = *value;
    if (!value) model.erase(key);
    batch.push_back({key, std::move(value)});
  }
  return batch;
}

Model numbered(size_t count, size_t value_size = 60) {
  Model model;
  for (size_t i = 0; i < count; ++i) model.emplace(fmt::format("key-{:08}", i), std::string(value_size, 'v'));
  return model;
}

TEST_CASE("an empty tree has no root and holds nothing") {
  Fixture f;
  CHECK_FALSE(f.apply(std::nullopt, {}));
  CHECK_FALSE(f.apply(std::nullopt, {{"never", std::nullopt}}));
  CHECK(f.all(std::nullopt).empty());
  auto value = f.loop.run(f.tree.get(std::nullopt, "k"));
  REQUIRE(value);
  CHECK_FALSE(*value);
}

TEST_CASE("random batches of edits give what an ordered map gives, and the root that a bulk load gives") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    Fixture f;
    env::Prng prng(seed);
    Model model;
    Root root;
    for (int round = 0; round < 25; ++round) {
      root = f.apply(root, random_batch(prng, model, prng.chance(0.3) ? 1 + prng.below(800) : 1 + prng.below(6), 3000));
      const Root bulk = f.load(model);
      REQUIRE(root.has_value() == bulk.has_value());
      if (root) REQUIRE(root->chunk == bulk->chunk);
    }
    CHECK(f.all(root) == model);
    for (int i = 0; i < 100; ++i) {
      const std::string key = random_key(prng, 3000);
      auto value = f.loop.run(f.tree.get(root, key));
      REQUIRE(value);
      const auto expected = model.find(key);
      REQUIRE(value->has_value() == (expected != model.end()));
      if (*value) REQUIRE(**value == expected->second);
    }
    // Down to nothing again.
    std::vector<Edit> removals;
    for (const auto& [key, value] : model) removals.push_back({key, std::nullopt});
    CHECK_FALSE(f.apply(root, removals));
  }
}

TEST_CASE("the order of single edits does not matter") {
  Fixture f;
  env::Prng prng(5);
  const Model model = numbered(400, 90);
  const Root expected = f.load(model);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::string> order;
    for (const auto& [key, value] : model) order.push_back(key);
    prng.shuffle(order);
    Root root;
    for (const std::string& key : order) {
      root = f.apply(root, {{"detour-" + key, "x"}});
      root = f.apply(root, {{"detour-" + key, std::nullopt}, {key, model.at(key)}});
    }
    CHECK(root->chunk == expected->chunk);
  }
}

TEST_CASE("an edit that changes nothing writes no node") {
  Fixture f;
  const Root root = f.load(numbered(20000));
  f.nodes.stores = 0;
  const Root same = f.apply(root, {{"absent", std::nullopt}, {"key-00000007", std::string(60, 'v')}});
  CHECK(same->chunk == root->chunk);
  CHECK(f.nodes.stores == 0);
}

TEST_CASE("a scan pages through a range") {
  Fixture f;
  const Model model = numbered(5000);
  const Root root = f.load(model);
  auto page = f.scan(root, "key-00001000", "key-00001010");
  REQUIRE(page.size() == 10);
  CHECK(page.front().key == "key-00001000");
  CHECK(page.back().key == "key-00001009");
  size_t seen = 0;
  std::string from;
  for (;;) {
    auto part = f.scan(root, from, "l", 777);
    seen += part.size();
    if (part.size() < 777) break;
    from = part.back().key + '\0';
  }
  CHECK(seen == model.size());
  CHECK(f.scan(root, "a", "b").empty());
  CHECK(f.scan(root, "x", "y").empty());
  CHECK(f.scan(root, "key-2", "key-1").empty());
}

TEST_CASE("a diff names each difference once and loads few nodes") {
  Fixture f;
  const Model before = numbered(100000);
  const Root a = f.load(before);
  Model after = before;
  std::vector<Edit> edits;
  for (size_t i = 0; i < 10; ++i) {
    const std::string key = fmt::format("key-{:08}", i * 9973 + 17);
    after[key] = "changed";
    edits.push_back({key, "changed"});
  }
  const Root b = f.apply(a, edits);
  f.nodes.loads = 0;
  auto found = f.diff(a, b);
  REQUIRE(found.size() == 10);
  for (size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].key == edits[i].key);
    CHECK(found[i].before == before.at(edits[i].key));
    CHECK(found[i].after == std::string("changed"));
  }
  const size_t levels = a->level + 1;
  CHECK(f.nodes.loads <= 2 * 10 * (levels + 2));  // both sides' paths, and neighbours where borders moved
  f.nodes.loads = 0;
  CHECK(f.diff(a, a).empty());
  CHECK(f.nodes.loads == 0);
}

TEST_CASE("random diffs are exact, also between trees of different height") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Fixture f;
    env::Prng prng(seed);
    Model before, after;
    Root a, b;
    a = f.apply(a, random_batch(prng, before, prng.below(3000), 4000));
    after = before;
    b = f.apply(a, random_batch(prng, after, prng.below(2) ? 3 : prng.below(4000), 4000));
    std::vector<Difference> expected;
    std::set<std::string> keys;
    for (const auto& [key, value] : before) keys.insert(key);
    for (const auto& [key, value] : after) keys.insert(key);
    const auto in = [](const Model& model, const std::string& key) -> std::optional<std::string> {
      const auto at = model.find(key);
      return at == model.end() ? std::nullopt : std::optional(at->second);
    };
    for (const std::string& key : keys) {
      if (in(before, key) != in(after, key)) expected.push_back({key, in(before, key), in(after, key)});
    }
    const auto found = f.diff(a, b);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      REQUIRE(found[i].key == expected[i].key);
      REQUIRE(found[i].before == expected[i].before);
      REQUIRE(found[i].after == expected[i].after);
    }
  }
}

TEST_CASE("a three-way merge takes both sides' changes and asks only where they differ") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Fixture f;
    env::Prng prng(seed);
    Model base;
    const Root root = f.apply(std::nullopt, random_batch(prng, base, 3000, 4000));
    Model ours = base, theirs = base;
    const Root a = f.apply(root, random_batch(prng, ours, 40, 4000));
    const Root b = f.apply(root, random_batch(prng, theirs, 400, 4000));
    Model expected = theirs;
    size_t asked = 0, differ = 0;
    std::set<std::string> keys;
    for (const Model* model : {&base, &ours, &theirs}) {
      for (const auto& [key, value] : *model) keys.insert(key);
    }
    const auto in = [](const Model& model, const std::string& key) -> std::optional<std::string> {
      const auto at = model.find(key);
      return at == model.end() ? std::nullopt : std::optional(at->second);
    };
    for (const std::string& key : keys) {
      const auto o = in(ours, key), t = in(theirs, key), was = in(base, key);
      if (o == was) continue;
      if (t != was && o != t) {
        ++differ;
        expected[key] = "settled";
      } else if (o) {
        expected[key] = *o;
      } else {
        expected.erase(key);
      }
    }
    auto merged = f.loop.run(f.tree.merge(
        root, a, b,
        [&](const std::string&, const auto&, const auto&, const auto&) -> Result<std::optional<std::string>> {
          ++asked;
          return std::optional<std::string>("settled");
        },
        f.nodes));
    REQUIRE(merged);
    CHECK(asked == differ);
    CHECK(f.all(*merged) == expected);
    CHECK((*merged)->chunk == f.load(expected)->chunk);
  }
}

TEST_CASE("nodes are 8 to 16 KiB on average and never over their bound, for small and large items") {
  for (const size_t value_size : {20UL, 200UL, 4300UL}) {
    Fixture f;
    f.load(numbered(8UL * 1024 * 1024 / (value_size + 30), value_size));
    const double average = static_cast<double>(f.nodes.stored_bytes) / static_cast<double>(f.nodes.stores);
    CHECK(average > 8.0 * 1024);
    CHECK(average < 16.0 * 1024);
    CHECK(f.nodes.largest <= kMaxNodeSize + value_size + 64);
  }
}

TEST_CASE("a million items load in bounded work, and one more costs a path") {
  Fixture f;
  std::vector<Edit> edits;
  edits.reserve(1000000);
  for (size_t i = 0; i < 1000000; ++i) edits.push_back({fmt::format("{:012}", i), std::string("0123456789abcdef")});
  const Root root = f.apply(std::nullopt, std::move(edits));
  CHECK(f.nodes.loads == 0);
  CHECK(f.nodes.stored_bytes < 1000000 * 45);
  CHECK(root->level <= 3);
  f.nodes.stores = f.nodes.loads = 0;
  const Root more = f.apply(root, {{"000000500000x", std::string("new")}});
  CHECK(more->chunk != root->chunk);
  CHECK(f.nodes.stores <= 2 * (root->level + 1));
  CHECK(f.nodes.loads <= 5 * (root->level + 1));
  f.nodes.loads = 0;
  CHECK(f.diff(root, more).size() == 1);
  CHECK(f.nodes.loads <= 4 * (root->level + 1));
}

TEST_CASE("keys and values over their bounds are refused") {
  Fixture f;
  const auto refused = [&](std::string key, std::string value) {
    auto made = f.loop.run(f.tree.apply(std::nullopt, {{key, value}}, f.nodes));
    return !made && made.error().code == Code::bad_input;
  };
  CHECK(refused("", "v"));
  CHECK(refused(std::string(kMaxKeySize + 1, 'k'), "v"));
  CHECK(refused("k", std::string(kMaxValueSize + 1, 'v')));
  const Root root = f.apply(std::nullopt, {{std::string(kMaxKeySize, 'k'), std::string(kMaxValueSize, 'v')}});
  CHECK(f.all(root).size() == 1);
}

TEST_CASE("a node's children keep their packs and holders, and \"this pack\" is where the node lies") {
  Fixture f;
  NodeBuilder builder(f.keys, 1);
  env::Prng prng(3);
  std::vector<NodeRef> children;
  for (uint8_t i = 0; i < 40; ++i) {
    NodeRef child;
    child.chunk.bytes.fill(i);
    if (i % 3 != 0) {
      child.pack.id.bytes[0] = static_cast<uint8_t>(1 + i % 5);
      child.pack.geometry = {.k = 4, .m = 2, .shard_length = 1000U * (1 + i % 5U)};
      child.pack.holders.resize(6);
      for (size_t slot = 0; slot < 5; ++slot)
        child.pack.holders[slot].bytes[1] = static_cast<uint8_t>(slot + 1 + i % 5);
    }
    child.offset = i * 100U;
    child.length = 50U + i;
    children.push_back(child);
    builder.add_child(fmt::format("k{:03}", i), child);
  }
  NodeRef ref{.chunk = builder.id(), .level = 1};
  ref.pack.id.bytes.fill(9);
  ref.pack.geometry = {.k = 2, .m = 2, .shard_length = 5};
  const Bytes bytes = builder.encode(children);
  auto node = Node::parse(bytes, f.keys, ref);
  REQUIRE(node);
  for (size_t i = 0; i < children.size(); ++i) {
    const NodeRef child = (*node)->child(i);
    CHECK(child.chunk == children[i].chunk);
    CHECK(child.level == 0);
    CHECK(child.offset == children[i].offset);
    CHECK(child.length == children[i].length);
    const pool::PackRef& expected = children[i].pack.id.is_zero() ? ref.pack : children[i].pack;
    CHECK(child.pack.id == expected.id);
    CHECK(child.pack.geometry == expected.geometry);
    CHECK(child.pack.holders == expected.holders);
  }
  // Where the children lie does not change what the node is.
  for (NodeRef& child : children) child.offset += 4096;
  CHECK(builder.encode(children) != bytes);
  CHECK(Node::parse(builder.encode(children), f.keys, ref));
}

TEST_CASE("hostile node bytes are refused") {
  Fixture f;
  env::Prng prng(11);
  for (const bool inner : {false, true}) {
    NodeBuilder builder(f.keys, inner ? 1 : 0);
    std::vector<NodeRef> children;
    for (uint8_t i = 0; i < 20; ++i) {
      NodeRef child;
      child.chunk.bytes.fill(i);
      child.pack.id.bytes[0] = static_cast<uint8_t>(i % 4);
      child.pack.geometry = {.k = 1, .m = 1, .shard_length = 100};
      child.pack.holders.resize(2);
      child.pack.holders[0].bytes[0] = i;
      children.push_back(child);
      if (inner) builder.add_child(fmt::format("key{:02}", i), child);
      if (!inner) builder.add_item(fmt::format("key{:02}", i), std::string(i, 'x'));
    }
    const NodeRef ref{.chunk = builder.id(), .level = inner ? 1U : 0U};
    const Bytes good = builder.encode(children);
    REQUIRE(Node::parse(good, f.keys, ref));
    for (size_t length = 0; length < good.size(); ++length) {
      REQUIRE_FALSE(Node::parse(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(length)), f.keys, ref));
    }
    Bytes longer = good;
    longer.push_back(0);
    CHECK_FALSE(Node::parse(longer, f.keys, ref));
    NodeRef other = ref;
    other.level = 5;
    CHECK_FALSE(Node::parse(good, f.keys, other));
    CHECK_FALSE(Node::parse(good, test::test_keys(99), ref));
    // Under an ID that fits them, so that the parser itself is what stands against them.
    for (int round = 0; round < 20000; ++round) {
      Bytes bad = good;
      const size_t flips = 1 + prng.below(4);
      for (size_t i = 0; i < flips; ++i) {
        bad[prng.below(bad.size())] = prng.chance(0.3) ? 0xff : static_cast<uint8_t>(prng.next());
      }
      if (prng.chance(0.2)) bad.resize(prng.below(bad.size() + 1));
      NodeRef forged = ref;
      if (bad.size() >= 12) {
        const size_t logical = std::min<size_t>(read_le<uint32_t>(bad.data() + 8), bad.size() - 12);
        forged.chunk =
            content::hashed_chunk_id(f.keys, content::ChunkType::tree_node, ByteView(bad).first(12 + logical));
      }
      auto node = Node::parse(bad, f.keys, forged);
      if (!node) continue;
      for (size_t i = 0; i < (*node)->count(); ++i) {
        if (inner) (*node)->child(i);
        if (i > 0) REQUIRE((*node)->key(i - 1) < (*node)->key(i));
      }
    }
  }
}

TEST_CASE("a node that is missing or wrong ends a walk with its error") {
  Fixture f;
  const Root root = f.load(numbered(20000));
  for (auto& [id, bytes] : f.nodes.nodes) {
    if (id != root->chunk && bytes[1] == 0) bytes[bytes.size() - 1] ^= 1;
  }
  auto value = f.loop.run(f.tree.get(root, "key-00000500"));
  REQUIRE_FALSE(value);
  CHECK(value.error().code == Code::corrupt);
  CHECK_FALSE(f.loop.run(f.tree.scan(root, "", "z", 10)));
  CHECK_FALSE(f.loop.run(f.tree.apply(root, {{"key-00000500", "x"}}, f.nodes)));
}

}  // namespace
}  // namespace cairn::volume
