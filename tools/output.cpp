#include "tools/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace cairn::tools {

int exit_code(Code code) {
  switch (code) {
    case Code::not_found:
      return kNotFound;
    case Code::bad_input:
      return kUsage;
    case Code::wrong_phrase:
      return kWrongPhrase;
    case Code::too_few_peers:
    case Code::unreachable:
    case Code::timeout:
      return kTooFewPeers;
    case Code::no_space:
      return kNoSpace;
    case Code::damaged:
    case Code::corrupt:
      return kDamaged;
    case Code::interrupted:
      return kInterrupted;
    default:
      return kFailed;
  }
}

namespace {

// What to do next, by what happened.
const char* advice(Code code) {
  switch (code) {
    case Code::not_found:
      return "look with `cairn ls` or `cairn volume ls`";
    case Code::bad_input:
      return "see --help";
    case Code::wrong_phrase:
      return "check the 24 words on your recovery kit";
    case Code::too_few_peers:
    case Code::unreachable:
    case Code::timeout:
      return "see which nodes are alive with `cairn nodes` and try again";
    case Code::no_space:
      return "free some space, or lend more with `cairn store add`";
    case Code::damaged:
    case Code::corrupt:
      return "run `cairn doctor`";
    case Code::denied:
      return "ask an admin of the pool";
    case Code::expired:
    case Code::used:
      return "ask for a new invite";
    case Code::interrupted:
      return "run the same command again to go on";
    case Code::overloaded:
      return "is another process using this home? try again in a moment";
    default:
      return "run `cairn doctor`";
  }
}

std::string with_advice(const std::string& line, Code code) {
  return line + "; " + advice(code);
}

}  // namespace

int Output::fail(const std::string& on, const Error& error) const {
  const int code = exit_code(error.code);
  std::string line = fmt::format("cairn: {} failed{}: {}", command, on.empty() ? "" : " on '" + printable(on) + "'",
                                 printable(to_string(error)));
  if (!line.contains('`')) line = with_advice(line, error.code);  // else it says itself which command helps
  if (json) {
    const Json object = {{"message_type", "exit_error"}, {"code", code}, {"message", line}};
    emit_text(stderr, "{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    emit_text(stderr, "{}\n", line);
  }
  return code;
}

void Output::file_error(const std::string& path, const Error& error) const {
  if (json) {
    Json object = {{"message_type", "error"}, {"error", {{"message", to_string(error)}}}, {"during", command}};
    put_path(object, "item", path);
    emit_text(stderr, "{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    emit_text(stderr, "cairn: {} failed on '{}': {}; the rest goes on\n", command, printable(path),
              printable(to_string(error)));
  }
}

void Output::warn(const std::string& text) const {
  if (!quiet) emit_text(stderr, "cairn: {}\n", printable(text));
}

void Output::say(const std::string& line) const {
  if (!json && !quiet) emit_text("{}\n", line);
}

void Output::emit(const Json& object) const {
  emit_text("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
}

void Output::emit_aside(const Json& object) const {
  emit_text(stderr, "{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string base64(const std::string& raw) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < raw.size(); i += 3) {
    uint32_t group = 0;
    const size_t left = std::min<size_t>(3, raw.size() - i);
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < left ? static_cast<unsigned char>(raw[i + j]) : 0U);
    for (size_t j = 0; j < 4; ++j) text += j <= left ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

void put_path(Json& object, const std::string& key, const std::string& raw) {
  object[key] = raw;  // dump() replaces what is not UTF-8
  if (!is_utf8(raw)) object[key + "_b64"] = base64(raw);
}

ProgressLine::ProgressLine(const Output& output, bool counts_safe, bool data_on_stdout)
    : output_(output),
      counts_safe_(counts_safe),
      data_on_stdout_(data_on_stdout),
      terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  if (shown_) emit_text(stderr, "\r\033[K");
}

OnProgress ProgressLine::callback() {
  if (output_.quiet || (!output_.json && !terminal_)) return {};
  return [this](const Progress& progress) { show(progress); };
}

void ProgressLine::show(const Progress& p) {
  const double share = p.bytes_total > 0 ? static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes_total) : 0;
  const double rate = p.seconds > 0.1 ? static_cast<double>(p.bytes_done) / p.seconds : 0;
  const double left =
      rate > 0 && p.bytes_total > p.bytes_done ? static_cast<double>(p.bytes_total - p.bytes_done) / rate : 0;
  if (output_.json) {
    Json object = {{"message_type", "status"}, {"seconds_elapsed", static_cast<uint64_t>(p.seconds)}};
    if (left > 0) object["seconds_remaining"] = static_cast<uint64_t>(left);
    object["percent_done"] = share;
    if (p.files_total > 0) object["total_files"] = p.files_total;
    object["files_done"] = p.files_done;
    if (p.bytes_total > 0) object["total_bytes"] = p.bytes_total;
    object["bytes_done"] = p.bytes_done;
    if (counts_safe_) object["bytes_safe"] = p.bytes_safe;
    if (!p.current.empty()) object["current_files"] = Json::array({p.current});
    data_on_stdout_ ? output_.emit_aside(object) : output_.emit(object);
    return;
  }
  std::string line = p.bytes_total > 0 ? fmt::format("{} of {}  {:.0f} %", format_size(p.bytes_done),
                                                     format_size(p.bytes_total), share * 100)
                                       : fmt::format("{}", format_size(p.bytes_done));
  line += fmt::format("  {} files  {}/s", p.files_done, format_size(static_cast<uint64_t>(rate)));
  if (left > 0) line += "  ETA " + format_duration(Duration(static_cast<int64_t>(left * 1e9)));
  if (counts_safe_) line += "  safe in the pool: " + format_size(p.bytes_safe);
  emit_text(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  shown_ = true;
}

}  // namespace cairn::tools
