#include "node/lending.h"

#include <cstdlib>
#include <ctime>

#include "os/host.h"
#include "pool/shedding.h"
#include "store/limits.h"

namespace cairn::node {

namespace {

// Power is a file of the kernel's; the link takes a program to ask.
constexpr Duration kPowerPeriod = std::chrono::seconds(2);
constexpr Duration kMeteredPeriod = std::chrono::seconds(20);
constexpr size_t kDisownPage = 256;
// A store of which nothing can be dropped is not searched again before.
constexpr Duration kShedAgain = std::chrono::seconds(1);
// A node that leaves is a keeper until its members' daemons have moved their registers (keeper_care.h). Of a member
// whose machines are all off it is one of five that is missing; the next command replaces it.
constexpr Duration kHandOverPatience = std::chrono::minutes(2);

client::WeekTime week_time(WallTime now) {
  const time_t seconds = now / 1'000'000'000;
  tm local{};
  localtime_r(&seconds, &local);
  return {.day = static_cast<unsigned>((local.tm_wday + 6) % 7),
          .minute = static_cast<unsigned>(local.tm_hour * 60 + local.tm_min)};
}

}  // namespace

Lending::Lending(env::World world, client::Home home, peer::Peers& peers, pool::Holder& holder, pool::Trash& trash,
                 pool::ShardMover& mover)
    : world_(world),
      home_(std::move(home)),
      peers_(peers),
      holder_(holder),
      trash_(trash),
      drain_(world, peers, holder, mover),
      sysfs_("/sys"),
      looks_(world.executor, 1),
      sheds_(world.executor),
      tasks_(world.executor) {
  drain_.set_trash(trash);
  // Another tree stands in for the kernel's where a test has no battery.
  if (const char* other = std::getenv("CAIRN_SYSFS"); other != nullptr && *other != '\0') sysfs_ = other;
}

env::Task<void> Lending::start(client::Config config) {
  configure(std::move(config));
  co_await follow();
  tasks_.spawn(watch_disks(this));
}

env::Task<void> Lending::stop() {
  tasks_.cancel();
  co_await drain_.stop();
  co_await sheds_.join();
}

Lending::Lent* Lending::find(const StoreId& id) {
  const auto found = std::ranges::find(lent_, id, &Lent::id);
  return id.is_zero() || found == lent_.end() ? nullptr : &*found;
}

store::ShardStore* Lending::open_store(const Lent& lent) const {
  if (lent.id.is_zero()) return nullptr;
  for (const auto& store : holder_.stores()) {
    if (store->id() == lent.id) return store.get();
  }
  return nullptr;
}

void Lending::configure(client::Config config) {
  config_ = std::move(config);
  config_error_.clear();
  for (const StoreSpec& spec : config_.stores) {
    const auto known = std::ranges::find(lent_, spec.path, [](const Lent& lent) { return lent.spec.path; });
    Lent& lent = known == lent_.end() ? lent_.emplace_back() : *known;
    lent.spec = spec;
    lent.removing = config_.is_removing(spec.path);
  }
}

// --- stores that come and go ---

env::Task<void> Lending::open(Lent& lent) {
  const StoreSpec spec = lent.spec;
  // A store that was made once is never made anew over a disk that is not mounted.
  const std::string mark = home_.store_mark(spec.path);
  auto known = world_.disk.exists(mark);
  auto opened = co_await store::ShardStore::open(
      world_,
      {.path = spec.path, .limit = spec.limit, .keep_free = spec.keep_free, .keep_free_share = spec.keep_free_share},
      known && !*known && !lent.removing && !config_.leaving && !config_.left);
  Status added;
  const StoreId id = opened ? (*opened)->id() : StoreId{};
  const uint64_t shards = opened ? (*opened)->figures().shards : 0;
  if (opened) added = holder_.add_store(std::move(*opened));
  if (!opened || !added) {
    const Error& error = opened ? added.error() : opened.error();
    const std::string trouble = "offline: " + to_string(error);
    if (lent.trouble != trouble)
      world_.log.warning("store_not_open", "path={} error=\"{}\"", spec.path, to_string(error));
    lent.trouble = trouble;
    co_return;
  }
  if (known && !*known) {
    auto made = world_.disk.make_dirs(home_.file("stores"));
    if (made) made = env::write_file(world_.disk, mark, as_bytes(id.hex() + " " + spec.path + "\n"));
    if (!made) world_.log.warning("store_not_noted", "path={} error=\"{}\"", spec.path, to_string(made.error()));
  }
  lent.trouble.clear();
  lent.id = id;
  lent.headroom = {};
  world_.log.info("store_open", "path={} shards={}", spec.path, shards);
}

// The index of a store that was far larger takes more than the small one should: it is opened anew, in its new size.
env::Task<void> Lending::refit(Lent& lent) {
  const store::ShardStore* store = open_store(lent);
  if (store == nullptr || 4 * store->figures().overhead <= lent.spec.limit) co_return;
  co_await reopen(lent);
}

// A disk that was taken out while its store was open, and perhaps came back.
env::Task<void> Lending::look_for_disk(Lent& lent) {
  if (lent.id.is_zero()) co_return;
  const std::string marker = lent.spec.path + "/cairn-store";
  auto there = co_await world_.workers.run([&] { return world_.disk.exists(marker); });
  const bool away = there && !*there;
  if (away && !lent.away) world_.log.warning("store_away", "path={}", lent.spec.path);
  const bool back = lent.away && there && *there;
  lent.away = away;
  if (away) lent.demand = {};  // what is free there now is another disk's
  if (back) co_await reopen(lent);
}

env::Task<void> Lending::reopen(Lent& lent) {
  drain_.set_goal(lent.id, std::nullopt);
  auto closed = co_await holder_.close_store(std::exchange(lent.id, StoreId{}));
  if (!closed)
    world_.log.warning("store_not_closed", "path={} error=\"{}\"", lent.spec.path, to_string(closed.error()));
  lent.trouble = "not open yet";
  co_await open(lent);
}

env::Task<Status> Lending::give_back(Lent& lent) {
  const std::string path = lent.spec.path;
  drain_.set_goal(lent.id, std::nullopt);
  if (!lent.id.is_zero()) {
    auto closed = co_await holder_.close_store(std::exchange(lent.id, StoreId{}));
    if (!closed && closed.error().code != Code::not_found) co_return closed;
  }
  auto erased = co_await store::ShardStore::erase(world_, path);
  if (!erased) co_return erased;
  auto changed = co_await world_.workers.run([&]() -> Status {
    (void)world_.disk.remove(home_.store_mark(path));
    return home_.change_config([&](const std::string& text, const client::Config& now) -> Result<std::string> {
      const bool there = std::ranges::any_of(now.stores, [&](const StoreSpec& spec) { return spec.path == path; });
      return there ? client::without_store(text, path) : Result<std::string>(text);
    });
  });
  co_return changed;
}

env::Task<void> Lending::follow() {
  co_await look_at_host();
  for (auto at = lent_.begin(); at != lent_.end();) {
    Lent& lent = *at;
    const bool wanted =
        std::ranges::any_of(config_.stores, [&](const StoreSpec& s) { return s.path == lent.spec.path; });
    if (!wanted) {  // given back, lost, or taken out of the configuration by hand
      drain_.set_goal(lent.id, std::nullopt);
      if (!lent.id.is_zero()) {
        world_.log.warning("store_not_lent_any_more", "path={}", lent.spec.path);
        auto closed = co_await holder_.close_store(lent.id);
        (void)closed;
      }
      at = lent_.erase(at);
      continue;
    }
    // Half removed before a crash: nothing is left to open.
    if (lent.id.is_zero() && (lent.removing || config_.leaving)) {
      auto marker = world_.disk.exists(lent.spec.path + "/cairn-store");
      auto folder = world_.disk.list(lent.spec.path);
      auto mark = world_.disk.exists(home_.store_mark(lent.spec.path));
      if (marker && !*marker && folder && mark && !*mark) {
        auto done = co_await give_back(lent);
        if (done) {
          std::erase_if(config_.stores, [&](const StoreSpec& s) { return s.path == lent.spec.path; });
          at = lent_.erase(at);
          continue;
        }
      }
    }
    co_await look_for_disk(lent);
    if (!lent.trouble.empty()) co_await open(lent);
    if (store::ShardStore* store = open_store(lent); store != nullptr) {
      const store::StoreOptions& now = store->options();
      if (now.limit != lent.spec.limit || now.keep_free != lent.spec.keep_free ||
          now.keep_free_share != lent.spec.keep_free_share) {
        auto set = store->set_limits(lent.spec.limit, lent.spec.keep_free, lent.spec.keep_free_share);
        if (set) {
          world_.log.info("store_resized", "path={} limit={}", lent.spec.path, lent.spec.limit);
          co_await refit(lent);
        } else {
          config_error_ = lent.spec.path + ": " + to_string(set.error());
        }
      }
    }
    ++at;
  }
  set_goals();
  co_await finish();
  for (Lent& lent : lent_) {
    const store::ShardStore* store = open_store(lent);
    lent.was_empty = store != nullptr && (lent.removing || config_.leaving) && store->figures().shards == 0;
  }
  auto lost = world_.disk.exists(home_.file("disown"));
  if (lost && *lost) co_await disown();
}

// Whose store is drained and wanted back gets it.
env::Task<void> Lending::finish() {
  if (config_.leaving && !config_.left) {
    co_await leave_if_empty();
    co_return;
  }
  for (auto at = lent_.begin(); at != lent_.end();) {
    Lent& lent = *at;
    const store::ShardStore* store = open_store(lent);
    if (!lent.removing || store == nullptr || !lent.was_empty || store->figures().shards > 0) {
      ++at;
      continue;
    }
    auto done = co_await give_back(lent);
    if (!done) {
      lent.trouble = "emptied, but cannot be removed: " + to_string(done.error());
      world_.log.warning("store_not_given_back", "path={} error=\"{}\"", lent.spec.path, to_string(done.error()));
      ++at;
      continue;
    }
    world_.log.info("store_given_back", "path={}", lent.spec.path);
    std::erase_if(config_.stores, [&](const StoreSpec& s) { return s.path == lent.spec.path; });
    at = lent_.erase(at);
  }
}

bool Lending::is_empty() const {
  return std::ranges::all_of(lent_, [this](const Lent& lent) {
    const store::ShardStore* store = open_store(lent);
    return store != nullptr && lent.was_empty && store->figures().shards == 0;
  });
}

env::Task<void> Lending::leave_if_empty() {
  leave_note_.clear();
  for (const Lent& lent : lent_) {
    if (open_store(lent) == nullptr)
      leave_note_ =
          fmt::format("{} is {}: mount it, or take it out with `cairn store rm --lost`", lent.spec.path, lent.trouble);
  }
  if (!is_empty()) {
    emptied_.reset();
    co_return;
  }
  if (!emptied_) emptied_ = world_.clock.now();
  Result<size_t> kept = 0;
  if (registers_) kept = co_await registers_();
  if (kept && *kept > 0 && world_.clock.now() - *emptied_ < kHandOverPatience) {
    leave_note_ = fmt::format("{} registers are handed to other keepers", *kept);
    co_return;
  }
  if (kept && *kept > 0) world_.log.warning("registers_left_behind", "count={}", *kept);
  while (!lent_.empty()) {
    auto done = co_await give_back(lent_.front());
    if (!done) {
      leave_note_ = lent_.front().spec.path + " cannot be given back: " + to_string(done.error());
      co_return;
    }
    lent_.pop_front();
  }
  auto noted = co_await world_.workers.run([&]() -> Status {
    return home_.change_config([](const std::string& text, const client::Config&) -> Result<std::string> {
      return client::with_flag(text, "left", true);
    });
  });
  if (!noted) {
    leave_note_ = to_string(noted.error());
    co_return;
  }
  config_.left = true;
  config_.stores.clear();
  world_.log.info("left", "node={}", peers_.identity().node.short_hex());
}

// A store was lost with all that it held: what is claimed here and lies in no store is said to be gone.
env::Task<void> Lending::disown() {
  if (!all_open()) co_return;  // cannot tell yet
  const NodeId self = peers_.identity().node;
  std::optional<ShardId> after;
  uint64_t gone = 0;
  while (true) {
    const auto page = co_await holder_.held_by(self, after, kDisownPage);
    if (!page) co_return;
    if (page->empty()) break;
    after = page->back();
    std::vector<bool> here(page->size());
    for (size_t i = 0; i < holder_.stores().size(); ++i) {
      const auto held = co_await holder_.stores()[i]->holds(*page);
      if (!held) co_return;  // a disk is missing just now
      for (size_t j = 0; j < page->size(); ++j) here[j] = here[j] || (*held)[j];
    }
    for (size_t j = 0; j < page->size(); ++j) {
      if (here[j]) continue;
      ++gone;
      holder_.announce((*page)[j], pool::ClaimState::gone, {});
    }
  }
  (void)world_.disk.remove(home_.file("disown"));
  world_.log.info("store_disowned", "shards={}", gone);
}

// --- what the host allows ---

env::Task<void> Lending::look_at_host() {
  const Time now = world_.clock.now();
  const client::HostRules& rules = config_.rules;
  if (!rules.on_battery && (!asked_power_ || now - *asked_power_ >= kPowerPeriod)) {
    asked_power_ = now;
    on_battery_ = co_await world_.workers.run([this] { return os::on_battery(sysfs_); });
  }
  if (!rules.on_metered && (!asked_metered_ || now - *asked_metered_ >= kMeteredPeriod)) {
    asked_metered_ = now;
    on_metered_ = co_await world_.workers.run([] { return os::on_metered().value_or(false); });
  }
  allowance_ = client::allowed_at(rules, week_time(world_.clock.wall_now()));
  std::string why;
  if (!rules.on_battery && on_battery_) why = "the machine runs on battery";
  if (!rules.on_metered && on_metered_) why = "the connection is metered";
  if (!allowance_.lend) why = "the schedule says so";
  if (why != resting_) {
    if (why.empty()) world_.log.info("lending_again");
    if (!why.empty()) world_.log.info("lending_rests", "why=\"{}\"", why);
  }
  resting_ = why;
  holder_.set_resting(!resting_.empty());
  peers_.pacing().set_rates(allowance_.up, allowance_.down);
}

void Lending::set_goals() {
  for (Lent& lent : lent_) {
    store::ShardStore* store = open_store(lent);
    if (store == nullptr) continue;
    const store::StoreFigures figures = store->figures();
    const bool leaves = lent.removing || config_.leaving;
    store->set_taking(!lent.away && !leaves && !config_.paused && resting_.empty() && lent.demand.take &&
                      figures.used <= figures.limit);
    std::optional<pool::DrainGoal> goal;
    if (leaves) {
      if (figures.shards > 0) goal = pool::DrainGoal{};
    } else if (figures.shards > 0) {
      uint64_t most = figures.limit;
      if (lent.demand.move > 0) most = std::min(most, figures.used - std::min(figures.used, lent.demand.move));
      // At least a byte: 0 would mean all of it, which is the same but for the progress.
      if (figures.used > most)
        goal = pool::DrainGoal{
            .used = std::max<uint64_t>(most, 1), .urgent = lent.demand.move > 0, .later = lent.shedding};
    }
    if (!resting_.empty() || lent.away) goal.reset();
    drain_.set_goal(lent.id, goal);
  }
}

// --- disks that fill ---

env::Task<void> Lending::watch_disks(Lending* self) {
  while (true) {
    const Duration next = co_await self->look_at_disks();
    co_await env::sleep_for(self->world_.clock, next);
  }
}

// The look and the figures are not of the same moment: both count.
void Lending::note_own(Look& look) const {
  const auto lent = std::ranges::find(lent_, look.id, &Lent::id);
  const store::ShardStore* store = lent != lent_.end() ? open_store(*lent) : nullptr;
  if (store == nullptr) return;
  const store::StoreFigures figures = store->figures();
  const uint64_t least = figures.used - std::min(figures.used, figures.going);
  const bool first = look.own.most == 0;
  look.own.least = first ? least : std::min(look.own.least, least);
  look.own.most = std::max(look.own.most, figures.used + figures.coming);
}

env::Task<Duration> Lending::look_at_disks() {
  std::vector<Look> looks;
  for (const Lent& lent : lent_) {
    if (!lent.id.is_zero() && !lent.away) looks.push_back({lent.id, lent.spec.path, {}, {}});
  }
  for (Look& look : looks) note_own(look);
  Duration next = store::kLookAtDisk;
  if (looks.empty()) co_return next;
  auto looked = co_await looks_.run([&]() -> Status {
    for (Look& look : looks) {
      // Of the mount point of a disk that is not there nothing is to be learned.
      auto there = world_.disk.exists(look.path + "/cairn-store");
      auto space = world_.disk.space(look.path);
      if (there && *there && space) look.space = *space;
    }
    return {};
  });
  (void)looked;  // of those that could not be looked at nothing is known
  for (Look& look : looks) note_own(look);
  const auto own = [&](uint64_t device) {
    store::Headroom::Own sum;
    for (const Look& look : looks) {
      if (look.space.device != device) continue;
      sum.least += look.own.least;
      sum.most += look.own.most;
    }
    return sum;
  };
  for (const Look& look : looks) {
    Lent* lent = find(look.id);
    store::ShardStore* store = lent != nullptr ? open_store(*lent) : nullptr;
    if (store == nullptr || look.space.total == 0) continue;
    const uint64_t keep = std::max(lent->spec.keep_free, static_cast<uint64_t>(lent->spec.keep_free_share *
                                                                               static_cast<double>(look.space.total)));
    const auto before = lent->demand;
    lent->demand = lent->headroom.observe(look.space, own(look.space.device), keep, world_.clock.now());
    if (before.take != lent->demand.take || (before.move > 0) != (lent->demand.move > 0))
      world_.log.info("host_disk", "path={} full={:.1f}% take={} move={}", look.path, lent->demand.full_percent,
                      lent->demand.take, lent->demand.move);
    // Stores on one disk share what it asks for.
    const auto sharing =
        std::ranges::count_if(looks, [&](const Look& other) { return other.space.device == look.space.device; });
    for (uint64_t* bytes : {&lent->demand.move, &lent->demand.drop})
      *bytes = (*bytes + static_cast<uint64_t>(sharing) - 1) / static_cast<uint64_t>(sharing);
    if (store->figures().shards == 0) continue;  // there is nothing to give: no hurry
    next = std::min(next, lent->demand.look_again);
    if (lent->demand.drop > 0 && !lent->shedding && world_.clock.now() >= lent->shed_again) {
      lent->shedding = true;
      sheds_.spawn(shed_some(this, look.id));
    }
  }
  set_goals();
  co_return next;
}

env::Task<void> Lending::shed_some(Lending* self, StoreId id) {
  const Lent* asked = self->find(id);
  const uint64_t bytes = asked != nullptr ? asked->demand.drop : 0;
  const auto shed = co_await pool::shed(self->world_, self->peers_, self->holder_, &self->trash_, id, bytes);
  Lent* lent = self->find(id);
  if (lent == nullptr) co_return;
  lent->shedding = false;
  if (shed.shards == 0) {
    lent->shed_again = self->world_.clock.now() + kShedAgain;
    lent->shed_note = "what is left is needed by the pool and is moved away";
    co_return;
  }
  lent->shed_note = fmt::format("{} shards were dropped", shed.shards);
  self->world_.log.warning("host_disk_pressing", "path={} dropped={} bytes={} trash={}", lent->spec.path, shed.shards,
                           shed.bytes, shed.trash);
}

}  // namespace cairn::node
