#pragma once
// Patterns of --exclude, --iexclude, --exclude-file, and of restore's and find's --include: restic's rules. Pure.
//
// A pattern is a row of parts with '/' between them. In a part, '*' is any run of bytes, '?' one, [a-z] or [^a-z] one
// of a class, and a backslash takes the next byte as it is; none of these is ever a '/'. '**' as a part is any number
// of parts. A pattern that begins with '/' must fit from the root on, another one anywhere; in both cases whole parts,
// and what lies below a folder that fits, fits. A '/' at the end means nothing. Patterns are looked at in their order:
// one that begins with '!' takes back what those before it have said of the paths that it fits.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace cairn::backup {

class Patterns {
 public:
  // Code::bad_input for an empty pattern or a class that does not end.
  static Result<Patterns> parse(const std::vector<std::string>& patterns, bool ignore_case);

  bool empty() const { return patterns_.empty(); }
  // `path`: absolute.
  bool match(std::string_view path) const;
  // The same, but the pattern must reach to the path's own name: what is below what fits does not.
  bool match_whole(std::string_view path) const;
  // Whether something below the folder `path` might fit though the folder does not: what restore -i must walk into.
  bool may_match_below(std::string_view path) const;

 private:
  struct Pattern {
    std::vector<std::string> parts;  // "**" stands for any number
    bool anchored = false, negated = false;
  };
  std::vector<Pattern> patterns_;
  bool look(std::string_view path, bool whole) const;
  bool ignore_case_ = false;
};

// One part against one name, as Go's filepath.Match does it. Nothing when the pattern is malformed.
std::optional<bool> match_part(std::string_view pattern, std::string_view name);

// The patterns of a file: one a line, without the blanks around it, empty lines and lines that begin with '#' left out,
// $NAME and ${NAME} replaced by what `variable` gives, $$ by a dollar sign.
std::vector<std::string> parse_pattern_file(std::string_view text,
                                            const std::function<std::string(const std::string&)>& variable);

}  // namespace cairn::backup
