#include "backup/selection.h"

#include <catch2/catch.hpp>

using namespace cairn;
using namespace cairn::backup;

namespace {

Record make(const std::string& first_digits, WallTime time) {
  Record record;
  record.id = *SnapshotId::from_hex_text(first_digits + std::string(64 - first_digits.size(), '0'));
  record.time = time;
  return record;
}

}  // namespace

TEST_CASE("a snapshot is named by digits, or as the latest, with a folder in it or without") {
  auto name = parse_snapshot_name("9f2c01aa");
  REQUIRE(name);
  CHECK(name->id == "9f2c01aa");
  CHECK(name->subfolder == "/");
  CHECK(parse_snapshot_name("9f2c01aa:/etc/")->subfolder == "/etc");
  CHECK(parse_snapshot_name("9f2c01aa:etc")->subfolder == "/etc");
  CHECK(parse_snapshot_name("latest:")->subfolder == "/");
  CHECK(parse_snapshot_name("latest:/a:b")->subfolder == "/a:b");
  CHECK(parse_snapshot_name("latest")->id.empty());
  CHECK(parse_snapshot_name("latest~3:/x")->before == 3);
  CHECK(parse_snapshot_name("latest~3:/x")->subfolder == "/x");
  for (const char* text : {"", "9f2", "xyz12345", "9F2C01AA", "latest~", "latest~x", "latest~-1", "latests", ":/etc"})
    CHECK(parse_snapshot_name(text).error().code == Code::bad_input);
  CHECK(parse_snapshot_name(std::string(65, 'a')).error().code == Code::bad_input);
}

TEST_CASE("digits that fit one snapshot find it, and those that fit two do not") {
  const std::vector<Record> all = {make("aaaa1111", 1), make("aaaa2222", 3), make("bbbb", 2)};
  const auto find = [&](const char* text) { return find_snapshot(all, *parse_snapshot_name(text), {}); };
  CHECK(find("aaaa1") == 0);
  CHECK(find("bbbb") == 2);
  CHECK(find("aaaa").error().code == Code::bad_input);
  CHECK(find("cccc").error().code == Code::not_found);
  CHECK(find("latest") == 1);
  CHECK(find("latest~1") == 2);
  CHECK(find("latest~2") == 0);
  CHECK(find("latest~3").error().code == Code::not_found);
  CHECK(find_snapshot({}, *parse_snapshot_name("latest"), {}).error().code == Code::not_found);
}

TEST_CASE("the latest is the latest that passes the filter and is whole") {
  std::vector<Record> all = {make("aaaa", 1), make("bbbb", 2), make("cccc", 3)};
  all[0].host = "one";
  all[1].host = "two";
  all[2].host = "one";
  all[2].partial = true;
  const auto latest = *parse_snapshot_name("latest");
  CHECK(find_snapshot(all, latest, {}) == 1);
  CHECK(find_snapshot(all, latest, {.hosts = {"one"}, .tags = {}, .paths = {}}) == 0);
  CHECK(find_snapshot(all, latest, {.hosts = {"three"}, .tags = {}, .paths = {}}).error().code == Code::not_found);
  CHECK(find_snapshot(all, *parse_snapshot_name("cccc"), {}) == 2);  // by its ID a partial one is found
}

TEST_CASE("filters: one of the hosts, all tags of one list, all of the paths") {
  Record record;
  record.host = "mopped";
  record.tags = {"a", "b"};
  record.paths = {"/etc", "/home"};
  CHECK(Filter{}.matches(record));
  CHECK(Filter{.hosts = {"other", "mopped"}, .tags = {}, .paths = {}}.matches(record));
  CHECK_FALSE(Filter{.hosts = {"other"}, .tags = {}, .paths = {}}.matches(record));
  CHECK(Filter{.hosts = {}, .tags = {{"a", "b"}}, .paths = {}}.matches(record));
  CHECK(Filter{.hosts = {}, .tags = {{"x"}, {"b"}}, .paths = {}}.matches(record));
  CHECK_FALSE(Filter{.hosts = {}, .tags = {{"a", "x"}}, .paths = {}}.matches(record));
  CHECK_FALSE(Filter{.hosts = {}, .tags = {{""}}, .paths = {}}.matches(record));
  CHECK(Filter{.hosts = {}, .tags = {}, .paths = {"/home"}}.matches(record));
  CHECK_FALSE(Filter{.hosts = {}, .tags = {}, .paths = {"/home", "/usr"}}.matches(record));
  record.tags.clear();
  CHECK(Filter{.hosts = {}, .tags = {{""}}, .paths = {}}.matches(record));
  CHECK(parse_tag_list("a, b,") == std::vector<std::string>{"a", "b"});
  CHECK(parse_tag_list("") == std::vector<std::string>{""});
}
