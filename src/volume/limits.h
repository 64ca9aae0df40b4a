#pragma once
// Sizes of the volume room, each with its reason.

#include "base/bytes.h"
#include "base/limits.h"

namespace cairn::volume {

// A tree node ends where a keyed hash says so, from kMinNodeSize on, on average kMeanNodeTail bytes later: 8 to 16 KiB
// on average, so that a lookup moves little and a change rewrites little. kMaxNodeSize ends it in any case.
inline constexpr size_t kMinNodeSize = 4 * kKiB;
inline constexpr size_t kMeanNodeTail = 9 * kKiB;
inline constexpr size_t kMaxNodeSize = 48 * kKiB;
// A key: at most 9 bytes, a kind and a name of 255 bytes; the rest is room for snapshots' names.
inline constexpr size_t kMaxKeySize = 1024;
// A value: an inline file with its attributes, an extended attribute (64 KiB, as in Linux), a snapshot's details.
inline constexpr size_t kMaxValueSize = 80 * kKiB;
// 12 children a node at the least make 2^40 items in 12 levels.
inline constexpr uint32_t kMaxTreeLevel = 16;
// A parsed node's bytes: the last item may cross kMaxNodeSize; then the places of at most 1,200 children.
inline constexpr size_t kMaxNodeBytes = 512 * kKiB;
static_assert(kMaxNodeSize + kMaxKeySize + kMaxValueSize < kMaxNodeBytes && kMaxNodeBytes < kMaxChunkSize);

// Holders that a node names as hints (128 KiB); a pack's further ones are left out and found by its siblings.
inline constexpr size_t kMaxNodeHolders = 4096;

inline constexpr size_t kMaxNameSize = 255;               // of a file, as in POSIX
inline constexpr size_t kMaxXattrSize = 64 * kKiB;        // as in Linux
inline constexpr size_t kMaxTargetSize = 4095;            // of a symbolic link, as in Linux
inline constexpr size_t kMaxSnapshotDetails = 64 * kKiB;  // in the tree
inline constexpr size_t kMaxPathDepth = 4096;             // directories above one another

// Names of one file: what programs that keep the count in a signed int can show.
inline constexpr uint32_t kMaxLinks = 0x7fffffff;

// Neighbouring chunks of a lane are read with one request up to here: large enough that what a request costs does not
// weigh, small enough to spread. The bit over 2 MiB lets 16 sealed extents in: a full lane of 31 is then two runs.
inline constexpr uint32_t kReadRun = 2 * kMiB + 64 * kKiB;
// How much of its memory a process gives to what it moves.
struct TransferDepth {
  // Packs that are filled, encoded or sent. Packs of (4, 2) have 24 MiB; the first touch of memory is the dearest part
  // of them. Two packs of a larger code may take up to kMostPackMemory.
  uint64_t pack_memory;
  // Runs that a FileReader keeps under way, and the same of all files that are read at once: of many each would else
  // hold as much.
  size_t read_ahead, read_ahead_of_all;
  // For Buffer::keep_spare_memory().
  uint64_t spare_memory;
};
// Beside other work (a backup, a drive): one pack is filled while another is sent; a round trip of 40 ms is hidden at
// 200 MB/s.
inline constexpr TransferDepth kSparing{
    .pack_memory = 56 * kMiB, .read_ahead = 5, .read_ahead_of_all = 8, .spare_memory = Buffer::kSpareMemory};
// Who moves files and does nothing else (put, get): all cores stay busy while holders wait for their disks.
inline constexpr TransferDepth kDeep{
    .pack_memory = 84 * kMiB, .read_ahead = 20, .read_ahead_of_all = 24, .spare_memory = 84 * kMiB};
inline constexpr uint64_t kMostPackMemory = 104 * kMiB;
// Nodes that a sequential walk reads ahead: less than a run.
inline constexpr size_t kNodeReadAhead = 64;
// Bytes of new tree nodes that go to the cache once their commit is chosen: the next one begins with them.
inline constexpr size_t kFreshNodes = 8 * kMiB;
// Plaintext that waits to be sealed.
inline constexpr uint64_t kSealQueueBytes = 12 * kMiB;
// What one sealing job takes: some 10 ms of work. As many extents as a lane takes, when they do not compress, so that
// what follows in the file follows in the lane as well, and is read in two runs.
inline constexpr uint64_t kSealJobBytes = kMaxShardSize - kExtentSize;
// Packs that are filled side by side.
inline constexpr size_t kMostFillers = 2;
// A transaction asks to be committed when its edits take this much memory.
inline constexpr size_t kTransactionBytes = 32 * kMiB;
// A drive's reader that goes on where the last read ended: what is asked for ahead of it, from the first step to the
// last: at 40 ms a round trip 16 MiB keep 400 MB/s busy, and a short file is not read for nothing.
inline constexpr uint64_t kFirstWindow = 512 * kKiB;
inline constexpr uint64_t kLastWindow = 16 * kMiB;
// Reads of one reader come out of order by so much (the kernel sends several at once).
inline constexpr uint64_t kReadDisorder = 2 * kMiB;
// Files whose content's version a drive remembers after their last close, so that the kernel may keep their pages.
inline constexpr size_t kSeenFiles = 64 * 1024;
// A copy inside a drive goes on by steps of so much: 2,000 extents a step.
inline constexpr uint64_t kCopyStep = 256 * kMiB;
// relatime: an access time older than this is renewed, as Linux does.
inline constexpr WallTime kAccessTimeAge = 24LL * 3600 * 1'000'000'000;
// A head of before a force that this device knows of is read again so often.
inline constexpr int kOldEraTries = 10;
inline constexpr Duration kOldEraPause = std::chrono::milliseconds(200);
// Tries of one commit against other writers.
inline constexpr int kCommitTries = 64;

}  // namespace cairn::volume
