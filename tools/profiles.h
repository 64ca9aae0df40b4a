#pragma once
// Profiles: options of `cairn backup` under a name, in HOME/profiles.toml.
//
//   [home]
//   paths = ["/home/u"]              # what is backed up
//   exclude = ["*.o", "/home/u/tmp"] # any long option of `cairn backup`, as a text, a number, true, or a list
//   one-file-system = true
//   max-age = "26h"                  # `cairn backup --status` calls the set stale when its last snapshot is older
//   [home.forget]                    # after each backup, of its host and paths: the keep options of `cairn forget`
//   keep-daily = 7
//
// What the command line says wins; lists add up. The backup set is called as the profile, unless `set` says otherwise.

#include <map>
#include <optional>

#include "tools/command.h"

namespace cairn::tools {

struct Profile {
  std::string name;
  std::map<std::string, std::vector<std::string>> options;  // by long name; "paths" are the words
  std::optional<Duration> max_age;
  std::vector<std::pair<std::string, std::string>> keep;  // as ForgetOptions::keep

  const std::string& set() const;
};

// In the order of their names; none when there is no such file. Code::bad_input names what is wrong.
Result<std::vector<Profile>> read_profiles(const std::string& home);
Result<Profile> read_profile(const std::string& home, const std::string& name);  // Code::not_found
// Gives the options of `app`, which has been parsed, what the profile says and the command line does not.
Status apply_profile(const Profile& profile, CLI::App& app);

}  // namespace cairn::tools
