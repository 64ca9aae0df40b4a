// read_file, write_file and addresses (src/env/disk.h, network.h).

#include "env/disk.h"

#include <catch2/catch.hpp>

#include "env/network.h"
#include "sim/world.h"

namespace cairn::env {

TEST_CASE("write_file leaves the old file or the new one wherever the power goes") {
  const Bytes old_bytes(3000, 1);
  const Bytes new_bytes(9000, 2);
  int olds = 0;
  int news = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (uint64_t operations = 0; operations <= 6; ++operations) {
      sim::SimWorld sim(seed);
      sim::SimNode& node = sim.add_node();
      REQUIRE(node.disk().make_dirs("home"));
      REQUIRE(write_file(node.disk(), "home/f", old_bytes));
      node.disk().crash_after(operations);
      const Status written = write_file(node.disk(), "home/f", new_bytes);
      node.crash();
      node.restart();
      auto back = read_file(node.disk(), "home/f");
      REQUIRE(back);
      const bool is_new = *back == new_bytes;
      CHECK((is_new || *back == old_bytes));
      if (written) CHECK(is_new);
      (is_new ? news : olds) += 1;
      // And the next attempt is not disturbed by what was left behind.
      REQUIRE(write_file(node.disk(), "home/f", old_bytes));
      CHECK(*read_file(node.disk(), "home/f") == old_bytes);
    }
  }
  CHECK(olds > 0);
  CHECK(news > 0);
}

TEST_CASE("write_file in the root and under an absolute path") {
  sim::SimWorld sim(1);
  Disk& disk = sim.add_node().disk();
  REQUIRE(write_file(disk, "plain", as_bytes("1")));
  REQUIRE(write_file(disk, "/absolute", as_bytes("2")));
  CHECK(*disk.list("/") == std::vector<std::string>{"absolute", "plain"});
}

TEST_CASE("a full disk refuses write_file and keeps the old file") {
  sim::SimWorld sim(1);
  sim::SimNode& node = sim.add_node();
  node.disk().set_capacity(3 * 4096);
  REQUIRE(write_file(node.disk(), "f", as_bytes("old")));
  const Status written = write_file(node.disk(), "f", Bytes(40'000, 3));
  REQUIRE_FALSE(written);
  CHECK(written.error().code == Code::no_space);
  CHECK(to_string(ByteView(*read_file(node.disk(), "f"))) == "old");
}

TEST_CASE("addresses are read and written") {
  const auto check = [](const char* text, const char* host, uint16_t port) {
    INFO(text);
    auto address = Address::parse(text);
    REQUIRE(address);
    CHECK(address->host == host);
    CHECK(address->port == port);
    CHECK(address->text() == text);
  };
  check("localhost:7000", "localhost", 7000);
  check("10.1.2.3:0", "10.1.2.3", 0);
  check("[::1]:65535", "::1", 65535);
  check("[fe80::1%eth0]:1", "fe80::1%eth0", 1);
  for (const char* wrong : {"", ":", "host", "host:", ":7000", "host:65536", "host:-1", "host:7x", "host: 7",
                            "::1:7000", "[::1]", "[]:1", "host:7000 "}) {
    INFO(wrong);
    auto address = Address::parse(wrong);
    REQUIRE_FALSE(address);
    CHECK(address.error().code == Code::bad_input);
  }
}

}  // namespace cairn::env
