#pragma once
// Errors of file operations are POSIX error numbers: what a program that calls read() or rename() reacts to.

#include <cerrno>
#include <expected>

#include "base/result.h"

namespace cairn::volume {

// A number of <cerrno>, never 0.
struct Errno {
  int number = EIO;
  bool operator==(const Errno&) const = default;
};
template <class T>
using FsResult = std::expected<T, Errno>;
using FsStatus = FsResult<void>;

inline std::unexpected<Errno> fs_fail(int number) {
  return std::unexpected(Errno{number});
}
// What a program is told of an error of the layers below.
Errno errno_of(const Error& error);

}  // namespace cairn::volume
