#include "peer/invite.h"

#include "peer/domains.h"
#include "peer/limits.h"
#include "peer/names.h"
#include "proto/membership.pb.h"

namespace cairn::peer {

namespace {

constexpr std::string_view kPrefix = "cairn1";
constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
constexpr size_t kChecksumSize = 4;

std::string to_base32(ByteView bytes) {
  std::string text;
  uint32_t bits = 0;
  int count = 0;
  for (const uint8_t byte : bytes) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 5; count -= 5) text += kAlphabet[bits >> (count - 5) & 31];
  }
  if (count > 0) text += kAlphabet[bits << (5 - count) & 31];
  return text;
}

std::optional<Bytes> from_base32(std::string_view text) {
  Bytes bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 5 | static_cast<uint32_t>(value);
    count += 5;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<uint8_t>(bits >> count));
    }
  }
  // One text for each code: no idle characters, and zeros in what is left of the last one.
  if (count >= 5 || (bits & ((1U << count) - 1)) != 0) return std::nullopt;
  return bytes;
}

std::string normalized(std::string_view code) {
  std::string text;
  for (const char c : code) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') continue;
    text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

wire::Role to_wire(Role role) {
  return role == Role::admin ? wire::ROLE_ADMIN : wire::ROLE_MEMBER;
}

}  // namespace

std::string format_invite(const Invite& invite) {
  wire::InviteCode code;
  code.set_pool(invite.pool.raw());
  code.set_node(invite.node.raw());
  for (const auto& address : invite.addresses) code.add_addresses(address.text());
  code.set_id(invite.id.data(), invite.id.size());
  code.set_secret(invite.secret.data(), invite.secret.size());
  code.set_expires(invite.expires);
  code.set_role(to_wire(invite.role));
  code.set_pool_name(invite.pool_name);
  Bytes bytes = wire::encode(code);
  append(bytes, crypto::sha256(bytes).view().first(kChecksumSize));
  return std::string(kPrefix) + to_base32(bytes);
}

Result<Invite> parse_invite(std::string_view code) {
  const auto bad = [] { return fail(Code::bad_input, "this is not an invite, or it was mistyped"); };
  if (code.size() > kMaxInviteCode) return bad();
  const std::string text = normalized(code);
  if (!text.starts_with(kPrefix)) return bad();
  const auto bytes = from_base32(std::string_view(text).substr(kPrefix.size()));
  if (!bytes || bytes->size() <= kChecksumSize) return bad();
  const ByteView body = ByteView(*bytes).first(bytes->size() - kChecksumSize);
  if (!equal(crypto::sha256(body).view().first(kChecksumSize), ByteView(*bytes).last(kChecksumSize))) return bad();

  const auto message = wire::decode<wire::InviteCode>(body);
  if (!message) return bad();
  const auto pool = PoolId::from(message->pool());
  const auto node = NodeId::from(message->node());
  Invite invite;
  if (!pool || !node || message->id().size() != invite.id.size() || message->secret().size() != invite.secret.size() ||
      (message->role() != wire::ROLE_MEMBER && message->role() != wire::ROLE_ADMIN) ||
      message->addresses_size() > static_cast<int>(kMaxAddresses) || !check_name(message->pool_name())) {
    return bad();
  }
  invite.pool = *pool;
  invite.pool_name = message->pool_name();
  invite.node = *node;
  for (const auto& raw : message->addresses()) {
    if (raw.size() > kMaxAddressLength) return bad();
    auto address = env::Address::parse(raw);
    if (!address) return bad();
    invite.addresses.push_back(std::move(*address));
  }
  std::memcpy(invite.id.data(), message->id().data(), invite.id.size());
  std::memcpy(invite.secret.data(), message->secret().data(), invite.secret.size());
  invite.expires = message->expires();
  invite.role = message->role() == wire::ROLE_ADMIN ? Role::admin : Role::member;
  return invite;
}

Hash invite_code_hash(std::string_view code) {
  return crypto::sha256(as_bytes(normalized(code)));
}

Result<std::string> create_invite(env::World world, const Identity& identity, const Membership& membership,
                                  const std::string& folder, std::vector<env::Address> addresses, InviteTerms terms) {
  if (!membership.is_admin(identity.certificate)) return fail(Code::denied, "only an admin can invite");
  if (terms.uses == 0 || terms.uses > kMaxInviteUses) return fail(Code::bad_input, "an invite has 1 to 1000 uses");
  if (terms.expires <= world.clock.wall_now()) return fail(Code::bad_input, "the invite would be expired at once");
  if (addresses.empty()) return fail(Code::bad_input, "this node has no address that others could reach");
  if (addresses.size() > kMaxAddresses) addresses.resize(kMaxAddresses);
  Invite invite{.pool = membership.pool(),
                .pool_name = membership.pool_name(),
                .node = identity.node,
                .addresses = std::move(addresses),
                .expires = terms.expires,
                .role = terms.role};
  world.random.fill(invite.id);
  world.random.fill(invite.secret);
  std::string code = format_invite(invite);

  wire::InviteRecord record;
  record.set_id(invite.id.data(), invite.id.size());
  record.set_secret(invite.secret.data(), invite.secret.size());
  record.set_code_hash(invite_code_hash(code).raw());
  record.set_expires(invite.expires);
  record.set_role(to_wire(invite.role));
  record.set_uses_left(terms.uses);
  CAIRN_TRY(world.disk.make_dirs(folder));
  CAIRN_TRY(env::write_file(world.disk, folder + "/" + to_hex(invite.id), wire::encode(record)));
  return code;
}

// --- the admitting side ---

Invites::Invites(env::World world, Peers& peers, std::string folder)
    : world_(world), peers_(peers), folder_(std::move(folder)), one_at_a_time_(world.executor, 1) {
  peers_.serve(wire::Method::join, Access::strangers, [this](Request request) { return join(std::move(request)); });
}

std::string Invites::path_of(std::string_view id) const {
  return folder_ + "/" + to_hex(as_bytes(id));
}

namespace {

Result<wire::InviteRecord> read_record(env::Disk& disk, const std::string& path) {
  auto bytes = env::read_file(disk, path, kMaxInviteRecord);
  if (!bytes) return fail(std::move(bytes.error()));
  return wire::decode<wire::InviteRecord>(ByteView(*bytes));
}

// All records in the folder; those that nobody needs any more are removed.
Result<std::vector<wire::LogRecord>> collect_issued(env::Disk& disk, const std::string& folder, WallTime now) {
  CAIRN_TRY(disk.make_dirs(folder));
  auto names = disk.list(folder);
  if (!names) return fail(std::move(names.error()));
  std::vector<wire::LogRecord> issued;
  for (const std::string& name : *names) {
    if (name.ends_with(".tmp")) continue;  // a write that never ended
    auto record = read_record(disk, folder + "/" + name);
    if (!record) {
      if (record.error().code == Code::corrupt) continue;  // it admits nobody
      return fail(std::move(record.error()));
    }
    if (now - record->expires() > kForgetInvitesAfter.count()) {
      CAIRN_TRY(disk.remove(folder + "/" + name));
      continue;
    }
    issued.insert(issued.end(), record->issued().begin(), record->issued().end());
  }
  return issued;
}

struct Joiner {
  wire::JoinRequest request;
  Certificate certificate;
};

// What needs no record: the form, and that the certificate is the joiner's own, for this session's device.
Result<Joiner> check_joiner(const Request& request, const PoolId& pool) {
  auto message = wire::decode<wire::JoinRequest>(ByteView(request.body));
  if (!message) return fail(Code::bad_input, message.error().context);
  if (message->invite().size() != kInviteIdSize) return fail(Code::bad_input, "a JOIN without an invite");
  CAIRN_TRY(check_name(message->member_name()));
  auto certificate = Certificate::parse(message->certificate());
  if (!certificate) return fail(std::move(certificate.error()));
  if (certificate->pool != pool) return fail(Code::denied, "the invite was edited, or is not of this pool");
  if (certificate->node != request.from || as_text(certificate->member_key) != message->member_key()) {
    return fail(Code::denied, "a certificate of another device");
  }
  return Joiner{std::move(*message), std::move(*certificate)};
}

Status check_proof(const Joiner& joiner, const wire::InviteRecord& record) {
  const Hash proof =
      crypto::hmac_sha256(as_bytes(record.secret()),
                          {as_bytes(kUseJoinProof), joiner.certificate.member_key, joiner.certificate.device_key});
  if (!crypto::constant_time_equal(as_bytes(joiner.request.code_hash()), as_bytes(record.code_hash())) ||
      !crypto::constant_time_equal(as_bytes(joiner.request.proof()), proof.view())) {
    return fail(Code::denied, "the invite was edited, or is not of this pool");
  }
  return {};
}

Bytes join_response(const Membership& membership) {
  wire::JoinResponse response;
  const auto genesis = wire::decode_into(*response.mutable_genesis(), membership.genesis());
  CAIRN_ASSERT(genesis);
  size_t left = wire::kMaxJoinAnswer - membership.genesis().size() - 64;
  const auto fits = [&](size_t size) {
    size += 8;  // its tag and length
    if (size > left) return false;
    left -= size;
    return true;
  };
  for (auto& record : membership.log()) {
    if (!fits(record.ByteSizeLong())) break;
    *response.add_log() = std::move(record);
  }
  for (auto& entry : membership.node_entries()) {
    if (!fits(entry.ByteSizeLong())) break;
    *response.add_nodes() = std::move(entry);
  }
  return wire::encode(response);
}

}  // namespace

env::Task<Status> Invites::open() {
  env::Disk& disk = world_.disk;
  const WallTime now = world_.clock.wall_now();
  auto issued =
      co_await world_.workers.run([&disk, folder = folder_, now] { return collect_issued(disk, folder, now); });
  if (!issued) co_return fail(std::move(issued.error()));
  wire::GossipResponse records;
  for (auto& record : *issued) *records.add_log() = std::move(record);
  peers_.membership().merge(records);
  peers_.membership_changed();
  co_return Status{};
}

env::Task<Result<Reply>> Invites::join(Request request) {
  Membership& membership = peers_.membership();
  auto joiner = check_joiner(request, membership.pool());
  if (!joiner) co_return fail(std::move(joiner.error()));
  const MemberId member = joiner->certificate.member;

  const auto permit = co_await one_at_a_time_.acquire();
  const std::string path = path_of(joiner->request.invite());
  env::Disk& disk = world_.disk;
  auto record = co_await world_.workers.run([&disk, path] { return read_record(disk, path); });
  if (!record) {
    if (record.error().code == Code::not_found || record.error().code == Code::corrupt) {
      co_return fail(Code::denied, "the invite was edited, or is not of this pool");
    }
    world_.log.error("invite_unreadable", "why={}", to_string(record.error()));
    co_return fail(Code::io, "the admitting node cannot read its invites");
  }
  CAIRN_CO_TRY(check_proof(*joiner, *record));

  const auto& used_by = record->used_by();
  const bool again = std::ranges::find(used_by, joiner->request.member_key()) != used_by.end();
  if (again) {
    // The reply was lost. The entry is in the log, but for a crash at the wrong moment.
    wire::GossipResponse issued;
    *issued.mutable_log() = record->issued();
    membership.merge(issued);
  } else {
    if (world_.clock.wall_now() >= record->expires()) co_return fail(Code::expired, "the invite has expired");
    if (record->uses_left() == 0) co_return fail(Code::used, "the invite was used already");
    const Member* known = membership.member(member);
    if (known && known->removed) co_return fail(Code::denied, "this member was removed from the pool");
    if (!known) {
      wire::LogEntry action;
      auto* add = action.mutable_add_member();
      add->set_member_key(joiner->request.member_key());
      add->set_name(joiner->request.member_name());
      add->set_role(record->role());
      add->set_invite(record->id());
      const std::string encoded = wire::encode_text(action);
      record->set_uses_left(record->uses_left() - 1);
      record->add_used_by(joiner->request.member_key());
      record->add_issued();
      const int last = record->issued_size() - 1;
      for (bool added = false; !added;) {
        auto entry = membership.prepare(peers_.identity(), world_.clock.wall_now(), encoded);
        if (!entry) co_return fail(std::move(entry.error()));
        *record->mutable_issued(last) = *entry;
        auto burned = co_await world_.workers.run(
            [&disk, path, bytes = wire::encode(*record)] { return env::write_file(disk, path, bytes); });
        if (!burned) {
          world_.log.error("invite_not_burned", "why={}", to_string(burned.error()));
          co_return fail(Code::io, "the admitting node cannot write");
        }
        // Another entry of this device may have been added while the disk worked: then this one is made anew.
        auto result = membership.add_log(*entry);
        if (!result && result.error().code == Code::denied) co_return fail(std::move(result.error()));
        added = result.has_value();
      }
      world_.log.info("member_joined", "member={} node={}", member.short_hex(), request.from.short_hex());
    }
  }
  CAIRN_CO_TRY(membership.admits(joiner->certificate));
  peers_.membership_changed();
  co_return Reply{.body = join_response(membership), .payload = {}};
}

}  // namespace cairn::peer
