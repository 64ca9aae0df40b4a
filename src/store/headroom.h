#pragma once
// Headroom: what a store owes its host as the file system fills. Pure: it is told what is free, and says what to do.
//
// All thresholds follow what the store is to keep free (keep_free; here with the default of 10 %):
//   free <  10 %   full       nothing more is taken; once it is clearly less (the host writes), what lies over is moved
//                             to other nodes until 15 % are free
//   free <   2 %   pressing   what can be spared is dropped at once until 4 % are free
//   free >= 20 %              something is taken again
// Two values each, so that neither the store's own puts nor a host that writes and deletes make it swing.
//
// Pressing is also, however much is free, what the host would fill within the time that a look and a drop take, at the
// pace at which it writes just now. So its writes find room as long as there is something to give and
//   speed of the host <= bytes free as it begins / kReaction:
// with the default, a disk of 10 GB for 6 GB/s, one of 240 MB for 160 MB/s from a standing start. What was freed is
// three such moments' worth, so a host that goes on at its pace stays ahead of nobody.

#include <deque>

#include "base/units.h"
#include "env/disk.h"

namespace cairn::store {

class Headroom {
 public:
  // What the stores of this node take on that file system, as far as it can be told while puts and drops are under way.
  struct Own {
    uint64_t least = 0, most = 0;
  };
  struct Demand {
    bool take = true;         // new shards may come
    uint64_t move = 0;        // bytes that are to go, by being moved elsewhere
    uint64_t drop = 0;        // bytes of them that cannot wait for that
    Duration look_again{};    // when to look again at the latest
    double full_percent = 0;  // of the file system
  };
  // keep_free: bytes that stay free; 0: the host never asks for anything.
  Demand observe(const env::Space& space, Own own, uint64_t keep_free, Time now);

 private:
  struct Look {
    uint64_t available;
    Own own;
    Time when;
  };
  static uint64_t written_between(const Look& then, const Look& now);
  void follow_pace(const Look& now);

  bool taking_ = true, moving_ = false, dropping_ = false;
  std::deque<Look> looks_;  // lately, the oldest first
  uint64_t soon_ = 0;       // bytes that the host may write until a drop that begins now has brought room
};

}  // namespace cairn::store
