// Walking and restoring users' trees.

#include "os/files.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <csignal>

#include "os/real_bench.h"

namespace cairn::os {

namespace {

Folder open(const std::string& path) {
  auto folder = Folder::open(path);
  REQUIRE(folder);
  return std::move(*folder);
}

void make_file(const Folder& folder, const std::string& name, std::string_view text,
               const Attributes& attributes = {}) {
  auto file = folder.make_file(name, false);
  REQUIRE(file);
  REQUIRE(file->write_at(0, as_bytes(text)));
  auto refused = file->commit(attributes);
  REQUIRE(refused);
  CHECK_FALSE(refused->any());
}

std::string read_file(const Folder& folder, const std::string& name) {
  auto file = folder.open_file(name);
  REQUIRE(file);
  Bytes bytes(1 * kMiB);
  auto got = file->read_at(0, bytes);
  REQUIRE(got);
  return to_string(ByteView(bytes).first(*got));
}

std::vector<std::string> names_of(Folder& folder) {
  std::vector<std::string> names;
  folder.rewind();
  while (true) {
    auto entry = folder.next();
    REQUIRE(entry);
    if (!*entry) break;
    names.push_back((*entry)->name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("names of any bytes are kept") {
  const TemporaryFolder place;
  Folder folder = open(place.path());
  std::vector<std::string> names{"plain", "new\nline", "\xff\xfe not UTF-8",          std::string(255, 'x'),
                                 " ",     "-rf",       std::string(254, 'y') + "\xff"};
  for (const auto& name : names) make_file(folder, name, "in " + name);
  std::sort(names.begin(), names.end());
  CHECK(names_of(folder) == names);
  for (const auto& name : names) CHECK(read_file(folder, name) == "in " + name);
  CHECK_FALSE(folder.make_file(std::string(256, 'x'), false)->commit({}));
}

TEST_CASE("a folder of many entries is read to its end, and again") {
  const TemporaryFolder place;
  Folder folder = open(place.path());
  for (int i = 0; i < 3000; ++i) REQUIRE(folder.make_symlink(fmt::format("{:05}", i), "nowhere"));
  CHECK(names_of(folder).size() == 3000);
  CHECK(names_of(folder).size() == 3000);
  auto entry = Folder::open(place.path())->next();
  REQUIRE(entry);
  CHECK((*entry)->type == FileType::symlink);
}

TEST_CASE("mode, times and extended attributes come back as they were set") {
  const TemporaryFolder place;
  const Folder folder = open(place.path());
  Attributes attributes;
  attributes.mode = 0641;
  attributes.modified = 1'234'567'890'123'456'789;
  attributes.accessed = -1;  // the last nanosecond of 1969
  attributes.extended = {{"user.comment", "words"}, {"user.empty", ""}, {"user.raw", std::string("\0\xff", 2)}};
  make_file(folder, "f", "text", attributes);
  auto info = folder.info("f");
  REQUIRE(info);
  CHECK(info->type == FileType::regular);
  CHECK(info->mode == 0641);
  CHECK(info->modified == attributes.modified);
  CHECK(info->accessed == attributes.accessed);
  CHECK(info->size == 4);
  CHECK(info->links == 1);
  auto extended = folder.extended("f");
  REQUIRE(extended);
  CHECK(*extended == attributes.extended);
  auto file = folder.open_file("f");
  REQUIRE(file);
  CHECK(file->extended().value() == attributes.extended);

  REQUIRE(folder.make_folder("d"));
  auto inner = folder.open_folder("d");
  REQUIRE(inner);
  make_file(*inner, "g", "");
  CHECK_FALSE(inner->apply(attributes)->any());
  CHECK(folder.info("d")->mode == 0641);
  CHECK(folder.info("d")->modified == attributes.modified);
  CHECK(inner->extended().value() == attributes.extended);
}

TEST_CASE("the attributes of a symbolic link are its own, not its target's") {
  const TemporaryFolder place;
  const Folder folder = open(place.path());
  make_file(folder, "target", "text", {.mode = 0600, .modified = 1000});
  REQUIRE(folder.make_symlink("link", "target"));
  Attributes attributes{.mode = 0777, .modified = 2'000'000'001};
  attributes.extended = {{"user.no", "links have none"}};
  auto refused = folder.apply("link", attributes);
  REQUIRE(refused);
  CHECK(refused->extended == std::vector<std::string>{"user.no"});
  CHECK(folder.info("link")->type == FileType::symlink);
  CHECK(folder.info("link")->modified == 2'000'000'001);
  CHECK(folder.info("target")->modified == 1000);
  CHECK(folder.info("target")->mode == 0600);
  CHECK(folder.extended("target")->empty());
}

TEST_CASE("links of both kinds are made and read") {
  const TemporaryFolder place;
  const Folder folder = open(place.path());
  const std::string target = "../\xff/" + std::string(3000, 'z') + "\n";
  REQUIRE(folder.make_symlink("s", target));
  CHECK(folder.read_link("s").value() == target);
  CHECK(folder.make_symlink("s", "x").error().code == Code::exists);
  make_file(folder, "f", "one");
  REQUIRE(folder.make_folder("d"));
  const auto inner = folder.open_folder("d");
  REQUIRE(inner->make_link("f2", folder, "f"));
  REQUIRE(folder.make_link("s2", folder, "s"));
  CHECK(folder.info("s2")->type == FileType::symlink);
  const auto one = folder.info("f"), two = inner->info("f2");
  CHECK(one->inode == two->inode);
  CHECK(one->device == two->device);
  CHECK(one->links == 2);
}

TEST_CASE("nothing but Folder::open follows a link") {
  const TemporaryFolder place, elsewhere;
  const Folder folder = open(place.path());
  make_file(open(elsewhere.path()), "secret", "x");
  REQUIRE(folder.make_symlink("d", elsewhere.path()));
  REQUIRE(folder.make_symlink("f", elsewhere.path() + "/secret"));
  CHECK_FALSE(folder.open_folder("d"));
  CHECK(folder.open_file("f").error().code == Code::unsupported);
  make_file(folder, "f", "replaced the link");
  CHECK(read_file(open(elsewhere.path()), "secret") == "x");
  CHECK(read_file(folder, "f") == "replaced the link");
}

TEST_CASE("special files are told and made, and opening one does not hang") {
  const TemporaryFolder place;
  const Folder folder = open(place.path());
  REQUIRE(folder.make_special("fifo", FileType::fifo, 0, 0));
  REQUIRE(folder.make_special("socket", FileType::socket, 0, 0));
  CHECK(folder.info("fifo")->type == FileType::fifo);
  CHECK(folder.info("socket")->type == FileType::socket);
  CHECK(folder.open_file("fifo").error().code == Code::unsupported);
  CHECK(folder.open_file("socket").error().code == Code::unsupported);
  CHECK(folder.make_special("r", FileType::regular, 0, 0).error().code == Code::bad_input);
}

TEST_CASE("holes are kept") {
  const TemporaryFolder place;
  const Folder folder = open(place.path());
  auto file = folder.make_file("sparse", false);
  REQUIRE(file);
  const Bytes data(64 * kKiB, 7);
  REQUIRE(file->write_at(1 * kMiB, data));
  REQUIRE(file->write_at(3 * kMiB, data));
  REQUIRE(file->truncate(8 * kMiB));
  REQUIRE(file->sync());
  REQUIRE(file->commit({}));
  CHECK(folder.info("sparse")->size == 8 * kMiB);
  CHECK(folder.info("sparse")->allocated < 1 * kMiB);
  auto source = folder.open_file("sparse");
  REQUIRE(source);
  uint64_t covered = 0;
  for (uint64_t at = 0;;) {
    auto run = source->next_data(at);
    REQUIRE(run);
    if (!*run) break;
    CHECK((*run)->offset >= at);
    at = (*run)->offset + (*run)->length;
    covered += (*run)->length;
    Bytes bytes((*run)->length);
    CHECK(source->read_at((*run)->offset, bytes).value() == bytes.size());
  }
  CHECK(covered >= 2 * data.size());
  CHECK(covered < 8 * kMiB);
  Bytes back(data.size());
  REQUIRE(source->read_at(3 * kMiB, back).value() == back.size());
  CHECK(back == data);
  CHECK(source->read_at(8 * kMiB, back).value() == 0);

  make_file(folder, "empty", "");
  CHECK_FALSE(folder.open_file("empty")->next_data(0).value());
}

TEST_CASE("a file has its name only when it is whole, and an interrupted one can go on") {
  const TemporaryFolder place;
  Folder folder = open(place.path());
  make_file(folder, "f", "old");
  {
    auto file = folder.make_file("f", false);
    REQUIRE(file);
    REQUIRE(file->write_at(0, as_bytes("new, ")));
  }
  CHECK(read_file(folder, "f") == "old");
  const auto names = names_of(folder);
  REQUIRE(names.size() == 2);
  CHECK(std::count_if(names.begin(), names.end(), Folder::is_temporary) == 1);
  {
    auto file = folder.make_file("f", true);
    REQUIRE(file);
    CHECK(file->info()->size == 5);
    REQUIRE(file->write_at(5, as_bytes("and whole")));
    REQUIRE(file->commit({}));
  }
  CHECK(names_of(folder) == std::vector<std::string>{"f"});
  CHECK(read_file(folder, "f") == "new, and whole");
  {
    auto file = folder.make_file("f", false);
    REQUIRE(file->discard());
    REQUIRE(file->discard());
  }
  CHECK(names_of(folder) == std::vector<std::string>{"f"});
  REQUIRE(folder.make_folder("d"));
  CHECK(folder.make_file("d", false)->commit({}).error().code == Code::exists);
}

TEST_CASE("a file that changes while it is read is noticed") {
  const TemporaryFolder place;
  const Folder folder = open(place.path());
  make_file(folder, "f", "first");
  const auto before = folder.info("f");
  auto file = folder.open_file("f");
  REQUIRE(file);
  CHECK(file->info()->same_content(*before));
  make_file(folder, "f", "other");
  CHECK_FALSE(folder.info("f")->same_content(*before));
}

TEST_CASE("a path is cut into its folder and its name") {
  const TemporaryFolder place;
  make_file(open(place.path()), "f", "x");
  auto found = open_parent(place.path() + "/f///");
  REQUIRE(found);
  CHECK(found->name == "f");
  CHECK(found->folder.info("f"));
  CHECK(open_parent("/")->name == ".");
  CHECK(open_parent("here")->name == "here");
  CHECK(open_parent(place.path() + "/none/f").error().code == Code::not_found);
}

TEST_CASE("what is removed and renamed") {
  const TemporaryFolder place;
  Folder folder = open(place.path());
  make_file(folder, "a", "1");
  make_file(folder, "b", "2");
  REQUIRE(folder.rename("a", folder, "b"));
  CHECK(read_file(folder, "b") == "1");
  REQUIRE(folder.make_folder("d"));
  CHECK_FALSE(folder.remove("d"));
  CHECK(folder.remove("a").error().code == Code::not_found);
  REQUIRE(folder.remove("b"));
  REQUIRE(folder.remove_folder("d"));
  CHECK(names_of(folder).empty());
  CHECK(folder.sync());
  CHECK(folder.sync_all());
}

}  // namespace cairn::os
