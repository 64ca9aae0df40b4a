#pragma once
// What a host lends, and how it takes it back. Every call stands alone and changes HOME/config.toml; a running daemon
// follows within two seconds, one that starts later does so then. Client::stores() tells how far it has come.

#include <optional>
#include <string>

#include "cairn/setup.h"

namespace cairn {

struct StoreChange {
  std::optional<uint64_t> limit;  // bytes
  struct KeepFree {
    uint64_t bytes = 0;
    double share = 0;
  };
  std::optional<KeepFree> keep_free;
};
// More counts at once; with less the store takes nothing more, and what lies over it is moved to other nodes.
// Code::not_found, Code::bad_input.
Status change_store(const std::string& home, const std::string& directory, const StoreChange& change);

enum class Removal {
  drain,   // what it holds is moved to other nodes, then the directory is given back
  cancel,  // it stays after all
  lost,    // its disk is gone for good: nothing is moved, others make anew what it held. Code::conflict while the
           // store is there
};
// Code::not_found, Code::conflict.
Status remove_store(const std::string& home, const std::string& directory, Removal removal);

// A paused node takes no more shards and moves none; what it holds it serves. Stays so over restarts.
Status set_paused(const std::string& home, bool paused);
// Leaving: all stores are drained and given back, then the node is no longer of the pool. Until then it can be
// cancelled; Code::conflict afterwards.
Status set_leaving(const std::string& home, bool leaving);

}  // namespace cairn
