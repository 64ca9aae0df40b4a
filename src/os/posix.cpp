#include "os/posix.h"

#include <system_error>

namespace cairn::os {

std::unexpected<Error> fail_errno(int number, std::string_view what) {
  Code code = Code::io;
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      code = Code::not_found;
      break;
    case EEXIST:
    case ENOTEMPTY:
      code = Code::exists;
      break;
    case ENOSPC:
    case EDQUOT:
      code = Code::no_space;
      break;
    case EOPNOTSUPP:
    case ENOSYS:
      code = Code::unsupported;
      break;
    default:
      break;
  }
  return fail(code, fmt::format("{}: {}", printable(what), std::system_category().message(number)));
}

}  // namespace cairn::os
