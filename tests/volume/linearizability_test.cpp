#include "volume/linearizability.h"

#include <catch2/catch.hpp>

namespace cairn::volume {
namespace {

using enum RegisterOp::Outcome;

RegisterOp read(uint64_t from, uint64_t to, uint64_t value) {
  return {.kind = RegisterOp::Kind::read, .invoked = from, .returned = to, .value = value};
}
RegisterOp write(uint64_t from, uint64_t to, uint64_t expected, uint64_t value, RegisterOp::Outcome outcome = ok) {
  return {.kind = RegisterOp::Kind::write,
          .invoked = from,
          .returned = to,
          .expected = expected,
          .value = value,
          .outcome = outcome};
}
bool linearizable(const std::vector<RegisterOp>& history) {
  return check_linearizable(history).linearizable;
}

TEST_CASE("histories that one register could have made are accepted") {
  CHECK(linearizable({}));
  CHECK(linearizable({read(1, 2, 0), write(3, 4, 0, 7), read(5, 6, 7)}));
  // A read beside a write sees the old value or the new one.
  CHECK(linearizable({write(1, 10, 0, 7), read(2, 3, 0), read(4, 5, 7)}));
  // Of two writes with one expectation the loser says so.
  CHECK(linearizable({write(1, 10, 0, 7), write(2, 9, 0, 8, conflict), read(11, 12, 7)}));
  // A write that depends on another that runs beside it.
  CHECK(linearizable({write(1, 10, 0, 7), write(2, 9, 7, 8), read(11, 12, 8)}));
}

TEST_CASE("an unknown write may take effect late, early or never") {
  const auto unknown_write = write(1, RegisterOp::kNever, 0, 7, unknown);
  CHECK(linearizable({unknown_write, read(2, 3, 0)}));
  CHECK(linearizable({unknown_write, read(2, 3, 7)}));
  CHECK(linearizable({unknown_write, read(2, 3, 0), read(4, 5, 0), read(6, 7, 7)}));
  CHECK(linearizable({unknown_write, write(2, 3, 7, 8), read(4, 5, 8)}));
  CHECK(linearizable({unknown_write, write(2, 3, 0, 8, conflict)}));
}

TEST_CASE("histories that no register could have made are refused") {
  // A stale read after the write has returned.
  CHECK_FALSE(linearizable({write(1, 2, 0, 7), read(3, 4, 0)}));
  // The value goes back.
  CHECK_FALSE(linearizable({write(1, 10, 0, 7), read(2, 3, 7), read(4, 5, 0)}));
  // Both of two writes with one expectation succeed: a lost update.
  CHECK_FALSE(linearizable({write(1, 10, 0, 7), write(2, 9, 0, 8)}));
  // A value from nowhere.
  CHECK_FALSE(linearizable({read(1, 2, 5)}));
  // A read of a value before its write began.
  CHECK_FALSE(linearizable({read(1, 2, 7), write(3, 4, 0, 7)}));
  // A conflict that nothing explains.
  CHECK_FALSE(linearizable({write(1, 2, 0, 7, conflict)}));
  // An unknown write that was seen and then undone.
  CHECK_FALSE(linearizable({write(1, RegisterOp::kNever, 0, 7, unknown), read(2, 3, 7), read(4, 5, 0)}));
  // An unknown write that takes effect before it was invoked.
  CHECK_FALSE(linearizable({read(1, 2, 7), write(3, RegisterOp::kNever, 0, 7, unknown)}));
  // Reads by two clients that disagree on the order of two writes.
  CHECK_FALSE(linearizable({write(1, 20, 0, 7), write(1, 20, 7, 8), read(2, 3, 7), read(4, 5, 8), read(6, 7, 7)}));
}

TEST_CASE("a refusal tells what could not be placed") {
  const auto result = check_linearizable({write(1, 2, 0, 7), read(3, 4, 0)});
  CHECK(result.reason.find("read 0 [3,4]") != std::string::npos);
}

TEST_CASE("a long history with many unknown writes is decided quickly") {
  std::vector<RegisterOp> history;
  uint64_t moment = 1;
  for (uint64_t i = 0; i < 150; ++i) {
    if (i % 5 == 0) history.push_back(write(moment, RegisterOp::kNever, i, 1000 + i, unknown));
    history.push_back(write(moment, moment + 1, i, i + 1));
    history.push_back(read(moment + 2, moment + 3, i + 1));
    moment += 4;
  }
  CHECK(linearizable(history));
  history.push_back(read(moment, moment + 1, 3));
  CHECK_FALSE(linearizable(history));
}

}  // namespace
}  // namespace cairn::volume
