#include "node/addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

namespace cairn::node {

namespace {

constexpr size_t kMaxAdvertised = 8;

// Lower is better; nothing for addresses that nobody else can use.
std::optional<int> rank_of(const sockaddr* address, std::string& text) {
  char buffer[INET6_ADDRSTRLEN];
  if (address->sa_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
    const uint32_t host = ntohl(v4.s_addr);
    text = inet_ntop(AF_INET, &v4, buffer, sizeof buffer);
    if (host >> 24 == 127) return 9;
    if (host >> 16 == 0xA9FE) return std::nullopt;  // link-local
    const bool is_private = host >> 24 == 10 || host >> 20 == 0xAC1 || host >> 16 == 0xC0A8;
    return is_private ? 2 : 0;
  }
  if (address->sa_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    text = inet_ntop(AF_INET6, &v6, buffer, sizeof buffer);
    if (IN6_IS_ADDR_LOOPBACK(&v6)) return 10;
    if (IN6_IS_ADDR_LINKLOCAL(&v6)) return std::nullopt;  // needs a scope that others do not know
    return (v6.s6_addr[0] & 0xFE) == 0xFC ? 3 : 1;
  }
  return std::nullopt;
}

}  // namespace

std::vector<env::Address> advertised_addresses(const env::Address& listener) {
  const bool any4 = listener.host == "0.0.0.0";
  const bool any6 = listener.host == "::";
  if (!any4 && !any6) return {listener};
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  std::vector<std::pair<int, std::string>> found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    if (any4 && entry->ifa_addr->sa_family != AF_INET) continue;
    std::string text;
    if (auto rank = rank_of(entry->ifa_addr, text)) found.emplace_back(*rank, text);
  }
  freeifaddrs(list);
  std::ranges::sort(found);
  const bool has_real = !found.empty() && found.front().first < 9;
  std::vector<env::Address> addresses;
  for (const auto& [rank, host] : found) {
    if (has_real && rank >= 9) break;
    if (addresses.size() < kMaxAdvertised) addresses.push_back({host, listener.port});
  }
  return addresses;
}

}  // namespace cairn::node
