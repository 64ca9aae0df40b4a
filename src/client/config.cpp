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

std::string store_text(const StoreSpec& store) {
  const std::string keep =
      store.keep_free > 0 ? fmt::format("{}", store.keep_free) : fmt::format("{}%", store.keep_free_share * 100);
  return fmt::format("\n[[store]]\npath = {}\nlimit = \"{}\"\nkeep_free = \"{}\"\n", quoted(store.path), store.limit,
                     keep);
}

Result<StoreSpec> read_store(const toml::value& table) {
  StoreSpec store;
  store.path = toml::find<std::string>(table, "path");
  auto limit = parse_size(toml::find<std::string>(table, "limit"));
  if (!limit) return fail(limit.error(), "limit of store " + store.path);
  store.limit = *limit;
  const auto keep = toml::find_or<std::string>(table, "keep_free", "10%");
  if (keep.ends_with('%')) {
    store.keep_free_share = std::strtod(keep.c_str(), nullptr) / 100;
    if (store.keep_free_share < 0 || store.keep_free_share >= 1)
      return fail(Code::bad_input, "keep_free of store " + store.path);
  } else {
    auto bytes = parse_size(keep);
    if (!bytes) return fail(bytes.error(), "keep_free of store " + store.path);
    store.keep_free = *bytes;
    store.keep_free_share = 0;
  }
  return store;
}

}  // namespace

Result<Config> parse_config(const std::string& text, const std::string& file_name) {
  try {  // toml11 speaks in exceptions
    std::istringstream stream(text);
    const toml::value root = toml::parse(stream, file_name);
    Config config;
    config.node_name = toml::find_or<std::string>(root, "name", "");
    config.domain = toml::find_or<std::string>(root, "domain", "");
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
        config.stores.push_back(std::move(*store));
      }
    }
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

}  // namespace cairn::client
