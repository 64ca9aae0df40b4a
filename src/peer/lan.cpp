#include "peer/lan.h"

#include <array>
#include <charconv>
#include <optional>

namespace cairn::peer {

namespace {

std::optional<std::array<uint8_t, 4>> ipv4(std::string_view text) {
  std::array<uint8_t, 4> parts{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && (at == end || *at++ != '.')) return std::nullopt;
    const auto [next, error] = std::from_chars(at, end, parts[i]);
    if (error != std::errc{}) return std::nullopt;
    at = next;
  }
  return at == end ? std::optional(parts) : std::nullopt;
}

}  // namespace

bool is_private(std::string_view host) {
  if (const auto parts = ipv4(host)) {
    const auto& p = *parts;
    return p[0] == 10 || p[0] == 127 || (p[0] == 172 && (p[1] & 0xF0) == 16) || (p[0] == 192 && p[1] == 168) ||
           (p[0] == 169 && p[1] == 254);
  }
  if (host == "::1") return true;
  // fc00::/7 and fe80::/10, of which the first group has four digits.
  if (host.find(':') != 4) return false;
  unsigned group = 0;
  const auto [end, error] = std::from_chars(host.data(), host.data() + 4, group, 16);
  if (error != std::errc{} || end != host.data() + 4) return false;
  return (group & 0xFE00) == 0xFC00 || (group & 0xFFC0) == 0xFE80;
}

}  // namespace cairn::peer
