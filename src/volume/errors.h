#pragma once
// What an error means for the work that met it.

#include "base/result.h"

namespace cairn::volume {

// Errors of one local file are noted and the work goes on; what concerns the pool ends it.
bool ends_the_work(const Error& error);

// It failed because the pool could not be reached, which may pass.
bool is_away(Code code);

}  // namespace cairn::volume
