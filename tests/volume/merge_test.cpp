// Two writers of one volume: what one side changed stands, what both changed is kept twice.

#include "volume/volume_helpers.h"

namespace cairn::volume {
namespace {

using test::check_tree;
using test::Device;
using test::Fs;
using test::random_bytes;
using test::read_text;
using Listing = std::map<std::string, std::string>;

// Two devices that begin with the same tree. `a` commits first, so `b` merges.
struct Two {
  sim::SimWorld sim{7};
  test::MemoryPool pool;
  Device first{sim, pool, 1}, second{sim, pool, 2};
  std::unique_ptr<Transaction> left, right;
  std::optional<Fs> a, b;

  explicit Two(const std::function<void(Fs&)>& begin = [](Fs&) {}) {
    auto start = std::move(*first.volume->begin());
    Fs fs{first, *start};
    begin(fs);
    fs.put("/.begin", "");
    fs.commit();
    REQUIRE(second.run(second.volume->refresh()));
    left = std::move(*first.volume->begin());
    right = std::move(*second.volume->begin());
    a.emplace(Fs{first, *left});
    b.emplace(Fs{second, *right});
  }
  CommitOutcome finish() {
    a->commit();
    auto outcome = b->commit();
    REQUIRE(first.run(first.volume->refresh()));
    return outcome;
  }
  // The tree as the first device sees it, checked; without the file that every test begins with.
  Listing tree() {
    Listing listing = check_tree(first, first.volume->view());
    listing.erase("/.begin");
    return listing;
  }
};

std::string conflict_of(const Listing& listing, const std::string& path) {
  for (const auto& [name, text] : listing) {
    if (name.starts_with(path + " (conflict from node1 ")) return text;
  }
  return "no conflict file";
}

TEST_CASE("two writers of different files both win") {
  Two t([](Fs& fs) { fs.mkdir("/d"); });
  t.a->put("/d/a", random_bytes(200'000, 1));
  t.b->put("/d/b", random_bytes(200'000, 2));
  t.a->mkdir("/x");
  t.b->mkdir("/y");
  const auto outcome = t.finish();
  CHECK(outcome.conflicts == 0);
  CHECK(t.second.volume->counters().merges == 1);
  const Listing tree = t.tree();
  CHECK(tree.size() == 5);
  CHECK((tree.at("/d/a") == to_string(ByteView(random_bytes(200'000, 1)))));
  CHECK((tree.at("/d/b") == to_string(ByteView(random_bytes(200'000, 2)))));
  CHECK(t.first.volume->head().files == 3);
}

TEST_CASE("two first writers of a new volume both win") {
  sim::SimWorld sim(3);
  test::MemoryPool pool;
  Device first(sim, pool, 1), second(sim, pool, 2);
  auto left = std::move(*first.volume->begin()), right = std::move(*second.volume->begin());
  Fs a{first, *left}, b{second, *right};
  a.mkdir("/a");
  b.mkdir("/b");
  a.commit();
  b.commit();
  CHECK(check_tree(second, second.volume->view()) == Listing{{"/a", "/"}, {"/b", "/"}});
}

TEST_CASE("a file that both changed is kept twice: the later commit has the name") {
  for (const size_t size : {100UL, 300'000UL}) {
    Two t([&](Fs& fs) { fs.put("/f", random_bytes(size, 1)); });
    t.a->put("/f", random_bytes(size + 1, 2));
    t.b->put("/f", random_bytes(size / 2, 3));
    const auto outcome = t.finish();
    CHECK(outcome.conflicts == 1);
    const Listing tree = t.tree();
    CHECK(tree.size() == 2);
    CHECK((tree.at("/f") == to_string(ByteView(random_bytes(size / 2, 3)))));
    CHECK((conflict_of(tree, "/f") == to_string(ByteView(random_bytes(size + 1, 2)))));
    REQUIRE(outcome.conflict_names.size() == 1);
    CHECK(tree.contains("/" + outcome.conflict_names.front()));
  }
}

TEST_CASE("writes into different places of one file are a conflict too: no mixture appears") {
  const Bytes before = random_bytes(600'000, 1);
  Two t([&](Fs& fs) { fs.put("/f", before); });
  REQUIRE(t.first.run(t.left->write(t.a->id("/f"), 0, Buffer::copy_of(random_bytes(1000, 2)))));
  REQUIRE(t.second.run(t.right->write(t.b->id("/f"), 500'000, Buffer::copy_of(random_bytes(1000, 3)))));
  CHECK(t.finish().conflicts == 1);
  Bytes left = before, right = before;
  const Bytes one = random_bytes(1000, 2), two = random_bytes(1000, 3);
  std::copy(one.begin(), one.end(), left.begin());
  std::copy(two.begin(), two.end(), right.begin() + 500'000);
  const Listing tree = t.tree();
  CHECK((tree.at("/f") == to_string(ByteView(right))));
  CHECK((conflict_of(tree, "/f") == to_string(ByteView(left))));
}

TEST_CASE("one name for two new files keeps both, and a long name still fits") {
  const std::string name = "/" + std::string(255, 'n');
  Two t;
  t.a->put(name, "theirs");
  t.b->put(name, "ours");
  CHECK(t.finish().conflicts == 1);
  const Listing tree = t.tree();
  CHECK(tree.size() == 2);
  CHECK(tree.at(name) == "ours");
  CHECK((tree.begin()->second == "theirs" || tree.rbegin()->second == "theirs"));
}

TEST_CASE("directories made under one name become one") {
  Two t;
  for (Fs* fs : {&*t.a, &*t.b}) {
    fs->mkdir("/d");
    fs->mkdir("/d/e");
  }
  t.a->put("/d/e/a", "a");
  t.b->put("/d/e/b", "b");
  t.a->put("/d/both", "theirs");
  t.b->put("/d/both", "ours");
  CHECK(t.finish().conflicts == 1);
  const Listing tree = t.tree();
  CHECK(tree.at("/d/e/a") == "a");
  CHECK(tree.at("/d/e/b") == "b");
  CHECK(tree.at("/d/both") == "ours");
  CHECK(conflict_of(tree, "/d/both") == "theirs");
  CHECK(tree.size() == 6);
}

TEST_CASE("a change wins over a deletion, on either side") {
  const auto begin = [](Fs& fs) {
    fs.mkdir("/d");
    fs.put("/d/f", random_bytes(300'000, 1));
    fs.put("/d/g", "g");
  };
  SECTION("they changed") {
    Two t(begin);
    t.a->put("/d/f", random_bytes(200'000, 2));
    REQUIRE(t.b->unlink("/d/f"));
    t.finish();
    CHECK((t.tree().at("/d/f") == to_string(ByteView(random_bytes(200'000, 2)))));
  }
  SECTION("we changed") {
    Two t(begin);
    REQUIRE(t.a->unlink("/d/f"));
    REQUIRE(t.second.run(t.right->write(t.b->id("/d/f"), 10, Buffer::copy_of(as_bytes("xyz")))));
    t.finish();
    Bytes expected = random_bytes(300'000, 1);
    std::copy_n("xyz", 3, expected.begin() + 10);
    CHECK((t.tree().at("/d/f") == to_string(ByteView(expected))));
  }
  SECTION("they changed what we removed with all above it") {
    Two t(begin);
    t.a->put("/d/f", "changed");
    REQUIRE(t.second.run(t.right->remove_tree(kRootInode, "d")));
    t.finish();
    CHECK(t.tree() == Listing{{"/d", "/"}, {"/d/f", "changed"}});
  }
  SECTION("we changed what they removed with all above it") {
    Two t(begin);
    REQUIRE(t.first.run(t.left->remove_tree(kRootInode, "d")));
    t.b->put("/d/f", "changed");
    t.finish();
    CHECK(t.tree() == Listing{{"/d", "/"}, {"/d/f", "changed"}});
  }
  SECTION("only attributes") {
    Two t(begin);
    REQUIRE(t.a->unlink("/d/g"));
    REQUIRE(t.second.run(t.right->set_attributes(t.b->id("/d/g"), {.mode = 0600})));
    t.finish();
    CHECK(t.tree().at("/d/g") == "g");
  }
  SECTION("that somebody has read it is no change") {
    Two t(begin);
    REQUIRE(t.a->unlink("/d/g"));
    REQUIRE(t.second.run(t.right->set_attributes(t.b->id("/d/g"), {.atime = 1})));
    REQUIRE(t.first.run(t.left->set_attributes(t.a->id("/d/f"), {.atime = 1})));
    REQUIRE(t.b->unlink("/d/f"));
    t.finish();
    CHECK(t.tree() == Listing{{"/d", "/"}});
  }
  SECTION("both removed") {
    Two t(begin);
    REQUIRE(t.a->unlink("/d/g"));
    REQUIRE(t.b->unlink("/d/g"));
    t.finish();
    CHECK_FALSE(t.tree().contains("/d/g"));
  }
}

TEST_CASE("a removed directory that got something new inside is kept, on either side") {
  const auto begin = [](Fs& fs) {
    fs.mkdir("/p");
    fs.mkdir("/p/d");
  };
  SECTION("we put into it") {
    Two t(begin);
    REQUIRE(t.first.run(t.left->remove_tree(kRootInode, "p")));
    t.b->put("/p/d/new", "new");
    t.finish();
    CHECK(t.tree() == Listing{{"/p", "/"}, {"/p/d", "/"}, {"/p/d/new", "new"}});
  }
  SECTION("they put into it") {
    Two t(begin);
    t.a->put("/p/d/new", "new");
    REQUIRE(t.second.run(t.right->remove_tree(kRootInode, "p")));
    t.finish();
    CHECK(t.tree() == Listing{{"/p", "/"}, {"/p/d", "/"}, {"/p/d/new", "new"}});
  }
  SECTION("nobody did") {
    Two t(begin);
    REQUIRE(t.first.run(t.left->remove_tree(kRootInode, "p")));
    REQUIRE(t.second.run(t.right->set_attributes(t.b->id("/p/d"), {.mtime = 5})));
    t.finish();
    CHECK(t.tree().empty());
  }
}

TEST_CASE("renames on both sides leave every file with a name, and links that fit") {
  const auto begin = [](Fs& fs) {
    fs.mkdir("/d");
    fs.mkdir("/e");
    fs.put("/f", "f");
  };
  SECTION("one file to two names") {
    Two t(begin);
    REQUIRE(t.a->rename("/f", "/d/a"));
    REQUIRE(t.b->rename("/f", "/e/b"));
    t.finish();
    const Listing tree = t.tree();
    CHECK(tree.at("/e/b") == "f");
    CHECK(tree.at("/d/a") == "f");
    CHECK_FALSE(tree.contains("/f"));
  }
  SECTION("a rename and a change") {
    Two t(begin);
    REQUIRE(t.a->rename("/f", "/d/a"));
    t.b->put("/f", "changed");
    t.finish();
    CHECK(t.tree() == Listing{{"/d", "/"}, {"/e", "/"}, {"/d/a", "changed"}});
  }
  SECTION("one directory to two names is where the later commit put it") {
    Two t(begin);
    REQUIRE(t.a->rename("/d", "/e/a"));
    REQUIRE(t.b->rename("/d", "/e/b"));
    t.finish();
    CHECK(t.tree() == Listing{{"/e", "/"}, {"/e/b", "/"}, {"/f", "f"}});
  }
  SECTION("two directories each into the other") {
    Two t(begin);
    REQUIRE(t.a->rename("/d", "/e/d"));
    REQUIRE(t.b->rename("/e", "/d/e"));
    t.finish();
    CHECK(t.tree() == Listing{{"/e", "/"}, {"/e/d", "/"}, {"/f", "f"}});
  }
  SECTION("two files to one name") {
    Two t([&](Fs& fs) {
      begin(fs);
      fs.put("/g", "g");
    });
    REQUIRE(t.a->rename("/f", "/x"));
    REQUIRE(t.b->rename("/g", "/x"));
    CHECK(t.finish().conflicts == 1);
    const Listing tree = t.tree();
    CHECK(tree.at("/x") == "g");
    CHECK(conflict_of(tree, "/x") == "f");
  }
}

TEST_CASE("hard links made and taken on both sides are counted right") {
  Two t([](Fs& fs) {
    fs.put("/f", "f");
    REQUIRE(fs.run(fs.transaction.link(fs.id("/f"), kRootInode, "g")));
  });
  SECTION("both make one") {
    REQUIRE(t.first.run(t.left->link(t.a->id("/f"), kRootInode, "a")));
    REQUIRE(t.second.run(t.right->link(t.b->id("/f"), kRootInode, "b")));
    t.finish();
    CHECK(t.tree() == Listing{{"/a", "f"}, {"/b", "f"}, {"/f", "f"}, {"/g", "f"}});
  }
  SECTION("each takes another") {
    REQUIRE(t.a->unlink("/f"));
    REQUIRE(t.b->unlink("/g"));
    t.finish();
    CHECK(t.tree().empty());
  }
  SECTION("we take all, they make one") {
    REQUIRE(t.first.run(t.left->link(t.a->id("/f"), kRootInode, "a")));
    REQUIRE(t.b->unlink("/f"));
    REQUIRE(t.b->unlink("/g"));
    t.finish();
    CHECK(t.tree() == Listing{{"/a", "f"}});
  }
}

TEST_CASE("attributes merge one by one, and extended attributes key by key") {
  Two t([](Fs& fs) { fs.put("/f", "f"); });
  const InodeId id = t.a->id("/f");
  REQUIRE(t.first.run(t.left->set_attributes(id, {.mode = 0600})));
  REQUIRE(t.first.run(t.left->set_xattr(id, "user.a", "1")));
  REQUIRE(t.second.run(t.right->set_attributes(id, {.uid = 9})));
  REQUIRE(t.second.run(t.right->set_xattr(id, "user.b", "2")));
  t.b->put("/f", "changed");
  CHECK(t.finish().conflicts == 0);
  auto about = t.first.run(t.first.volume->view().inode(id));
  REQUIRE(about);
  CHECK(about->mode == 0600);
  CHECK(about->uid == 9);
  CHECK(about->has_xattrs);
  CHECK(t.tree().at("/f") == "changed");
  CHECK(t.first.run(t.first.volume->view().xattrs(id))->size() == 2);
}

// Random operations by two writers who meet only at their commits: the tree is sound after each, and each file's text
// that only one side touched is there.
TEST_CASE("random edits of two writers always give a sound tree") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    Two t([](Fs& fs) {
      for (const char* directory : {"/0", "/1", "/2", "/0/3", "/1/4"}) fs.mkdir(directory);
      for (int i = 0; i < 6; ++i) fs.put("/" + std::to_string(i % 3) + "/f" + std::to_string(i), "begin");
    });
    env::Prng prng(seed);
    int number = 0;
    const auto random_path = [&](Fs& fs, bool directories) -> std::optional<std::string> {
      std::vector<std::string> paths;
      std::vector<std::pair<std::string, InodeId>> left = {{"", kRootInode}};
      while (!left.empty()) {
        auto [path, id] = left.back();
        left.pop_back();
        auto entries = fs.run(fs.transaction.view().list(id, "", 1000));
        REQUIRE(entries);
        for (const auto& entry : *entries) {
          const bool is_directory = entry.type == FileType::directory;
          if (is_directory == directories) paths.push_back(path + "/" + entry.name);
          if (is_directory) left.emplace_back(path + "/" + entry.name, entry.inode);
        }
      }
      if (paths.empty()) return std::nullopt;
      return paths[prng.below(paths.size())];
    };
    for (int round = 0; round < 6; ++round) {
      for (Fs* fs : {&*t.a, &*t.b}) {
        for (int step = 0; step < 5; ++step) {
          const auto file = random_path(*fs, false), directory = random_path(*fs, true);
          const std::string text = "text" + std::to_string(++number);
          switch (prng.below(8)) {
            case 0:
              if (directory) fs->put(*directory + "/n" + std::to_string(prng.below(4)), text);
              break;
            case 1:
              if (file) fs->put(*file, text);
              break;
            case 2:
              if (file) REQUIRE(fs->unlink(*file));
              break;
            case 3:
              if (directory) {
                const auto at = fs->place(*directory);
                REQUIRE(fs->run(fs->transaction.remove_tree(at.parent, at.name)));
              }
              break;
            case 4:
              if (file && directory) (void)fs->rename(*file, *directory + "/r" + std::to_string(prng.below(4)));
              break;
            case 5: {
              const auto other = random_path(*fs, true);
              if (directory && other) (void)fs->rename(*directory, *other + "/m" + std::to_string(prng.below(4)));
              break;
            }
            case 6:
              if (directory) {
                const auto at = fs->place(*directory + "/d" + std::to_string(prng.below(3)));
                (void)fs->run(fs->transaction.make_directory(at.parent, at.name, {}));
              }
              break;
            default:
              if (file && directory) {
                (void)fs->run(
                    fs->transaction.link(fs->id(*file), fs->id(*directory), "l" + std::to_string(prng.below(4))));
              }
          }
        }
        fs->commit();
        check_tree(fs->device, fs->device.volume->view());
        // The other one is as it was: its next commit merges.
      }
    }
  }
}

}  // namespace
}  // namespace cairn::volume
