// LevelStores and PosixDisk beyond the contract suite: processes that die, damage, and full disks.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "os/posix.h"
#include "os/real_bench.h"

namespace cairn::os {

namespace {

// Runs f in a child process that is then killed by SIGKILL, unless f has ended the process itself.
template <class F>
void in_killed_process(F f) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    f();
    ::kill(::getpid(), SIGKILL);
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
}

}  // namespace

TEST_CASE("a store keeps what was written when its process is killed") {
  const TemporaryFolder folder;
  in_killed_process([&] {
    LevelStores stores(folder.path());
    auto store = stores.open("db");
    if (!store) ::_exit(2);
    for (int i = 0; i < 100; ++i) {
      env::WriteBatch batch;
      batch.put(fmt::format("{:03}", i), "value");
      if (!(*store)->write(batch, i % 10 == 0)) ::_exit(3);
    }
  });
  LevelStores stores(folder.path());
  auto store = stores.open("db");  // the lock went with the process
  REQUIRE(store);
  size_t found = 0;
  auto cursor = (*store)->cursor();
  for (cursor->seek(""); cursor->valid(); cursor->next()) ++found;
  CHECK(found == 100);
}

TEST_CASE("a store is refused while another process has it") {
  const TemporaryFolder folder;
  int to_parent[2], to_child[2];
  REQUIRE(::pipe(to_parent) == 0);
  REQUIRE(::pipe(to_child) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(to_child[1]);
    LevelStores stores(folder.path());
    auto store = stores.open("db");
    PosixDisk disk(folder.path());
    auto lock = disk.lock("lock");
    const char good = store && lock ? 'y' : 'n';
    char end;
    static_cast<void>(::write(to_parent[1], &good, 1));
    static_cast<void>(::read(to_child[0], &end, 1));
    ::_exit(0);
  }
  char good = 0;
  REQUIRE(::read(to_parent[0], &good, 1) == 1);
  CHECK(good == 'y');
  LevelStores stores(folder.path());
  PosixDisk disk(folder.path());
  CHECK(stores.open("db").error().code == Code::overloaded);
  CHECK(disk.lock("lock").error().code == Code::overloaded);
  for (const int end : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) ::close(end);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(stores.open("db"));
  CHECK(disk.lock("lock"));
}

TEST_CASE("a damaged store says so and makes nothing up") {
  const TemporaryFolder folder;
  LevelStores stores(folder.path());
  {
    auto store = stores.open("db");
    REQUIRE(store);
    for (int i = 0; i < 20'000; ++i) {
      env::WriteBatch batch;
      batch.put(fmt::format("{:06}", i), std::string(300, static_cast<char>('a' + i % 26)));
      REQUIRE((*store)->write(batch, false));
    }
  }
  // Opening turns what the closing interrupted into tables and takes half-made ones away.
  REQUIRE(stores.open("db"));
  PosixDisk disk(folder.path());
  auto names = disk.list("db");
  REQUIRE(names);
  size_t damaged = 0;
  for (const auto& name : *names) {
    if (!name.ends_with(".ldb")) continue;
    auto file = disk.open("db/" + name, env::OpenMode::read_write);
    REQUIRE((*file)->write_at(1000, Bytes(50, 0xA5)));
    ++damaged;
  }
  REQUIRE(damaged > 0);
  auto store = stores.open("db");
  if (!store) {
    CHECK(store.error().code == Code::corrupt);
    return;
  }
  size_t refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto value = (*store)->get(fmt::format("{:06}", i));
    if (!value) {
      CHECK(value.error().code == Code::corrupt);
      ++refused;
    } else if (*value) {
      CHECK((*value)->front() == static_cast<char>('a' + i % 26));
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("a store writes nothing but its own files, and no log") {
  const TemporaryFolder folder;
  LevelStores stores(folder.path());
  {
    REQUIRE(stores.open("a/b/db"));
  }
  {
    REQUIRE(stores.open("a/b/db"));
  }
  auto names = PosixDisk(folder.path()).list("a/b/db");
  REQUIRE(names);
  for (const auto& name : *names) CHECK_FALSE(name.starts_with("LOG."));
  CHECK(std::find(names->begin(), names->end(), "LOG") == names->end());
}

TEST_CASE("a million keys are walked and looked up within the memory of a small daemon", "[.slow]") {
  const TemporaryFolder folder;
  LevelStores stores(folder.path());
  auto store = stores.open("db");
  REQUIRE(store);
  env::Prng prng(1);
  std::vector<std::string> some;
  for (int i = 0; i < 10'000; ++i) {
    env::WriteBatch batch;
    for (int j = 0; j < 100; ++j) {
      Bytes key(33), value(120);
      prng.fill(key);
      prng.fill(value);
      batch.put(as_text(key), as_text(value));
      if (j == 0) some.emplace_back(as_text(key));
    }
    REQUIRE((*store)->write(batch, false));
  }
  for (const auto& key : some) REQUIRE((*store)->get(key)->has_value());
  size_t count = 0;
  auto cursor = (*store)->cursor();
  for (cursor->seek(""); cursor->valid(); cursor->next()) ++count;
  CHECK(count == 1'000'000);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS") || line.starts_with("VmHWM")) WARN(line);
  }
}

TEST_CASE("a disk that takes no more says no_space") {
  // /dev/full stands in for a full file system: every write to it fails with ENOSPC.
  PosixDisk disk;
  auto full = disk.open("/dev/full", env::OpenMode::read_write);
  REQUIRE(full);
  const Status written = (*full)->write_at(0, as_bytes("x"));
  REQUIRE_FALSE(written);
  CHECK(written.error().code == Code::no_space);
}

TEST_CASE("relative paths start at the root, absolute ones do not") {
  const TemporaryFolder folder;
  PosixDisk disk(folder.path());
  REQUIRE(disk.make_dirs("a"));
  REQUIRE(env::write_file(disk, "a/f", as_bytes("x")));
  CHECK(*PosixDisk().exists(folder.path() + "/a/f"));
  CHECK(*disk.exists(folder.path() + "/a/f"));
  CHECK(*disk.list(folder.path() + "/a") == std::vector<std::string>{"f"});
}

TEST_CASE("errors name the path on one printable line") {
  PosixDisk disk;
  auto missing = disk.open("/no/such\nfile\xff", env::OpenMode::read);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().context.find("/no/such\\x0afile\\xff") != std::string::npos);
  CHECK(printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(printable("\xc0\xaf\xed\xa0\x80\x7f") == "\\xc0\\xaf\\xed\\xa0\\x80\\x7f");
}

}  // namespace cairn::os
