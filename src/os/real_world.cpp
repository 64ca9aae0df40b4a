#include "os/real_world.h"

namespace cairn::os {

RealWorld::RealWorld(RealWorldOptions options)
    : log_(options.log),
      disk_(options.root),
      meta_stores_(options.root),
      network_(loop_, options.log),
      workers_(loop_, options.workers) {
  if (options.device_seed) set_identity(*options.device_seed);
}

RealWorld::~RealWorld() {
  stop();
}

env::World RealWorld::world() {
  return {loop_, loop_, network_, disk_, meta_stores_, random_, workers_, log_};
}

void RealWorld::start() {
  CAIRN_ASSERT(!thread_.joinable());
  thread_ = std::thread([this] { loop_.run(); });
}

void RealWorld::stop() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

}  // namespace cairn::os
