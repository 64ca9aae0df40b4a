#include "base/path.h"

#include <catch2/catch.hpp>

namespace cairn {

TEST_CASE("the names of a path come without dots and empty ones, and never from above its beginning") {
  using Parts = std::vector<std::string_view>;
  CHECK(path_parts("").empty());
  CHECK(path_parts("//./").empty());
  CHECK(path_parts("/docs//a.txt/") == Parts{"docs", "a.txt"});
  CHECK(path_parts("a/./b/../c") == Parts{"a", "c"});
  CHECK(path_parts("../../a") == Parts{"a"});
  CHECK(path_parts("..a/.../b..") == Parts{"..a", "...", "b.."});
}

}  // namespace cairn
