#pragma once
// The process of a mount: opens the drive, serves the directory, and uploads the rest after the mount has gone.

#include "tools/mount_options.h"
#include "tools/mount_registry.h"

namespace cairn::tools {

// Mounts. In the background unless `foreground`: returns (in the parent) when the mount serves, or with the error that
// kept it from it; in the foreground when it has ended. No thread may have been started before.
Status run_mount(const MountWords& words);

// Takes the mount off the directory, whoever uses it (of one whose process is dead nobody can).
bool detach_directory(const std::string& directory);
// As who is not root does it. `lazy`: whoever uses it.
bool run_fusermount(const std::string& directory, bool lazy);

}  // namespace cairn::tools
