#pragma once
// Sizes and times are part of the public API: include/cairn/units.h.

#include "cairn/units.h"
