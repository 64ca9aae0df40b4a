#include "client/config.h"

#include <fmt/format.h>

#include <sstream>
#include <toml.hpp>

namespace cairn::client {

namespace {

// A TOML basic string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string keep_text(const StoreSpec& store) {
  return store.keep_free > 0 ? fmt::format("{}", store.keep_free) : fmt::format("{}%", store.keep_free_share * 100);
}

std::string store_text(const StoreSpec& store) {
  return fmt::format("\n[[store]]\npath = {}\nlimit = \"{}\"\nkeep_free = \"{}\"\n", quoted(store.path), store.limit,
                     keep_text(store));
}

// Like find_or, which takes a value of another type for one that is not there.
bool read_flag(const toml::value& table, const std::string& key, bool otherwise) {
  return table.contains(key) ? toml::find<bool>(table, key) : otherwise;
}

Result<StoreSpec> read_store(const toml::value& table) {
  StoreSpec store;
  store.path = toml::find<std::string>(table, "path");
  auto limit = parse_size(toml::find<std::string>(table, "limit"));
  if (!limit) return fail(limit.error(), "limit of store " + store.path);
  store.limit = *limit;
  const auto keep = toml::find_or<std::string>(table, "keep_free", "10%");
  if (keep.ends_with('%')) {
    char* end = nullptr;
    store.keep_free_share = std::strtod(keep.c_str(), &end) / 100;
    if (end != keep.c_str() + keep.size() - 1 || !(store.keep_free_share >= 0 && store.keep_free_share < 1))
      return fail(Code::bad_input,
                  fmt::format("keep_free of store {} is a size or a share below 100 %, not '{}'", store.path, keep));
  } else {
    auto bytes = parse_size(keep);
    if (!bytes) return fail(bytes.error(), "keep_free of store " + store.path);
    store.keep_free = *bytes;
    store.keep_free_share = 0;
  }
  return store;
}

// A key that nobody reads is a mistake that would go unnoticed.
Status only_keys(const toml::value& table, const std::string& name, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : table.as_table()) {
    if (std::ranges::find(known, key) == known.end())
      return fail(Code::bad_input, fmt::format("{}: there is no '{}'", name, key));
  }
  return {};
}

Result<Rate> read_rate(const toml::value& table, const std::string& key) {
  auto rate = parse_rate(toml::find<std::string>(table, key));
  if (!rate) return fail(rate.error(), key);
  return rate;
}

Result<ScheduleEntry> read_entry(const toml::value& table) {
  ScheduleEntry entry;
  CAIRN_TRY(only_keys(table, "[[schedule]]", {"days", "hours", "up", "down", "lend"}));
  if (table.contains("days")) {
    auto days = parse_days(toml::find<std::string>(table, "days"));
    if (!days) return fail(days.error());
    entry.days = *days;
  }
  if (table.contains("hours")) {
    auto hours = parse_hours(toml::find<std::string>(table, "hours"));
    if (!hours) return fail(hours.error());
    std::tie(entry.from, entry.to) = *hours;
  }
  for (const auto& [key, rate] : {std::pair("up", &entry.up), std::pair("down", &entry.down)}) {
    if (!table.contains(key)) continue;
    auto read = read_rate(table, key);
    if (!read) return fail(read.error(), "[[schedule]]");
    *rate = *read;
  }
  if (table.contains("lend")) entry.lend = toml::find<bool>(table, "lend");
  return entry;
}

Result<HostRules> read_rules(const toml::value& root) {
  HostRules rules;
  if (root.contains("limits")) {
    const toml::value& table = toml::find(root, "limits");
    CAIRN_TRY(only_keys(table, "[limits]", {"up", "down", "on_battery", "on_metered", "priority"}));
    for (const auto& [key, rate] : {std::pair("up", &rules.up), std::pair("down", &rules.down)}) {
      if (!table.contains(key)) continue;
      auto read = read_rate(table, key);
      if (!read) return fail(read.error(), "[limits]");
      *rate = *read;
    }
    rules.on_battery = read_flag(table, "on_battery", true);
    rules.on_metered = read_flag(table, "on_metered", true);
    if (table.contains("priority")) {
      const auto priority = toml::find<std::string>(table, "priority");
      if (priority != "low" && priority != "normal")
        return fail(Code::bad_input, "[limits] priority is \"low\" or \"normal\", not \"" + priority + "\"");
      rules.low_priority = priority == "low";
    }
  }
  if (root.contains("schedule")) {
    for (const toml::value& table : toml::find(root, "schedule").as_array()) {
      auto entry = read_entry(table);
      if (!entry) return fail(entry.error());
      rules.schedule.push_back(*entry);
    }
  }
  return rules;
}

Result<Healing> read_healing(const toml::value& root) {
  Healing healing;
  if (!root.contains("healing")) return healing;
  const toml::value& table = toml::find(root, "healing");
  CAIRN_TRY(only_keys(table, "[healing]", {"rate", "scrub_rate", "time_scale"}));
  for (const auto& [key, rate] : {std::pair("rate", &healing.rate), std::pair("scrub_rate", &healing.scrub_rate)}) {
    if (!table.contains(key)) continue;
    auto read = parse_size(toml::find<std::string>(table, key));
    if (!read || *read == 0) return fail(Code::bad_input, fmt::format("[healing] {}: bytes a second", key));
    *rate = *read;
  }
  healing.time_scale = toml::find_or<double>(table, "time_scale", 1.0);
  if (!(healing.time_scale > 0 && healing.time_scale <= 1))
    return fail(Code::bad_input, "[healing] time_scale is above 0 and at most 1");
  return healing;
}

// A file as lines, and where its tables stand in it.
struct Lines {
  std::vector<std::string> lines;

  explicit Lines(const std::string& text) {
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
  }
  std::string text() const {
    std::string all;
    for (const std::string& line : lines) all += line + "\n";
    return all;
  }
  static std::string_view trimmed(const std::string& line) {
    const size_t start = line.find_first_not_of(" \t");
    return start == std::string::npos ? std::string_view() : std::string_view(line).substr(start);
  }
  // The first line from `at` on that begins a table, or the end.
  size_t next_table(size_t at) const {
    while (at < lines.size() && !trimmed(lines[at]).starts_with('[')) ++at;
    return at;
  }
  // The lines of the number-th [[store]]: first, and one past the last that is not empty.
  std::optional<std::pair<size_t, size_t>> store(size_t number) const {
    for (size_t at = next_table(0); at < lines.size(); at = next_table(at + 1)) {
      if (!trimmed(lines[at]).starts_with("[[store]]") || number-- > 0) continue;
      size_t end = next_table(at + 1);
      // Comments right above the next table are that one's.
      if (end < lines.size()) {
        while (end > at + 1 && (trimmed(lines[end - 1]).empty() || trimmed(lines[end - 1]).starts_with('#'))) --end;
      }
      while (end > at + 1 && trimmed(lines[end - 1]).empty()) --end;
      return std::pair(at, end);
    }
    return std::nullopt;
  }
  static bool sets(const std::string& line, std::string_view key) {
    std::string_view text = trimmed(line);
    if (!text.starts_with(key)) return false;
    text.remove_prefix(key.size());
    while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
    return text.starts_with('=');
  }
  // Within these lines; nothing: the key goes.
  void set(size_t first, size_t& end, std::string_view key, const std::optional<std::string>& value) {
    for (size_t at = first; at < end; ++at) {
      if (!sets(lines[at], key)) continue;
      if (value) {
        lines[at] = fmt::format("{} = {}", key, *value);
      } else {
        lines.erase(lines.begin() + static_cast<ptrdiff_t>(at));
        --end;
      }
      return;
    }
    if (!value) return;
    lines.insert(lines.begin() + static_cast<ptrdiff_t>(end), fmt::format("{} = {}", key, *value));
    ++end;
  }
};

// What was edited must mean what was meant: a file may be written in ways that lines do not show.
Result<std::string> checked(const std::string& text, const Config& wanted) {
  auto config = parse_config(text, "config.toml");
  const auto same = [](const StoreSpec& a, const StoreSpec& b) {
    return a.path == b.path && a.limit == b.limit && a.keep_free == b.keep_free &&
           std::abs(a.keep_free_share - b.keep_free_share) < 1e-9;
  };
  if (!config || !std::ranges::equal(config->stores, wanted.stores, same) || config->removing != wanted.removing ||
      config->rules != wanted.rules)
    return fail(Code::bad_input, "config.toml is written in a way that only a person should edit: change it by hand");
  return text;
}

}  // namespace

Result<Config> parse_config(const std::string& text, const std::string& file_name) {
  try {  // toml11 speaks in exceptions
    std::istringstream stream(text);
    const toml::value root = toml::parse(stream, file_name);
    Config config;
    config.node_name = toml::find_or<std::string>(root, "name", "");
    config.domain = toml::find_or<std::string>(root, "domain", "");
    auto trash = parse_duration(toml::find_or<std::string>(root, "trash", "72h"));
    if (!trash) return fail(trash.error(), file_name + ": trash");
    config.trash = *trash;
    const auto prune_every = toml::find_or<std::string>(root, "prune_every", "7d");
    config.prune_every.reset();
    if (prune_every != "none") {
      auto every = parse_duration(prune_every);
      if (!every) return fail(every.error(), file_name + ": prune_every");
      config.prune_every = *every;
    }
    auto listen =
        env::Address::parse(toml::find_or<std::string>(root, "listen", fmt::format("0.0.0.0:{}", kDefaultPort)));
    if (!listen) return fail(listen.error(), file_name);
    config.listen = *listen;
    for (const auto& entry : toml::find_or<std::vector<std::string>>(root, "addresses", {})) {
      auto address = env::Address::parse(entry);
      if (!address) return fail(address.error(), file_name);
      config.addresses.push_back(*address);
    }
    if (root.contains("store")) {
      for (const auto& table : toml::find(root, "store").as_array()) {
        auto store = read_store(table);
        if (!store) return fail(store.error(), file_name);
        if (read_flag(table, "removing", false)) config.removing.push_back(store->path);
        config.stores.push_back(std::move(*store));
      }
    }
    config.paused = read_flag(root, "paused", false);
    config.leaving = read_flag(root, "leaving", false);
    config.left = read_flag(root, "left", false);
    auto rules = read_rules(root);
    if (!rules) return fail(rules.error(), file_name);
    config.rules = std::move(*rules);
    auto healing = read_healing(root);
    if (!healing) return fail(healing.error(), file_name);
    config.healing = *healing;
    return config;
  } catch (const std::exception& e) {
    std::string what = e.what();
    std::ranges::replace(what, '\n', ' ');
    return fail(Code::bad_input, fmt::format("{} cannot be understood: {}", file_name, what));
  }
}

std::string format_config(const Config& config) {
  std::string text =
      "# Cairn: this device in its pool. The daemon reads this file when it starts and when it is told to.\n";
  text += fmt::format("name = {}\nlisten = {}\n", quoted(config.node_name), quoted(config.listen.text()));
  if (!config.domain.empty()) text += fmt::format("domain = {}\n", quoted(config.domain));
  if (!config.addresses.empty()) {
    text += "addresses = [";
    for (const auto& address : config.addresses) text += quoted(address.text()) + ", ";
    text += "]\n";
  }
  for (const auto& store : config.stores) text += store_text(store);
  return text;
}

std::string with_listen(const std::string& text, const env::Address& listen) {
  const std::string line = fmt::format("listen = {}", quoted(listen.text()));
  std::istringstream lines(text);
  std::string out, current;
  bool replaced = false, in_table = false;
  while (std::getline(lines, current)) {
    const size_t start = current.find_first_not_of(" \t");
    const std::string_view trimmed =
        start == std::string::npos ? std::string_view() : std::string_view(current).substr(start);
    in_table = in_table || trimmed.starts_with('[');
    if (!replaced && !in_table && trimmed.starts_with("listen")) {
      current = line;
      replaced = true;
    }
    out += current + "\n";
  }
  return replaced ? out : line + "\n" + out;
}

std::string with_store(const std::string& text, const StoreSpec& store) {
  return text + (text.ends_with('\n') || text.empty() ? "" : "\n") + store_text(store);
}

std::string with_flag(const std::string& text, const std::string& key, bool set) {
  Lines file(text);
  size_t end = file.next_table(0);
  // In front of the empty lines and comments that belong to the first table.
  while (end > 0 && end < file.lines.size() && Lines::trimmed(file.lines[end - 1]).empty()) --end;
  file.set(0, end, key, set ? std::optional<std::string>("true") : std::nullopt);
  return file.text();
}

Result<std::string> with_changed_store(const std::string& text, const StoreSpec& store, bool removing) {
  auto config = parse_config(text, "config.toml");
  if (!config) return fail(config.error());
  const auto found = std::ranges::find(config->stores, store.path, &StoreSpec::path);
  if (found == config->stores.end()) return fail(Code::not_found, "no such store");
  Lines file(text);
  auto place = file.store(static_cast<size_t>(found - config->stores.begin()));
  if (!place) return checked({}, *config);
  const size_t first = place->first + 1;
  if (found->limit != store.limit) file.set(first, place->second, "limit", quoted(fmt::format("{}", store.limit)));
  if (found->keep_free != store.keep_free || found->keep_free_share != store.keep_free_share)
    file.set(first, place->second, "keep_free", quoted(keep_text(store)));
  file.set(first, place->second, "removing", removing ? std::optional<std::string>("true") : std::nullopt);
  *found = store;
  const Config before = *config;
  config->removing.clear();  // in the order of the stores, as they are read
  for (const StoreSpec& one : config->stores) {
    if (one.path == store.path ? removing : before.is_removing(one.path)) config->removing.push_back(one.path);
  }
  return checked(file.text(), *config);
}

Result<std::string> without_store(const std::string& text, const std::string& path) {
  auto config = parse_config(text, "config.toml");
  if (!config) return fail(config.error());
  const auto found = std::ranges::find(config->stores, path, &StoreSpec::path);
  if (found == config->stores.end()) return fail(Code::not_found, "no such store");
  Lines file(text);
  const auto place = file.store(static_cast<size_t>(found - config->stores.begin()));
  if (!place) return checked({}, *config);
  file.lines.erase(file.lines.begin() + static_cast<ptrdiff_t>(place->first),
                   file.lines.begin() + static_cast<ptrdiff_t>(place->second));
  config->stores.erase(found);
  std::erase(config->removing, path);
  return checked(file.text(), *config);
}

}  // namespace cairn::client
