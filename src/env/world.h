#pragma once
// World: everything outside the program, as one bundle of references that a composition root (or the simulator) makes.

#include "base/log.h"
#include "env/disk.h"
#include "env/executor.h"
#include "env/meta_store.h"
#include "env/network.h"
#include "env/random.h"
#include "env/workers.h"

namespace cairn::env {

// All members outlive everything that is handed a World. Copy it freely.
struct World {
  Executor& executor;
  Clock& clock;
  Network& network;
  Disk& disk;
  MetaStores& meta_stores;
  SecureRandom& random;
  Workers& workers;
  Log& log;
};

}  // namespace cairn::env
