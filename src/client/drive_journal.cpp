// What a journal holds that no process has open.

#include "cairn/drive.h"
#include "os/real_world.h"
#include "volume/drive/drive.h"

namespace cairn {

Result<DriveRest> left_in_journal(const std::string& folder) {
  const auto log = make_stderr_log(LogLevel::error);
  os::RealWorld real({.log = *log, .workers = 1});
  auto left = real.block_on(volume::Drive::left_behind(real.world(), folder));
  if (!left) return fail(std::move(left.error()));
  return DriveRest{.bytes = left->bytes, .edits = left->edits};
}

}  // namespace cairn
