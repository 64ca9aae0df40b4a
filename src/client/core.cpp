#include "client/core.h"

#include <unistd.h>

#include "backup/record.h"
#include "os/memory.h"

namespace cairn::client {

namespace {

LogLevel level_of(const std::string& name) {
  if (name == "debug") return LogLevel::debug;
  if (name == "info") return LogLevel::info;
  if (name == "warning") return LogLevel::warning;
  return LogLevel::error;
}

// Of peers that refuse this device the first may be the only one that does: the others answer within this time.
constexpr Duration kRefusalStands = std::chrono::milliseconds(700);
constexpr Duration kLookForRefusal = std::chrono::milliseconds(50);

// What the account record and the drive are called when they are first used.
bool made_at_first_use(const std::string& name) {
  return name == "main" || name == "backups";
}

}  // namespace

Core::Core(std::unique_ptr<Log> log, std::unique_ptr<os::RealWorld> real, Home home, peer::Identity identity)
    : log_(std::move(log)),
      real_(std::move(real)),
      world_(real_->world()),
      home_(std::move(home)),
      identity_(std::move(identity)) {}

Result<std::unique_ptr<Core>> Core::open(const ClientOptions& options) {
  os::tune_allocator();
  auto log = make_stderr_log(level_of(options.log_level));
  auto real = std::make_unique<os::RealWorld>(os::RealWorldOptions{.log = *log});
  Home home(real->world().disk, options.home);
  CAIRN_TRY(home.check());
  auto kept = home.identity();
  if (!kept) return fail(std::move(kept.error()));
  if (kept->pending)
    return fail(Code::not_found, "joining the pool was not completed: run `cairn join` with the same code again");
  auto membership = home.membership();
  if (!membership) return fail(std::move(membership.error()));
  real->set_identity(kept->identity.device.seed());

  std::unique_ptr<Core> core(new Core(std::move(log), std::move(real), std::move(home), std::move(kept->identity)));
  core->backups_name_ = options.backups;
  core->grant_ = std::move(kept->grant);
  core->peers_ = std::make_unique<peer::Peers>(core->world_, core->identity_, std::move(*membership),
                                               peer::PeersOptions{.serve = false});
  core->peers_->on_change([c = core.get()] { c->membership_changed_ = true; });
  core->pool_ = std::make_unique<pool::PoolClient>(core->world_, *core->peers_, pool::PoolOptions{});
  core->pool_->on_bad_shard(
      [c = core.get()](const pool::BadShard& bad) { c->bad_holders_.push_back({bad, c->world_.clock.wall_now()}); });
  core->account_ =
      std::make_unique<volume::Account>(core->world_, *core->peers_,
                                        volume::AccountOptions{.cache_path = core->home_.file("account"),
                                                               .founding_path = core->home_.file("account-keepers")});
  core->real_->start();
  core->world_.executor.post([c = core.get()] {
    std::vector<env::Address> first;
    if (auto own = c->home_.daemon_address()) first.push_back(*own);
    c->peers_->start(std::move(first));
  });
  return core;
}

Core::~Core() {
  if (!peers_) return;
  real_->block_on(shut_down());
  real_->stop();
  Buffer::keep_spare_memory(Buffer::kSpareMemory);
}

env::Task<void> Core::shut_down() {
  volumes_.clear();
  co_await pool_->stop();
  co_await peers_->stop();
  if (!bad_holders_.empty()) {
    if (auto kept = add_bad_holders(world_.disk, home_.path(), bad_holders_); !kept)
      log_->warning("bad_holders_not_kept", "error={}", to_string(kept.error()));
  }
  // What was learnt about the pool helps the next command to start; a running daemon keeps it better than we do.
  if (membership_changed_ && !home_.daemon_running()) {
    if (auto kept = home_.save_membership(peers_->membership()); !kept)
      log_->warning("pool_not_kept", "error={}", to_string(kept.error()));
  }
}

env::Task<Status> Core::settle() {
  if (settled_) co_return Status{};
  const env::OneShot<Status> first(world_.executor);
  env::TaskGroup either(world_.executor);
  either.spawn([](Core& core, env::OneShot<Status> out) -> env::Task<void> {
    auto done = co_await core.peers_->settle(kSettleTimeout);
    out.set(done ? Status{} : fail(Code::too_few_peers, "no peer of the pool answers"));
  }(*this, first));
  either.spawn([](Core& core, env::OneShot<Status> out) -> env::Task<void> {
    std::optional<Error> why;
    while (!(why = core.removed())) co_await env::sleep_for(core.world_.clock, kLookForRefusal);
    out.set(fail(std::move(*why)));
  }(*this, first));
  auto settled = co_await first;
  if (!settled) co_return settled;
  settled_ = true;
  co_return Status{};
}

std::optional<volume::VolumeEntry> Core::seen_volume(const std::string& name) const {
  auto seen = account_->last_seen();
  if (!seen) return std::nullopt;
  const auto found = std::ranges::find(*seen, name, &volume::VolumeEntry::name);
  return found == seen->end() ? std::nullopt : std::optional(*found);
}

env::Task<Result<OpenVolume*>> Core::open_volume(std::string name, bool create, Adjust adjust) {
  std::optional<volume::VolumeEntry> entry;
  if (grant_) {
    if (name != grant_->name && name != "backups")
      co_return fail(Code::not_found, "this device may only add snapshots to " + grant_->name);
    entry = volume::VolumeEntry{
        .name = grant_->name, .volume = grant_->volume, .founding = grant_->founding, .deduplicates = true};
  }
  // Who says how it is opened may know a head of it: then nobody needs to be asked while the pool is away.
  if (!entry && adjust && !settled_) entry = seen_volume(name);
  if (!entry && create && made_at_first_use(name)) {
    auto made = co_await account_->find_or_create(name, name == "backups");
    if (!made && adjust && made.error().code != Code::wrong_phrase) entry = seen_volume(name);
    if (!made && !entry) co_return fail(std::move(made.error()));
    if (made) entry = std::move(*made);
  } else if (!entry) {
    auto found = co_await account_->find(name);
    if (!found && adjust && found.error().code != Code::not_found) entry = seen_volume(name);
    if (!found && !entry) co_return fail(std::move(found.error()));
    if (found) entry = std::move(*found);
  }
  if (const auto open = volumes_.find(entry->volume); open != volumes_.end()) co_return open->second.get();

  auto keys = grant_ ? Result<content::VolumeKeys>(content::VolumeKeys::derive(grant_->key, grant_->volume))
                     : account_->open_volume_keys(*entry);
  if (!keys) co_return fail(std::move(keys.error()), name);
  auto opened = std::make_unique<OpenVolume>();
  opened->entry = *entry;
  opened->head_register = std::make_unique<volume::Register>(world_, *peers_, entry->founding);
  opened->head = volume::make_head_register(*opened->head_register);
  opened->packs = volume::make_pack_io(world_, *pool_, *peers_, entry->founding);
  auto made = world_.disk.make_dirs(home_.file("heads"));
  if (!made) co_return fail(std::move(made.error()));
  volume::VolumeOptions options{.deduplicates = entry->deduplicates,
                                .high_water_path = home_.file("heads/" + entry->volume.hex())};
  options.root_owner = this_user();
  // Backups run beside other work, and cutting files by their content is what they wait for.
  if (!entry->deduplicates) options.depth = volume::kDeep;
  options.append_only = append_only();
  options.may_vanish = [](const volume::SnapshotInfo& info) {
    if (!backup::SnapshotId::from_hex_text(info.name)) return false;
    const auto record = backup::decode_record(info.name, info.details);
    return record && record->partial;
  };
  options.on_recovered = [this](const std::string& snapshot, const NodeId& device) {
    log_->error("snapshot_put_back", "snapshot={} was_taken_out_by=\"{}\"", snapshot.substr(0, 8), node_name(device));
  };
  opened->append_only = grant_ || entry->name.starts_with(kAppendOnlyPrefix);
  options.name_of_node = [this](const NodeId& node) { return node_name(node); };
  if (adjust) CAIRN_CO_TRY(co_await adjust(*entry, options));
  Buffer::keep_spare_memory(options.depth.spare_memory);
  auto volume = co_await volume::Volume::open(world_, *opened->packs, *opened->head, *keys, identity_.device, options);
  if (!volume) co_return fail(std::move(volume.error()), name);
  opened->volume = std::move(*volume);
  if (const auto fork = opened->volume->fork(); fork && log_forks_.insert(entry->volume).second) {
    const std::string parted = fmt::format(
        "{}: FORK: commit {}, which this device has seen, was not in the volume when its keepers were given up at "
        "{} (it went on from commit {}). ",
        name, fork->sequence, format_time(fork->at.when), fork->at.sequence);
    warnings_.push_back(
        parted +
        (fork->joined
             ? fmt::format("Its changes are in the volume again{}.",
                           fork->conflicts > 0 ? fmt::format(", {} files are there twice", fork->conflicts) : "")
             : "Its changes are missing until one of those keepers, or the device that made it, is back."));
  }
  OpenVolume* result = opened.get();
  volumes_.emplace(entry->volume, std::move(opened));
  co_return result;
}

Status Core::refuse_append_only() const {
  if (!append_only()) return {};
  return fail(Code::denied, "this device may add snapshots and never remove: do it on another device of yours");
}

volume::RootOwner this_user() {
  return {.uid = ::geteuid(), .gid = ::getegid()};
}

env::Task<void> Core::adapt_keepers(OpenVolume& open) {
  if (append_only()) co_return;
  auto account = co_await account_->adapt_keepers();
  if (!account) log_->warning("account_keepers_not_adapted", "error={}", to_string(account.error()));
  auto head = co_await open.head_register->adapt_keepers();
  if (!head) log_->warning("keepers_not_adapted", "volume={} error={}", open.entry.name, to_string(head.error()));
}

void Core::explain(Error& error) const {
  const auto why = peers_->refusal();
  const bool by_the_pool = error.code == Code::too_few_peers || error.code == Code::unreachable ||
                           error.code == Code::closed || error.code == Code::timeout || error.code == Code::denied;
  if (why && by_the_pool && !error.context.starts_with("the pool refuses"))
    error = Error{Code::denied, "the pool refuses this device: " + why->context};
}

std::optional<Error> Core::removed() {
  const peer::Membership& membership = peers_->membership();
  const bool member = membership.member(identity_.member.id()) != nullptr;
  auto why = peers_->refusal();
  if (!member || !why || why->code != Code::denied) {
    refused_since_.reset();
    return std::nullopt;
  }
  const Time now = world_.clock.now();
  if (!refused_since_) refused_since_ = now;
  if (membership.admits(identity_.certificate) && now - *refused_since_ < kRefusalStands) return std::nullopt;
  return Error{Code::denied, "the pool refuses this device: " + why->context};
}

std::string Core::node_name(const NodeId& node) {
  const peer::NodeInfo* info = peers_->membership().node(node);
  return info != nullptr && !info->name.empty() ? info->name : node.short_hex();
}

Error Core::run_until_done(Refused refused, std::function<env::Task<void>()> start) {
  Error why{Code::interrupted, "Ctrl-C"};
  real_->block_on(
      [](Core& core, Refused ending, Error& out, std::function<env::Task<void>()> begin) -> env::Task<void> {
        env::OneShot<bool> ended(core.world_.executor);
        env::TaskGroup group(core.world_.executor);
        group.spawn([](std::function<env::Task<void>()> work, env::OneShot<bool> done) -> env::Task<void> {
          co_await work();
          done.set(true);
        }(std::move(begin), ended));
        group.spawn([](Core& c, Refused ends, Error& reason, env::OneShot<bool> done) -> env::Task<void> {
          while (!c.interrupted()) {
            co_await env::sleep_for(c.world_.clock, kLookForRefusal);
            auto gone = ends == Refused::ends ? c.removed() : std::nullopt;
            if (!gone) continue;
            reason = std::move(*gone);
            break;
          }
          done.set(false);
        }(core, ending, out, ended));
        co_await ended;
      }(*this, refused, why, std::move(start)));
  return why;
}

}  // namespace cairn::client
