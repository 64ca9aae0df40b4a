#pragma once
// Contract of env::Disk and env::File (src/env/disk.h).

#include "env/contract.h"

namespace cairn::env::contract {

namespace disk_detail {
inline std::string read_text(Disk& disk, const std::string& path) {
  auto bytes = read_file(disk, path);
  REQUIRE(bytes);
  return to_string(ByteView(*bytes));
}
}  // namespace disk_detail

inline void check_files(const MakeBench& make) {
  const auto bench = make();
  Disk& disk = bench->world(0).disk;

  SECTION("what was written is read") {
    auto file = disk.open("a", OpenMode::create_new);
    REQUIRE(file);
    REQUIRE((*file)->write_at(3, as_bytes("hello")));
    CHECK(*(*file)->size() == 8);
    Bytes back(20, 0xff);
    REQUIRE(*(*file)->read_at(0, back) == 8);
    CHECK(as_text(ByteView(back).first(8)) == std::string_view("\0\0\0hello", 8));
    CHECK(*(*file)->read_at(8, back) == 0);
    CHECK(*(*file)->read_at(100, back) == 0);
    CHECK(*(*file)->read_at(6, back) == 2);
    CHECK(*(*file)->read_at(0, MutableByteView{}) == 0);
  }

  SECTION("parts are written one after the other, any number of them") {
    auto file = disk.open("parts", OpenMode::create);
    REQUIRE(file);
    std::vector<std::string> texts;
    std::string whole;
    for (int i = 0; i < 3000; ++i) {
      texts.push_back(std::string(static_cast<size_t>(i % 7), static_cast<char>('a' + i % 26)));
      whole += texts.back();
    }
    std::vector<ByteView> parts;
    for (const auto& text : texts) parts.push_back(as_bytes(text));
    REQUIRE((*file)->write_at(5, parts));
    Bytes back(whole.size());
    REQUIRE(*(*file)->read_at(5, back) == whole.size());
    CHECK(as_text(back) == whole);
    REQUIRE((*file)->write_at(0, std::span<const ByteView>()));
    CHECK(*(*file)->size() == whole.size() + 5);
  }

  SECTION("a large write is whole") {
    Bytes bytes(3 * kMiB + 17);
    Prng prng(7);
    prng.fill(bytes);
    auto file = disk.open("large", OpenMode::create);
    REQUIRE(file);
    REQUIRE((*file)->write_at(1000, bytes));
    Bytes back(bytes.size());
    REQUIRE(*(*file)->read_at(1000, back) == bytes.size());
    CHECK(back == bytes);
    CHECK(*(*file)->allocated() >= bytes.size());
  }

  SECTION("what is written past the cache is read either way, and the other way round") {
    Buffer pages(256 * kKiB);
    Prng prng(11);
    prng.fill(pages.span());
    auto file = disk.open("past", OpenMode::create);
    REQUIRE(file);
    Bytes old(1 * kMiB, 'o');
    REQUIRE((*file)->write_at(0, old));
    const std::array<ByteView, 2> parts = {pages.view().first(64 * kKiB), pages.view().subspan(64 * kKiB)};
    REQUIRE((*file)->write_past_cache(128 * kKiB, parts));
    Bytes expected = old;
    std::ranges::copy(pages.view(), expected.begin() + 128 * kKiB);
    Bytes back(expected.size());
    REQUIRE(*(*file)->read_at(0, back) == back.size());
    CHECK(back == expected);
    Buffer past(512 * kKiB);
    REQUIRE(*(*file)->read_past_cache(64 * kKiB, past.span()) == past.size());
    CHECK(equal(past, ByteView(expected).subspan(64 * kKiB, past.size())));
    // Over the end, at addresses and of lengths that are no pages.
    REQUIRE(*(*file)->read_past_cache(1 * kMiB - 4 * kKiB, past.span()) == 4 * kKiB);
    CHECK(*(*file)->read_past_cache(2 * kMiB, past.span()) == 0);
    const std::array<ByteView, 2> odd = {pages.view().subspan(1, 4 * kKiB), as_bytes("end")};
    REQUIRE((*file)->write_past_cache(1 * kMiB - 7, odd));
    CHECK(*(*file)->size() == 1 * kMiB - 7 + 4 * kKiB + 3);
    Bytes tail(4 * kKiB + 3);
    REQUIRE(*(*file)->read_past_cache(1 * kMiB - 7, tail) == tail.size());
    CHECK(equal(ByteView(tail).first(4 * kKiB), odd[0]));
    CHECK(as_text(ByteView(tail).last(3)) == "end");
    auto closed = disk.open("past", OpenMode::read);
    REQUIRE(closed);
    CHECK_FALSE((*closed)->write_past_cache(0, parts));
  }

  SECTION("the modes of opening") {
    CHECK(disk.open("none", OpenMode::read).error().code == Code::not_found);
    CHECK(disk.open("none", OpenMode::read_write).error().code == Code::not_found);
    CHECK(disk.open("no/folder", OpenMode::create).error().code == Code::not_found);
    REQUIRE((*disk.open("f", OpenMode::create))->write_at(0, as_bytes("x")));
    CHECK(disk.open("f", OpenMode::create_new).error().code == Code::exists);
    CHECK(*(*disk.open("f", OpenMode::create))->size() == 1);  // not cut
    CHECK_FALSE((*disk.open("f", OpenMode::read))->write_at(0, as_bytes("y")));
    REQUIRE((*disk.open("f", OpenMode::read_write))->write_at(1, as_bytes("y")));
    CHECK(disk_detail::read_text(disk, "f") == "xy");
    REQUIRE(disk.make_dirs("d"));
    CHECK_FALSE(disk.open("d", OpenMode::read_write));
  }

  SECTION("truncate cuts and grows with zeros") {
    auto file = disk.open("t", OpenMode::create);
    REQUIRE(file);
    REQUIRE((*file)->write_at(0, as_bytes("0123456789")));
    REQUIRE((*file)->truncate(4));
    CHECK(*(*file)->size() == 4);
    REQUIRE((*file)->truncate(6));
    Bytes back(10);
    REQUIRE(*(*file)->read_at(0, back) == 6);
    CHECK(as_text(ByteView(back).first(6)) == std::string_view("0123\0\0", 6));
  }

  SECTION("allocate takes blocks and leaves the size") {
    auto file = disk.open("al", OpenMode::create);
    REQUIRE(file);
    REQUIRE((*file)->write_at(0, as_bytes("abc")));
    REQUIRE((*file)->allocate(0, 256 * kKiB));
    CHECK(*(*file)->size() == 3);
    REQUIRE((*file)->sync());
    REQUIRE((*file)->write_at(100 * kKiB, as_bytes("xyz")));
    CHECK(*(*file)->size() == 100 * kKiB + 3);
    Bytes back(4);
    REQUIRE(*(*file)->read_at(50 * kKiB, back) == 4);
    CHECK(back == Bytes(4, 0));
  }

  SECTION("a hole reads as zeros and keeps the size") {
    auto file = disk.open("hole", OpenMode::create);
    REQUIRE(file);
    REQUIRE((*file)->write_at(0, Bytes(256 * kKiB, 0x5a)));
    REQUIRE((*file)->sync());
    const uint64_t before = *(*file)->allocated();
    const Status punched = (*file)->punch_hole(64 * kKiB + 100, 128 * kKiB);
    if (punched) {
      CHECK(*(*file)->size() == 256 * kKiB);
      Bytes back(256 * kKiB);
      REQUIRE(*(*file)->read_at(0, back) == back.size());
      Bytes expected(256 * kKiB, 0x5a);
      std::fill_n(expected.begin() + 64 * kKiB + 100, 128 * kKiB, 0);
      CHECK(back == expected);
      REQUIRE((*file)->sync());
      CHECK(*(*file)->allocated() < before);
    } else {
      CHECK(punched.error().code == Code::unsupported);
    }
  }

  SECTION("several handles see one file") {
    auto one = disk.open("shared", OpenMode::create);
    auto two = disk.open("shared", OpenMode::read);
    REQUIRE((one && two));
    REQUIRE((*one)->write_at(0, as_bytes("seen")));
    Bytes back(4);
    REQUIRE(*(*two)->read_at(0, back) == 4);
    CHECK(as_text(back) == "seen");
  }

  SECTION("write_file replaces whole, read_file is bounded") {
    REQUIRE(write_file(disk, "w", as_bytes("a long first text")));
    REQUIRE(write_file(disk, "w", as_bytes("second")));
    CHECK(disk_detail::read_text(disk, "w") == "second");
    CHECK(*disk.list(".") == std::vector<std::string>{"w"});
    CHECK(read_file(disk, "w", 5).error().code == Code::too_large);
    CHECK(read_file(disk, "w", 6));
    CHECK(read_file(disk, "none").error().code == Code::not_found);
    REQUIRE(write_file(disk, "w", {}));
    CHECK(disk_detail::read_text(disk, "w").empty());
  }
}

inline void check_names(const MakeBench& make) {
  const auto bench = make();
  Disk& disk = bench->world(0).disk;

  SECTION("folders are made with their parents, again and again") {
    REQUIRE(disk.make_dirs("x/y/z"));
    REQUIRE(disk.make_dirs("x/y/z"));
    REQUIRE(disk.make_dirs("x/y/w"));
    CHECK(*disk.list("x/y") == std::vector<std::string>{"w", "z"});
    CHECK(*disk.exists("x/y"));
    CHECK_FALSE(*disk.exists("x/z"));
    REQUIRE(write_file(disk, "x/file", as_bytes("1")));
    CHECK_FALSE(disk.make_dirs("x/file"));
    CHECK_FALSE(disk.make_dirs("x/file/below"));
  }

  SECTION("list is sorted and knows what is not there") {
    REQUIRE(disk.make_dirs("l/sub"));
    for (const char* name : {"b", "a", "c-1", "Z"}) REQUIRE(write_file(disk, std::string("l/") + name, {}));
    CHECK(*disk.list("l") == std::vector<std::string>{"Z", "a", "b", "c-1", "sub"});
    CHECK(disk.list("l/sub")->empty());
    CHECK(disk.list("nothing").error().code == Code::not_found);
  }

  SECTION("rename replaces and takes handles along") {
    REQUIRE(write_file(disk, "from", as_bytes("new")));
    REQUIRE(write_file(disk, "to", as_bytes("old")));
    auto handle = disk.open("from", OpenMode::read_write);
    auto replaced = disk.open("to", OpenMode::read);
    REQUIRE((handle && replaced));
    REQUIRE(disk.rename("from", "to"));
    CHECK_FALSE(*disk.exists("from"));
    CHECK(disk_detail::read_text(disk, "to") == "new");
    REQUIRE((*handle)->write_at(3, as_bytes("er")));
    CHECK(disk_detail::read_text(disk, "to") == "newer");
    Bytes back(3);
    REQUIRE(*(*replaced)->read_at(0, back) == 3);
    CHECK(as_text(back) == "old");
    CHECK(disk.rename("nothing", "to").error().code == Code::not_found);
    REQUIRE(disk.make_dirs("d/e"));
    REQUIRE(disk.rename("to", "d/e/moved"));
    REQUIRE(disk.rename("d/e", "d/f"));
    CHECK(disk_detail::read_text(disk, "d/f/moved") == "newer");
  }

  SECTION("remove") {
    REQUIRE(disk.make_dirs("r/s"));
    REQUIRE(write_file(disk, "r/s/f", as_bytes("1")));
    CHECK_FALSE(disk.remove("r/s"));
    REQUIRE(disk.remove("r/s/f"));
    CHECK(disk.remove("r/s/f").error().code == Code::not_found);
    REQUIRE(disk.remove("r/s"));
    CHECK_FALSE(*disk.exists("r/s"));
  }

  SECTION("a removed file lives on in its handles") {
    auto file = disk.open("gone", OpenMode::create);
    REQUIRE(file);
    REQUIRE(disk.remove("gone"));
    REQUIRE((*file)->write_at(0, as_bytes("still")));
    CHECK(*(*file)->size() == 5);
    CHECK_FALSE(*disk.exists("gone"));
  }

  SECTION("sync_dir needs a folder") {
    REQUIRE(disk.make_dirs("s"));
    CHECK(disk.sync_dir("s"));
    CHECK(disk.sync_dir("."));
    CHECK(disk.sync_dir("nothing").error().code == Code::not_found);
  }

  SECTION("space tells of a file system that has some") {
    auto space = disk.space(".");
    REQUIRE(space);
    CHECK(space->total > 0);
    CHECK(space->available <= space->total);
  }

  SECTION("one holder of a lock at a time, also inside one process") {
    REQUIRE(disk.make_dirs("k"));
    auto lock = disk.lock("k/lock");
    REQUIRE(lock);
    CHECK(disk.lock("k/lock").error().code == Code::overloaded);
    CHECK(disk.lock("k/other"));
    lock->reset();
    CHECK(disk.lock("k/lock"));
  }
}

// Everything that was made durable is there after the power went, whatever else is.
inline void check_durability(const MakeBench& make) {
  const auto bench = make();
  Disk& disk = bench->world(0).disk;

  SECTION("synced bytes under a synced name survive") {
    REQUIRE(disk.make_dirs("a/b"));
    const Bytes bytes(10'000, 7);
    {
      auto file = disk.open("a/b/f", OpenMode::create);
      REQUIRE(file);
      REQUIRE((*file)->write_at(0, bytes));
      REQUIRE((*file)->sync());
      REQUIRE(disk.sync_dir("a/b"));
      REQUIRE((*file)->write_at(10'000, Bytes(5000, 9)));  // not synced
    }
    REQUIRE(disk.remove("a/b/f"));
    bench->power_cycle();
    if (*disk.exists("a/b/f")) {  // the removal was not synced
      auto back = read_file(disk, "a/b/f");
      REQUIRE(back);
      REQUIRE(back->size() >= 10'000);
      CHECK(equal(ByteView(*back).first(10'000), bytes));
    }
    CHECK(*disk.exists("a/b"));
  }

  SECTION("write_file survives whole") {
    REQUIRE(write_file(disk, "w", as_bytes("first")));
    REQUIRE(write_file(disk, "w", as_bytes("the second")));
    bench->power_cycle();
    CHECK(disk_detail::read_text(disk, "w") == "the second");
  }

  SECTION("a synced removal and a synced rename survive") {
    REQUIRE(disk.make_dirs("d"));
    REQUIRE(write_file(disk, "d/one", as_bytes("1")));
    REQUIRE(write_file(disk, "d/two", as_bytes("2")));
    REQUIRE(disk.remove("d/one"));
    REQUIRE(disk.rename("d/two", "d/three"));
    REQUIRE(disk.sync_dir("d"));
    bench->power_cycle();
    CHECK(*disk.list("d") == std::vector<std::string>{"three"});
    CHECK(disk_detail::read_text(disk, "d/three") == "2");
  }

  SECTION("a lock is free again") {
    auto lock = disk.lock("lock");
    REQUIRE(lock);
    lock->reset();
    bench->power_cycle();
    CHECK(disk.lock("lock"));
  }
}

inline void check_disk(const MakeBench& make) {
  SECTION("files") {
    check_files(make);
  }
  SECTION("names") {
    check_names(make);
  }
  SECTION("durability") {
    check_durability(make);
  }
}

}  // namespace cairn::env::contract
