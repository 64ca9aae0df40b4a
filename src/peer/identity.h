#pragma once
// Who a device is: its keys and certificate, as kept in its home; and certificates and signed messages in general.

#include "base/ids.h"
#include "base/units.h"
#include "crypto/phrase.h"
#include "crypto/signature.h"
#include "env/random.h"
#include "wire/message.h"

namespace cairn::wire {
class Signed;
}

namespace cairn::peer {

// domain: one of the constants in peer/domains.h
Bytes sign_message(const crypto::PrivateKey& key, std::string_view domain, ByteView body);  // a wire.Signed
wire::Signed make_signed(const crypto::PrivateKey& key, std::string_view domain, ByteView body);
// Code::corrupt when the signature is not by message.public_key over domain || body. Whose key that is, is the caller's
// question.
Status check_signed(const wire::Signed& message, std::string_view domain);

// The keys of a member, all from the account secret A.
struct MemberKeys {
  crypto::AccountSecret secret;
  crypto::PrivateKey member;  // HKDF(A, "cairn/v1/member")
  crypto::Key key_slot;       // HKDF(A, "cairn/v1/key-slot"): wraps volume keys
  crypto::Key account;        // HKDF(A, "cairn/v1/account"): seals the account record
  Bytes public_key;           // of the member; an append-only device has nothing else, the keys above are zeros
  MemberId id() const;
  static MemberKeys derive(const crypto::AccountSecret& secret);
  static MemberKeys public_only(ByteView public_key);
};

// A checked DeviceCertificate.
struct Certificate {
  PoolId pool;
  NodeId node;
  MemberId member;
  Bytes device_key, member_key;
  std::string node_name;
  bool append_only = false;  // a device that may add to `volume` and never remove
  VolumeId volume = {};      // then: the only one that it may write to
  Bytes encoded;             // wire.Signed
  // Code::corrupt, unsupported, bad_input (the name). Whether the member is in the pool is Membership::admits()'s
  // question.
  static Result<Certificate> parse(ByteView signed_message);
  static Result<Certificate> parse(const wire::Signed& message);
  static Certificate issue(const MemberKeys& owner, const PoolId& of_pool, ByteView device, std::string name,
                           WallTime created, std::optional<VolumeId> append_only_to = {});
};

// This device in this pool.
struct Identity {
  PoolId pool;
  NodeId node;
  crypto::PrivateKey device;
  MemberKeys member;
  Certificate certificate;
};
// Certifies `device` for the pool.
Identity make_identity(const MemberKeys& member, const PoolId& pool, const crypto::PrivateKey& device,
                       std::string node_name, WallTime created);

// A new pool's genesis record (wire.Signed of wire.Genesis); nonce: 32 random bytes. The founder is its first admin.
Bytes make_genesis(const MemberKeys& founder, std::string_view founder_name, std::string_view pool_name, ByteView nonce,
                   WallTime created);
// The PoolID that these bytes stand for. Membership::from_genesis() checks the rest.
Result<PoolId> pool_of_genesis(ByteView signed_genesis);

}  // namespace cairn::peer
