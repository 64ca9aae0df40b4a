#pragma once
// Large files on their way: kept in a folder of the volume that no listing shows, under a name that follows from what
// is stored where to, until they are whole.

#include "base/ids.h"
#include "client/local_files.h"

namespace cairn::client {

// At the root of a volume; View shows it, `ls`, `get` and the drive do not.
inline constexpr std::string_view kPartialDirectory = "/.cairn-partial";
// From this size on an interrupted put goes on within the file: below it the repeated upload takes about a second.
inline constexpr uint64_t kPartialFile = 256 * kMiB;
// Committed after so many bytes: what a kill -9 makes us upload again.
inline constexpr uint64_t kPartialStep = 256 * kMiB;

// Another device, place, file, or version of the file: another name.
std::string partial_name(const NodeId& device, volume::InodeId parent, const LocalEntry& entry);

}  // namespace cairn::client
