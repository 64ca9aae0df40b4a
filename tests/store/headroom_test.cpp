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
  Headroom::Own own;
  Time now{};
  Headroom::Demand free(double percent, Duration after = seconds(60)) {
    now = now + after;
    return headroom.observe({.total = 100 * kGiB, .available = static_cast<uint64_t>(percent * kGiB)}, own, 10 * kGiB,
                            now);
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
  // 2 GiB a second: half a GiB in the next moment.
  Host host;
  host.free(5);
  REQUIRE(host.free(3, seconds(1)).drop == 0);
  REQUIRE(host.free(2.5, milliseconds(250)).drop == 0);
  // No disk takes more than kHostSpeed: room for a few moments of it, not for what was once allocated in one go.
  Host burst;
  burst.free(40);
  REQUIRE(burst.free(2.5, milliseconds(50)).drop == 0);
  Host more;
  more.free(40);
  REQUIRE(more.free(0.5, milliseconds(50)).drop == 4 * kGiB - kGiB / 2);  // under 2 % it is anyway
}

TEST_CASE("what was dropped for a host that writes fast makes no room for others before it is calm") {
  Headroom headroom;
  Time now{};
  const auto look = [&](uint64_t free, Duration after) {
    now = now + after;
    return headroom.observe({.total = 240 * kMiB, .available = free}, {}, 24 * kMiB, now);
  };
  look(60 * kMiB, seconds(60));
  REQUIRE(look(30 * kMiB, milliseconds(100)).drop > 0);
  auto later = look(120 * kMiB, milliseconds(100));
  REQUIRE(later.drop == 0);
  REQUIRE_FALSE(later.take);
  REQUIRE_FALSE(look(115 * kMiB, milliseconds(100)).take);
  for (int i = 0; i < 100 && !later.take; ++i) later = look(115 * kMiB, milliseconds(100));
  REQUIRE(later.take);
}

namespace {
// A small disk on which a host writes at an even pace until it is full, looked at as often as is asked for. What is to
// be dropped comes back after `latency`. Gives the bytes that the host could not write although the store had some.
struct Race {
  uint64_t total = 240 * kMiB, keep_free = 24 * kMiB, held = 80 * kMiB, host = 0;
  Duration latency = milliseconds(60);
  uint64_t refused = 0, asked = 0;
  void run(uint64_t speed, uint64_t from_free) {
    Headroom headroom;
    Time now{};
    host = total - held - from_free;
    const auto look = [&] {
      return headroom.observe({.total = total, .available = total - held - host}, {.least = held, .most = held},
                              keep_free, now);
    };
    for (int i = 0; i < 100; ++i) {  // it has stood still for long
      now = now + seconds(2);
      look();
    }
    Time next_look = now;
    std::optional<Time> dropped;
    uint64_t drop = 0;
    while (host + held < total || held > 0) {
      now = now + milliseconds(1);
      const uint64_t written = speed / 1000;
      if (host + held + written <= total) {
        host += written;
      } else {
        refused += held > 0 ? written : 0;
        if (held == 0) break;
      }
      if (dropped && now >= *dropped) {
        held -= std::min(held, drop);
        dropped.reset();
      }
      if (now < next_look) continue;
      const auto demand = look();
      next_look = now + demand.look_again;
      if (demand.drop > 0 && !dropped) {
        asked += demand.drop;
        drop = demand.drop;
        dropped = now + latency;
      }
    }
  }
};
}  // namespace

TEST_CASE("no write of a host is refused while there is something to give, up to the speed that is promised") {
  for (const uint64_t speed : {20 * kMiB, 80 * kMiB, 160 * kMiB}) {
    Race from_threshold;
    from_threshold.run(speed, 24 * kMiB);
    CAPTURE(speed / kMiB);
    REQUIRE(from_threshold.refused == 0);
  }
  // With more free at first its pace is known in time, as fast as it may be.
  for (const uint64_t speed : {400 * kMiB, 600 * kMiB}) {
    Race race;
    race.run(speed, 120 * kMiB);
    CAPTURE(speed / kMiB);
    REQUIRE(race.refused == 0);
  }
  // What it writes on a large disk: 10 GiB free, 4 GiB a second.
  Race large{.total = 100 * kGiB, .keep_free = 10 * kGiB, .held = 40 * kGiB};
  large.run(4 * kGiB, 10 * kGiB);
  REQUIRE(large.refused == 0);
}

TEST_CASE("what the stores themselves take and give back is not the host's pace") {
  Host host;
  host.own = {.least = 50 * kGiB, .most = 50 * kGiB};
  host.free(14);
  // A put of 3 GiB, on its way and done.
  host.own.most = 53 * kGiB;
  REQUIRE(host.free(14, milliseconds(50)).drop == 0);
  REQUIRE(host.free(11, milliseconds(50)).drop == 0);
  host.own.least = 53 * kGiB;
  REQUIRE(host.free(11, milliseconds(50)).drop == 0);
  // Dropped, on its way back, and back: the host wrote nothing.
  host.own.least = 50 * kGiB;
  REQUIRE(host.free(11, milliseconds(50)).drop == 0);
  REQUIRE(host.free(14, milliseconds(50)).drop == 0);
  host.own.most = 50 * kGiB;
  REQUIRE(host.free(14, milliseconds(50)).drop == 0);
  REQUIRE(host.free(13.999, milliseconds(50)).drop == 0);
}

TEST_CASE("a disk is looked at more often the less is free, and the faster its host writes") {
  Host host;
  REQUIRE(host.free(40).look_again == kLookAtDisk);
  REQUIRE(host.free(9.6).look_again < kLookAtDisk);
  REQUIRE(host.free(9.6).look_again >= milliseconds(500));  // ten percent are much on such a disk
  REQUIRE(host.free(0.01).look_again == kLookAtFastHost);
  Headroom still;
  const env::Space small{.total = 240 * kMiB, .available = 24 * kMiB};
  still.observe(small, {}, 24 * kMiB, Time{});
  REQUIRE(still.observe(small, {}, 24 * kMiB, Time{} + seconds(2)).look_again == kLookAtFullDisk);
}

TEST_CASE("where nothing is to stay free the host asks for nothing") {
  Headroom headroom;
  const auto demand = headroom.observe({.total = kGiB, .available = 0}, {}, 0, Time{});
  REQUIRE(demand.take);
  REQUIRE(demand.move == 0);
  REQUIRE(demand.drop == 0);
}

}  // namespace
}  // namespace cairn::store
