// What a filling disk asks of a store: thresholds, their hysteresis, and hosts that write fast.
#include <catch2/catch.hpp>

#include "store/headroom.h"
#include "store/limits.h"

namespace cairn::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A disk of 100 GiB of which 10 % are to stay free; what is free is told in percent.
struct Host {
  Headroom headroom;
  Time now{};
  Headroom::Demand free(double percent, Duration after = seconds(60)) {
    now = now + after;
    return headroom.observe({.total = 100 * kGiB, .available = static_cast<uint64_t>(percent * kGiB)}, 10 * kGiB, now);
  }
};

TEST_CASE("a store stops at 90 % of the disk, gives back to 85 % and takes again below 80 %") {
  Host host;
  REQUIRE(host.free(40).take);
  REQUIRE(host.free(10).take);
  const auto full = host.free(9.9);  // by the store's own index, perhaps
  REQUIRE_FALSE(full.take);
  REQUIRE(full.move == 0);
  const auto over = host.free(9);
  REQUIRE_FALSE(over.take);
  REQUIRE(over.move == 6 * kGiB);
  REQUIRE(over.drop == 0);
  REQUIRE(over.full_percent == Approx(91));
  REQUIRE(host.free(12).move == 3 * kGiB);  // above the first threshold: on to the second
  REQUIRE(host.free(15).move == 0);
  REQUIRE(host.free(10.5).move == 0);  // not again before the first threshold
  REQUIRE_FALSE(host.free(19).take);
  REQUIRE(host.free(20).take);
  REQUIRE(host.free(11).take);
}

TEST_CASE("under 2 % free shards are dropped until 4 % are free, the rest is moved") {
  Host host;
  host.free(40);
  const auto pressing = host.free(1.5);
  REQUIRE(pressing.drop == 2 * kGiB + kGiB / 2);
  REQUIRE(pressing.move == 13 * kGiB + kGiB / 2);
  REQUIRE(host.free(3).drop == kGiB);
  REQUIRE(host.free(4).drop == 0);
  REQUIRE(host.free(3).drop == 0);
  REQUIRE(host.free(3).move == 12 * kGiB);
  REQUIRE(host.free(0).drop == 4 * kGiB);
}

TEST_CASE("a host that would fill the disk within a moment is given room before the last percents") {
  Host host;
  host.free(9);
  REQUIRE(host.free(8, seconds(10)).drop == 0);               // 100 MiB a second
  REQUIRE(host.free(4, milliseconds(500)).drop == 0);         // 8 GiB a second, of no disk: 2 GiB in the next moment
  REQUIRE(host.free(1, milliseconds(250)).drop == 8 * kGiB);  // room for three such moments
  Host burst;
  burst.free(9);
  REQUIRE(burst.free(3.5, milliseconds(250)).drop == 13 * kGiB);
  REQUIRE(burst.free(3.5, milliseconds(10)).drop == 13 * kGiB);  // the pace is not that of a glance
  REQUIRE(burst.free(4.5, milliseconds(250)).drop == 0);
  // While the store takes shards the pace may be its own.
  Host own;
  own.free(14);
  REQUIRE(own.free(11, milliseconds(100)).drop == 0);
}

TEST_CASE("a disk is looked at more often the nearer the next threshold is") {
  Host host;
  REQUIRE(host.free(40).look_again == kLookAtDisk);
  REQUIRE(host.free(9.6).look_again < kLookAtDisk);
  REQUIRE(host.free(2.001).look_again == kLookAtFullDisk);
}

TEST_CASE("where nothing is to stay free the host asks for nothing") {
  Headroom headroom;
  const auto demand = headroom.observe({.total = kGiB, .available = 0}, 0, Time{});
  REQUIRE(demand.take);
  REQUIRE(demand.move == 0);
  REQUIRE(demand.drop == 0);
}

}  // namespace
}  // namespace cairn::store
