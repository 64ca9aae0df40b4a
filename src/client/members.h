#pragma once
// Members and devices as an admin sees them: who there is, removing one, revoking one.

#include "client/core.h"

namespace cairn::client {

env::Task<Result<std::vector<MemberReport>>> member_reports(Core& core);
// By name, ID or its first digits. The daemon of this home writes it into the member log. Code::not_found, bad_input
// (fits several; the last admin; oneself), denied (no admin), unreachable (no daemon runs here).
env::Task<Result<MemberReport>> remove_member(Core& core, std::string member);
// Likewise, of a node.
env::Task<Result<NodeReport>> revoke_device(Core& core, std::string node);
// A device that may add snapshots to a volume of its own, "backups-NAME", and never remove; gives the code with which
// it joins (wire.DeviceCode), a secret. Code::denied on such a device, bad_input (the name).
env::Task<Result<std::string>> add_append_only_device(Core& core, std::string name);
// For the two above: whom they would concern.
env::Task<Result<MemberReport>> find_member(Core& core, std::string member);
env::Task<Result<NodeReport>> find_device(Core& core, std::string node);

}  // namespace cairn::client
