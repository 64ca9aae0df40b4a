#pragma once
// Short forms for the volume's tests. Each runs the simulation until its task has ended.

#include <catch2/catch.hpp>

#include "volume/memory_pool.h"

namespace cairn::test {

using volume::InodeId;
using volume::kRootInode;
using volume::Transaction;
using volume::View;

inline Bytes random_bytes(size_t size, uint64_t seed) {
  Bytes bytes(size);
  env::Prng(seed).fill(bytes);
  return bytes;
}

struct Fs {
  Device& device;
  Transaction& transaction;

  template <class T>
  T run(env::Task<T> task) {
    return device.run(std::move(task));
  }
  InodeId id(const std::string& path) {
    auto found = run(transaction.view().resolve(path));
    INFO(path);
    REQUIRE(found);
    return found->id;
  }
  View::Place place(const std::string& path) {
    auto found = run(transaction.view().resolve_parent(path));
    INFO(path);
    REQUIRE(found);
    return *found;
  }
  InodeId mkdir(const std::string& path) {
    const auto at = place(path);
    auto made = run(transaction.make_directory(at.parent, at.name, {.mode = 0755}));
    REQUIRE(made);
    return *made;
  }
  // Makes the file when it is not there.
  InodeId put(const std::string& path, ByteView bytes, size_t piece = 100'000) {
    const auto at = place(path);
    InodeId file = 0;
    auto there = run(transaction.view().lookup(at.parent, at.name));
    if (there) {
      file = there->inode;
    } else {
      auto made = run(transaction.make_file(at.parent, at.name, {.mode = 0644}));
      REQUIRE(made);
      file = *made;
    }
    auto writer = run(transaction.write_file(file));
    REQUIRE(writer);
    for (size_t done = 0; done < bytes.size(); done += piece) {
      REQUIRE(run((*writer)->write(Buffer::copy_of(bytes.subspan(done, std::min(piece, bytes.size() - done))))));
    }
    REQUIRE(run((*writer)->finish()));
    return file;
  }
  InodeId put(const std::string& path, std::string_view text) { return put(path, as_bytes(text)); }
  Status unlink(const std::string& path) {
    const auto at = place(path);
    return run(transaction.unlink(at.parent, at.name));
  }
  Status rename(const std::string& from, const std::string& to, volume::RenameMode mode = volume::RenameMode::replace) {
    const auto a = place(from), b = place(to);
    return run(transaction.rename(a.parent, a.name, b.parent, b.name, mode));
  }
  volume::CommitOutcome commit() {
    auto outcome = run(transaction.commit());
    INFO((outcome ? "" : to_string(outcome.error())));
    REQUIRE(outcome);
    return *outcome;
  }
};

// A file, in a commit of its own.
inline void put(Device& device, const std::string& path, ByteView bytes) {
  auto transaction = device.volume->begin();
  REQUIRE(transaction);
  Fs fs{device, **transaction};
  fs.put(path, bytes);
  fs.commit();
}
inline void remove(Device& device, const std::string& path) {
  auto transaction = device.volume->begin();
  REQUIRE(transaction);
  Fs fs{device, **transaction};
  REQUIRE(fs.unlink(path));
  fs.commit();
}

inline std::optional<std::string> read_text(Device& device, const View& view, const std::string& path) {
  auto found = device.run(view.resolve(path));
  if (!found) return std::nullopt;
  auto bytes = device.run(view.read(found->id, 0, found->inode.size + 100));
  INFO(path << " " << (bytes ? "" : to_string(bytes.error())));
  REQUIRE(bytes);
  REQUIRE(bytes->size() == found->inode.size);
  return to_string(ByteView(*bytes));
}

inline std::vector<std::string> names(Device& device, const View& view, const std::string& path) {
  auto found = device.run(view.resolve(path));
  REQUIRE(found);
  auto entries = device.run(view.list(found->id, "", SIZE_MAX));
  REQUIRE(entries);
  std::vector<std::string> list;
  for (const auto& entry : *entries) list.push_back(entry.name);
  return list;
}

// Everything that must hold of a whole tree: links, parents, sizes, extents, no inode without a name; and its listing.
std::map<std::string, std::string> check_tree(Device& device, const View& view);

}  // namespace cairn::test
