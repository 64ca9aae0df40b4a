#pragma once
// libfuse's header, with the version of its interface that this folder is written to.

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse3/fuse_lowlevel.h>
