#pragma once
// What the volume needs of the pool and of its head register, as two small interfaces: over pool::PoolClient and
// volume::Register in production, over memory in the tests of this room.

#include "pool/client.h"
#include "volume/register.h"

namespace cairn::volume {

// Writes and reads packs.
class PackIo {
 public:
  virtual ~PackIo() = default;
  // (k, m) for a pack that is begun now.
  virtual content::PackGeometry geometry_now() const = 0;
  // What packs should have by the number of domains.
  virtual pool::Redundancy goal() const = 0;
  // Until enough receipts are in for a head to refer to the pack. Errors: too_few_peers, no_space.
  virtual env::Task<Result<pool::PackRef>> write(content::EncodedPack pack) = 0;
  // As pool::PoolClient::settle().
  virtual env::Task<uint64_t> settle() = 0;
  // As pool::PoolClient::read().
  virtual env::Task<Result<Buffer>> read(pool::PackRef pack, uint32_t offset, uint32_t length,
                                         pool::PoolClient::Check check, pool::Purpose purpose) = 0;

  // --- what goes (pool/GARBAGE.md); `sequence`: of the head as of which it is said ---
  // Tombstones for these packs; how many of them enough holders know of now. The others hear of it from siblings.
  virtual env::Task<Result<size_t>> bury(std::vector<pool::PackRef> packs, uint64_t sequence) = 0;
  // Out of the trash again. Code::damaged when one of them is no longer there in enough slots.
  virtual env::Task<Status> revive(std::vector<pool::PackRef> packs, uint64_t sequence) = 0;
  // Packs of this volume that holders have besides `live` (sorted); a reference names the holders alone.
  struct Strangers {
    std::vector<pool::PackRef> packs;
    bool all_asked = false;  // every node that lends answered
  };
  virtual env::Task<Result<Strangers>> strangers(std::vector<PackId> live) = 0;
};

// Reads and swaps the head. Errors as of volume::Register.
class HeadRegister {
 public:
  virtual ~HeadRegister() = default;
  virtual env::Task<Result<RegisterState>> read() = 0;
  virtual env::Task<Result<RegisterState>> write(RegisterState expected, Bytes content) = 0;
  // Hashes of the values that the last write() sent.
  virtual std::vector<Hash> attempted() const = 0;
  // Heads from before the register was forced that the present chain does not have, as far as keepers have them.
  virtual env::Task<Result<std::vector<RegisterState>>> strays() { co_return std::vector<RegisterState>(); }
  // See Register::retained().
  virtual env::Task<Result<std::vector<RegisterState>>> retained() { co_return std::vector<RegisterState>(); }
};

// Reads that find the pool away are tried again until `patience` is over, and none takes longer. While it stays away
// further ones end within seconds.
std::unique_ptr<PackIo> make_patient(PackIo& inner, env::World world, Duration patience);

// Both keep a reference to what they are made of.
// `founding`: of the volume's register; it shows holders whose volume it is.
std::unique_ptr<PackIo> make_pack_io(env::World world, pool::PoolClient& pool, peer::Peers& peers, Bytes founding);
std::unique_ptr<HeadRegister> make_head_register(Register& head);

}  // namespace cairn::volume
