#pragma once
// Tombstones: the owner's signed word on what becomes of a pack, verifiable without any key of the volume. The rules
// and their reasons: pool/GARBAGE.md.

#include <map>

#include "base/ids.h"
#include "peer/membership.h"

namespace cairn::wire {
class Signed;
class TombstonesRequest;
}  // namespace cairn::wire

namespace cairn::pool {

// Numbers are those of wire.PackFate.Fate.
enum class Fate : uint8_t { dead = 1, kept = 2 };
// Of a holder to a statement; numbers are those of wire.TombstonesResponse.Answer.
enum class FateAnswer : uint8_t { unknown = 0, not_here = 1, in_trash = 2, live = 3, gone = 4, refused = 5 };

struct Tombstone {
  PackId pack;
  VolumeId volume;
  Fate fate = Fate::dead;
  uint64_t sequence = 0;
  NodeId signer;
  Bytes signed_message;  // wire.Signed

  bool overrules(const Tombstone& other) const {
    return sequence != other.sequence ? sequence > other.sequence : fate == Fate::kept && other.fate == Fate::dead;
  }
  static Tombstone make(const crypto::PrivateKey& device, const VolumeId& volume, const PackId& pack, Fate fate,
                        uint64_t sequence);
  // Form alone: for what was checked before it was kept. Code::corrupt.
  static Result<Tombstone> read(ByteView signed_message);
  static Result<Tombstone> read(const wire::Signed& message);
};

// Who owns a volume, from the founding bytes whose hash is its ID. Code::corrupt, or denied (another pool's, or not a
// volume).
struct VolumeOwner {
  VolumeId volume;
  MemberId owner;
};
Result<VolumeOwner> owner_of_volume(ByteView founding, const PoolId& pool);

// The statements of one request with all that is needed to check them, as it came; and that check. Pure: run check()
// on Workers.
class FateCheck {
 public:
  FateCheck(const wire::TombstonesRequest& request, const PoolId& pool);
  // The volumes' foundings and the signers' certificates, where they are what they say.
  struct Owner {
    MemberId owner;
    Bytes founding;
  };
  const std::map<VolumeId, Owner>& owners() const { return owners_; }
  const std::map<NodeId, peer::Certificate>& signers() const { return signers_; }
  // Signed by its signer, a device of the volume's owner. Whether the pool still admits that device is for the strand.
  Result<Tombstone> check(const wire::Signed& statement) const;

 private:
  std::map<VolumeId, Owner> owners_;
  std::map<NodeId, peer::Certificate> signers_;
};

}  // namespace cairn::pool
