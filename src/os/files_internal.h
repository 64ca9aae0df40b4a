#pragma once
// What files.cpp and files_restore.cpp share.

#include "os/files.h"

struct stat;

namespace cairn::os {

FileInfo to_info(const struct stat& raw);
// Of the descriptor, or, with a name, of that entry of the folder (a link itself, not where it leads).
Result<std::vector<ExtendedAttribute>> read_extended(int descriptor, const std::string* name, std::string_view what);
Result<Refused> apply_attributes(int descriptor, const std::string* name, const Attributes& attributes,
                                 std::string_view what);
// "/proc/self/fd/N/name": the only way to an entry's extended attributes that neither follows links nor opens it.
std::string path_through(int folder, const std::string& name);
Result<size_t> read_descriptor(int descriptor, uint64_t offset, MutableByteView into, std::string_view what);

}  // namespace cairn::os
