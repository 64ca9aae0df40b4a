#pragma once
// What `cairn mount` and mount(8) say about a mount: "ro,allow_other,cache=20G,home=/srv/home".

#include <string>
#include <vector>

#include "cairn/mount.h"

namespace cairn::tools {

struct MountWords {
  DriveOptions drive;
  MountOptions mount;
  bool foreground = false;
};

// Applies the words of one -o. Code::bad_input names the one that is not understood.
Status apply_mount_options(const std::string& words, MountWords& to);
// The table of options, for --help.
std::string mount_options_help();
// An absolute path without "." and "..", which need not exist. Links of its last part are not followed.
std::string plain_path(const std::string& path);

}  // namespace cairn::tools
