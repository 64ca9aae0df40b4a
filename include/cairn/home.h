#pragma once
// Where a home directory is.

#include <string>

namespace cairn {

inline constexpr const char* kVersion = "0.1.0";

// `given` (--home) when not empty, else $CAIRN_HOME, else $XDG_DATA_HOME/cairn, else ~/.local/share/cairn. Absolute.
std::string resolve_home(const std::string& given);

}  // namespace cairn
