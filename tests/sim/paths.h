#pragma once
// Paths on a simulated disk: "a/b/c" without empty and "." parts; the root is "".

#include <string>
#include <string_view>

namespace cairn::sim {

inline std::string normalize(std::string_view text) {
  std::string path;
  while (!text.empty()) {
    const size_t end = text.find('/');
    const std::string_view part = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (part.empty() || part == ".") continue;
    if (!path.empty()) path += '/';
    path += part;
  }
  return path;
}

inline std::string parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string{} : path.substr(0, slash);
}

}  // namespace cairn::sim
