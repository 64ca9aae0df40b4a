// What a host lends: the commands' side, which is the configuration.

#include "cairn/hosting.h"

#include <fmt/format.h>

#include "client/home.h"
#include "os/real_world.h"

namespace cairn {

namespace {

using client::Config;
using client::Home;

// The room that a store needs before anything of use fits.
constexpr uint64_t kLeastLimit = 16 * kMiB;

struct Desk {
  explicit Desk(const std::string& path) : home(real.world().disk, path) {}
  std::unique_ptr<Log> log = make_stderr_log(LogLevel::error);
  os::RealWorld real{os::RealWorldOptions{.log = *log, .workers = 1}};
  Home home;
};

Result<StoreSpec> find_store(const Config& config, const std::string& directory) {
  const auto found = std::ranges::find(config.stores, directory, &StoreSpec::path);
  if (found != config.stores.end()) return *found;
  std::string lent;
  for (const StoreSpec& store : config.stores) lent += (lent.empty() ? "" : ", ") + store.path;
  return fail(Code::not_found, lent.empty() ? "nothing is lent here" : "this directory is not lent; lent are: " + lent);
}

}  // namespace

Status change_store(const std::string& path, const std::string& directory, const StoreChange& change) {
  Desk desk(path);
  CAIRN_TRY(desk.home.check());
  if (change.limit && *change.limit < kLeastLimit)
    return fail(
        Code::bad_input,
        fmt::format("a limit of {} is too small: lend at least {}, or take the store back with `cairn store rm`",
                    format_size(*change.limit), format_size(kLeastLimit)));
  if (change.keep_free && !(change.keep_free->share >= 0 && change.keep_free->share < 1))
    return fail(Code::bad_input, "what stays free is a size or a share below 100 %");
  return desk.home.change_config([&](const std::string& text, const Config& config) -> Result<std::string> {
    auto store = find_store(config, directory);
    if (!store) return fail(store.error());
    if (change.limit) store->limit = *change.limit;
    if (change.keep_free) {
      store->keep_free = change.keep_free->bytes;
      store->keep_free_share = change.keep_free->share;
    }
    return client::with_changed_store(text, *store, config.is_removing(directory));
  });
}

Status remove_store(const std::string& path, const std::string& directory, Removal removal) {
  Desk desk(path);
  CAIRN_TRY(desk.home.check());
  env::Disk& disk = desk.real.world().disk;
  return desk.home.change_config([&](const std::string& text, const Config& config) -> Result<std::string> {
    auto store = find_store(config, directory);
    if (!store) return fail(store.error());
    if (removal == Removal::drain) return client::with_changed_store(text, *store, true);
    if (removal == Removal::cancel) {
      if (!config.is_removing(directory)) return fail(Code::conflict, "nobody takes this store back");
      return client::with_changed_store(text, *store, false);
    }
    auto there = disk.exists(directory + "/cairn-store");
    if (there && *there)
      return fail(Code::conflict, "this store is there: without --lost what it holds is moved elsewhere first");
    // What it held is no longer claimed; the daemon does that behind, however long it takes to start.
    CAIRN_TRY(env::write_file(disk, desk.home.file("disown"), {}));
    (void)disk.remove(desk.home.store_mark(directory));
    return client::without_store(text, directory);
  });
}

Status set_paused(const std::string& path, bool paused) {
  Desk desk(path);
  CAIRN_TRY(desk.home.check());
  return desk.home.change_config([&](const std::string& text, const Config&) -> Result<std::string> {
    return client::with_flag(text, "paused", paused);
  });
}

Status set_leaving(const std::string& path, bool leaving) {
  Desk desk(path);
  CAIRN_TRY(desk.home.check());
  return desk.home.change_config([&](const std::string& text, const Config& config) -> Result<std::string> {
    if (config.left) return fail(Code::conflict, "this node has left the pool; to come back, join with another --home");
    if (!leaving && !config.leaving) return fail(Code::conflict, "this node is not leaving");
    return client::with_flag(text, "leaving", leaving);
  });
}

}  // namespace cairn
