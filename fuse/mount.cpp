#include "cairn/mount.h"

#include "fuse/session.h"

namespace cairn {

class Mount::Impl {
 public:
  Impl(Drive& drive, MountOptions options) : session(drive, std::move(options)) {}
  fuse::Session session;
};

Mount::Mount(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mount::~Mount() = default;

Result<std::unique_ptr<Mount>> Mount::start(Drive& drive, MountOptions options) {
  auto impl = std::make_unique<Impl>(drive, std::move(options));
  CAIRN_TRY(impl->session.start());
  return std::unique_ptr<Mount>(new Mount(std::move(impl)));
}

bool Mount::wait_for(Duration duration) {
  return impl_->session.wait_for(duration);
}

void Mount::detach() {
  impl_->session.detach();
}

}  // namespace cairn
