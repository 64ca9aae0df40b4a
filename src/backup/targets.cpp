#include "backup/targets.h"

#include <algorithm>

#include "base/path.h"

namespace cairn::backup {

namespace {

std::string join(const std::vector<std::string_view>& parts, size_t count) {
  std::string path;
  for (size_t i = 0; i < count; ++i) path += "/" + std::string(parts[i]);
  return path.empty() ? "/" : path;
}

}  // namespace

Targets::Targets(std::string current) : current_(std::move(current)) {}

Status Targets::add(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) return fail(Code::bad_input, "not a path: '" + path + "'");
  const bool absolute = path[0] == '/';
  const std::string whole = absolute ? path : current_ + "/" + path;
  const std::vector<std::string_view> local = path_parts(whole);
  const std::vector<std::string_view> inside = absolute ? local : path_parts(path);
  const std::string full = join(local, local.size());
  TargetNode* at = &root_;
  for (size_t i = 0; i <= inside.size(); ++i) {
    // The parts that the path in the snapshot lacks are in front.
    const std::string here = join(local, local.size() - (inside.size() - i));
    const bool last = i == inside.size();
    if ((at->whole || (last && !at->local.empty())) && at->local != here)
      return fail(Code::bad_input, "'" + at->local + "' and '" + here + "' would have one place in the snapshot");
    if (at->local.empty() || last) at->local = here;
    if (at->whole) break;  // it is below something that is taken anyway
    if (last) {
      at->whole = true;
      at->below.clear();
      break;
    }
    auto& next = at->below[std::string(inside[i])];
    if (!next) next = std::make_unique<TargetNode>();
    at = next.get();
  }
  if (std::ranges::find(paths_, full) == paths_.end()) paths_.push_back(full);
  return {};
}

std::vector<std::string> Targets::paths() const {
  std::vector<std::string> sorted = paths_;
  std::ranges::sort(sorted);
  return sorted;
}

}  // namespace cairn::backup
