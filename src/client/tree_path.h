#pragma once
// Paths within a volume: '/' between raw names, absolute, no '.', no '..', no '/' at the end but for the root.

#include <string>
#include <string_view>

namespace cairn::client {

std::string normalize(std::string_view path);
std::string parent_of(const std::string& path);  // of the root: the root
std::string name_of(const std::string& path);    // of the root: ""
std::string join(const std::string& directory, std::string_view name);

}  // namespace cairn::client
