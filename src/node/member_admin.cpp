#include "node/member_admin.h"

#include "proto/common.pb.h"

namespace cairn::node {

void MemberAdmin::serve() {
  peers_.serve(wire::Method::admin_members, peer::Access::own_device,
               [this](peer::Request request) { return answer(std::move(request)); });
}

env::Task<Result<peer::Reply>> MemberAdmin::answer(peer::Request request) {
  auto asked = wire::decode<wire::AdminMembersRequest>(ByteView(request.body));
  if (!asked) co_return fail(std::move(asked.error()));
  const peer::Identity& self = peers_.identity();
  wire::LogEntry action;
  switch (asked->action_case()) {
    case wire::AdminMembersRequest::kRemoveMember: {
      const auto member = MemberId::from(asked->remove_member());
      if (!member) co_return fail(member.error());
      // The entry would end the very chain that it stands in.
      if (*member == self.certificate.member) {
        co_return fail(Code::bad_input, "nobody removes himself: another admin can; `cairn leave` takes a machine out");
      }
      action.mutable_remove_member()->set_member(member->raw());
      break;
    }
    case wire::AdminMembersRequest::kRevokeDevice: {
      const auto node = NodeId::from(asked->revoke_device());
      if (!node) co_return fail(node.error());
      if (*node == self.node) {
        co_return fail(Code::bad_input,
                       "a device does not revoke itself: another admin's can; `cairn leave` takes this machine out");
      }
      action.mutable_revoke_device()->set_node(node->raw());
      break;
    }
    case wire::AdminMembersRequest::ACTION_NOT_SET:
      co_return fail(Code::bad_input, "nothing is asked");
  }
  CAIRN_CO_TRY(write(action));
  co_return peer::Reply{.body = wire::encode(wire::Empty{}), .payload = {}};
}

Status MemberAdmin::write(const wire::LogEntry& action) {
  peer::Membership& membership = peers_.membership();
  peer::Membership after = membership;
  auto record = after.append(peers_.identity(), world_.clock.wall_now(), wire::encode_text(action));
  if (!record) return fail(std::move(record.error()));
  // An entry that was given out and forgotten would be followed by another one with its number.
  CAIRN_TRY(save_(after));
  auto added = membership.add_log(*record);
  if (!added) return fail(std::move(added.error()));
  peers_.membership_changed();
  return {};
}

}  // namespace cairn::node
