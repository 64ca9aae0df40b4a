#include "volume/drive/acl.h"

#include <catch2/catch.hpp>

namespace cairn::volume {
namespace {

using Tag = AclEntry::Tag;

Acl small(uint16_t owner, uint16_t group, uint16_t other) {
  return {{Tag::owner, owner}, {Tag::group, group}, {Tag::other, other}};
}
Acl large(uint16_t owner, uint16_t user, uint16_t group, uint16_t mask, uint16_t other) {
  return {{Tag::owner, owner}, {Tag::user, user, 1000}, {Tag::group, group}, {Tag::mask, mask}, {Tag::other, other}};
}

TEST_CASE("an ACL is parsed as it was encoded, in Linux's layout") {
  const Acl acl = large(7, 6, 5, 4, 0);
  const std::string value = encode_acl(acl);
  CHECK(value.size() == 4 + 5 * 8);
  CHECK(value.substr(0, 12) == std::string("\2\0\0\0\1\0\7\0\xff\xff\xff\xff", 12));
  CHECK(value.substr(12, 8) == std::string("\2\0\6\0\xe8\3\0\0", 8));
  const auto parsed = parse_acl(value);
  REQUIRE(parsed);
  CHECK(*parsed == acl);
}

TEST_CASE("an ACL without entries is none, and ids of entries that have none do not matter") {
  CHECK(parse_acl("")->empty());
  CHECK(parse_acl(std::string("\2\0\0\0", 4))->empty());
  Acl acl = small(7, 5, 5);
  acl[0].id = 77;
  const auto parsed = parse_acl(encode_acl(acl));
  REQUIRE(parsed);
  CHECK(*parsed == small(7, 5, 5));
}

TEST_CASE("a malformed ACL is refused") {
  const auto error_of = [](const std::string& value) {
    const auto parsed = parse_acl(value);
    return parsed ? 0 : parsed.error().number;
  };
  CHECK(error_of("abc") == EINVAL);
  CHECK(error_of(std::string("\1\0\0\0", 4)) == EOPNOTSUPP);
  CHECK(error_of(encode_acl(small(7, 5, 5)) + "x") == EINVAL);
  CHECK(error_of(encode_acl(small(8, 5, 5))) == EINVAL);
  Acl acl = large(7, 6, 5, 4, 0);
  CHECK(error_of(encode_acl(acl)) == 0);
  for (size_t gone = 0; gone < acl.size(); ++gone) {
    Acl less = acl;
    less.erase(less.begin() + static_cast<ptrdiff_t>(gone));
    INFO(gone);
    CHECK(error_of(encode_acl(less)) == (gone == 1 ? 0 : EINVAL));  // only the named user may go
  }
  std::swap(acl[0], acl[1]);
  CHECK(error_of(encode_acl(acl)) == EINVAL);
  Acl twice = small(7, 5, 5);
  twice.push_back(twice.back());
  CHECK(error_of(encode_acl(twice)) == EINVAL);
  Acl nobody = large(7, 6, 5, 4, 0);
  nobody[1].id = UINT32_MAX;
  CHECK(error_of(encode_acl(nobody)) == EINVAL);
  CHECK(error_of(encode_acl({{static_cast<Tag>(3), 7}})) == EINVAL);
}

TEST_CASE("an ACL gives a mode: its mask stands for the group") {
  CHECK(mode_of_acl(small(7, 5, 1), 04000).mode == 04751);
  CHECK_FALSE(mode_of_acl(small(7, 5, 1), 0).more);
  CHECK(mode_of_acl(large(6, 7, 7, 4, 0), 01777).mode == 01640);
  CHECK(mode_of_acl(large(6, 7, 7, 4, 0), 0).more);
  // A mask alone is more than the mode says, too.
  CHECK(mode_of_acl({{Tag::owner, 6}, {Tag::group, 6}, {Tag::mask, 4}, {Tag::other, 0}}, 0).more);
}

TEST_CASE("chmod changes the mask, or the group's entry where there is no mask") {
  Acl acl = large(7, 6, 5, 4, 0);
  change_acl_mode(acl, 0612);
  CHECK(acl == large(6, 6, 5, 1, 2));
  acl = small(7, 7, 7);
  change_acl_mode(acl, 0612);
  CHECK(acl == small(6, 1, 2));
}

TEST_CASE("a default ACL and the mode asked for restrict one another") {
  Acl acl = large(7, 7, 5, 7, 5);
  AclMode given = inherit_acl(acl, 0640);
  CHECK(given.mode == 0640);
  CHECK(given.more);
  CHECK(acl == large(6, 7, 5, 4, 0));
  acl = small(7, 5, 0);
  given = inherit_acl(acl, 0666);
  CHECK(given.mode == 0640);
  CHECK_FALSE(given.more);
}

}  // namespace
}  // namespace cairn::volume
