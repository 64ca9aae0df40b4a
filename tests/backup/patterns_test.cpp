#include "backup/patterns.h"

#include <catch2/catch.hpp>

using namespace cairn;
using namespace cairn::backup;

namespace {

bool excluded(const std::vector<std::string>& patterns, const char* path, bool ignore_case = false) {
  auto parsed = Patterns::parse(patterns, ignore_case);
  REQUIRE(parsed);
  return parsed->match(path);
}

}  // namespace

TEST_CASE("patterns fit as restic's documentation says") {
  struct Row {
    const char* pattern;
    const char* path;
    bool fits;
  };
  const Row rows[] = {
      // whole parts, anywhere, and what is below
      {"foo", "/dir1/foo/dir2/file", true},
      {"foo", "/dir/foo", true},
      {"foo", "/foo", true},
      {"foo", "/dir/foobar", false},
      {"foo", "/barfoo", false},
      {"foo", "/", false},
      {"foo/bar", "/x/foo/bar", true},
      {"foo/bar", "/x/foo/y/bar", false},
      {"foo/bar", "/foo/bar/baz", true},
      {"foo/bar", "/foo", false},
      // a slash at the end means nothing
      {"foo/", "/dir/foo", true},
      {"foo//bar/", "/foo/bar", true},
      {"./foo", "/a/foo", true},
      // a slash in front holds it at the root
      {"/bin", "/bin/bash", true},
      {"/bin", "/bin", true},
      {"/bin", "/usr/bin/restic", false},
      {"/usr/bin", "/usr/bin/restic", true},
      {"/usr/*/x", "/usr/lib/x", true},
      {"/usr/*/x", "/a/usr/lib/x", false},
      {"/", "/anything", true},
      // stars and question marks stay in their part
      {"b*ash", "/bin/bash", true},
      {"b*ash", "/bin/ash", false},
      {"*.c", "/src/a.c", true},
      {"*.c", "/src/a.cc", false},
      {"*.c", "/src/a.c/d", true},
      {"*.c", "/.c", true},
      {"*", "/x", true},
      {"?", "/ab/c", true},
      {"?", "/ab/cd", false},
      {"a?c", "/abc", true},
      {"a?c", "/a/c", false},
      {"*a*b*", "/xxaxxbxx", true},
      {"*a*b*", "/xxbxxaxx", false},
      {"a**b", "/axxb", true},
      {"a**b", "/a/x/b", false},  // '**' stands for folders only where it is a part of its own
      // classes
      {"[abc].txt", "/b.txt", true},
      {"[abc].txt", "/d.txt", false},
      {"[a-f]9", "/e9", true},
      {"[a-f]9", "/g9", false},
      {"[^a-f]9", "/g9", true},
      {"[^a-f]9", "/b9", false},
      {"[a\\]]x", "/]x", true},
      {"[\\-a]x", "/-x", true},
      // a backslash takes what follows as it is
      {"a\\*b", "/a*b", true},
      {"a\\*b", "/axb", false},
      {"\\[x", "/[x", true},
      {"\\!x", "/!x", true},
      // '**': any number of folders
      {"foo/**/bar", "/dir1/foo/dir2/bar/file", true},
      {"foo/**/bar", "/foo/bar/file", true},
      {"foo/**/bar", "/tmp/foo/bar", true},
      {"foo/**/bar", "/foo/x/y/z/bar", true},
      {"foo/**/bar", "/foo/x/y/z", false},
      {"**/x", "/x", true},
      {"/**/x", "/a/b/x", true},
      {"/a/**", "/a/b", true},
      {"/a/**", "/a", true},
      {"/a/**/b/**/c", "/a/1/b/2/3/c/4", true},
      {"/a/**/b/**/c", "/a/1/c/2/3/b/4", false},
      // bytes that are not UTF-8, and blanks
      {"*\xff", "/x\xff", true},
      {"foo bar star", "/foo bar star", true},
      {"A", "/a", false},
  };
  for (const Row& row : rows) {
    INFO(row.pattern << " on " << row.path);
    CHECK(excluded({row.pattern}, row.path) == row.fits);
  }
}

TEST_CASE("an exclamation mark takes back what was said before it") {
  const std::vector<std::string> patterns = {"/home/u/*", "!/home/u/Documents", "!/home/u/code", "node_modules", "*.o"};
  CHECK(excluded(patterns, "/home/u/Downloads"));
  CHECK(excluded(patterns, "/home/u/Downloads/x"));
  CHECK_FALSE(excluded(patterns, "/home/u/Documents"));
  CHECK_FALSE(excluded(patterns, "/home/u/Documents/letter"));
  CHECK_FALSE(excluded(patterns, "/home/u"));
  CHECK(excluded(patterns, "/home/u/code/node_modules"));
  CHECK(excluded(patterns, "/home/u/code/main.o"));
  CHECK_FALSE(excluded({"!/a", "/b"}, "/a"));
  CHECK(excluded({"!*.o", "*.o"}, "/x.o"));
  CHECK_FALSE(excluded({"*.o", "!x.o"}, "/x.o"));
}

TEST_CASE("the pattern of --iexclude looks at no case") {
  CHECK(excluded({"*.JpG"}, "/Photos/IMG.jPg", true));
  CHECK(excluded({"[A-C]x"}, "/bX", true));
  CHECK_FALSE(excluded({"*.JpG"}, "/Photos/IMG.png", true));
}

TEST_CASE("patterns that mean nothing are refused") {
  for (const char* pattern : {"", "!", "[a", "[]", "a[b-", "x\\", "[-a]", "./"})
    CHECK(Patterns::parse({pattern}, false).error().code == Code::bad_input);
  CHECK(Patterns::parse({}, false)->empty());
}

TEST_CASE("a folder may hold something that fits though it does not") {
  auto patterns = Patterns::parse({"/etc/ssh/*.pub"}, false);
  REQUIRE(patterns);
  CHECK(patterns->may_match_below("/"));
  CHECK(patterns->may_match_below("/etc"));
  CHECK(patterns->may_match_below("/etc/ssh"));
  CHECK_FALSE(patterns->may_match_below("/usr"));
  CHECK_FALSE(patterns->may_match_below("/etc/ssl"));
  CHECK(Patterns::parse({"*.pub"}, false)->may_match_below("/usr"));
  CHECK(Patterns::parse({"/a/**/b"}, false)->may_match_below("/a/x/y"));
}

TEST_CASE("a whole match reaches to the path's own name") {
  auto patterns = Patterns::parse({"sub", "*.c", "/a/**/z"}, false);
  REQUIRE(patterns);
  CHECK(patterns->match_whole("/x/sub"));
  CHECK_FALSE(patterns->match_whole("/x/sub/y"));
  CHECK(patterns->match_whole("/x/sub/y.c"));
  CHECK(patterns->match_whole("/a/b/c/z"));
  CHECK_FALSE(patterns->match_whole("/a/b/z/c"));
}

TEST_CASE("a file of patterns: comments, blanks, variables") {
  const auto variable = [](const std::string& name) { return name == "HOME" ? std::string("/home/bob") : ""; };
  const std::string text =
      "# go files\n*.go\n\n  spaced name \t\r\n$HOME/x\n${HOME}y\n$$5\n$NONE/z\n!keep\na$\n$/b\nlast";
  CHECK(parse_pattern_file(text, variable) == std::vector<std::string>{"*.go", "spaced name", "/home/bob/x",
                                                                       "/home/boby", "$5", "/z", "!keep", "a$", "$/b",
                                                                       "last"});
}
