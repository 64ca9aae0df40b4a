#pragma once
// Result<T>, Error and Code are part of the public API: include/cairn/result.h.

#include "cairn/result.h"
