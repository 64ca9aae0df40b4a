#pragma once
// Headroom: what a store owes its host as the file system fills. Pure: it is told what is free, and says what to do.
//
// All thresholds follow what the store is to keep free (keep_free; here with the default of 10 %):
//   free <  10 %   full       nothing more is taken; once it is clearly less (the host writes), what lies over is moved
//                             to other nodes until 15 % are free
//   free <   2 %   pressing   what can be spared is dropped at once until 4 % are free; also when the host would have
//                             filled the disk within a moment
//   free >= 20 %              something is taken again
// Two values each, so that neither the store's own puts nor a host that writes and deletes make it swing.

#include <optional>

#include "base/units.h"
#include "env/disk.h"

namespace cairn::store {

class Headroom {
 public:
  struct Demand {
    bool take = true;         // new shards may come
    uint64_t move = 0;        // bytes that are to go, by being moved elsewhere
    uint64_t drop = 0;        // bytes of them that cannot wait for that
    Duration look_again{};    // when to look again at the latest
    double full_percent = 0;  // of the file system
  };
  // keep_free: bytes that stay free; 0: the host never asks for anything.
  Demand observe(const env::Space& space, uint64_t keep_free, Time now);

 private:
  struct Seen {
    uint64_t available;
    Time when;
    bool taking;
  };
  bool taking_ = true, moving_ = false, dropping_ = false;
  std::optional<Seen> last_;
  uint64_t soon_ = 0;  // bytes that the host writes in kHostAhead
};

}  // namespace cairn::store
