#pragma once
// A home directory: one device in one pool.
//
//   identity      keys and certificate (wire.HomeIdentity, mode 0600)
//   config.toml   what a person may edit
//   pool          genesis, member log and known nodes (peer::Membership), replaced as they change
//   boot          how often the daemon has started
//   address       HOST:PORT of the running daemon
//   daemon.lock   held by the running daemon
//   config.lock   held while a program changes config.toml
//   invites/      invites that this node gave out
//   keeper/       the registers that this node keeps (LevelDB)
//   claims/       what siblings hold (LevelDB)
//   stores/<hash> a store that was made once
//   disown        there: a store was lost, claims for shards that are in none are to be taken back
//   account       the last account record seen, sealed
//   account-keepers  the first keepers of the account, as this device chose them
//   heads/<id>    the highest head seen of each volume
//   gets/<hash>   how far the get of a large file has come

#include <functional>

#include "client/config.h"
#include "env/world.h"
#include "peer/membership.h"

namespace cairn::wire {
class VolumeGrant;
}

namespace cairn::client {

class Home {
 public:
  Home(env::Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  // Whether a device lives here; Code::not_found says how to make one.
  Status check() const;
  bool exists() const;

  // A join that was begun and not answered leaves a pending identity, so that it can be asked again.
  // `grant`: of an append-only device, which has nothing else of its member's secrets.
  struct Grant {
    std::string name;
    VolumeId volume;
    Bytes founding;
    crypto::Key key{};
  };
  struct Kept {
    peer::Identity identity;
    bool pending = false;
    std::optional<Grant> grant = {};
  };
  Result<Kept> identity() const;
  Status save_identity(const peer::Identity& identity, bool pending, const std::optional<Grant>& grant = {}) const;

  Result<Config> config() const;
  Result<std::string> config_text() const;
  Status save_config_text(const std::string& text) const;
  // Reads the text, changes it, and saves what came of it when that can be understood. Commands and the daemon take
  // turns by HOME/config.lock; blocks, for a moment.
  Status change_config(
      const std::function<Result<std::string>(const std::string& text, const Config& now)>& change) const;

  // Is there once the store at this path was made: it is never made anew over a disk that is not mounted.
  std::string store_mark(const std::string& path) const;

  Result<peer::Membership> membership() const;
  Status save_membership(const peer::Membership& membership) const;

  // Of the running (or last) daemon; nothing when there was none.
  std::optional<env::Address> daemon_address() const;
  // Whether a daemon holds the home now.
  bool daemon_running() const;
  // The next boot's number, durable.
  Result<uint64_t> next_boot() const;

 private:
  env::Disk& disk_;
  std::string path_;
};

// What the code of a further device begins with (wire.DeviceCode).
inline constexpr std::string_view kDeviceCodePrefix = "cairndev1";

// Code::corrupt.
Result<Home::Grant> read_grant(const wire::VolumeGrant& message);
void put_grant(const Home::Grant& grant, wire::VolumeGrant& message);

}  // namespace cairn::client
