#pragma once
// Making and joining pools: what a home directory comes from. One home is one device in one pool.
//
// Every call stands alone, blocks, and leaves a home that is either complete or not there.

#include <cstdint>
#include <string>
#include <vector>

#include "cairn/result.h"
#include "cairn/units.h"

namespace cairn {

// A directory to lend, and how much of it.
struct StoreSpec {
  std::string path;
  uint64_t limit = 0;             // bytes
  uint64_t keep_free = 0;         // bytes of the file system that stay free, or
  double keep_free_share = 0.10;  // this share of it: the larger counts
};

// What a device is told to be, for init, join and recover alike.
struct DeviceOptions {
  std::string home;
  std::string node_name;  // "" = host name
  std::string listen;     // "HOST:PORT"; port 0: any free one, kept from then on. "" = 0.0.0.0:4774
  std::vector<StoreSpec> stores;
};

// A device that has just become one. Identifiers in hex.
struct NewDevice {
  std::string pool_id, pool_name, member_id, node_id;
  std::string phrase;  // the member's 24 words; empty where the member had them before (recover)
};

// A new pool with its first member, an admin. Code::exists when the home holds a pool already.
Result<NewDevice> init_pool(const DeviceOptions& device, const std::string& pool_name, const std::string& member_name);

struct InviteOptions {
  std::string home;
  bool admin = false;
  uint32_t uses = 1;
  Duration expires = std::chrono::hours(24);
};
// A code "cairn1...": who holds it may join while this home's daemon runs. Code::denied for members who are no admins.
Result<std::string> make_invite(const InviteOptions& options);

struct InviteContent {
  std::string pool_id, pool_name, fingerprint;  // fingerprint: what two people compare, "1234-5678-..."
  bool admin = false;
  WallTime expires = 0;
};
Result<InviteContent> read_invite(const std::string& code);

// Errors: expired, used, denied (edited, or of another pool), unreachable. When it was interrupted the same code may be
// used again from the same home.
Result<NewDevice> join_pool(const DeviceOptions& device, const std::string& code, const std::string& member_name);

// A further device of a member, from the phrase, the pool's ID and any peer's address. Code::wrong_phrase.
Result<NewDevice> recover_device(const DeviceOptions& device, const std::string& phrase, const std::string& pool_id,
                                 const std::string& peer);

// A further device of a member that may only add, with a code of Client::add_append_only_device(). Errors: bad_input
// (not such a code), unreachable, and those of recover_device().
bool is_device_code(const std::string& code);
Result<NewDevice> join_device(const DeviceOptions& device, const std::string& code);

// What belongs on paper.
struct RecoveryKit {
  std::string phrase, pool_id, pool_name, member_name, fingerprint;
  std::vector<std::string> peers;  // "HOST:PORT  name"
};
Result<RecoveryKit> recovery_kit(const std::string& home);

// Lends one more directory; a running daemon takes it up within seconds. Code::exists, Code::bad_input.
Status add_store(const std::string& home, const StoreSpec& store);

}  // namespace cairn
