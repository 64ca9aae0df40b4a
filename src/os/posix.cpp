#include "os/posix.h"

#include <system_error>

namespace cairn::os {

std::unexpected<Error> fail_errno(int number, std::string_view what) {
  Code code = Code::io;
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      code = Code::not_found;
      break;
    case EEXIST:
    case ENOTEMPTY:
      code = Code::exists;
      break;
    case ENOSPC:
    case EDQUOT:
      code = Code::no_space;
      break;
    case EOPNOTSUPP:
    case ENOSYS:
      code = Code::unsupported;
      break;
    default:
      break;
  }
  return fail(code, fmt::format("{}: {}", printable(what), std::system_category().message(number)));
}

namespace {

// Length of the well-formed UTF-8 sequence at the front (RFC 3629), or 0.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return 0;
    return follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return 0;
    return follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string printable(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const auto first = static_cast<uint8_t>(name[0]);
    const size_t length = utf8_length(name);
    if (length == 0 || first < 0x20 || first == 0x7F) {
      out += fmt::format("\\x{:02x}", first);
      name.remove_prefix(1);
    } else {
      out += name.substr(0, length);
      name.remove_prefix(length);
    }
  }
  return out;
}

}  // namespace cairn::os
