// Manual pages and completions of shells, made from the table of commands as CLI11 has it.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cairn/home.h"
#include "tools/command.h"

namespace cairn::tools {

namespace {

// One command of the table, with all words: "store add".
struct Entry {
  std::string words;
  const CLI::App* app;
};

std::vector<Entry> entries_of(const CLI::App& root, const std::string& before = "") {
  std::vector<Entry> all;
  for (const CLI::App* app : root.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string words = before.empty() ? app->get_name() : before + " " + app->get_name();
    auto below = entries_of(*app, words);
    if (below.empty()) {
      all.push_back({words, app});
    } else {
      all.insert(all.end(), below.begin(), below.end());
    }
  }
  return all;
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  std::vector<const CLI::Option*> options = app.get_options([](const CLI::Option* o) { return o->nonpositional(); });
  return options;
}
std::vector<const CLI::Option*> positionals_of(const CLI::App& app) {
  return app.get_options([](const CLI::Option* o) { return o->get_positional(); });
}
bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}
// "--exclude", "-e": as they are typed, long ones first.
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  return names;
}

// --- manual pages ---

// Text as roff wants it: no line that begins with a request, hyphens that can be copied.
std::string roff(const std::string& text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_begins = c == '\n';
  }
  return out;
}

std::string page_name(const std::string& words) {
  std::string name = words.empty() ? "cairn" : "cairn-" + words;
  std::ranges::replace(name, ' ', '-');
  return name;
}

std::string header(const std::string& words, const std::string& summary) {
  std::string title = page_name(words);
  std::ranges::transform(title, title.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return fmt::format(".TH {} 1 \"\" \"cairn {}\" \"Cairn\"\n.SH NAME\n{} \\- {}\n", roff(title), kVersion,
                     roff(page_name(words)), roff(summary));
}

constexpr std::pair<int, const char*> kExitCodes[] = {
    {kDone, "done, all of it"},
    {kFailed, "failed"},
    {kUsage, "usage"},
    {kPartly, "partly done: what could not be read or restored is named; a backup set is stale"},
    {kNotFound, "no such pool, volume, snapshot or path"},
    {kWrongPhrase, "wrong phrase or passphrase"},
    {kTooFewPeers, "too few peers reachable"},
    {kNoSpace, "quota or space exhausted"},
    {kDamaged, "damage found that could not be repaired"},
    {kBelowGoal, "saved, but below the redundancy goal"},
    {kInterrupted, "interrupted; nothing half-written is visible"},
};
std::string exit_codes() {
  std::string text = ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] : kExitCodes) text += fmt::format(".TP\n{}\n{}\n", code, roff(meaning));
  return text;
}

// CLI11 puts the name of a check behind that of the type.
std::string type_of(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  return name.starts_with("TEXT:") ? name.substr(5) : name;
}

std::string page_of(const Entry& entry) {
  const CLI::App& app = *entry.app;
  std::string page = header(entry.words, app.get_description());
  page += fmt::format(".SH SYNOPSIS\n.B cairn {}\n[\\fIoptions\\fR]", roff(entry.words));
  for (const CLI::Option* word : positionals_of(app)) {
    const std::string name = roff(word->get_name(true));
    const bool many = word->get_items_expected_max() > 1;
    page += word->get_required() ? fmt::format(" \\fI{}\\fR{}", name, many ? "..." : "")
                                 : fmt::format(" [\\fI{}\\fR{}]", name, many ? "..." : "");
  }
  page += "\n.SH OPTIONS\n";
  for (const CLI::Option* word : positionals_of(app)) {
    if (word->get_description().empty()) continue;
    page += fmt::format(".TP\n\\fI{}\\fR\n{}\n", roff(word->get_name(true)), roff(word->get_description()));
  }
  for (const CLI::Option* option : options_of(app)) {
    std::string names;
    for (const std::string& name : names_of(*option))
      names += (names.empty() ? "" : ", ") + ("\\fB" + roff(name) + "\\fR");
    if (takes_value(*option)) names += " \\fI" + roff(type_of(*option)) + "\\fR";
    std::string text = option->get_description();
    if (!option->get_default_str().empty()) text += " (default: " + option->get_default_str() + ")";
    page += fmt::format(".TP\n{}\n{}\n", names, roff(text));
  }
  if (!app.get_footer().empty()) {
    const std::string& footer = app.get_footer();  // "Example:\n..."
    page += ".SH EXAMPLE\n.nf\n" + roff(footer.substr(footer.find('\n') + 1)) + "\n.fi\n";
  }
  page += exit_codes();
  page += ".SH SEE ALSO\n.BR cairn (1)\n";
  return page;
}

std::string front_page(const CLI::App& root, const std::vector<Entry>& entries) {
  std::string page = header("", "pool the idle disk space of machines: encrypted, erasure-coded, spread over peers");
  page += ".SH SYNOPSIS\n.B cairn\n\\fIcommand\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n" +
          roff(root.get_description()) + "\n.SH COMMANDS\n";
  for (const Entry& entry : entries)
    page += fmt::format(".TP\n.BR {} (1)\n{}\n", roff(page_name(entry.words)), roff(entry.app->get_description()));
  page +=
      ".SH ENVIRONMENT\n.TP\n.B CAIRN_HOME\nthe home directory, when \\-\\-home does not name it\n.TP\n.B NO_COLOR\n"
      "no colours\n";
  return page + exit_codes();
}

// --- completions ---

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}
// For the inside of single quotes of a shell.
std::string in_quotes(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out;
}
std::vector<std::string> all_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options_of(app)) {
    for (std::string& name : names_of(*option)) names.push_back(std::move(name));
  }
  return names;
}
std::vector<std::string> first_words(const std::vector<Entry>& entries) {
  std::vector<std::string> words;
  for (const Entry& entry : entries) {
    std::string word = entry.words.substr(0, entry.words.find(' '));
    if (std::ranges::find(words, word) == words.end()) words.push_back(std::move(word));
  }
  return words;
}
// Of a group ("store"), the words that may follow; empty: it is a command itself.
std::vector<std::string> second_words(const std::vector<Entry>& entries, const std::string& group) {
  std::vector<std::string> words;
  for (const Entry& entry : entries) {
    if (entry.words.starts_with(group + " ")) words.push_back(entry.words.substr(group.size() + 1));
  }
  return words;
}

// Fits "COMMAND SECOND" in a `case` of a shell, where only groups have a second word that is known.
std::string case_of(const Entry& entry) {
  return entry.words.contains(' ') ? "'" + entry.words + "'" : "'" + entry.words + " '*";
}

std::string bash_completion(const std::vector<Entry>& entries) {
  std::string text = R"(# bash completion of cairn; made by `cairn generate`
_cairn() {
  local current=${COMP_WORDS[COMP_CWORD]} words=() word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    [[ $word == -* ]] || words+=("$word")
  done
  COMPREPLY=()
  local options='' following=''
)";
  text += "  case ${words[0]} in\n    '') following='" + joined(first_words(entries), " ") +
          "' options='--help --version' ;;\n";
  for (const std::string& word : first_words(entries)) {
    const auto second = second_words(entries, word);
    if (second.empty()) continue;
    text += fmt::format("    {}) [[ -z ${{words[1]}} ]] && following='{}' ;;\n", word, joined(second, " "));
  }
  text += "  esac\n  case \"${words[0]} ${words[1]}\" in\n";
  for (const Entry& entry : entries) {
    text += fmt::format("    {}) options='{}' ;;\n", case_of(entry), joined(all_names(*entry.app), " "));
  }
  text += R"(  esac
  if [[ -n $following && $current != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$following" -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  fi
}
complete -o default -F _cairn cairn
)";
  return text;
}

std::string zsh_completion(const std::vector<Entry>& entries) {
  const auto escaped = [](std::string text) {
    std::string out;
    for (const char c : in_quotes(text)) {
      if (c == '[' || c == ']' || c == ':') out += '\\';
      out += c;
    }
    return out;
  };
  std::string text =
      "#compdef cairn\n# made by `cairn generate`\n_cairn() {\n  local -a commands\n  local command=${words[2]} "
      "second=${words[3]}\n"
      "  if (( CURRENT == 2 )); then\n    commands=(\n";
  for (const std::string& word : first_words(entries)) {
    const auto entry = std::ranges::find(entries, word, &Entry::words);
    text += fmt::format("      '{}:{}'\n", word,
                        entry == entries.end() ? "commands on " + word + "s" : escaped(entry->app->get_description()));
  }
  text += "    )\n    _describe command commands\n    return\n  fi\n  case $command in\n";
  for (const std::string& word : first_words(entries)) {
    const auto second = second_words(entries, word);
    if (second.empty()) continue;
    text += fmt::format("    {}) if (( CURRENT == 3 )); then compadd {}; return; fi ;;\n", word, joined(second, " "));
  }
  text += "  esac\n  case \"$command $second\" in\n";
  for (const Entry& entry : entries) {
    text += fmt::format("    {}) _arguments -s \\\n", case_of(entry));
    for (const CLI::Option* option : options_of(*entry.app)) {
      for (const std::string& name : names_of(*option)) {
        text += fmt::format("      '*{}[{}]{}' \\\n", name, escaped(option->get_description()),
                            takes_value(*option) ? ":" + escaped(type_of(*option)) + ":_files" : "");
      }
    }
    text += "      '*:file:_files' ;;\n";
  }
  return text + "  esac\n}\n_cairn \"$@\"\n";
}

std::string fish_completion(const std::vector<Entry>& entries) {
  std::string text = "# fish completion of cairn; made by `cairn generate`\n";
  for (const std::string& word : first_words(entries)) {
    const auto entry = std::ranges::find(entries, word, &Entry::words);
    text +=
        fmt::format("complete -c cairn -n __fish_use_subcommand -f -a {} -d '{}'\n", word,
                    entry == entries.end() ? "commands on " + word + "s" : in_quotes(entry->app->get_description()));
    for (const std::string& second : second_words(entries, word))
      text += fmt::format("complete -c cairn -n '__fish_seen_subcommand_from {}' -f -a {}\n", word, second);
  }
  for (const Entry& entry : entries) {
    const size_t space = entry.words.find(' ');
    std::string when = "__fish_seen_subcommand_from " + entry.words.substr(0, space);
    if (space != std::string::npos) when += "; and __fish_seen_subcommand_from " + entry.words.substr(space + 1);
    for (const CLI::Option* option : options_of(*entry.app)) {
      text += fmt::format("complete -c cairn -n '{}'", when);
      for (const std::string& name : option->get_lnames()) text += " -l " + name;
      for (const std::string& name : option->get_snames()) text += " -s " + name;
      text += fmt::format(" -d '{}'{}\n", in_quotes(option->get_description()), takes_value(*option) ? " -r" : "");
    }
  }
  return text;
}

Status write_text(const std::string& path, const std::string& text) {
  if (path == "-") {
    emit_text("{}", text);
    return {};
  }
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  return file ? Status{} : fail(Code::io, "'" + path + "': " + std::strerror(errno));
}

Status write_pages(const std::string& directory, const CLI::App& root, const std::vector<Entry>& entries) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return fail(Code::io, "'" + directory + "': " + error.message());
  CAIRN_TRY(write_text(directory + "/cairn.1", front_page(root, entries)));
  for (const Entry& entry : entries)
    CAIRN_TRY(write_text(directory + "/" + page_name(entry.words) + ".1", page_of(entry)));
  return {};
}

}  // namespace

std::vector<Command> generate_commands() {
  return {{"generate", "write manual pages and completions for shells",
           "cairn generate --man /usr/local/share/man/man1\n"
           "  cairn generate --bash-completion /etc/bash_completion.d/cairn",
           [](CLI::App& app) {
             struct Flags {
               std::string man, bash, zsh, fish;
             };
             auto flags = std::make_shared<Flags>();
             app.add_option("--man", flags->man, "write a page for each command into this directory")->type_name("DIR");
             app.add_option("--bash-completion", flags->bash, "write it to this file (- prints it)")->type_name("FILE");
             app.add_option("--zsh-completion", flags->zsh, "the same for zsh")->type_name("FILE");
             app.add_option("--fish-completion", flags->fish, "the same for fish")->type_name("FILE");
             return [flags, root = app.get_parent()](Context& context) {
               const auto entries = entries_of(*root);
               if (flags->man.empty() && flags->bash.empty() && flags->zsh.empty() && flags->fish.empty())
                 return context.output.fail("",
                                            {Code::bad_input, "say what is to be written, for instance `--man DIR`"});
               Status done;
               if (!flags->man.empty()) done = write_pages(flags->man, *root, entries);
               if (done && !flags->bash.empty()) done = write_text(flags->bash, bash_completion(entries));
               if (done && !flags->zsh.empty()) done = write_text(flags->zsh, zsh_completion(entries));
               if (done && !flags->fish.empty()) done = write_text(flags->fish, fish_completion(entries));
               if (!done) return context.output.fail("", done.error());
               return static_cast<int>(kDone);
             };
           }}};
}

}  // namespace cairn::tools
