// The public path type.

#include "base/path.h"
#include "cairn/client.h"
#include "client/tree_path.h"

namespace cairn {

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
  std::string out;
  for (const std::string_view part : path_parts(path)) out += "/" + std::string(part);
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
