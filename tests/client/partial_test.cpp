// Parts of large files that an interrupted put leaves, and when they go.

#include "client/partial.h"

#include "volume/volume_helpers.h"

namespace cairn::client {

namespace {

struct Shelf {
  sim::SimWorld sim{1};
  test::MemoryPool pool;
  test::Device device{sim, pool, 1};
  std::unique_ptr<volume::Transaction> edit = std::move(*device.volume->begin());
  volume::InodeId folder = 0;

  Shelf() {
    auto made = device.run(edit->make_directories(std::string(kPartialDirectory), {.mode = 0700}));
    REQUIRE(made);
    folder = *made;
  }
  void add(const std::string& name, WallTime when) {
    REQUIRE(device.run(edit->make_file(folder, name, {.ctime = when})));
  }
  std::vector<std::string> names() {
    auto entries = device.run(edit->view().list(folder, "", 1000));
    REQUIRE(entries);
    std::vector<std::string> list;
    for (const auto& entry : *entries) list.push_back(entry.name);
    return list;
  }
};

constexpr WallTime kNow = WallTime{2'000'000'000} * 1'000'000'000;
constexpr WallTime kDay = WallTime{86'400} * 1'000'000'000;

LocalEntry file_of(uint64_t size, WallTime mtime) {
  LocalEntry entry;
  entry.name = "film";
  entry.size = size;
  entry.mtime = mtime;
  return entry;
}

}  // namespace

TEST_CASE("a part is named by what it is of and which version of it") {
  const NodeId device = NodeId::from(std::string(32, 'd')).value();
  const PartialName one = partial_name(device, 7, file_of(1, 1));
  CHECK(partial_name(device, 7, file_of(1, 1)).text() == one.text());
  CHECK(partial_name(device, 7, file_of(2, 1)).place == one.place);
  CHECK(partial_name(device, 7, file_of(2, 1)).version != one.version);
  CHECK(partial_name(device, 7, file_of(1, 2)).version != one.version);
  CHECK(partial_name(device, 8, file_of(1, 1)).place != one.place);
  CHECK(one.text().size() <= volume::kMaxNameSize);
}

TEST_CASE("parts go when nothing was added to them for seven days, or when their file is another now") {
  Shelf shelf;
  const NodeId device = NodeId::from(std::string(32, 'd')).value();
  const PartialName now = partial_name(device, 7, file_of(2, 2)), before = partial_name(device, 7, file_of(1, 1)),
                    other = partial_name(device, 9, file_of(1, 1));
  shelf.add(now.text(), kNow - 6 * kDay);
  shelf.add(before.text(), kNow);
  shelf.add(other.text(), kNow - 6 * kDay);
  shelf.add("old", kNow - 8 * kDay);
  CHECK(*shelf.device.run(sweep_partials(*shelf.edit, kNow, std::nullopt)) == 1);
  CHECK(shelf.names().size() == 3);
  CHECK(*shelf.device.run(sweep_partials(*shelf.edit, kNow, now)) == 1);
  auto names = shelf.names();
  CHECK(std::ranges::count(names, before.text()) == 0);
  CHECK(names.size() == 2);
  CHECK(*shelf.device.run(sweep_partials(*shelf.edit, kNow + 2 * kDay, now)) == 2);
  CHECK(shelf.names().empty());
}

TEST_CASE("a volume without parts has nothing to sweep") {
  Shelf shelf;
  shelf.edit->discard();
  CHECK(*shelf.device.run(sweep_partials(*shelf.edit, kNow, std::nullopt)) == 0);
  CHECK(shelf.edit->empty());
}

}  // namespace cairn::client
