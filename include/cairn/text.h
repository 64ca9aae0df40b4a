#pragma once
// Text out of bytes that may be anything: names of files, of users, answers of peers.

#include <string>
#include <string_view>

namespace cairn {

// Length in bytes of the well-formed UTF-8 sequence at the front (RFC 3629); 0 when there is none.
size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);

// Percent-free, unambiguous text for a terminal, on one line: control bytes and bytes that are not UTF-8 as \xNN.
std::string printable(std::string_view raw);

}  // namespace cairn
