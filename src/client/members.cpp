#include "client/members.h"

#include "client/home.h"
#include "client/report.h"
#include "crypto/hash.h"
#include "peer/names.h"
#include "proto/common.pb.h"
#include "proto/home.pb.h"
#include "proto/membership.pb.h"

namespace cairn::client {

namespace {

constexpr Duration kAskTimeout = std::chrono::seconds(10);

// The one of `all` whose name, or whose ID's first digits, are `text`. A whole name goes before digits.
template <class T>
Result<T> pick(const std::vector<T>& all, const std::string& text, std::string_view what) {
  if (text.empty()) return fail(Code::bad_input, fmt::format("which {}?", what));
  for (const bool by_name : {true, false}) {
    std::vector<T> fits;
    std::ranges::copy_if(all, std::back_inserter(fits),
                         [&](const T& one) { return by_name ? one.name == text : one.id.starts_with(text); });
    if (fits.size() == 1) return fits.front();
    if (fits.size() > 1) {
      return fail(Code::bad_input, fmt::format("'{}' fits {} {}s: give digits of the ID", text, fits.size(), what));
    }
  }
  return fail(Code::not_found, fmt::format("no {} of this name or ID", what));
}

env::Task<Status> ask_daemon(Core& core, wire::AdminMembersRequest request) {
  const peer::Membership& membership = core.peers().membership();
  const peer::Member* self = membership.member(core.identity().member.id());
  if (self == nullptr || self->role != peer::Role::admin) {
    co_return fail(Code::denied, "only an admin of the pool may do this");
  }
  if (!core.home().daemon_running()) {
    co_return fail(Code::unreachable,
                   "the daemon of this home does not run, which would tell the others: start `cairnd --home " +
                       core.home().path() + "`");
  }
  auto answer = co_await peer::ask<wire::Empty>(core.peers(), core.identity().node, wire::Method::admin_members,
                                                request, kAskTimeout);
  if (!answer) co_return fail(std::move(answer.error()));
  co_return Status{};
}

}  // namespace

env::Task<Result<std::vector<MemberReport>>> member_reports(Core& core) {
  auto settled = co_await core.settle();  // without a peer they are shown as they were last known
  static_cast<void>(settled);
  const peer::Membership& membership = core.peers().membership();
  std::map<MemberId, uint64_t> nodes;
  for (const peer::NodeInfo& node : membership.nodes()) ++nodes[node.member];
  std::vector<MemberReport> reports;
  for (const peer::Member& member : membership.members()) {
    reports.push_back({.id = member.id.hex(),
                       .name = member.name,
                       .admin = member.role == peer::Role::admin,
                       .removed = member.removed,
                       .self = member.id == core.identity().member.id(),
                       .nodes = nodes[member.id]});
  }
  co_return reports;
}

env::Task<Result<MemberReport>> find_member(Core& core, std::string member) {
  auto all = co_await member_reports(core);
  if (!all) co_return fail(std::move(all.error()));
  std::erase_if(*all, [](const MemberReport& one) { return one.removed; });
  co_return pick(*all, member, "member");
}

env::Task<Result<NodeReport>> find_device(Core& core, std::string node) {
  auto all = co_await node_reports(core);
  if (!all) co_return fail(std::move(all.error()));
  std::erase_if(*all, [](const NodeReport& one) { return one.state == "removed"; });
  co_return pick(*all, node, "device");
}

env::Task<Result<MemberReport>> remove_member(Core& core, std::string member) {
  auto found = co_await find_member(core, std::move(member));
  if (!found) co_return found;
  wire::AdminMembersRequest request;
  request.set_remove_member(MemberId::from_hex_text(found->id)->raw());
  CAIRN_CO_TRY(co_await ask_daemon(core, std::move(request)));
  found->removed = true;
  co_return found;
}

env::Task<Result<NodeReport>> revoke_device(Core& core, std::string node) {
  auto found = co_await find_device(core, std::move(node));
  if (!found) co_return found;
  wire::AdminMembersRequest request;
  request.set_revoke_device(NodeId::from_hex_text(found->id)->raw());
  CAIRN_CO_TRY(co_await ask_daemon(core, std::move(request)));
  found->state = "removed";
  co_return found;
}

env::Task<Result<std::string>> add_append_only_device(Core& core, std::string name) {
  CAIRN_CO_TRY(core.refuse_append_only());
  CAIRN_CO_TRY(peer::check_name(name));
  if (name.empty() || name.find('/') != std::string::npos) co_return fail(Code::bad_input, "a device needs a name");
  auto settled = co_await core.settle();
  if (!settled) co_return fail(std::move(settled.error()));
  const std::string volume = std::string(kAppendOnlyPrefix) + name;
  auto entry = co_await core.account().find_or_create(volume, true);
  if (!entry) co_return fail(std::move(entry.error()), volume);
  auto key = core.account().volume_key(*entry);
  if (!key) co_return fail(std::move(key.error()), volume);
  crypto::Key seed;
  core.world().random.fill(seed);
  const auto device = crypto::PrivateKey::from_seed(seed);
  const auto certificate = peer::Certificate::issue(core.identity().member, core.identity().pool, device.public_key(),
                                                    std::move(name), core.world().clock.wall_now(), entry->volume);
  wire::DeviceCode code;
  code.set_pool_name(core.peers().membership().pool_name());
  code.set_device_seed(seed.data(), seed.size());
  code.set_certificate(to_string(ByteView(certificate.encoded)));
  put_grant({.name = volume, .volume = entry->volume, .founding = entry->founding, .key = *key}, *code.mutable_grant());
  constexpr int kAddresses = 8;  // of this device first: it was running just now
  if (auto own = core.home().daemon_address()) code.add_addresses(own->text());
  for (const peer::NodeInfo& node : core.peers().membership().nodes()) {
    if (code.addresses_size() >= kAddresses) break;
    for (const env::Address& address : node.addresses) code.add_addresses(address.text());
  }
  Bytes bytes = wire::encode(code);
  const Hash check = crypto::sha256(bytes);
  append(bytes, check.view().first(4));
  co_return std::string(kDeviceCodePrefix) + to_hex(bytes);
}

}  // namespace cairn::client
