#pragma once
// Printable text is part of the public API: include/cairn/text.h.

#include "cairn/text.h"
