#pragma once
// What the POSIX files of this room share: an owned descriptor, and errno as an Error. Internal to the room.

#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/text.h"

namespace cairn::os {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }
  int release() { return std::exchange(number_, -1); }
  void reset() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }

 private:
  int number_ = -1;
};

// ENOENT, ENOTDIR: not_found. EEXIST, ENOTEMPTY: exists. ENOSPC, EDQUOT: no_space. EOPNOTSUPP, ENOSYS: unsupported.
// The rest: io.
std::unexpected<Error> fail_errno(int number, std::string_view what);
inline std::unexpected<Error> fail_errno(std::string_view what) {
  return fail_errno(errno, what);
}

// The call again for as long as a signal interrupts it.
template <class Call>
auto retry_interrupted(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace cairn::os
