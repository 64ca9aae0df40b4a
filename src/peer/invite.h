#pragma once
// Invites: the code that a person hands to another, what the admitting node keeps of it, and the JOIN that uses it up.
//
// The code is "cairn1" and base32 (RFC 4648, lower case, no padding) of wire.InviteCode with the first 4 bytes of its
// SHA-256 behind it, against typing errors. It never carries volume keys. The admitting node keeps wire.InviteRecord
// in HOME/invites/<id in hex>.

#include "env/world.h"
#include "peer/peers.h"

namespace cairn::peer {

using InviteId = std::array<uint8_t, 16>;

struct Invite {
  PoolId pool;
  std::string pool_name;
  NodeId node;  // who admits
  std::vector<env::Address> addresses;
  InviteId id{};
  std::array<uint8_t, 16> secret{};
  WallTime expires = 0;
  Role role = Role::member;
};

std::string format_invite(const Invite& invite);
// White space around and inside the code and its case do not matter. Code::bad_input: mistyped, or not an invite.
Result<Invite> parse_invite(std::string_view code);
// SHA-256 of the code without white space, in lower case.
Hash invite_code_hash(std::string_view code);

struct InviteTerms {
  Role role = Role::member;
  uint32_t uses = 1;  // at most kMaxInviteUses
  WallTime expires = 0;
};
// Makes an invite that this device admits by, and keeps its record in `folder` durably before it returns the code.
// Blocks on the disk. Code::denied when the device's member is no admin, bad_input.
Result<std::string> create_invite(env::World world, const Identity& identity, const Membership& membership,
                                  const std::string& folder, std::vector<env::Address> addresses, InviteTerms terms);

// The admitting side: answers JOIN. One at a time, so that of parallel ones with a single-use invite one wins. An
// invite is burned durably, with the log entry that it is burned for, before the entry is added to the log and before
// the reply; after a crash in between open() adds it. The same joiner may ask again when the reply was lost.
class Invites {
 public:
  // Registers JOIN; before peers.start(). World and Peers outlive it; it outlives the sessions of `peers`.
  Invites(env::World world, Peers& peers, std::string folder);

  // Adds the entries of invites that were burned before a crash to the member log, and removes records that expired
  // over kForgetInvitesAfter ago.
  env::Task<Status> open();

 private:
  env::Task<Result<Reply>> join(Request request);
  std::string path_of(std::string_view id) const;

  env::World world_;
  Peers& peers_;
  std::string folder_;
  env::Semaphore one_at_a_time_;
};

}  // namespace cairn::peer
