#pragma once
// What a command says: text or JSON, errors with what to do next, the progress line, exit codes.

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "cairn/client.h"

namespace cairn::tools {

using Json = nlohmann::ordered_json;

// The contract's exit codes.
enum Exit : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kPartly = 3,
  kNotFound = 10,
  kWrongPhrase = 12,
  kTooFewPeers = 13,
  kNoSpace = 14,
  kDamaged = 15,
  kBelowGoal = 16,
  kInterrupted = 130,
};
int exit_code(Code code);

// How this run of a command speaks. One for each process.
struct Output {
  std::string command;  // "put"
  bool json = false, quiet = false, verbose = false;

  // Says on one line what failed, on what, why and what to do next; returns the exit code.
  int fail(const std::string& on, const Error& error) const;
  // The same for one file of many; the work goes on.
  void file_error(const std::string& path, const Error& error) const;
  void warn(const std::string& text) const;
  // One line on stdout, unless --json or -q.
  void say(const std::string& line) const;
  // One JSON object and a newline on stdout.
  void emit(const Json& object) const;
  // The same on stderr, where stdout is taken by data.
  void emit_aside(const Json& object) const;
};

// Why stdout took no more: its own error flag does not say.
inline int output_error = 0;

// As fmt::print, which throws when the reader of a pipe has gone: here std::ferror() tells, as with all of stdio.
template <class... Values>
void emit_text(std::FILE* to, fmt::format_string<Values...> format, Values&&... values) {
  const std::string text = fmt::format(format, std::forward<Values>(values)...);
  if (std::fwrite(text.data(), 1, text.size(), to) < text.size() && to == stdout) output_error = errno;
}
template <class... Values>
void emit_text(fmt::format_string<Values...> format, Values&&... values) {
  emit_text(stdout, format, std::forward<Values>(values)...);
}

// {"path": ...} and, where it is not UTF-8, {"path_b64": ...} too.
void put_path(Json& object, const std::string& key, const std::string& raw);
std::string base64(const std::string& raw);

// One line on a terminal's stderr, rewritten in place; JSON lines with --json; else nothing. Erased at the end.
class ProgressLine {
 public:
  // data_on_stdout: JSON lines go to stderr.
  ProgressLine(const Output& output, bool counts_safe, bool data_on_stdout = false);
  ~ProgressLine();
  OnProgress callback();

 private:
  void show(const Progress& progress);
  const Output& output_;
  bool counts_safe_, data_on_stdout_;
  bool terminal_;
  bool shown_ = false;
};

}  // namespace cairn::tools
