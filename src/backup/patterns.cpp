#include "backup/patterns.h"

#include <algorithm>

namespace cairn::backup {

namespace {

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0 && path.substr(0, slash) != ".") parts.push_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return parts;
}

// ASCII only: names are bytes, and what a byte above 127 stands for is not known.
std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// A byte of a class, which may be escaped. Nothing at the pattern's end.
std::optional<unsigned char> take_byte(std::string_view& pattern) {
  if (pattern.empty() || pattern[0] == '-' || pattern[0] == ']') return std::nullopt;
  if (pattern[0] == '\\') pattern.remove_prefix(1);
  if (pattern.empty()) return std::nullopt;
  const auto byte = static_cast<unsigned char>(pattern[0]);
  pattern.remove_prefix(1);
  return byte;
}

// What stands in the class after '[', which is taken off with its ']'. Nothing when it does not end.
std::optional<bool> match_class(std::string_view& pattern, unsigned char byte) {
  bool negated = false, found = false, any = false;
  if (pattern.starts_with('^')) {
    negated = true;
    pattern.remove_prefix(1);
  }
  while (!any || !pattern.starts_with(']')) {
    const auto first = take_byte(pattern);
    if (!first) return std::nullopt;
    auto last = first;
    if (pattern.starts_with('-')) {
      pattern.remove_prefix(1);
      last = take_byte(pattern);
      if (!last) return std::nullopt;
    }
    found = found || (*first <= byte && byte <= *last);
    any = true;
  }
  pattern.remove_prefix(1);
  return found != negated;
}

// Whether the parts fit a run of names that begins at `name`; what is left of the names is below it, and with `whole`
// there is none. As in match_part() only the last '**' has to be tried with more names.
bool match_from(const std::vector<std::string>& parts, const std::vector<std::string_view>& names, size_t name,
                bool whole) {
  size_t part = 0;
  std::optional<std::pair<size_t, size_t>> open;  // the part behind the last '**', and the name that it was tried at
  for (;;) {
    if (part == parts.size()) {
      if (!whole || name == names.size()) return true;
    } else if (parts[part] == "**") {
      open = {++part, name};
      continue;
    } else if (name < names.size() && match_part(parts[part], names[name]).value_or(false)) {
      ++part;
      ++name;
      continue;
    }
    if (!open || open->second == names.size()) return false;
    name = ++open->second;
    part = open->first;
  }
}

// Whether the names could be the beginning of what fits.
bool may_begin(const std::vector<std::string>& parts, const std::vector<std::string_view>& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (i == parts.size()) return true;
    if (parts[i] == "**") return true;
    if (!match_part(parts[i], names[i]).value_or(false)) return false;
  }
  return true;
}

}  // namespace

std::optional<bool> match_part(std::string_view pattern, std::string_view name) {
  // The place of the last star, to which a failed match goes back: one such place is enough, because the star is the
  // only thing of open length.
  std::optional<std::pair<std::string_view, std::string_view>> star;
  for (;;) {
    bool fits = false;
    if (pattern.starts_with('*')) {
      while (pattern.starts_with('*')) pattern.remove_prefix(1);
      star = {pattern, name};
      continue;
    }
    if (pattern.empty()) {
      if (name.empty()) return true;
    } else if (!name.empty()) {
      const auto byte = static_cast<unsigned char>(name[0]);
      if (pattern[0] == '?') {
        pattern.remove_prefix(1);
        fits = true;
      } else if (pattern[0] == '[') {
        pattern.remove_prefix(1);
        const auto in_class = match_class(pattern, byte);
        if (!in_class) return std::nullopt;
        fits = *in_class;
      } else {
        if (pattern[0] == '\\') {
          pattern.remove_prefix(1);
          if (pattern.empty()) return std::nullopt;
        }
        fits = static_cast<unsigned char>(pattern[0]) == byte;
        pattern.remove_prefix(1);
      }
    }
    if (fits) {
      name.remove_prefix(1);
      continue;
    }
    if (!star || star->second.empty()) return false;
    star->second.remove_prefix(1);
    std::tie(pattern, name) = *star;
  }
}

namespace {

bool well_formed(std::string_view part) {
  while (!part.empty()) {
    const char c = part[0];
    part.remove_prefix(1);
    if (c == '\\') {
      if (part.empty()) return false;
      part.remove_prefix(1);
    } else if (c == '[' && !match_class(part, 'x')) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<Patterns> Patterns::parse(const std::vector<std::string>& patterns, bool ignore_case) {
  Patterns result;
  result.ignore_case_ = ignore_case;
  for (const std::string& given : patterns) {
    std::string_view text = given;
    Pattern pattern;
    if (text.starts_with('!')) {
      pattern.negated = true;
      text.remove_prefix(1);
    }
    pattern.anchored = text.starts_with('/');
    for (const std::string_view part : parts_of(text)) {
      if (!well_formed(part)) return fail(Code::bad_input, "'" + given + "' is not a pattern");
      pattern.parts.push_back(ignore_case ? lower(part) : std::string(part));
    }
    if (pattern.parts.empty() && !pattern.anchored) return fail(Code::bad_input, "an empty pattern");
    result.patterns_.push_back(std::move(pattern));
  }
  return result;
}

bool Patterns::match(std::string_view path) const {
  return look(path, false);
}

bool Patterns::match_whole(std::string_view path) const {
  return look(path, true);
}

bool Patterns::look(std::string_view path, bool whole) const {
  const std::string lowered = ignore_case_ ? lower(path) : std::string();
  const std::vector<std::string_view> names = parts_of(ignore_case_ ? std::string_view(lowered) : path);
  bool matched = false;
  for (const Pattern& pattern : patterns_) {
    if (matched != pattern.negated) continue;  // it could change nothing
    bool fits = match_from(pattern.parts, names, 0, whole);
    for (size_t from = 1; !fits && !pattern.anchored && from < names.size(); ++from)
      fits = match_from(pattern.parts, names, from, whole);
    if (fits) matched = !pattern.negated;
  }
  return matched;
}

bool Patterns::may_match_below(std::string_view path) const {
  const std::string lowered = ignore_case_ ? lower(path) : std::string();
  const std::vector<std::string_view> names = parts_of(ignore_case_ ? std::string_view(lowered) : path);
  return std::ranges::any_of(patterns_, [&](const Pattern& pattern) {
    return !pattern.negated && (!pattern.anchored || may_begin(pattern.parts, names));
  });
}

std::vector<std::string> parse_pattern_file(std::string_view text,
                                            const std::function<std::string(const std::string&)>& variable) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  const auto is_name = [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
  };
  std::vector<std::string> patterns;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
    while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    std::string pattern;
    while (!line.empty()) {
      const size_t dollar = std::min(line.find('$'), line.size());
      pattern += line.substr(0, dollar);
      line.remove_prefix(dollar);
      if (line.size() < 2) {
        pattern += line;
        break;
      }
      if (line[1] == '$') {
        pattern += '$';
        line.remove_prefix(2);
      } else if (const size_t brace = line.find('}'); line[1] == '{' && brace != std::string_view::npos) {
        pattern += variable(std::string(line.substr(2, brace - 2)));
        line.remove_prefix(brace + 1);
      } else {
        size_t length = 0;
        while (1 + length < line.size() && is_name(line[1 + length])) ++length;
        pattern += length > 0 ? variable(std::string(line.substr(1, length))) : "$";
        line.remove_prefix(1 + length);
      }
    }
    patterns.push_back(std::move(pattern));
  }
  return patterns;
}

}  // namespace cairn::backup
