// A check names what is wrong in a volume's trees and data, and nothing else.

#include "volume/check.h"

#include "volume/volume_helpers.h"

namespace cairn::test {
namespace {

using volume::CheckFault;
using volume::EditMap;

struct Checked {
  sim::SimWorld sim{1};
  MemoryPool pool;
  Device device{sim, pool, 1};
  std::vector<std::string> faults;  // "SNAPSHOT:PATH: WHAT"

  Checked() {
    auto transaction = device.volume->begin();
    REQUIRE(transaction);
    Fs fs{device, **transaction};
    fs.mkdir("/d");
    fs.mkdir("/d/deep");
    for (int i = 0; i < 5; ++i) fs.put("/d/file" + std::to_string(i), random_bytes(300'000, i));
    fs.put("/d/deep/small", "inline");
    REQUIRE(device.run((*transaction)->link(fs.id("/d/file0"), fs.id("/d/deep"), "again")));
    fs.commit();
    REQUIRE(device.run(device.volume->make_snapshot("kept")));
    fs.put("/d/file4", random_bytes(200'000, 99));
    fs.commit();
  }
  volume::VolumeHost& host() { return device.volume->host(); }
  InodeId id(const std::string& path) { return device.run(device.volume->view().resolve(path))->id; }
  void note(const CheckFault& fault) { faults.push_back(fault.snapshot + ":" + fault.path + ": " + fault.what); }
  volume::StructureCheck check() {
    faults.clear();
    auto report = device.run(volume::check_structure(host(), [this](const CheckFault& f) { note(f); }));
    REQUIRE(report);
    return *report;
  }
  // Whatever the rules say.
  void edit(EditMap edits) {
    auto head = device.run(host().latest());
    REQUIRE(head);
    REQUIRE(device.run(host().commit_upon({.base = *head, .edits = &edits, .packs = {}}, {})));
    REQUIRE(device.run(device.volume->refresh()));
  }
  volume::Inode inode(InodeId id) { return *device.run(device.volume->view().inode(id)); }
};

TEST_CASE("a sound volume has no faults, and everything is counted") {
  Checked t;
  const auto report = t.check();
  CHECK(t.faults.empty());
  CHECK(report.trees == 2);
  CHECK(report.inodes == 2 * 9);
  CHECK(report.extents > 20);
  std::vector<PackId> packs;
  for (const auto& pack : report.packs) packs.push_back(pack.id);
  auto data = t.device.run(volume::check_data(t.host(), packs, {}));
  REQUIRE(data);
  CHECK(data->damaged.empty());
  CHECK(data->bytes == 5 * 300'000 + 200'000);
}

TEST_CASE("a name without a file, a file without a name, and wrong counts are named") {
  Checked t;
  const InodeId gone = t.id("/d/file1"), folder = t.id("/d");
  t.edit({{volume::inode_key(gone), std::nullopt}, {volume::entry_key(folder, "file2"), std::nullopt}});
  t.check();
  const std::string all = fmt::format("{}", fmt::join(t.faults, "\n"));
  INFO(all);
  CHECK(all.contains(":/d: its entry 'file1' names a file that is not there"));
  CHECK(all.contains("it has no name"));
  CHECK(all.contains("content of what is no file"));
  CHECK_FALSE(all.contains("kept"));  // the snapshot is sound

  Checked u;
  auto about = u.inode(u.id("/d/file0"));
  about.links = 7;
  u.edit({{volume::inode_key(u.id("/d/file0")), volume::encode_inode(about)}});
  u.check();
  REQUIRE(u.faults.size() == 1);
  CHECK(u.faults[0].contains("it has 2 names and counts 7"));
}

TEST_CASE("content behind the end of a file, twice, or in an unknown pack is named") {
  Checked t;
  const InodeId file = t.id("/d/file3");
  auto extents = t.device.run(t.device.volume->view().extents(file, 0, UINT64_MAX, 10));
  REQUIRE(extents);
  volume::Extent extent = extents->front();
  extent.offset = 1'000;  // upon the first one
  volume::Extent behind = extents->back();
  behind.offset = 10'000'000;
  volume::Extent strange = extents->back();
  strange.pack.bytes[5] ^= 1;
  t.edit({{volume::extent_key(file, 1'000), volume::encode_extent(extent)},
          {volume::extent_key(file, 10'000'000), volume::encode_extent(behind)},
          {volume::extent_key(file, strange.offset), volume::encode_extent(strange)}});
  t.check();
  const std::string all = fmt::format("{}", fmt::join(t.faults, "\n"));
  INFO(all);
  CHECK(all.contains(":/d/file3: content at byte 1000 twice"));
  CHECK(all.contains(":/d/file3: content behind its end"));
  CHECK(all.contains("of which there is no record"));
  CHECK_FALSE(all.contains("/d/file2"));
}

TEST_CASE("data that was changed is found, and the files that it touches are named") {
  Checked t;
  const auto extents = t.device.run(t.device.volume->view().extents(t.id("/d/file2"), 0, UINT64_MAX, 10));
  REQUIRE(extents);
  const PackId bad = extents->front().pack;
  t.pool.packs.at(bad).bytes[extents->front().pack_offset + 100] ^= 1;
  CHECK(t.check().packs.size() >= 2);
  CHECK(t.faults.empty());
  auto data = t.device.run(volume::check_data(t.host(), {bad}, {}));
  REQUIRE(data);
  CHECK(data->damaged == std::set<PackId>{bad});
  REQUIRE(
      t.device.run(volume::name_files_in(t.host(), data->damaged, "damaged", [&](const CheckFault& f) { t.note(f); })));
  const std::string all = fmt::format("{}", fmt::join(t.faults, "\n"));
  INFO(all);
  CHECK(all.contains(":/d/file2: damaged"));
  CHECK(all.contains("kept:/d/file2: damaged"));
}

TEST_CASE("a tree with a node that is gone is named, the others are checked") {
  Checked t;
  auto transaction = t.device.volume->begin();
  REQUIRE(transaction);
  Fs fs{t.device, **transaction};
  for (int i = 0; i < 300; ++i) fs.put("/later" + std::to_string(i), std::string(2'000, 'x'));
  fs.commit();
  const auto head = t.device.run(t.host().latest());
  REQUIRE(head);
  REQUIRE((*head)->tree_packs.size() == 1);
  // A fresh device has no node in memory.
  Device other(t.sim, t.pool, 2);
  auto& bytes = t.pool.packs.at((*head)->tree_packs[0].id).bytes;
  std::ranges::fill(std::span(bytes).first(bytes.size() / 2), uint8_t{0});
  auto report = other.run(volume::check_structure(other.volume->host(), [&](const CheckFault& f) { t.note(f); }));
  // Records of packs may lie in the lost half: then nothing can be said, which is an error of its own.
  if (report) {
    REQUIRE_FALSE(t.faults.empty());
    CHECK(t.faults[0].contains("its tree cannot be read"));
  } else {
    CHECK_FALSE(to_string(report.error()).empty());
  }
}

}  // namespace
}  // namespace cairn::test
