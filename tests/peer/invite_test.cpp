// Invite codes: their form, and that typing errors are noticed.

#include "peer/invite.h"

#include <catch2/catch.hpp>

#include "env/random.h"
#include "peer/people.h"

namespace cairn::peer {
namespace {

Invite example(uint64_t seed = 1) {
  env::Prng prng(seed);
  Invite invite;
  prng.fill(invite.pool.bytes);
  prng.fill(invite.node.bytes);
  prng.fill(invite.id);
  prng.fill(invite.secret);
  invite.pool_name = "allotment";
  invite.addresses = {{"192.168.1.20", 4774}, {"fd00::1", 4774}, {"cairn.example.org", 443}};
  invite.expires = 1'800'000'000'000'000'000;
  invite.role = seed % 2 == 0 ? Role::admin : Role::member;
  return invite;
}

}  // namespace

TEST_CASE("an invite reads back from its code, also with white space and in capitals") {
  for (uint64_t seed = 1; seed < 40; ++seed) {
    Invite invite = example(seed);
    invite.pool_name = std::string(seed, 'p');  // all lengths of the last group
    const std::string code = format_invite(invite);
    CHECK(code.starts_with("cairn1"));
    CHECK(code.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string::npos);
    std::string typed = " \n";
    for (size_t i = 0; i < code.size(); ++i) {
      typed += i % 2 == 0 ? static_cast<char>(std::toupper(static_cast<unsigned char>(code[i]))) : code[i];
      if (i % 20 == 19) typed += "\r\n ";
    }
    for (const std::string& text : {code, typed}) {
      const auto read = parse_invite(text);
      REQUIRE(read);
      CHECK(read->pool == invite.pool);
      CHECK(read->node == invite.node);
      CHECK(read->id == invite.id);
      CHECK(read->secret == invite.secret);
      CHECK(read->addresses == invite.addresses);
      CHECK(read->expires == invite.expires);
      CHECK(read->role == invite.role);
      CHECK(read->pool_name == invite.pool_name);
      CHECK(invite_code_hash(text) == invite_code_hash(code));
    }
  }
}

TEST_CASE("a mistyped, cut or lengthened invite is bad input") {
  const std::string code = format_invite(example());
  for (size_t i = 0; i < code.size(); ++i) {
    std::string typo = code;
    typo[i] = typo[i] == 'q' ? 'w' : 'q';
    const auto read = parse_invite(typo);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == Code::bad_input);
  }
  for (const std::string& text : {std::string(), std::string("cairn1"), std::string("cairn1a"), code + "a",
                                  code.substr(0, code.size() - 1), "x" + code, std::string(100000, 'a')}) {
    CHECK(parse_invite(text).error().code == Code::bad_input);
  }
  std::string swapped = code;
  std::swap(swapped[20], swapped[21]);
  if (swapped != code) CHECK_FALSE(parse_invite(swapped));
}

}  // namespace cairn::peer
