#pragma once
// Numbers of the register, each with its reason.

#include "base/units.h"
#include "volume/register.h"
#include "wire/limits.h"

namespace cairn::volume {

// Of one value. A head with the packs of one commit takes some KiB, an account 300 bytes a volume.
inline constexpr size_t kMaxRegisterContent = 256 * kKiB;
// Around the content: config, certificate, 32 hashes, signature; and 5 receipts of 300 bytes.
inline constexpr size_t kMaxRegisterOverhead = 8 * kKiB;
// An answer carries a value and the value that began the configuration.
static_assert(2 * (kMaxRegisterContent + kMaxRegisterOverhead) < wire::kMaxRegisterBody);

inline constexpr size_t kMaxKeepers = 5;
// Values that a value remembers before it, so that a writer whose answer was lost finds its own.
inline constexpr size_t kRecentValues = 32;
inline constexpr size_t kFoundingNonceSize = 32;
// Forces that a value remembers, some 350 bytes each.
inline constexpr size_t kMaxForced = 4;
// Stray values that a keeper holds on to.
inline constexpr int kMaxStrays = 4;

// One request to one keeper. A keeper fsyncs before it answers: tens of ms on a busy disk, and a WAN's round trips.
inline constexpr Duration kKeeperTimeout = std::chrono::seconds(4);
// Whoever has been outbid waits this long at most for the other keepers' answers: it has to come again in any case.
inline constexpr Duration kOutbidGrace = std::chrono::milliseconds(250);
// Peeks make no promise and touch no disk in the common case.
inline constexpr Duration kPeekTimeout = std::chrono::seconds(2);
// Nodes that are peeked at the same time.
inline constexpr size_t kPeekBatch = 8;
// Rounds of one operation, and its time: with the back-off below 24 rounds of 5 contending writers nearly always
// suffice.
inline constexpr int kMaxRounds = 24;
inline constexpr Duration kOperationTimeout = std::chrono::seconds(30);
// Back-off after being outbid: a random time up to first * 2^n, at most last. A round takes some ms on a LAN.
inline constexpr Duration kFirstPause = std::chrono::milliseconds(20);
inline constexpr Duration kLastPause = std::chrono::milliseconds(800);
// Rounds that found too few keepers, with no newer configuration to be found, before giving up: so many at least, and
// for so long. A keeper whose daemon is started anew refuses in no time, and is not dialled again for some seconds
// (peer::kLastBackoff); one on a busy machine is silent for longer than kKeeperTimeout, so each such round waits twice
// as long as the one before it.
inline constexpr int kLonelyRounds = 2;
inline constexpr Duration kLonelyPatience = std::chrono::seconds(10);
inline constexpr Duration kLonelyPause = std::chrono::milliseconds(500);
inline constexpr Duration kLongestKeeperTimeout = 4 * kKeeperTimeout;
static_assert(kKeeperTimeout + 2 * kKeeperTimeout < kOperationTimeout);
// Requests to keepers that are finished behind an operation that has its majority already.
inline constexpr size_t kMaxBehind = 64;

// Registers of one member at one keeper: bounds what a member can make others keep (about 1 GiB).
inline constexpr uint32_t kMaxRegistersPerMember = 4096;

// What a keeper retains of one register that append-only devices write to, until a full device has looked through it:
// weeks of checkpoints, each of some hundred bytes.
inline constexpr uint64_t kMaxRetained = 65536;
inline constexpr uint64_t kMaxRetainedBytes = 64 * kMiB;
inline constexpr size_t kRetainedPage = 256 * kKiB;  // of one answer; one value more may come with it
// Ballots follow the clock in milliseconds; an append-only device may not run ahead of it until none are left.
inline constexpr uint64_t kBallotLead = 1ULL << 40;
inline constexpr uint64_t kSequenceLead = 1ULL << 32;

}  // namespace cairn::volume
