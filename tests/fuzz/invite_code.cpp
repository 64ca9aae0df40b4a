// parse_invite: any text is refused or is an invite that gives itself back. Input: the text.

#include "fuzz/fuzz.h"
#include "peer/invite.h"

namespace cairn::fuzz {

void run_one(ByteView input) {
  const auto invite = peer::parse_invite(as_text(input));
  if (!invite) {
    CAIRN_ASSERT(invite.error().code == Code::bad_input);
    return;
  }
  const auto again = peer::parse_invite(peer::format_invite(*invite));
  CAIRN_ASSERT(again && again->id == invite->id && again->secret == invite->secret && again->pool == invite->pool);
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all{to_bytes("cairn1"), to_bytes("cairn1aaaaaaaa")};
  for (uint8_t i = 0; i < 6; ++i) {
    peer::Invite invite;
    invite.pool.bytes.fill(i);
    invite.secret.fill(uint8_t(7 * i));
    invite.pool_name = std::string(i, 'p');
    invite.addresses.assign(i, {"10.0.0.1", 4774});
    all.push_back(to_bytes(peer::format_invite(invite)));
  }
  return all;
}

}  // namespace cairn::fuzz
