#pragma once
// Large files on their way: kept in a folder of the volume that no listing shows, under a name that follows from what
// is stored where to, until they are whole.

#include "base/ids.h"
#include "client/local_files.h"
#include "volume/transaction.h"

namespace cairn::client {

// At the root of a volume; View shows it, `ls`, `get` and the drive do not.
inline constexpr std::string_view kPartialDirectory = "/.cairn-partial";
// From this size on an interrupted put goes on within the file: below it the repeated upload takes about a second.
inline constexpr uint64_t kPartialFile = 256 * kMiB;
// Committed after so many bytes: what a kill -9 makes us upload again.
inline constexpr uint64_t kPartialStep = 256 * kMiB;
// A part that nothing was added to for so long is given up: its packs' space is worth more than a late resumption.
inline constexpr Duration kPartialLasts = std::chrono::days(7);

// What a part is of (device, folder in the volume, name), and which version of that file it is. Both are in its name,
// "PLACE-VERSION".
struct PartialName {
  std::string place, version;  // hex
  std::string text() const { return place + "-" + version; }
};
PartialName partial_name(const NodeId& device, volume::InodeId parent, const LocalEntry& entry);

// Removes what nobody will go on with: parts that are older than kPartialLasts, and other versions of `wanted`. The
// number of parts that went.
env::Task<Result<size_t>> sweep_partials(volume::Transaction& edit, WallTime now, std::optional<PartialName> wanted);

}  // namespace cairn::client
