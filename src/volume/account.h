#pragma once
// The account of a member: which volumes are theirs, and the volumes' keys. A register at keepers that is found from
// the member key alone, sealed under a key that only the phrase gives; so a phrase, a pool's ID and one live peer bring
// everything back.
//
// The register's content: version u8 = 1 | nonce 12 | AES-256-GCM of wire.AccountRecord under MemberKeys.account, with
// pool and member as AAD.
//
// The register's first keepers must be chosen once, ever. The device that made the member chooses them when the first
// volume is made, and notes its choice in `founding_path` durably before it is used; a choice that is noted is never
// changed. A device that was recovered chooses only after every node that could be asked has answered that it keeps no
// such register.

#include "content/keys.h"
#include "volume/register.h"

namespace cairn::volume {

struct KeySlot {
  enum class Type : uint8_t { account = 1, passphrase = 2 } type = Type::account;
  uint32_t epoch = 0;
  Bytes salt;
  crypto::ScryptParameters scrypt{};  // of a passphrase slot
  Bytes nonce, wrapped;
};

struct VolumeEntry {
  std::string name;
  VolumeId volume;
  Bytes founding;  // of the head register
  bool deduplicates = false;
  WallTime created = 0;
  std::vector<KeySlot> slots;
};

struct AccountOptions {
  std::string cache_path;     // the last record seen, sealed as in the register; empty: none is kept
  std::string founding_path;  // the first keepers, as chosen on this device
};

// Strand only; what it is given outlives it.
class Account {
 public:
  Account(env::World world, peer::Peers& peers, AccountOptions options);
  Account(env::World world, RegisterTransport& transport, AccountOptions options);
  ~Account();

  // The volumes as they are now, by name. Errors: too_few_peers; wrong_phrase when the record is not sealed for this
  // member. A member without an account has no volumes.
  env::Task<Result<std::vector<VolumeEntry>>> list();
  // The same as they were when last seen here, without asking anyone.
  Result<std::vector<VolumeEntry>> last_seen() const;
  // Code::not_found.
  env::Task<Result<VolumeEntry>> find(std::string name);
  // Code::exists. In the account when it returns; its head is at keepers of its own.
  env::Task<Result<VolumeEntry>> create_volume(std::string name, bool deduplicates);
  env::Task<Result<VolumeEntry>> find_or_create(std::string name, bool deduplicates = false);
  // One more way to unlock a volume's key. Code::not_found, bad_input.
  env::Task<Status> add_passphrase(std::string name, std::string passphrase, crypto::ScryptParameters parameters = {});
  // Gives the account's keepers up when a majority of them does not answer (Register::force). What was last seen here,
  // and what keepers of before have, is in it afterwards. True: it was forced; false: a majority answers.
  env::Task<Result<bool>> force_keepers();
  // Moves the account to the keepers that suit the pool now.
  env::Task<Status> adapt_keepers();

  // The key itself, for a device that is given this volume alone.
  Result<crypto::Key> volume_key(const VolumeEntry& entry) const;
  // The key from the slot of the account. Code::wrong_phrase when it was wrapped for somebody else.
  Result<content::VolumeKeys> open_volume_keys(const VolumeEntry& entry) const;
  // From a passphrase slot. Code::not_found (there is none), wrong_phrase. Takes about 100 ms: call from Workers.
  Result<content::VolumeKeys> open_volume_keys(const VolumeEntry& entry, std::string_view passphrase) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::volume
