// init, invite, join, recover: what a home comes from.

#include "cairn/setup.h"

#include <unistd.h>

#include "client/home.h"
#include "crypto/hash.h"
#include "os/real_world.h"
#include "peer/domains.h"
#include "peer/names.h"
#include "peer/newcomer.h"
#include "proto/home.pb.h"
#include "proto/membership.pb.h"

namespace cairn {

namespace {

using client::Home;

constexpr Duration kJoinTimeout = std::chrono::seconds(30);
// The room that a store needs before anything of use fits: one segment's header, the index, a shard.
constexpr uint64_t kLeastLimit = 16 * kMiB;

// A world for one call, without a network identity yet.
struct Workbench {
  std::unique_ptr<Log> log = make_stderr_log(LogLevel::error);
  os::RealWorld real{os::RealWorldOptions{.log = *log}};
  env::World world = real.world();
};

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "node";
}

template <class KeyType>
KeyType random_key(env::SecureRandom& random) {
  KeyType key;
  random.fill(key);
  return key;
}

// Checks what the caller wants before anything is made.
Result<client::Config> make_config(const DeviceOptions& device) {
  client::Config config{.node_name = device.node_name.empty() ? host_name() : device.node_name,
                        .listen = {"0.0.0.0", client::kDefaultPort},
                        .addresses = {},
                        .domain = {},
                        .stores = {}};
  CAIRN_TRY(peer::check_name(config.node_name));
  if (!device.listen.empty()) {
    auto listen = env::Address::parse(device.listen);
    if (!listen) return fail(std::move(listen.error()));
    config.listen = *listen;
  }
  for (const StoreSpec& store : device.stores) {
    if (store.limit < kLeastLimit)
      return fail(Code::bad_input, fmt::format("a limit of {} is too small: lend at least {}", format_size(store.limit),
                                               format_size(kLeastLimit)));
    config.stores.push_back(store);
  }
  return config;
}

Status make_stores(env::Disk& disk, const std::vector<StoreSpec>& stores) {
  for (const StoreSpec& store : stores) {
    if (auto made = disk.make_dirs(store.path); !made) return fail(std::move(made.error()), "store " + store.path);
  }
  return {};
}

// The identity comes last: a home without one is no home.
Status complete(const Home& home, const client::Config& config, const peer::Membership& membership,
                const peer::Identity& identity) {
  CAIRN_TRY(home.save_config_text(client::format_config(config)));
  CAIRN_TRY(home.save_membership(membership));
  return home.save_identity(identity, false);
}

std::string fingerprint_of(const PoolId& pool) {
  const std::string hex = pool.hex();
  std::string text;
  for (size_t i = 0; i < 24; i += 4) text += (i > 0 ? "-" : "") + hex.substr(i, 4);
  return text;
}

NewDevice describe(const peer::Identity& identity, const std::string& pool_name, bool with_phrase) {
  return {.pool_id = identity.pool.hex(),
          .pool_name = pool_name,
          .member_id = identity.member.id().hex(),
          .node_id = identity.node.hex(),
          .phrase = with_phrase ? crypto::phrase_from_secret(identity.member.secret) : ""};
}

Status refuse_existing(const Home& home) {
  if (!home.exists()) return {};
  auto kept = home.identity();
  if (kept && kept->pending) return {};
  return fail(Code::exists, "a device of a pool lives here already; use another --home");
}

}  // namespace

Result<NewDevice> init_pool(const DeviceOptions& device, const std::string& pool_name, const std::string& member_name) {
  Workbench bench;
  const Home home(bench.world.disk, device.home);
  CAIRN_TRY(refuse_existing(home));
  auto config = make_config(device);
  if (!config) return fail(std::move(config.error()));
  CAIRN_TRY(peer::check_name(pool_name));
  CAIRN_TRY(peer::check_name(member_name));

  auto member = peer::MemberKeys::derive(random_key<crypto::AccountSecret>(bench.world.random));
  const WallTime now = bench.world.clock.wall_now();
  wire::Genesis genesis;
  genesis.set_version(1);
  genesis.set_pool_name(pool_name);
  genesis.set_founder_key(to_string(ByteView(member.member.public_key())));
  genesis.set_founder_name(member_name);
  genesis.set_nonce(bench.world.random.id<Hash>().raw());
  genesis.set_created(now);
  auto membership =
      peer::Membership::from_genesis(peer::sign_message(member.member, peer::kDomainGenesis, wire::encode(genesis)));
  if (!membership) return fail(std::move(membership.error()));

  auto key = crypto::PrivateKey::from_seed(random_key<crypto::Key>(bench.world.random));
  auto certificate = peer::Certificate::issue(member, membership->pool(), key.public_key(), config->node_name, now);
  const peer::Identity identity{.pool = membership->pool(),
                                .node = certificate.node,
                                .device = key,
                                .member = std::move(member),
                                .certificate = certificate};
  CAIRN_TRY(bench.world.disk.make_dirs(device.home));
  CAIRN_TRY(make_stores(bench.world.disk, config->stores));
  CAIRN_TRY(complete(home, *config, *membership, identity));
  return describe(identity, pool_name, true);
}

Result<std::string> make_invite(const InviteOptions& options) {
  Workbench bench;
  const Home home(bench.world.disk, options.home);
  auto kept = home.identity();
  if (!kept) return fail(std::move(kept.error()));
  auto membership = home.membership();
  if (!membership) return fail(std::move(membership.error()));
  // Where the one who joins finds this node: what the daemon told the pool, else where it said that it serves.
  std::vector<env::Address> addresses;
  if (const peer::NodeInfo* self = membership->node(kept->identity.node)) addresses = self->addresses;
  if (auto own = home.daemon_address();
      own && own->host != "0.0.0.0" && own->host != "::" && std::ranges::find(addresses, *own) == addresses.end())
    addresses.insert(addresses.begin(), *own);
  if (addresses.empty())
    return fail(Code::unreachable, "this node has no address yet: start cairnd first, the one who joins will ask it");
  return peer::create_invite(bench.world, kept->identity, *membership, home.file("invites"), std::move(addresses),
                             {.role = options.admin ? peer::Role::admin : peer::Role::member,
                              .uses = options.uses,
                              .expires = bench.world.clock.wall_now() + options.expires.count()});
}

Result<InviteContent> read_invite(const std::string& code) {
  auto invite = peer::parse_invite(code);
  if (!invite) return fail(std::move(invite.error()));
  return InviteContent{.pool_id = invite->pool.hex(),
                       .pool_name = invite->pool_name,
                       .fingerprint = fingerprint_of(invite->pool),
                       .admin = invite->role == peer::Role::admin,
                       .expires = invite->expires};
}

Result<NewDevice> join_pool(const DeviceOptions& device, const std::string& code, const std::string& member_name) {
  Workbench bench;
  const Home home(bench.world.disk, device.home);
  CAIRN_TRY(refuse_existing(home));
  auto config = make_config(device);
  if (!config) return fail(std::move(config.error()));
  CAIRN_TRY(peer::check_name(member_name));
  auto invite = peer::parse_invite(code);
  if (!invite) return fail(std::move(invite.error()));

  // The keys are kept before they are used: when the answer is lost, the same ones ask again.
  std::optional<peer::Identity> pending;
  if (auto kept = home.identity(); kept && kept->pending && kept->identity.pool == invite->pool)
    pending = std::move(kept->identity);
  if (!pending) {
    auto member = peer::MemberKeys::derive(random_key<crypto::AccountSecret>(bench.world.random));
    auto key = crypto::PrivateKey::from_seed(random_key<crypto::Key>(bench.world.random));
    auto certificate = peer::Certificate::issue(member, invite->pool, key.public_key(), config->node_name,
                                                bench.world.clock.wall_now());
    pending = peer::Identity{.pool = invite->pool,
                             .node = certificate.node,
                             .device = key,
                             .member = std::move(member),
                             .certificate = certificate};
    CAIRN_TRY(home.save_identity(*pending, true));
  }
  bench.real.set_identity(pending->device.seed());
  auto joined = bench.real.block_on(
      peer::join(bench.world, pending->member, pending->device, code, member_name, config->node_name, kJoinTimeout));
  if (!joined) {
    const Code why = joined.error().code;  // what certainly did not happen need not be asked again
    if (why == Code::expired || why == Code::used || why == Code::denied || why == Code::unreachable)
      (void)bench.world.disk.remove(home.file("identity"));
    return fail(std::move(joined.error()));
  }
  CAIRN_TRY(make_stores(bench.world.disk, config->stores));
  CAIRN_TRY(complete(home, *config, joined->membership, joined->identity));
  return describe(joined->identity, joined->membership.pool_name(), true);
}

Result<NewDevice> recover_device(const DeviceOptions& device, const std::string& phrase, const std::string& pool_id,
                                 const std::string& peer_address) {
  Workbench bench;
  const Home home(bench.world.disk, device.home);
  CAIRN_TRY(refuse_existing(home));
  auto config = make_config(device);
  if (!config) return fail(std::move(config.error()));
  auto secret = crypto::secret_from_phrase(phrase);
  if (!secret) return fail(std::move(secret.error()));
  auto pool = PoolId::from_hex_text(pool_id);
  if (!pool) return fail(Code::bad_input, "a pool's ID is 64 hexadecimal digits");
  auto address = env::Address::parse(peer_address);
  if (!address) return fail(std::move(address.error()));

  auto member = peer::MemberKeys::derive(*secret);
  auto key = crypto::PrivateKey::from_seed(random_key<crypto::Key>(bench.world.random));
  auto certificate =
      peer::Certificate::issue(member, *pool, key.public_key(), config->node_name, bench.world.clock.wall_now());
  const peer::Identity identity{
      .pool = *pool, .node = certificate.node, .device = key, .member = std::move(member), .certificate = certificate};
  bench.real.set_identity(key.seed());
  auto membership = bench.real.block_on(peer::fetch_membership(bench.world, identity, *address, kJoinTimeout));
  if (!membership) return fail(std::move(membership.error()));
  CAIRN_TRY(bench.world.disk.make_dirs(device.home));
  CAIRN_TRY(make_stores(bench.world.disk, config->stores));
  CAIRN_TRY(complete(home, *config, *membership, identity));
  return describe(identity, membership->pool_name(), false);
}

bool is_device_code(const std::string& code) {
  return code.starts_with(client::kDeviceCodePrefix);
}

Result<NewDevice> join_device(const DeviceOptions& device, const std::string& code) {
  Workbench bench;
  const Home home(bench.world.disk, device.home);
  CAIRN_TRY(refuse_existing(home));
  const auto wrong = [] { return fail(Code::bad_input, "not a code of `cairn device add`: was all of it copied?"); };
  if (!is_device_code(code)) return wrong();
  auto bytes = from_hex(std::string_view(code).substr(client::kDeviceCodePrefix.size()));
  if (!bytes || bytes->size() < 4) return wrong();
  const ByteView body = ByteView(*bytes).first(bytes->size() - 4);
  if (!equal(crypto::sha256(body).view().first(4), ByteView(*bytes).last(4))) return wrong();
  auto message = wire::decode<wire::DeviceCode>(body);
  if (!message) return wrong();
  auto grant = client::read_grant(message->grant());
  auto certificate = peer::Certificate::parse(as_bytes(message->certificate()));
  crypto::Key seed;
  if (!grant || !certificate || message->device_seed().size() != seed.size()) return wrong();
  std::memcpy(seed.data(), message->device_seed().data(), seed.size());
  DeviceOptions named = device;
  named.node_name = certificate->node_name;
  auto config = make_config(named);
  if (!config) return fail(std::move(config.error()));
  const peer::Identity identity{.pool = certificate->pool,
                                .node = certificate->node,
                                .device = crypto::PrivateKey::from_seed(seed),
                                .member = peer::MemberKeys::public_only(certificate->member_key),
                                .certificate = *certificate};
  bench.real.set_identity(seed);
  Result<peer::Membership> membership = fail(Code::unreachable, "the code names no address");
  for (const std::string& text : message->addresses()) {
    auto address = env::Address::parse(text);
    if (!address) continue;
    membership = bench.real.block_on(peer::fetch_membership(bench.world, identity, *address, kJoinTimeout));
    if (membership || membership.error().code == Code::denied) break;
  }
  if (!membership) return fail(std::move(membership.error()));
  CAIRN_TRY(bench.world.disk.make_dirs(device.home));
  CAIRN_TRY(make_stores(bench.world.disk, config->stores));
  CAIRN_TRY(home.save_config_text(client::format_config(*config)));
  CAIRN_TRY(home.save_membership(*membership));
  CAIRN_TRY(home.save_identity(identity, false, *grant));
  return describe(identity, membership->pool_name(), false);
}

Result<RecoveryKit> recovery_kit(const std::string& path) {
  Workbench bench;
  const Home home(bench.world.disk, path);
  auto kept = home.identity();
  if (!kept) return fail(std::move(kept.error()));
  if (kept->grant) return fail(Code::denied, "this device may only add snapshots: it does not have the phrase");
  auto membership = home.membership();
  if (!membership) return fail(std::move(membership.error()));
  RecoveryKit kit{.phrase = crypto::phrase_from_secret(kept->identity.member.secret),
                  .pool_id = membership->pool().hex(),
                  .pool_name = membership->pool_name(),
                  .member_name = {},
                  .fingerprint = fingerprint_of(membership->pool()),
                  .peers = {}};
  if (const peer::Member* self = membership->member(kept->identity.member.id())) kit.member_name = self->name;
  for (const peer::NodeInfo& node : membership->nodes()) {
    for (const env::Address& address : node.addresses)
      kit.peers.push_back(fmt::format("{}  {}", address.text(), node.name));
  }
  return kit;
}

Status add_store(const std::string& path, const StoreSpec& store) {
  Workbench bench;
  const Home home(bench.world.disk, path);
  CAIRN_TRY(home.check());
  if (store.limit < kLeastLimit)
    return fail(Code::bad_input, fmt::format("a limit of {} is too small: lend at least {}", format_size(store.limit),
                                             format_size(kLeastLimit)));
  return home.change_config([&](const std::string& text, const client::Config& config) -> Result<std::string> {
    for (const StoreSpec& old : config.stores) {
      if (old.path == store.path)
        return fail(Code::exists, "this directory is lent already: `cairn store resize` changes how much");
    }
    CAIRN_TRY(make_stores(bench.world.disk, {store}));
    return client::with_store(text, store);
  });
}

}  // namespace cairn
