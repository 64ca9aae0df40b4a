#include "volume/account.h"

#include <algorithm>

#include "content/chunk.h"
#include "crypto/aead.h"
#include "proto/register.pb.h"
#include "proto/volume.pb.h"
#include "wire/message.h"

namespace cairn::volume {

namespace {

constexpr uint8_t kVersion = 1;
// Tries of one change against other devices of the member: they change the account a few times a year.
constexpr int kChangeTries = 16;
// Tries, 100 ms apart, while another process of this home chooses the first keepers.
constexpr int kLockTries = 100;
constexpr size_t kMaxVolumes = 1024;
constexpr size_t kMaxRecord = 1 * kMiB;

Bytes record_aad(const PoolId& pool, const MemberId& member) {
  Bytes aad = to_bytes("cairn/v1/account-record");
  append(aad, pool.view());
  append(aad, member.view());
  return aad;
}

// What a slot is bound to: pool, volume, epoch, slot type, KDF parameters.
Bytes slot_aad(const PoolId& pool, const VolumeId& volume, const KeySlot& slot) {
  Bytes aad = to_bytes("cairn/v1/key-slot");
  append(aad, pool.view());
  append(aad, volume.view());
  append_le<uint32_t>(aad, slot.epoch);
  aad.push_back(static_cast<uint8_t>(slot.type));
  append_le<uint32_t>(aad, static_cast<uint32_t>(slot.salt.size()));
  append(aad, slot.salt);
  append_le<uint32_t>(aad, slot.scrypt.log_n);
  append_le<uint32_t>(aad, slot.scrypt.r);
  append_le<uint32_t>(aad, slot.scrypt.p);
  return aad;
}

Bytes seal(const crypto::Key& key, ByteView aad, ByteView plain, env::SecureRandom& random, Bytes& nonce_out) {
  crypto::Nonce nonce;
  random.fill(nonce);
  Bytes sealed(plain.size() + crypto::kTagSize);
  crypto::aead_seal(key, nonce, aad, plain, sealed);
  nonce_out.assign(nonce.begin(), nonce.end());
  return sealed;
}

Result<Bytes> open(const crypto::Key& key, ByteView nonce_bytes, ByteView aad, ByteView sealed) {
  crypto::Nonce nonce;
  if (nonce_bytes.size() != nonce.size() || sealed.size() < crypto::kTagSize)
    return fail(Code::corrupt, "sealed record");
  std::ranges::copy(nonce_bytes, nonce.begin());
  Bytes plain(sealed.size() - crypto::kTagSize);
  CAIRN_TRY(crypto::aead_open(key, nonce, aad, sealed, plain));
  return plain;
}

void to_message(const VolumeEntry& entry, wire::VolumeEntry& message) {
  message.set_name(entry.name);
  message.set_volume(entry.volume.raw());
  message.set_founding(to_string(ByteView(entry.founding)));
  message.set_deduplicates(entry.deduplicates);
  message.set_created(entry.created);
  for (const KeySlot& slot : entry.slots) {
    auto* out = message.add_slots();
    out->set_type(static_cast<wire::KeySlot::Type>(slot.type));
    out->set_epoch(slot.epoch);
    out->set_salt(to_string(ByteView(slot.salt)));
    out->set_log_n(slot.scrypt.log_n);
    out->set_r(slot.scrypt.r);
    out->set_p(slot.scrypt.p);
    out->set_nonce(to_string(ByteView(slot.nonce)));
    out->set_wrapped(to_string(ByteView(slot.wrapped)));
  }
}

Result<VolumeEntry> from_message(const wire::VolumeEntry& message) {
  auto id = VolumeId::from(message.volume());
  if (!id || crypto::sha256(as_bytes(message.founding())) != id_cast<Hash>(*id))
    return fail(Code::corrupt, "a volume's entry in the account");
  VolumeEntry entry{.name = message.name(),
                    .volume = *id,
                    .founding = to_bytes(message.founding()),
                    .deduplicates = message.deduplicates(),
                    .created = message.created(),
                    .slots = {}};
  for (const auto& slot : message.slots()) {
    if (slot.type() != wire::KeySlot::ACCOUNT && slot.type() != wire::KeySlot::PASSPHRASE)
      continue;  // of a later version
    entry.slots.push_back({.type = static_cast<KeySlot::Type>(slot.type()),
                           .epoch = slot.epoch(),
                           .salt = to_bytes(slot.salt()),
                           .scrypt = {.log_n = slot.log_n(), .r = slot.r(), .p = slot.p()},
                           .nonce = to_bytes(slot.nonce()),
                           .wrapped = to_bytes(slot.wrapped())});
  }
  return entry;
}

}  // namespace

class Account::Impl {
 public:
  Impl(env::World world, std::unique_ptr<RegisterTransport> owned, RegisterTransport& transport, AccountOptions options)
      : world_(world),
        identity_(transport.identity()),
        options_(std::move(options)),
        owned_(std::move(owned)),
        transport_(&transport),
        founding_(account_founding(identity_.pool, identity_.member.public_key)),
        one_at_a_time_(world.executor, 1) {}

  struct Record {
    RegisterState state;
    bool founded = false;  // the register is there
    std::vector<VolumeEntry> volumes;
  };

  env::Task<Result<Record>> read() {
    auto reg = find_register(false);
    if (!reg) co_return fail(std::move(reg.error()));
    auto state = co_await (*reg)->read();
    if (!state && state.error().code == Code::not_found) co_return Record{};
    if (!state) co_return fail(std::move(state.error()), "account");
    Record record{.state = std::move(*state), .founded = true, .volumes = {}};
    if (record.state.sequence == 0) co_return record;
    auto volumes = decode(record.state.content);
    if (!volumes) co_return fail(std::move(volumes.error()));
    record.volumes = std::move(*volumes);
    keep(record.state.content);
    co_return record;
  }

  // Applies `change` to the volumes until nobody else came in between. A change that fails ends it with its error.
  using Change = std::function<Status(std::vector<VolumeEntry>&)>;
  env::Task<Status> change(Change apply) {
    auto permit = co_await one_at_a_time_.acquire();
    for (int i = 0; i < kChangeTries; ++i) {
      auto record = co_await read();
      if (!record) co_return fail(std::move(record.error()));
      CAIRN_CO_TRY(apply(record->volumes));
      if (!record->founded) {
        auto founded = co_await found();
        if (!founded) co_return founded;
      }
      auto reg = find_register(true);
      if (!reg) co_return fail(std::move(reg.error()));
      Bytes content = encode(record->volumes);
      auto written = co_await (*reg)->write(record->state, content);
      if (written) {
        keep(content);
        co_return Status{};
      }
      if (written.error().code != Code::conflict && written.error().code != Code::unknown_outcome)
        co_return fail(std::move(written.error()), "account");
      // Unknown: what it did is seen at the next read, where a change that is there already says so itself.
    }
    co_return fail(Code::conflict, "other devices keep changing the account");
  }

  env::Task<Result<bool>> force() {
    auto reg = find_register(false);
    if (!reg) co_return fail(std::move(reg.error()));
    auto remains = co_await (*reg)->look_at_remains();
    if (!remains) co_return fail(std::move(remains.error()), "account");
    if (remains->majority()) co_return false;
    std::vector<VolumeEntry> known;
    if (auto seen = last_seen()) known = std::move(*seen);
    for (const RegisterState& stray : remains->strays) {
      auto volumes = decode(stray.content);
      if (volumes) known.insert(known.end(), volumes->begin(), volumes->end());
    }
    std::optional<RegisterState> cached;
    if (!remains->best && !known.empty()) {  // no keeper is left: what was seen here is all there is
      Bytes content = encode(known);
      cached = RegisterState{.sequence = 1, .hash = crypto::sha256(content), .content = content};
      cached->writer = identity_.node;
    }
    auto forced = co_await (*reg)->force(std::move(cached));
    if (!forced) co_return fail(std::move(forced.error()), "account");
    auto added = co_await change([known](std::vector<VolumeEntry>& volumes) -> Status {
      for (const VolumeEntry& entry : known) {
        if (std::ranges::find(volumes, entry.volume, &VolumeEntry::volume) != volumes.end()) continue;
        VolumeEntry missing = entry;
        if (std::ranges::find(volumes, missing.name, &VolumeEntry::name) != volumes.end())
          missing.name += " (" + missing.volume.short_hex() + ")";
        volumes.push_back(std::move(missing));
      }
      return {};
    });
    if (!added) co_return fail(std::move(added.error()));
    co_return true;
  }

  env::Task<Status> adapt() {
    auto record = co_await read();
    if (!record) co_return fail(std::move(record.error()));
    if (!record->founded) co_return Status{};
    auto reg = find_register(false);
    if (!reg) co_return fail(std::move(reg.error()));
    auto done = co_await (*reg)->adapt_keepers();
    co_return done;
  }

  Result<std::vector<VolumeEntry>> last_seen() const {
    if (options_.cache_path.empty()) return fail(Code::not_found, "no account record is kept here");
    auto bytes = env::read_file(world_.disk, options_.cache_path, kMaxRecord);
    if (!bytes) return fail(std::move(bytes.error()));
    return decode(*bytes);
  }

  Result<crypto::Key> volume_key(const VolumeEntry& entry, KeySlot::Type type,
                                 const std::function<Result<crypto::Key>(const KeySlot&)>& unlock) const {
    bool tried = false;
    for (const KeySlot& slot : entry.slots) {
      if (slot.type != type) continue;
      tried = true;
      auto wrapping = unlock(slot);
      if (!wrapping) return fail(std::move(wrapping.error()));
      auto key = open(*wrapping, slot.nonce, slot_aad(identity_.pool, entry.volume, slot), slot.wrapped);
      crypto::Key result;
      if (!key || key->size() != result.size()) continue;
      std::ranges::copy(*key, result.begin());
      return result;
    }
    if (!tried) return fail(Code::not_found, "the volume has no such key slot");
    return fail(Code::wrong_phrase, "it does not open the volume " + entry.name);
  }

  void add_slot(VolumeEntry& entry, KeySlot slot, const crypto::Key& wrapping, const crypto::Key& volume_key) const {
    slot.wrapped = seal(wrapping, slot_aad(identity_.pool, entry.volume, slot), volume_key, world_.random, slot.nonce);
    entry.slots.push_back(std::move(slot));
  }

  env::World world_;
  const peer::Identity& identity_;
  AccountOptions options_;
  std::unique_ptr<RegisterTransport> owned_;
  RegisterTransport* transport_;
  Bytes founding_;
  std::unique_ptr<Register> register_;
  bool register_founds_ = false;  // register_ knows the first keepers
  env::Semaphore one_at_a_time_;

 private:
  // The register; with the first keepers that this device has noted, if it has. `must_found`: made anew when they were
  // noted only just now.
  Result<Register*> find_register(bool must_found) {
    if (register_ && (register_founds_ || !must_found)) return register_.get();
    RegisterConfig first;
    if (!options_.founding_path.empty()) {
      auto bytes = env::read_file(world_.disk, options_.founding_path, 64 * kKiB);
      if (bytes) {
        auto noted = wire::decode<wire::RegisterConfig>(ByteView(*bytes));
        if (!noted) return fail(std::move(noted.error()), options_.founding_path);
        auto config = from_wire(*noted);
        if (!config) return fail(std::move(config.error()), options_.founding_path);
        first = std::move(*config);
      } else if (bytes.error().code != Code::not_found) {
        return fail(std::move(bytes.error()));
      }
    }
    register_founds_ = !first.keepers.empty();
    register_ = std::make_unique<Register>(world_, *transport_, founding_, std::move(first));
    return register_.get();
  }

  // Chooses and notes the first keepers, unless that was done before.
  env::Task<Status> found() {
    if (options_.founding_path.empty())
      co_return fail(Code::bad_input, "this device keeps no note of an account's first keepers");
    // Several processes of this home may use it for the first time at once: one of them chooses.
    auto lock = world_.disk.lock(options_.founding_path + ".lock");
    for (int i = 0; i < kLockTries && !lock && lock.error().code == Code::overloaded; ++i) {
      co_await env::sleep_for(world_.clock, std::chrono::milliseconds(100));
      lock = world_.disk.lock(options_.founding_path + ".lock");
    }
    if (!lock) co_return fail(std::move(lock.error()), "account");
    auto known = world_.disk.exists(options_.founding_path);
    if (!known) co_return fail(std::move(known.error()));
    if (*known) co_return Status{};
    auto chosen = co_await choose_first_keepers(world_, *transport_, founding_);
    if (!chosen) co_return fail(std::move(chosen.error()), "account");
    wire::RegisterConfig message;
    to_wire(*chosen, message);
    auto noted = env::write_file(world_.disk, options_.founding_path, wire::encode(message));
    co_return noted;
  }

  static void to_wire(const RegisterConfig& config, wire::RegisterConfig& message) {
    message.set_epoch(config.epoch);
    for (const NodeId& keeper : config.keepers) message.add_keepers(keeper.raw());
    for (const KeeperInstance& instance : config.instances) message.add_instances(to_string(ByteView(instance)));
  }
  static Result<RegisterConfig> from_wire(const wire::RegisterConfig& message) {
    RegisterConfig config{.epoch = message.epoch(), .keepers = {}, .instances = {}};
    for (const auto& keeper : message.keepers()) {
      auto id = NodeId::from(keeper);
      if (!id) return fail(std::move(id.error()));
      config.keepers.push_back(*id);
    }
    for (const auto& raw : message.instances()) {
      KeeperInstance instance;
      if (raw.size() != instance.size()) return fail(Code::corrupt, "keeper instance");
      std::ranges::copy(as_bytes(raw), instance.begin());
      config.instances.push_back(instance);
    }
    if (config.keepers.empty() || config.keepers.size() != config.instances.size())
      return fail(Code::corrupt, "first keepers");
    return config;
  }

  Bytes encode(const std::vector<VolumeEntry>& volumes) const {
    wire::AccountRecord record;
    record.set_version(1);
    for (const VolumeEntry& entry : volumes) to_message(entry, *record.add_volumes());
    Bytes nonce;
    const Bytes sealed = seal(identity_.member.account, record_aad(identity_.pool, identity_.member.id()),
                              wire::encode(record), world_.random, nonce);
    Bytes content = {kVersion};
    append(content, nonce);
    append(content, sealed);
    return content;
  }

  Result<std::vector<VolumeEntry>> decode(ByteView content) const {
    if (content.size() < 1 + crypto::kNonceSize + crypto::kTagSize) return fail(Code::corrupt, "account record");
    if (content[0] != kVersion) return fail(Code::unsupported, "an account record of a later version of Cairn");
    auto plain = open(identity_.member.account, content.subspan(1, crypto::kNonceSize),
                      record_aad(identity_.pool, identity_.member.id()), content.subspan(1 + crypto::kNonceSize));
    if (!plain) return fail(Code::wrong_phrase, "the account record was not sealed with this phrase");
    auto record = wire::decode<wire::AccountRecord>(ByteView(*plain));
    if (!record) return fail(std::move(record.error()), "account record");
    std::vector<VolumeEntry> volumes;
    for (const auto& message : record->volumes()) {
      auto entry = from_message(message);
      if (!entry) return fail(std::move(entry.error()));
      volumes.push_back(std::move(*entry));
    }
    std::ranges::sort(volumes, {}, &VolumeEntry::name);
    return volumes;
  }

  // For showing names while keepers are away; not kept is no harm.
  void keep(const Bytes& content) {
    if (options_.cache_path.empty() || kept_ == content) return;
    if (auto done = env::write_file(world_.disk, options_.cache_path, content); !done) {
      world_.log.warning("account_not_cached", "error={}", to_string(done.error()));
      return;
    }
    kept_ = content;
  }
  Bytes kept_;
};

Account::Account(env::World world, peer::Peers& peers, AccountOptions options) {
  auto transport = transport_over(peers);
  RegisterTransport& used = *transport;
  impl_ = std::make_unique<Impl>(world, std::move(transport), used, std::move(options));
}
Account::Account(env::World world, RegisterTransport& transport, AccountOptions options)
    : impl_(std::make_unique<Impl>(world, std::unique_ptr<RegisterTransport>(), transport, std::move(options))) {}
Account::~Account() = default;

env::Task<Result<std::vector<VolumeEntry>>> Account::list() {
  auto record = co_await impl_->read();
  if (!record) co_return fail(std::move(record.error()));
  co_return std::move(record->volumes);
}

Result<std::vector<VolumeEntry>> Account::last_seen() const {
  return impl_->last_seen();
}

env::Task<Result<VolumeEntry>> Account::find(std::string name) {
  auto volumes = co_await list();
  if (!volumes) co_return fail(std::move(volumes.error()));
  const auto found = std::ranges::find(*volumes, name, &VolumeEntry::name);
  if (found == volumes->end()) co_return fail(Code::not_found, "no volume '" + name + "'");
  co_return *found;
}

env::Task<Result<VolumeEntry>> Account::create_volume(std::string name, bool deduplicates) {
  auto there = co_await find(name);
  if (there) co_return fail(Code::exists, "a volume '" + name + "' is there already");
  if (there.error().code != Code::not_found) co_return fail(std::move(there.error()));
  auto founding = co_await found_head(impl_->world_, *impl_->transport_);
  if (!founding) co_return fail(std::move(founding.error()), "volume " + name);
  VolumeEntry entry{.name = name,
                    .volume = id_cast<VolumeId>(crypto::sha256(*founding)),
                    .founding = *founding,
                    .deduplicates = deduplicates,
                    .created = impl_->world_.clock.wall_now(),
                    .slots = {}};
  content::VolumeKey key;
  impl_->world_.random.fill(key);
  impl_->add_slot(entry,
                  {.type = KeySlot::Type::account,
                   .epoch = 1,
                   .salt = {},
                   .scrypt = {.log_n = 0, .r = 0, .p = 0},
                   .nonce = {},
                   .wrapped = {}},
                  impl_->identity_.member.key_slot, key);
  auto done = co_await impl_->change([entry](std::vector<VolumeEntry>& volumes) -> Status {
    const auto same = std::ranges::find(volumes, entry.name, &VolumeEntry::name);
    if (same != volumes.end())
      return same->volume == entry.volume ? Status{}
                                          : fail(Code::exists, "a volume '" + entry.name + "' is there already");
    if (volumes.size() >= kMaxVolumes) return fail(Code::too_large, "an account has at most 1,024 volumes");
    volumes.push_back(entry);
    return {};
  });
  if (!done) co_return fail(std::move(done.error()));
  co_return entry;
}

env::Task<Result<VolumeEntry>> Account::find_or_create(std::string name, bool deduplicates) {
  auto found = co_await find(name);
  if (found || found.error().code != Code::not_found) co_return found;
  auto made = co_await create_volume(name, deduplicates);
  if (made || made.error().code != Code::exists) co_return made;
  auto theirs = co_await find(name);  // another device made it just now
  co_return theirs;
}

env::Task<Status> Account::add_passphrase(std::string name, std::string passphrase,
                                          crypto::ScryptParameters parameters) {
  if (passphrase.empty()) co_return fail(Code::bad_input, "an empty passphrase");
  auto entry = co_await find(name);
  if (!entry) co_return fail(std::move(entry.error()));
  auto key = impl_->volume_key(*entry, KeySlot::Type::account,
                               [&](const KeySlot&) { return Result<crypto::Key>(impl_->identity_.member.key_slot); });
  if (!key) co_return fail(std::move(key.error()));
  KeySlot slot{.type = KeySlot::Type::passphrase,
               .epoch = 1,
               .salt = Bytes(32),
               .scrypt = parameters,
               .nonce = {},
               .wrapped = {}};
  impl_->world_.random.fill(slot.salt);
  auto wrapping = co_await impl_->world_.workers.run([&] { return crypto::scrypt(passphrase, slot.salt, parameters); });
  if (!wrapping) co_return fail(std::move(wrapping.error()));
  impl_->add_slot(*entry, slot, *wrapping, *key);
  const KeySlot wrapped = entry->slots.back();
  auto done = co_await impl_->change([name, wrapped](std::vector<VolumeEntry>& volumes) -> Status {
    const auto found = std::ranges::find(volumes, name, &VolumeEntry::name);
    if (found == volumes.end()) return fail(Code::not_found, "no volume '" + name + "'");
    if (std::ranges::none_of(found->slots, [&](const KeySlot& old) { return old.nonce == wrapped.nonce; }))
      found->slots.push_back(wrapped);
    return {};
  });
  co_return done;
}

env::Task<Result<bool>> Account::force_keepers() {
  auto done = co_await impl_->force();
  co_return done;
}

env::Task<Status> Account::adapt_keepers() {
  auto done = co_await impl_->adapt();
  co_return done;
}

Result<crypto::Key> Account::volume_key(const VolumeEntry& entry) const {
  return impl_->volume_key(entry, KeySlot::Type::account,
                           [&](const KeySlot&) { return Result<crypto::Key>(impl_->identity_.member.key_slot); });
}

Result<content::VolumeKeys> Account::open_volume_keys(const VolumeEntry& entry) const {
  auto key = volume_key(entry);
  if (!key) return fail(std::move(key.error()));
  return content::VolumeKeys::derive(*key, entry.volume);
}

Result<content::VolumeKeys> Account::open_volume_keys(const VolumeEntry& entry, std::string_view passphrase) const {
  auto key = impl_->volume_key(entry, KeySlot::Type::passphrase,
                               [&](const KeySlot& slot) { return crypto::scrypt(passphrase, slot.salt, slot.scrypt); });
  if (!key) return fail(std::move(key.error()));
  return content::VolumeKeys::derive(*key, entry.volume);
}

}  // namespace cairn::volume
