#pragma once
// A snapshot as the source of another one: what `copy` reads from.

#include "backup/source.h"
#include "client/core.h"
#include "volume/view.h"

namespace cairn::client {

// Its calls block until `from`'s strand has answered: made from the workers of another core, never of that one, whose
// tasks need them. `from` and the volume of the view outlive it.
std::unique_ptr<backup::Source> make_snapshot_source(Core& from, volume::View view);

}  // namespace cairn::client
