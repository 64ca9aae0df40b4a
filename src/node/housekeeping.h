#pragma once
// Housekeeping: has the garbage of this home's volumes collected, once a week if not told otherwise.
//
// Holders alone can give no space back: only their owner knows what packs are for (pool/GARBAGE.md). The daemon opens
// no volume either. It starts `cairn prune`, as its owner would, when that was last done so long ago.
//
// Strand only. What it is given outlives it.

#include "client/home.h"
#include "env/world.h"
#include "os/host.h"

namespace cairn::node {

class Housekeeping {
 public:
  // program: of the command. `resting`: not now, the host wants its line or its battery for itself.
  Housekeeping(env::World world, const client::Home& home, std::string program, Duration every,
               std::function<bool()> resting);
  void start() { tasks_.spawn(work()); }
  env::Task<void> stop();

 private:
  env::Task<void> work();
  // Its exit code.
  env::Task<int> prune();
  WallTime last_done();
  void note_done();

  env::World world_;
  const client::Home& home_;
  const std::string program_;
  const Duration every_;
  std::function<bool()> resting_;
  std::unique_ptr<os::Child> child_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::node
