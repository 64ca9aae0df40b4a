#pragma once
// Is a history of a compare-and-swap register linearizable? Wing and Gong's search (1993) with Lowe's memory of
// configurations that failed (2017). Pure.

#include <cstdint>
#include <string>
#include <vector>

namespace cairn::volume {

// One operation. Values are numbers that are written at most once each; 0: never written.
struct RegisterOp {
  enum class Kind { read, write };
  enum class Outcome {
    ok,
    conflict,  // a write that found something else than `expected`
    unknown,   // a write that may take effect at any time after it was invoked, or never
  };
  static constexpr uint64_t kNever = ~0ULL;

  Kind kind = Kind::read;
  uint64_t invoked = 0, returned = kNever;  // moments of one counter; kNever when no answer came
  uint64_t expected = 0;                    // write
  uint64_t value = 0;                       // written, or read
  Outcome outcome = Outcome::ok;
};

struct LinearizabilityResult {
  bool linearizable = false;
  std::string reason;  // when it is not: the furthest that an order could be found
};
// Reads without an answer must be left out. At most 512 operations.
LinearizabilityResult check_linearizable(const std::vector<RegisterOp>& history);

}  // namespace cairn::volume
