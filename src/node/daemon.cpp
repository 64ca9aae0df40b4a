#include "node/daemon.h"

#include <fstream>

#include "node/addresses.h"
#include "os/host.h"
#include "os/memory.h"
#include "peer/limits.h"

namespace cairn::node {

namespace {

// How often figures, configuration and membership are looked at: what `store add` waits for at most.
constexpr Duration kWatchPeriod = std::chrono::seconds(2);
// After an entry of the member log, until the pool's file is written.
constexpr Duration kLogSaveDelay = std::chrono::milliseconds(100);
// What the allocator keeps of work that is over goes back to the host so often: some milliseconds of a core.
constexpr Duration kReleasePeriod = std::chrono::minutes(10);
// A command of the same home looks at the lock for a moment: a daemon that starts just then tries again.
constexpr int kLockTries = 20;
constexpr Duration kLockPause = std::chrono::milliseconds(100);

LogLevel level_of(const std::string& name) {
  if (name == "debug") return LogLevel::debug;
  if (name == "warning") return LogLevel::warning;
  if (name == "error") return LogLevel::error;
  return LogLevel::info;
}

}  // namespace

Daemon::Daemon(Log& log, os::RealWorld& real, client::Home home, DaemonOptions options)
    : log_(log), real_(real), world_(real.world()), home_(std::move(home)), options_(std::move(options)) {
  tasks_.emplace(world_.executor);
}

env::Task<Result<env::Address>> Daemon::start() {
  started_ = world_.clock.now();
  auto kept = home_.identity();
  if (!kept) co_return fail(std::move(kept.error()));
  if (kept->pending)
    co_return fail(Code::not_found, "joining the pool was not completed: run `cairn join` with the same code again");
  for (int i = 0; !lock_; ++i) {
    auto lock = world_.disk.lock(home_.file("daemon.lock"));
    if (lock) {
      lock_ = std::move(*lock);
    } else if (lock.error().code != Code::overloaded || i == kLockTries) {
      co_return fail(lock.error().code, "another daemon runs on this home");
    } else {
      co_await env::sleep_for(world_.clock, kLockPause);
    }
  }
  auto text = home_.config_text();
  if (!text) co_return fail(std::move(text.error()));
  config_text_ = std::move(*text);
  auto config = client::parse_config(config_text_, home_.file("config.toml"));
  if (!config) co_return fail(std::move(config.error()));
  config_ = std::move(*config);
  if (!options_.listen.empty()) {
    auto listen = env::Address::parse(options_.listen);
    if (!listen) co_return fail(std::move(listen.error()));
    config_.listen = *listen;
  }
  auto membership = home_.membership();
  if (!membership) co_return fail(std::move(membership.error()));
  auto boot = home_.next_boot();
  if (!boot) co_return fail(std::move(boot.error()));
  boot_ = *boot;

  real_.set_identity(kept->identity.device.seed());
  peer::PeersOptions options{.serve = true};
  if (config_.healing.time_scale < 1) {
    options.least_suspicion = pool::scaled_time(peer::kLeastSuspicion, config_.healing.time_scale);
  }
  peers_ = std::make_unique<peer::Peers>(world_, kept->identity, std::move(*membership), options);
  peers_->on_change([this] {
    membership_changed_ = true;
    // Who was admitted is kept at once: after a crash a member that is not known here would be refused.
    const uint64_t log = peers_->membership().log_version();
    if (std::exchange(log_seen_, log) != log && !std::exchange(saving_soon_, true)) tasks_->spawn(save_soon(this));
  });
  CAIRN_CO_TRY(world_.disk.make_dirs(home_.file("invites")));
  invites_ = std::make_unique<peer::Invites>(world_, *peers_, home_.file("invites"));
  auto burned = co_await invites_->open();
  if (!burned) co_return fail(std::move(burned.error()), "invites");
  auto keeper = volume::Keeper::open(world_, *peers_, home_.file("keeper"));
  if (!keeper) co_return fail(std::move(keeper.error()), "keeper");
  keeper_ = std::move(*keeper);
  auto holder = co_await pool::Holder::open(world_, *peers_, home_.file("claims"), boot_);
  if (!holder) co_return fail(std::move(holder.error()), "claims");
  holder_ = std::move(*holder);
  auto trash = co_await pool::Trash::open(world_, *peers_, *holder_, home_.file("trash"), {.keep = config_.trash});
  if (!trash) co_return fail(std::move(trash.error()), "trash");
  trash_ = std::move(*trash);
  pool::HealingOptions healing = pool::HealingOptions{}.scaled(config_.healing.time_scale);
  if (config_.healing.rate) healing.mover.bytes_per_second = *config_.healing.rate;
  if (config_.healing.scrub_rate) healing.audit.scrub_rate = *config_.healing.scrub_rate;
  healing_ = std::make_unique<pool::Healing>(world_, *peers_, *holder_, healing);
  lending_ = std::make_unique<Lending>(world_, home_, *peers_, *holder_, *trash_, healing_->mover());
  healing_->repair().stores_known_by([this] { return lending_->all_open(); });
  healing_->repair().skip([this](PackId pack) { return trash_->tombstoned(pack); });
  lending_->keeps([this] { return keeper_->registers_here(); });
  move_orders_ = std::make_unique<pool::MoveOrders>(*peers_, healing_->mover(), lending_->drain());
  co_await lending_->start(config_);

  peers_->serve(wire::Method::admin_status, peer::Access::own_device,
                [this](peer::Request) -> env::Task<Result<peer::Reply>> {
                  return [](Daemon* self) -> env::Task<Result<peer::Reply>> {
                    co_return peer::Reply{.body = wire::encode(self->status()), .payload = {}};
                  }(this);
                });
  member_admin_ = std::make_unique<MemberAdmin>(
      world_, *peers_, [this](const peer::Membership& membership) { return home_.save_membership(membership); });
  member_admin_->serve();
  auto address = peers_->listen(config_.listen);
  if (!address) co_return fail(std::move(address.error()), "cannot serve at " + config_.listen.text());
  address_ = *address;
  const env::Address wanted{config_.listen.host, address_.port};
  if (config_.listen.port == 0 || !options_.listen.empty()) {  // the port that was picked is kept from now on
    config_text_ = client::with_listen(config_text_, wanted);
    CAIRN_CO_TRY(home_.save_config_text(config_text_));
    config_.listen = wanted;
  }
  // For the commands of this home: they are on this machine.
  const bool any4 = wanted.host == "0.0.0.0";
  const bool any6 = wanted.host == "::";
  const env::Address local{any4 ? "127.0.0.1" : any6 ? "::1" : wanted.host, wanted.port};
  CAIRN_CO_TRY(env::write_file(world_.disk, home_.file("address"), as_bytes(local.text())));
  tell_own_record();
  peers_->start({});
  co_await healing_->start();
  save_membership();
  tasks_->spawn(watch(this));
  if (config_.prune_every && !options_.cairn.empty()) {
    housekeeping_ = std::make_unique<Housekeeping>(world_, home_, options_.cairn, *config_.prune_every,
                                                   [this] { return lending_->resting(); });
    housekeeping_->start();
  }
  keeper_care_ = std::make_unique<KeeperCare>(world_, *peers_);
  tasks_->spawn(KeeperCare::run(keeper_care_.get()));
  co_return local;
}

env::Task<void> Daemon::watch(Daemon* self) {
  uint64_t moved = 0;  // shards, as of the last look
  bool busy = false;
  Time released = self->started_;
  for (;;) {
    co_await env::sleep_for(self->world_.clock, kWatchPeriod);
    const pool::HolderCounters counters = self->holder_->counters();
    const uint64_t now = counters.shards_taken + counters.shards_served;
    const bool was_busy = std::exchange(busy, now != moved);
    moved = now;
    const Time time = self->world_.clock.now();
    if ((was_busy && !busy) || time - released >= kReleasePeriod) {
      os::release_memory();
      released = time;
    }
    auto text = self->home_.config_text();
    if (text && *text != self->config_text_) {
      self->config_text_ = *text;
      auto config = client::parse_config(*text, self->home_.file("config.toml"));
      if (!config) {
        self->log_.warning("configuration_refused", "error=\"{}\"", to_string(config.error()));
        self->lending_->config_refused(to_string(config.error()));
      } else {
        self->config_.addresses = config->addresses;
        self->config_.domain = config->domain;
        self->lending_->configure(std::move(*config));
      }
    }
    co_await self->lending_->follow();
    self->healing_->repair().set_paused(self->lending_->resting());
    self->tell_own_record();
    if (std::exchange(self->membership_changed_, false)) self->save_membership();
  }
}

void Daemon::tell_own_record() {
  const store::StoreFigures figures = holder_->figures();
  peer::NodeInfo info;
  info.name = config_.node_name;
  info.addresses =
      !config_.addresses.empty() ? config_.addresses : advertised_addresses({config_.listen.host, address_.port});
  info.limit = figures.limit;
  info.used = figures.used;
  info.free = figures.free;
  info.domain = config_.domain;
  info.boot_seq = boot_;
  lending_->tell(info);
  peers_->set_own_record(info);
}

void Daemon::save_membership() {
  if (auto saved = home_.save_membership(peers_->membership()); !saved)
    log_.warning("pool_not_saved", "error={}", to_string(saved.error()));
}

// Entries of the log often come several at a time.
env::Task<void> Daemon::save_soon(Daemon* self) {
  co_await env::sleep_for(self->world_.clock, kLogSaveDelay);
  self->saving_soon_ = self->membership_changed_ = false;
  self->save_membership();
}

wire::AdminStatusResponse Daemon::status() const {
  wire::AdminStatusResponse response;
  response.set_boot_seq(boot_);
  if (const auto refusal = peers_->refusal()) response.set_refused(refusal->context);
  response.set_uptime_ms(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(world_.clock.now() - started_).count()));
  lending_->describe(response);
  response.set_trash_bytes(trash_->figures().bytes);
  response.set_trash_shards(trash_->figures().shards);
  for (const peer::NodeInfo& node : peers_->membership().nodes()) {
    auto* seen = response.add_nodes();
    seen->set_node(node.id.raw());
    seen->set_state(static_cast<uint32_t>(peers_->state(node.id)));
    const auto heard = peers_->last_heard(node.id);
    seen->set_last_heard_ms(
        heard ? std::max<uint64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(*heard).count()) : 0);
    const pool::NodeScore score = healing_->scores().of(node.id);
    seen->set_audits_passed(score.audits_passed);
    seen->set_audits_failed(score.audits_failed);
    seen->set_online_ms(score.online);
    seen->set_observed_ms(score.observed);
  }
  *response.mutable_healing() = healing_status();
  return response;
}

wire::HealingStatus Daemon::healing_status() const {
  wire::HealingStatus status;
  const pool::RepairCounters repair = healing_->repair().counters();
  const pool::MoverCounters mover = healing_->mover().counters();
  status.set_incomplete(healing_->repair().incomplete());
  status.set_shards_rebuilt(repair.shards_rebuilt);
  status.set_bytes_rebuilt(repair.bytes_rebuilt);
  status.set_repairs_failed(repair.failed);
  status.set_surplus_dropped(repair.surplus_dropped);
  status.set_audits_failed(healing_->auditor().counters().failed);
  status.set_rotten_shards(holder_->counters().rotten_shards);
  status.set_scrubs(healing_->auditor().counters().scrubs);
  status.set_cut_off(healing_->repair().cut_off().has_value());
  status.set_bytes_moved(mover.bytes_fetched + mover.bytes_sent);
  return status;
}

env::Task<void> Daemon::stop() {
  tasks_->cancel();
  keeper_care_.reset();
  if (housekeeping_) co_await housekeeping_->stop();
  if (peers_) co_await peers_->stop();
  if (healing_) co_await healing_->stop();
  if (lending_) co_await lending_->stop();
  if (trash_) co_await trash_->close();
  if (holder_) co_await holder_->close();
  if (keeper_) co_await keeper_->close();
  if (peers_ && lock_) save_membership();
  lock_.reset();
}

}  // namespace cairn::node

namespace cairn {

namespace {

// What cannot be read is said when the daemon starts.
bool low_priority(const std::string& home) {
  std::ifstream file(home + "/config.toml");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  auto config = client::parse_config(text, "config.toml");
  return !config || config->rules.low_priority;
}

}  // namespace

Status run_daemon(const DaemonOptions& options) {
  os::tune_allocator();
  if (low_priority(options.home)) os::lower_priority();  // before any thread is made
  auto log = make_stderr_log(node::level_of(options.log_level));
  os::RealWorld real({.log = *log});
  client::Home home(real.world().disk, options.home);
  CAIRN_TRY(home.check());
  node::Daemon daemon(*log, real, std::move(home), options);

  auto started = real.block_on(daemon.start());
  if (started) {
    bool asked_to_end = false;
    os::Signals signals(real.loop(), [&](int) {
      asked_to_end = true;
      real.loop().stop();
    });
    auto identity = client::Home(real.world().disk, options.home).identity();
    log->info("serving", "address={}", started->text());
    if (options.on_ready && identity) options.on_ready(identity->identity.node.hex(), started->text());
    while (!asked_to_end) real.run();
    log->info("stopping");
  }
  real.block_on(daemon.stop());
  if (!started) return fail(std::move(started.error()));
  return {};
}

}  // namespace cairn
