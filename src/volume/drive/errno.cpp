#include "volume/drive/errno.h"

namespace cairn::volume {

Errno errno_of(const Error& error) {
  switch (error.code) {
    case Code::not_found:
      return {ENOENT};
    case Code::exists:
      return {EEXIST};
    case Code::denied:
      return {EACCES};
    case Code::no_space:
      return {ENOSPC};
    case Code::bad_input:
      return {EINVAL};
    case Code::too_large:
      return {EFBIG};
    case Code::unsupported:
      return {EOPNOTSUPP};
    case Code::interrupted:
      return {EINTR};
    default:
      return {EIO};
  }
}

}  // namespace cairn::volume
