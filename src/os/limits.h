#pragma once
// Bounds of the real network, disk and store. Each with its reason.

#include <chrono>

#include "base/units.h"

namespace cairn::os {

// Incoming handshakes under way at once: each costs under 1 ms of CPU here and about 60 KiB while it lasts.
inline constexpr size_t kMaxHandshakes = 128;
// A handshake, incoming or outgoing, ends within this: three round trips of a bad satellite line fit ten times.
inline constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);
// With all kMaxHandshakes places taken, the oldest handshake gives way to a newcomer once it is older than this, so
// that silent clients cannot lock others out for ten seconds.
inline constexpr Duration kHandshakeFairTime = std::chrono::seconds(2);
// How long an accept that failed for want of descriptors waits before the next.
inline constexpr Duration kAcceptRetry = std::chrono::milliseconds(100);
inline constexpr int kListenBacklog = 1024;

// Ciphertext taken from, and handed to, the kernel in one call. 64 to 256 KiB measured alike; below, system calls cost
// more, above, the bytes fall out of the second-level cache between the copy and the cipher.
inline constexpr size_t kReceiveBatch = 128 * kKiB;
inline constexpr size_t kSendBatch = 128 * kKiB;
// Buffers of idle streams that are kept for the next busy one, per network.
inline constexpr size_t kSpareBuffers = 32;
// A plaintext record of TLS 1.3 (RFC 8446, 5.1), and more than a record can grow by: header, type, tag.
inline constexpr size_t kRecordSize = 16 * kKiB;
inline constexpr size_t kRecordOverhead = 64;
// While so many bytes or more are still to come the thread is woken for so many at least, as long as the last ones came
// within this time.
inline constexpr size_t kMaxLowWater = 512 * kKiB;
inline constexpr Duration kQuickWait = std::chrono::milliseconds(20);
// Reads and writes from here on are given to helpers while several streams move much: one that did so within
// kMovesLately counts.
inline constexpr size_t kHelpedBytes = 128 * kKiB;
inline constexpr Duration kMovesLately = std::chrono::milliseconds(20);
// Answers that the protocol itself makes while nobody writes (key updates, alerts): a peer that provokes more and reads
// none of them is cut off.
inline constexpr size_t kMaxUnsentAnswers = 64 * kKiB;
// Bytes that one stream may read or write before others have their turn on the strand.
inline constexpr size_t kTurnBytes = 1 * kMiB;
// The same for small reads and writes that were served without waiting.
inline constexpr int kTurnCalls = 64;
// Longest certificate message that is read: ours have about 300 bytes.
inline constexpr long kMaxCertificateMessage = 8 * kKiB;

// After close() the socket drains what still arrives for this long, so that the kernel does not answer with a reset
// that would take our last bytes from a peer that has not read them yet.
inline constexpr Duration kLingerTime = std::chrono::seconds(2);
inline constexpr size_t kMaxLingering = 64;
inline constexpr uint64_t kMaxLingerBytes = 16 * kMiB;

// Name look-ups under way at once: each holds a thread for as long as the system's resolver takes.
inline constexpr size_t kMaxLookups = 8;
// Addresses of one name that are tried.
inline constexpr size_t kMaxAddressesPerName = 8;

// The identity certificate: valid from a day before it is made (clocks differ) for 30 days, remade after 10.
inline constexpr Duration kCertificateBackdate = std::chrono::hours(24);
inline constexpr Duration kCertificateLifetime = std::chrono::hours(24 * 30);
inline constexpr Duration kCertificateRenewal = std::chrono::hours(24 * 10);

// LevelDB: open tables keep their index block and filter (about 40 KiB each) and a descriptor.
inline constexpr int kMaxOpenTables = 200;
inline constexpr size_t kTableSize = 4 * kMiB;
inline constexpr int kFilterBitsPerKey = 10;  // 1 % of look-ups for absent keys read a block

static_assert(kSendBatch >= 2 * (kRecordSize + kRecordOverhead));
static_assert(kCertificateRenewal < kCertificateLifetime);
static_assert(kHandshakeFairTime < kHandshakeTimeout);

}  // namespace cairn::os
