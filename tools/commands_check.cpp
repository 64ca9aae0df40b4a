// check and repair: is everything that the volumes refer to there, what is damaged, and what can be done about it?

#include <fmt/format.h>

#include <charconv>
#include <random>

#include "cairn/backup.h"

#include "tools/command.h"

namespace cairn::tools {

namespace {

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// As restic has it: "n/t", the n-th of t parts, the same ones each time; "5%" of the packs; "10G" of them; by chance.
Result<std::function<bool(const std::string&, uint64_t)>> parse_subset(const std::string& text) {
  const Error wrong{Code::bad_input, "a subset is n/t with 1 <= n <= t, a share such as 5%, or a size such as 10G"};
  if (const size_t slash = text.find('/'); slash != std::string::npos) {
    const auto part = number(std::string_view(text).substr(0, slash));
    const auto parts = number(std::string_view(text).substr(slash + 1));
    if (!part || !parts || *part < 1 || *part > *parts) return std::unexpected(wrong);
    return [part = *part, parts = *parts](const std::string& pack, uint64_t) {
      return std::stoul(pack.substr(0, 8), nullptr, 16) % parts == part - 1;
    };
  }
  auto random = std::make_shared<std::mt19937_64>(std::random_device{}());
  if (text.ends_with('%')) {
    char* end = nullptr;
    const double share = std::strtod(text.c_str(), &end) / 100;
    if (end != text.c_str() + text.size() - 1 || !(share > 0 && share <= 1)) return std::unexpected(wrong);
    return [random, share](const std::string&, uint64_t) {
      return std::uniform_real_distribution<double>(0, 1)(*random) < share;
    };
  }
  auto size = parse_size(text);
  if (!size || *size == 0) return std::unexpected(wrong);
  // The packs come in the order of their IDs, which are hashes: as good as by chance, beginning somewhere.
  return [left = *size, first = fmt::format("{:016x}", (*random)())](const std::string& pack, uint64_t bytes) mutable {
    if (left == 0 || pack < first) return false;
    left -= std::min(left, bytes);
    return true;
  };
}

Json fault_json(const CheckFault& fault) {
  Json object = {{"message_type", "error"}, {"during", "check"}, {"volume", fault.volume}};
  object["error"] = {{"message", fault.what}};
  if (!fault.snapshot.empty()) put_path(object, "snapshot", fault.snapshot);
  if (!fault.path.empty()) put_path(object, "item", fault.path);
  return object;
}

std::string fault_text(const CheckFault& fault) {
  const std::string tree = fault.snapshot.empty() ? fault.volume : fault.snapshot.substr(0, 8);
  return fmt::format("{}:{}: {}", printable(tree), printable(fault.path), printable(fault.what));
}

int finish_check(const Context& context, const CheckReport& report, bool read_data) {
  const bool damaged = report.faults > 0;
  if (context.output.json) {
    Json object = {{"message_type", "summary"},
                   {"num_errors", report.faults},
                   {"volumes", report.volumes},
                   {"trees", report.trees},
                   {"entries", report.entries},
                   {"packs", report.packs},
                   {"packs_at_goal", report.packs_at_goal},
                   {"packs_below_goal", report.packs_below_goal},
                   {"packs_lost", report.packs_lost}};
    object["broken_packs"] = report.lost;
    object["packs_to_rebuild"] = report.below_goal;
    if (read_data) {
      object["packs_read"] = report.packs_read;
      object["chunks_read"] = report.chunks_read;
      object["bytes_read"] = report.bytes_read;
      object["damaged_packs"] = report.damaged;
    }
    context.output.emit(object);
  } else {
    context.output.say(
        fmt::format("{} volumes, {} trees, {} entries: {}", report.volumes, report.trees, report.entries,
                    report.faults == 0 ? "they hold together" : fmt::format("{} faults", report.faults)));
    std::string line = fmt::format("{} of {} packs are at their redundancy goal", report.packs_at_goal, report.packs);
    if (report.packs_below_goal > 0)
      line += fmt::format("; {} are below it and readable, their holders rebuild them", report.packs_below_goal);
    if (report.packs_lost > 0)
      line += fmt::format("; {} CANNOT BE READ{}", report.packs_lost, damaged ? "" : ", but no file needs them");
    context.output.say(line);
    if (read_data)
      context.output.say(fmt::format(
          "{} chunks of {} packs read, {}: {}", report.chunks_read, report.packs_read, format_size(report.bytes_read),
          report.packs_damaged == 0 ? "all as they were written"
                                    : fmt::format("{} packs are DAMAGED", report.packs_damaged)));
  }
  return damaged ? kDamaged : kDone;
}

// Faults are told as they are found, and how far it is.
void show(CheckOptions& options, const Output& output, const OnProgress& show) {
  options.on_fault = [&output](const CheckFault& fault) {
    output.json ? output.emit_aside(fault_json(fault)) : output.warn(fault_text(fault));
  };
  if (!show) return;
  options.on_progress = [show, began = std::chrono::steady_clock::now()](const std::string& volume, const char* phase,
                                                                         uint64_t done, uint64_t total) {
    Progress progress{.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(),
                      .current = volume};
    if (std::string_view(phase) == "data") {
      progress.bytes_done = done;
      progress.bytes_total = total;
    } else {
      progress.files_done = done;
      progress.files_total = total;
    }
    show(progress);
  };
}

int run_check(Context& context, CheckOptions options, const std::string& subset) {
  if (!subset.empty()) {
    auto choose = parse_subset(subset);
    if (!choose) return context.output.fail(subset, choose.error());
    options.choose = std::move(*choose);
    options.read_data = true;
  }
  int code = kDone;
  Client* client = context.client(code);
  if (client == nullptr) return code;
  Result<CheckReport> report;
  {
    ProgressLine line(context.output, false);
    show(options, context.output, line.callback());
    report = Backups(*client).check(options);
  }
  if (!report) return context.output.fail("", report.error());
  return finish_check(context, *report, options.read_data);
}

int run_repair(Context& context, RepairOptions options) {
  int code = kDone;
  Client* client = context.client(code);
  if (client == nullptr) return code;
  const Output& output = context.output;
  Result<RepairReport> report;
  {
    ProgressLine line(output, false);
    show(options.check, output, line.callback());
    report = Backups(*client).repair(options);
  }
  if (!report) return output.fail("", report.error());
  if (output.json) {
    Json rewritten = Json::array();
    for (const auto& [before, after] : report->rewritten) rewritten.push_back({{"before", before}, {"after", after}});
    Json object = {{"message_type", "summary"},
                   {"num_errors", report->before.faults},
                   {"packs_completed", report->packs_completed},
                   {"shards_placed", report->shards_placed},
                   {"packs_left", report->packs_left},
                   {"snapshots", rewritten},
                   {"files_dropped", report->files_dropped},
                   {"files_lost", report->files_lost}};
    if (options.dry_run) object["dry_run"] = true;
    output.emit(object);
  } else {
    if (options.dry_run) {
      output.say(fmt::format("{} packs would be completed", report->before.packs_below_goal));
    } else {
      output.say(fmt::format("{} packs completed with {} shards, {} are still below their goal",
                             report->packs_completed, report->shards_placed, report->packs_left));
    }
    for (const auto& [before, after] : report->rewritten)
      output.say(fmt::format("snapshot {} {} without what is lost{}", before.substr(0, 8),
                             options.dry_run ? "would be made anew" : "is there anew",
                             after.empty() ? "" : ": " + after.substr(0, 8)));
    if (report->files_dropped > 0) output.say(fmt::format("{} lost files were left out", report->files_dropped));
    if (report->files_lost > 0)
      output.say(fmt::format("{} files of volumes as they are now cannot be read: put them anew, or remove them",
                             report->files_lost));
    if (report->before.faults == 0 && report->before.packs_below_goal == 0) output.say("nothing to repair");
  }
  return report->files_lost > 0 || report->packs_left > 0 ? kDamaged : kDone;
}

}  // namespace

std::vector<Command> check_commands() {
  return {{"check", "look whether everything is there, and name what is not",
           "cairn check                            # structure of my volumes, and the shards of all their packs\n"
           "  cairn check backups --read-data-subset 5%   # reads a part of the data too\n"
           "Exit 15: damage was found; the files that it touches are named.",
           [](CLI::App& app) {
             struct Flags {
               CheckOptions options;
               std::string subset;
             };
             auto flags = std::make_shared<Flags>();
             app.add_option("volumes", flags->options.volumes, "only these (default: all of mine)");
             app.add_flag("--read-data", flags->options.read_data,
                          "read all data and compare it with what was written");
             app.add_option("--read-data-subset", flags->subset, "read a part: n/t, a share (5%) or a size (10G)");
             return [=](Context& context) { return run_check(context, flags->options, flags->subset); };
           }},
          {"repair", "do about damage what can be done, and say what it was",
           "cairn repair                 # completes packs that lack shards, now and not after their holders' grace\n"
           "  cairn repair backups --read-data --forget   # and takes files that are lost out of snapshots\n"
           "Exit 15: something is damaged that could not be repaired.",
           [](CLI::App& app) {
             auto options = std::make_shared<RepairOptions>();
             app.add_option("volumes", options->check.volumes, "only these (default: all of mine)");
             app.add_flag("--read-data", options->check.read_data, "read all data to find what is damaged");
             app.add_flag("--forget", options->forget,
                          "forget the snapshots that have lost files, once there is one without");
             app.add_flag("-n,--dry-run", options->dry_run, "only say what would be done");
             return [=](Context& context) { return run_repair(context, *options); };
           }}};
}

}  // namespace cairn::tools
