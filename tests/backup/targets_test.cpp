#include "backup/targets.h"

#include <catch2/catch.hpp>

using namespace cairn;
using namespace cairn::backup;

namespace {

// "/a=/local/a" for what is whole.
void list(const TargetNode& node, const std::string& path, std::vector<std::string>& out) {
  if (node.whole) out.push_back((path.empty() ? "/" : path) + "=" + node.local);
  for (const auto& [name, below] : node.below) list(*below, path + "/" + name, out);
}
std::vector<std::string> places(const std::vector<std::string>& paths) {
  Targets targets("/home/u");
  for (const std::string& path : paths) REQUIRE(targets.add(path));
  std::vector<std::string> out;
  list(targets.root(), "", out);
  return out;
}
using List = std::vector<std::string>;

}  // namespace

TEST_CASE("absolute paths keep their place, relative ones have their own") {
  CHECK(places({"/etc"}) == List{"/etc=/etc"});
  CHECK(places({"/"}) == List{"/=/"});
  CHECK(places({"work"}) == List{"/work=/home/u/work"});
  CHECK(places({"work/x/"}) == List{"/work/x=/home/u/work/x"});
  CHECK(places({"."}) == List{"/=/home/u"});
  CHECK(places({".."}) == List{"/=/home"});
  CHECK(places({"../v/x"}) == List{"/v/x=/home/v/x"});
  CHECK(places({"a/../b/./c//d"}) == List{"/b/c/d=/home/u/b/c/d"});
  CHECK(places({"/etc", "/usr/share"}) == List{"/etc=/etc", "/usr/share=/usr/share"});
}

TEST_CASE("what is below something that is taken is taken once") {
  CHECK(places({"/etc", "/etc/ssh"}) == List{"/etc=/etc"});
  CHECK(places({"/etc/ssh", "/etc"}) == List{"/etc=/etc"});
  CHECK(places({"/etc", "/etc"}) == List{"/etc=/etc"});
}

TEST_CASE("two things for one place are refused, and so is what is no path") {
  Targets targets("/home/u");
  REQUIRE(targets.add("work"));
  CHECK(targets.add("/work").error().code == Code::bad_input);
  CHECK(targets.add("/work/x").error().code == Code::bad_input);
  CHECK(targets.add("/").error().code == Code::bad_input);
  CHECK(targets.add("").error().code == Code::bad_input);
  REQUIRE(targets.add("/home/u/work/x"));
  CHECK(targets.paths() == List{"/home/u/work", "/home/u/work/x"});
}
