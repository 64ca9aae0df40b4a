// UTF-8 and printable text.

#include "base/text.h"

#include <catch2/catch.hpp>

namespace cairn {

TEST_CASE("UTF-8 is told from what is not, at every border of RFC 3629") {
  for (const char* good : {"", "plain", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "gr\xc3\xbc\xc3\x9f dich"}) {
    INFO(printable(good));
    CHECK(is_utf8(good));
  }
  for (const char* bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xe0\x9f\xbf", "\xe0\xa0",
                          "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\xff", "good \xfe"}) {
    INFO(printable(bad));
    CHECK_FALSE(is_utf8(bad));
  }
  CHECK(is_utf8(std::string_view("\0", 1)));
  CHECK(utf8_length("\xe2\x82\xac!") == 3);
}

TEST_CASE("printable text has one line, no control bytes, and one form for each run of bytes") {
  CHECK(printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(printable("a\nb\t\x1b[0m\x7f") == "a\\x0ab\\x09\\x1b[0m\\x7f");
  CHECK(printable("\xff\xc2") == "\\xff\\xc2");
  CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");  // a C1 control: terminals obey it
  CHECK(printable("\\x0a") == "\\\\x0a");
}

}  // namespace cairn
