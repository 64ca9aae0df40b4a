#pragma once
// Paths as text: names between slashes.

#include <string_view>
#include <vector>

namespace cairn {

// The names of a path, without "." and empty ones; ".." takes the name before it away, as far as there is one. They
// point into `path`.
std::vector<std::string_view> path_parts(std::string_view path);

}  // namespace cairn
