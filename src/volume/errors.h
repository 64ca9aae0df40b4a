#pragma once
// Which errors of a file's work concern that file alone.

#include "base/result.h"

namespace cairn::volume {

// Errors of one local file are noted and the work goes on; what concerns the pool ends it.
bool ends_the_work(const Error& error);

}  // namespace cairn::volume
