#include "client/home.h"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "cairn/home.h"
#include "proto/home.pb.h"

namespace cairn {

std::string resolve_home(const std::string& given) {
  std::string home = given;
  const auto from_environment = [&](const char* name, const std::string& below) {
    const char* value = std::getenv(name);
    if (home.empty() && value != nullptr && *value != '\0') home = value + below;
  };
  from_environment("CAIRN_HOME", "");
  from_environment("XDG_DATA_HOME", "/cairn");
  from_environment("HOME", "/.local/share/cairn");
  if (home.empty()) home = "cairn";
  std::error_code error;
  const auto absolute = std::filesystem::absolute(home, error);
  return error ? home : absolute.lexically_normal().string();
}

}  // namespace cairn

namespace cairn::client {

namespace {
// Another program changes the configuration within moments.
constexpr int kLockTries = 100;
constexpr auto kLockPause = std::chrono::milliseconds(50);
}  // namespace

bool Home::exists() const {
  auto there = disk_.exists(file("identity"));
  return there && *there;
}

Status Home::check() const {
  if (!exists())
    return fail(Code::not_found,
                "no pool in '" + path_ + "': make one with `cairn init` or join one with `cairn join`");
  return {};
}

Result<Home::Kept> Home::identity() const {
  CAIRN_TRY(check());
  auto bytes = env::read_file(disk_, file("identity"), 64 * kKiB);
  if (!bytes) return fail(bytes.error(), "identity");
  auto kept = wire::decode<wire::HomeIdentity>(ByteView(*bytes));
  if (!kept) return fail(kept.error(), file("identity"));
  crypto::Key seed, secret;
  const bool restricted = kept->has_grant();
  if (kept->device_seed().size() != seed.size() || kept->account_secret().size() != (restricted ? 0 : secret.size()))
    return fail(Code::corrupt, file("identity"));
  std::memcpy(seed.data(), kept->device_seed().data(), seed.size());
  if (!restricted) std::memcpy(secret.data(), kept->account_secret().data(), secret.size());
  auto certificate = peer::Certificate::parse(as_bytes(kept->certificate()));
  if (!certificate) return fail(certificate.error(), file("identity"));
  auto device = crypto::PrivateKey::from_seed(seed);
  if (certificate->device_key != device.public_key())
    return fail(Code::corrupt, file("identity") + ": certificate of another device");
  std::optional<Grant> grant;
  if (restricted) {
    auto read = read_grant(kept->grant());
    if (!read || !certificate->append_only || certificate->volume != read->volume)
      return fail(Code::corrupt, file("identity"));
    grant = std::move(*read);
  }
  return Kept{.identity = {.pool = certificate->pool,
                           .node = certificate->node,
                           .device = std::move(device),
                           .member = restricted ? peer::MemberKeys::public_only(certificate->member_key)
                                                : peer::MemberKeys::derive(secret),
                           .certificate = *certificate},
              .pending = kept->pending(),
              .grant = std::move(grant)};
}

Result<Home::Grant> read_grant(const wire::VolumeGrant& message) {
  Home::Grant grant{.name = message.name(), .founding = to_bytes(message.founding())};
  auto volume = VolumeId::from(message.volume());
  if (!volume || message.key().size() != grant.key.size()) return fail(Code::corrupt, "a grant");
  grant.volume = *volume;
  std::memcpy(grant.key.data(), message.key().data(), grant.key.size());
  return grant;
}

void put_grant(const Home::Grant& grant, wire::VolumeGrant& message) {
  message.set_name(grant.name);
  message.set_volume(grant.volume.raw());
  message.set_founding(to_string(ByteView(grant.founding)));
  message.set_key(grant.key.data(), grant.key.size());
}

Status Home::save_identity(const peer::Identity& identity, bool pending, const std::optional<Grant>& grant) const {
  CAIRN_TRY(disk_.make_dirs(path_));
  wire::HomeIdentity kept;
  kept.set_pool(identity.pool.raw());
  kept.set_device_seed(identity.device.seed().data(), identity.device.seed().size());
  if (grant) {
    put_grant(*grant, *kept.mutable_grant());
  } else {
    kept.set_account_secret(identity.member.secret.data(), identity.member.secret.size());
  }
  kept.set_certificate(to_string(ByteView(identity.certificate.encoded)));
  kept.set_pending(pending);
  return env::write_file(disk_, file("identity"), wire::encode(kept));
}

Result<std::string> Home::config_text() const {
  auto bytes = env::read_file(disk_, file("config.toml"), 1 * kMiB);
  if (!bytes) return fail(bytes.error(), "config.toml");
  return to_string(ByteView(*bytes));
}

Result<Config> Home::config() const {
  auto text = config_text();
  if (!text) return fail(text.error());
  return parse_config(*text, file("config.toml"));
}

Status Home::save_config_text(const std::string& text) const {
  return env::write_file(disk_, file("config.toml"), as_bytes(text));
}

Status Home::change_config(
    const std::function<Result<std::string>(const std::string& text, const Config& now)>& change) const {
  std::unique_ptr<env::DiskLock> held;
  for (int tries = 0; !held; ++tries) {
    auto lock = disk_.lock(file("config.lock"));
    if (lock) {
      held = std::move(*lock);
    } else if (lock.error().code != Code::overloaded || tries == kLockTries) {
      return fail(lock.error(), "config.lock");
    } else {
      std::this_thread::sleep_for(kLockPause);
    }
  }
  auto text = config_text();
  if (!text) return fail(text.error());
  auto now = parse_config(*text, file("config.toml"));
  if (!now) return fail(now.error());
  auto changed = change(*text, *now);
  if (!changed) return fail(changed.error());
  if (*changed == *text) return {};
  auto understood = parse_config(*changed, file("config.toml"));
  if (!understood) return fail(understood.error());
  return save_config_text(*changed);
}

std::string Home::store_mark(const std::string& path) const {
  return file("stores/" + crypto::sha256(as_bytes(path)).short_hex());
}

Result<peer::Membership> Home::membership() const {
  auto bytes = env::read_file(disk_, file("pool"), 1 * kGiB);
  if (!bytes) return fail(bytes.error(), "pool");
  return peer::Membership::parse(*bytes);
}

Status Home::save_membership(const peer::Membership& membership) const {
  return env::write_file(disk_, file("pool"), membership.serialize());
}

std::optional<env::Address> Home::daemon_address() const {
  auto bytes = env::read_file(disk_, file("address"), 1024);
  if (!bytes) return std::nullopt;
  auto address = env::Address::parse(as_text(*bytes));
  if (!address) return std::nullopt;
  return *address;
}

bool Home::daemon_running() const {
  auto lock = disk_.lock(file("daemon.lock"));
  return !lock && lock.error().code == Code::overloaded;
}

Result<uint64_t> Home::next_boot() const {
  uint64_t boots = 0;
  if (auto bytes = env::read_file(disk_, file("boot"), 64); bytes) {
    const auto text = as_text(*bytes);
    std::from_chars(text.data(), text.data() + text.size(), boots);
  } else if (bytes.error().code != Code::not_found) {
    return fail(bytes.error(), "boot");
  }
  ++boots;
  CAIRN_TRY(env::write_file(disk_, file("boot"), as_bytes(fmt::format("{}", boots))));
  return boots;
}

}  // namespace cairn::client
