#pragma once
// The rules of repair, as pure functions: what of a pack is missing and from when on it is to be rebuilt, who goes
// first, which of two copies is the surplus one, and when it is this node that is cut off. REPAIR.md explains them.

#include <map>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "pool/claims.h"
#include "pool/limits.h"

namespace cairn::pool {

// Not below `least`, unless it is shorter anyway.
Duration scaled_time(Duration time, double factor, Duration least = kShortestWait);

// All that is waited for; real-daemon tests shorten them together.
struct RepairTimes {
  Duration at_one = kGraceAtOne, at_two = kGraceAtTwo, at_three = kGraceAtThree, longest = kLongestGrace;
  Duration settle = kSettleLoss, unclaimed = kUnclaimedGrace, leaving = kLeavingGrace;
  Duration rank_step = kRankStep, intent_lasts = kIntentLasts, intent_settle = kIntentSettle;
  Duration placed_patience = kPlacedPatience, first_retry = kFirstRepairRetry, last_retry = kLastRepairRetry;
  Duration surplus_wait = kSurplusWait, vanish_window = kVanishWindow, cut_off_lasts = kCutOffLasts;
  Duration states_every = kStatesEvery, walk_delay = kWalkDelay, walk_every = kWalkEvery;
  Duration missing_disk = kMissingDisk;

  // Never so short that what takes its time on a busy machine (a claim that is on its way) is taken for lost.
  RepairTimes scaled(double factor) const;
  // How long what a departed node held is waited for.
  Duration grace(int margin) const;
};

enum class Presence : uint8_t {
  there,  // alive, or only suspected; or not heard of yet in this life
  away,   // departed: may come back
  lost,   // left or removed; or its copy failed its audits
};

// One pack as the rules see it.
struct PackState {
  struct Holder {
    NodeId node;
    ClaimState state = ClaimState::held;  // held or leaving
    Presence presence = Presence::there;
    Time away_since{};
  };
  struct Slot {
    std::vector<Holder> holders;
    bool on_its_way = false;  // placed just now, its claim is not here yet
    Time noticed{};           // since when it is known here that it lacks a lasting holder, for reasons but absence
    bool never_claimed = false;
  };
  PackId id;
  uint32_t k = 1;
  NodeId self;
  std::vector<Slot> slots;
};

struct Need {
  uint8_t slot = 0;
  Time due{};
};
struct Surplus {
  uint8_t slot = 0;
  NodeId keeper;  // whose copy stays
};
struct Assessment {
  int margin = 0;                // slots that can be read now, less k
  std::vector<Need> needs;       // slots without a lasting holder, by when they are due
  std::vector<Surplus> surplus;  // copies of `self` that another holds too, and keeps
};
// `cut_off`: until when this node believes that it is itself cut off from the others.
Assessment assess(const PackState& pack, const RepairTimes& times, std::optional<Time> cut_off, Time now);

// Who keeps a slot that several hold: the same at every node, whatever it knows beside.
bool keeps_before(const ShardId& shard, const NodeId& a, const NodeId& b);
// Who repairs a pack first, likewise.
bool repairs_before(const PackId& pack, const NodeId& a, const NodeId& b);
// Of `self` among those who can repair this pack; 0 goes first.
size_t repair_rank(const PackState& pack);

// Given when each departed node did so and how many are there: until when this node is to believe that it is cut off.
std::optional<Time> cut_off_until(std::vector<Time> departures, size_t there, const RepairTimes& times, Time now);

}  // namespace cairn::pool
