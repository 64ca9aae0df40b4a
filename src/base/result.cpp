#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace cairn {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::not_found:
      return "not found";
    case Code::exists:
      return "exists already";
    case Code::bad_input:
      return "bad input";
    case Code::corrupt:
      return "corrupt";
    case Code::denied:
      return "denied";
    case Code::io:
      return "input/output error";
    case Code::no_space:
      return "no space";
    case Code::timeout:
      return "timed out";
    case Code::cancelled:
      return "cancelled";
    case Code::unreachable:
      return "unreachable";
    case Code::closed:
      return "connection closed";
    case Code::too_few_peers:
      return "too few peers";
    case Code::conflict:
      return "conflict";
    case Code::unknown_outcome:
      return "outcome unknown";
    case Code::wrong_phrase:
      return "wrong phrase";
    case Code::expired:
      return "expired";
    case Code::used:
      return "already used";
    case Code::too_large:
      return "too large";
    case Code::overloaded:
      return "overloaded";
    case Code::unsupported:
      return "not supported";
    case Code::damaged:
      return "damaged";
    case Code::interrupted:
      return "interrupted";
  }
  return "unknown";
}

std::string to_string(const Error& error) {
  std::string text(to_string(error.code));
  if (!error.context.empty()) text += ": " + error.context;
  return text;
}

void invariant_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "cairn: invariant failed: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace cairn
