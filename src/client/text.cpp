// Text for terminals, and the public path type.

#include "cairn/client.h"
#include "client/tree_path.h"

namespace cairn {

namespace {

// Length of the UTF-8 sequence at the front, 0 when it is none (RFC 3629).
size_t utf8_length(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xC2 && first < 0xE0 ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  if (length == 3 && ((first == 0xE0 && at(1) < 0xA0) || (first == 0xED && at(1) > 0x9F))) return 0;
  if (length == 4 && ((first == 0xF0 && at(1) < 0x90) || (first == 0xF4 && at(1) > 0x8F))) return 0;
  return length;
}

}  // namespace

std::string printable(std::string_view raw) {
  std::string out;
  while (!raw.empty()) {
    const size_t length = utf8_length(raw);
    const auto byte = static_cast<unsigned char>(raw[0]);
    const bool control =
        byte < 0x20 || byte == 0x7f || (length == 2 && byte == 0xC2 && static_cast<unsigned char>(raw[1]) < 0xA0);
    if (length == 0 || control || byte == '\\') {
      const size_t bytes = length == 0 ? 1 : length;
      for (size_t i = 0; i < bytes; ++i) {
        out += byte == '\\' ? "\\\\" : fmt::format("\\x{:02x}", static_cast<unsigned char>(raw[i]));
      }
      raw.remove_prefix(bytes);
      continue;
    }
    out += raw.substr(0, length);
    raw.remove_prefix(length);
  }
  return out;
}

Result<TreePath> TreePath::parse(std::string_view text) {
  const size_t colon = text.find(":/");
  if (colon == std::string_view::npos || colon == 0 || text.substr(0, colon).find('/') != std::string_view::npos) {
    return fail(Code::bad_input, fmt::format("'{}' is not TREE:/PATH (for instance main:/docs)", printable(text)));
  }
  TreePath path;
  path.tree = text.substr(0, colon);
  path.path = client::normalize(text.substr(colon + 1));
  if (path.path.find('\0') != std::string::npos) return fail(Code::bad_input, "a path cannot have a NUL byte");
  return path;
}

namespace client {

std::string normalize(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
      continue;
    }
    parts.push_back(part);
  }
  std::string out;
  for (const auto part : parts) out += "/" + std::string(part);
  return out.empty() ? "/" : out;
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string join(const std::string& directory, std::string_view name) {
  return (directory.ends_with('/') ? directory : directory + "/") + std::string(name);
}

}  // namespace client
}  // namespace cairn
