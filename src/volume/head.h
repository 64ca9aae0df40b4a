#pragma once
// The head of a volume: what its register holds, and the mark of the highest one seen on this device.

#include "env/world.h"
#include "volume/node.h"
#include "volume/pack_io.h"
#include "volume/volume.h"

namespace cairn::volume {

struct Head {
  RegisterState state;  // as the register gave it
  Root root;
  std::vector<pool::PackRef> tree_packs;  // of the root's commit: not named by 'P' items yet
  uint64_t files = 0, bytes = 0;
};
using HeadPtr = std::shared_ptr<const Head>;

// The content of the register for a head (sealed, see FORMAT.md), and back. Code::corrupt when it is not what was
// sealed for this volume; Code::unsupported for a version that this build does not know.
Bytes seal_head(const Head& head, const content::VolumeKeys& keys, env::SecureRandom& random);
Result<HeadPtr> open_head(RegisterState state, const content::VolumeKeys& keys);

// The highest head seen, in a file. Used from one task at a time.
class HighWaterMark {
 public:
  // An empty path keeps it in memory only.
  HighWaterMark(env::World world, std::string path) : world_(world), path_(std::move(path)) {}
  // Code::corrupt when the file is not of the form.
  env::Task<Status> load();
  // Code::corrupt when `state` is older than the mark, or another one of the same number; the text names both.
  Status check(const RegisterState& state) const;
  // The marked head is not in the chain of `state`, which went on without it: the force at which they parted.
  std::optional<RegisterForced> parted(const RegisterState& state) const {
    return parted_from(state, era_, sequence_, hash_);
  }
  uint64_t era() const { return era_; }
  uint64_t sequence() const { return sequence_; }
  const Hash& hash() const { return hash_; }
  // Durable when it returns. Nothing to do when the mark stands there already.
  env::Task<Status> raise(const RegisterState& state);

 private:
  env::World world_;
  std::string path_;
  uint64_t era_ = 0, sequence_ = 0;
  Hash hash_;
};

}  // namespace cairn::volume
