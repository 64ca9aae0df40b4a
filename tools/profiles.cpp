#include "tools/profiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <toml.hpp>

namespace cairn::tools {

namespace {

Result<std::string> text_of(const toml::value& value) {
  if (value.is_string()) return value.as_string().str;
  if (value.is_boolean()) return std::string(value.as_boolean() ? "true" : "false");
  if (value.is_integer()) return std::to_string(value.as_integer());
  return fail(Code::bad_input, "a text, a number, true or false, or a list of these");
}

Result<std::vector<std::string>> texts_of(const toml::value& value) {
  std::vector<std::string> texts;
  if (!value.is_array()) {
    auto text = text_of(value);
    if (!text) return fail(text.error());
    return std::vector{std::move(*text)};
  }
  for (const toml::value& one : value.as_array()) {
    auto text = text_of(one);
    if (!text) return fail(text.error());
    texts.push_back(std::move(*text));
  }
  return texts;
}

Result<Profile> profile_of(const std::string& name, const toml::value& table) {
  Profile profile{.name = name, .options = {}, .max_age = {}, .keep = {}};
  if (!table.is_table()) return fail(Code::bad_input, "'" + name + "' is no table: profiles begin with [NAME]");
  for (const auto& [key, value] : table.as_table()) {
    const std::string where = "[" + name + "] " + key;
    if (key == "forget") {
      if (!value.is_table()) return fail(Code::bad_input, where + " is no table");
      for (const auto& [keep, count] : value.as_table()) {
        auto texts = texts_of(count);
        if (!texts) return fail(texts.error(), where);
        for (std::string& text : *texts) profile.keep.emplace_back(keep, std::move(text));
      }
      continue;
    }
    auto texts = texts_of(value);
    if (!texts) return fail(texts.error(), where);
    if (key == "max-age") {
      auto age = texts->size() == 1 ? parse_duration(texts->front()) : fail(Code::bad_input);
      if (!age) return fail(Code::bad_input, where + " takes a time such as 26h");
      profile.max_age = *age;
    } else {
      profile.options.emplace(key, std::move(*texts));
    }
  }
  return profile;
}

}  // namespace

const std::string& Profile::set() const {
  const auto given = options.find("set");
  return given != options.end() && !given->second.empty() ? given->second.front() : name;
}

Result<std::vector<Profile>> read_profiles(const std::string& home) {
  const std::string path = home + "/profiles.toml";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::vector<Profile>();
  std::vector<Profile> profiles;
  try {
    const toml::value root = toml::parse(path);
    for (const auto& [name, table] : root.as_table()) {
      auto profile = profile_of(name, table);
      if (!profile) return fail(std::move(profile.error()), path);
      profiles.push_back(std::move(*profile));
    }
  } catch (const std::exception& e) {  // of the library
    return fail(Code::bad_input, path + ": " + e.what());
  }
  std::ranges::sort(profiles, {}, &Profile::name);
  return profiles;
}

Result<Profile> read_profile(const std::string& home, const std::string& name) {
  auto profiles = read_profiles(home);
  if (!profiles) return fail(profiles.error());
  const auto found = std::ranges::find(*profiles, name, &Profile::name);
  if (found == profiles->end())
    return fail(Code::not_found,
                fmt::format("no profile '{}' in {}/profiles.toml: write one, see `cairn backup --help`", name, home));
  return std::move(*found);
}

Status apply_profile(const Profile& profile, CLI::App& app) {
  for (const auto& [key, values] : profile.options) {
    CLI::Option* option = app.get_option_no_throw(key == "paths" ? key : "--" + key);
    const bool of_the_run = key == "profile" || key == "status" || key == "help";
    if (option == nullptr || of_the_run)
      return fail(Code::bad_input,
                  fmt::format("profile '{}': there is no option '{}', see `cairn backup --help`", profile.name, key));
    if (option->count() > 0 && option->get_items_expected_max() <= 1 && option->get_expected_max() <= 1) continue;
    try {
      for (const std::string& value : values) option->add_result(value);
      if (!values.empty()) option->run_callback();
    } catch (const CLI::Error& e) {
      return fail(Code::bad_input, fmt::format("profile '{}': {}", profile.name, e.what()));
    }
  }
  CLI::Option* set = app.get_option("--set");
  if (set->count() == 0) {
    set->add_result(profile.set());
    set->run_callback();
  }
  return {};
}

}  // namespace cairn::tools
