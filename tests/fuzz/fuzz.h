#pragma once
// What a fuzz target gives: one function over any input, and inputs to begin with. The same two run under libFuzzer
// (preset fuzz) and, in every other build, under a short loop of deterministic mutations, so that they never rot.

#include <vector>

#include "base/bytes.h"

namespace cairn::fuzz {

// Defined by the target. Must not crash, leak or take long whatever the input; what must hold is a CAIRN_ASSERT.
void run_one(ByteView input);
// Defined by the target: valid inputs and near-valid ones, always the same.
std::vector<Bytes> seeds();

}  // namespace cairn::fuzz
