#include "base/text.h"

#include <fmt/format.h>

namespace cairn {

size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = byte(0);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  const size_t length = first >= 0xC2 && first < 0xE0   ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what is above U+10FFFF.
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return 0;
  if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return 0;
  return length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view raw) {
  std::string out;
  while (!raw.empty()) {
    const size_t length = utf8_length(raw);
    const auto byte = static_cast<unsigned char>(raw[0]);
    const bool control =
        byte < 0x20 || byte == 0x7f || (length == 2 && byte == 0xC2 && static_cast<unsigned char>(raw[1]) < 0xA0);
    if (byte == '\\') {
      out += "\\\\";
    } else if (length == 0 || control) {
      for (size_t i = 0; i < std::max<size_t>(length, 1); ++i)
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(raw[i]));
    } else {
      out += raw.substr(0, length);
    }
    raw.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

}  // namespace cairn
