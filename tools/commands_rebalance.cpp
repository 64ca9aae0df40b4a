// rebalance: what is stored follows the pool as it grows and shrinks.

#include "cairn/rebalance.h"

#include <fmt/format.h>

#include "tools/command.h"

namespace cairn::tools {

namespace {

std::string code_text(uint32_t k, uint32_t m) {
  return fmt::format("{}+{}", k, m);
}

Json volume_json(const RebalanceReport::Volume& volume) {
  Json codes = Json::object();
  for (const auto& [code, packs] : volume.codes) codes[code_text(code.first, code.second)] = packs;
  return {{"volume", volume.name},
          {"packs", volume.packs},
          {"codes", std::move(codes)},
          {"recoded_packs", volume.recoded_packs},
          {"recoded_bytes", volume.recoded_bytes},
          {"unfit_packs", volume.unfit_packs},
          {"moved_shards", volume.moved_shards},
          {"moved_bytes", volume.moved_bytes},
          {"failed_moves", volume.failed_moves},
          {"incomplete_packs", volume.incomplete_packs}};
}

void print(const Output& output, const RebalanceReport& report, bool dry_run) {
  output.say(
      fmt::format("{} domains: packs should be {} (data + parity)", report.domains, code_text(report.k, report.m)));
  const char* would = dry_run ? "would be " : "";
  for (const auto& volume : report.volumes) {
    std::string codes;
    for (const auto& [code, packs] : volume.codes)
      codes += fmt::format("{}{} of {}", codes.empty() ? "" : ", ", packs, code_text(code.first, code.second));
    output.say(fmt::format("{}: {} packs{}{}", printable(volume.name), volume.packs, codes.empty() ? "" : ": ", codes));
    if (volume.recoded_packs > 0)
      output.say(fmt::format("  {}written anew: {} packs, {}; what they were is in the trash for three days", would,
                             volume.recoded_packs, format_size(volume.recoded_bytes)));
    if (volume.moved_shards > 0)
      output.say(fmt::format("  {}moved: {} shards, {}", would, volume.moved_shards, format_size(volume.moved_bytes)));
    if (!dry_run && volume.unfit_packs > 0)
      output.say(fmt::format("  {} packs keep another code: forgotten snapshots alone need them", volume.unfit_packs));
    if (volume.incomplete_packs > 0)
      output.say(fmt::format("  {} packs lack a shard and were not moved: see `cairn check`, `cairn repair`",
                             volume.incomplete_packs));
    if (volume.failed_moves > 0)
      output.say(fmt::format("  {} moves failed: the shards are where they were", volume.failed_moves));
    if (volume.recoded_packs + volume.moved_shards + volume.failed_moves == 0) output.say("  nothing to do");
  }
  output.say(fmt::format("Nodes are {:.0f} to {:.0f} % full{}", 100 * report.least_used, 100 * report.most_used,
                         dry_run ? " then" : ""));
}

int run(Context& context, RebalanceOptions options) {
  int code = kDone;
  Client* client = context.client(code);
  if (client == nullptr) return code;
  const Output& output = context.output;
  Result<RebalanceReport> report;
  {
    ProgressLine line(output, false);
    options.on_error = [&output](const std::string& what, const Error& error) { output.file_error(what, error); };
    if (const OnProgress show = line.callback()) {
      options.on_progress = [show, began = std::chrono::steady_clock::now()](
                                const std::string& volume, const char* phase, uint64_t done, uint64_t total) {
        Progress progress{.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(),
                          .current = fmt::format("{} {}", volume, phase)};
        const std::string_view what = phase;
        if (what == "copying" || what == "moving") {
          progress.bytes_done = done;
          progress.bytes_total = total;
        } else {
          progress.files_done = done;
          progress.files_total = total;
        }
        show(progress);
      };
    }
    report = rebalance(*client, options);
  }
  if (!report) return output.fail("", report.error());
  if (output.json) {
    Json volumes = Json::array();
    for (const auto& volume : report->volumes) volumes.push_back(volume_json(volume));
    output.emit({{"message_type", "summary"},
                 {"dry_run", options.dry_run},
                 {"domains", report->domains},
                 {"k", report->k},
                 {"m", report->m},
                 {"least_used", report->least_used},
                 {"most_used", report->most_used},
                 {"volumes", std::move(volumes)}});
  } else {
    print(output, *report, options.dry_run);
  }
  const bool partly = std::ranges::any_of(report->volumes, [](const auto& volume) { return volume.failed_moves > 0; });
  return partly ? kPartly : kDone;
}

}  // namespace

std::vector<Command> rebalance_commands() {
  return {{"rebalance", "have packs follow the number of domains, and even out how full the nodes are",
           "cairn rebalance -n    # says what would be done\n  cairn rebalance main\n"
           "May be interrupted and run again: it goes on. Exit 3: some shards could not be moved and are where they "
           "were.",
           [](CLI::App& app) {
             struct Flags {
               RebalanceOptions options;
               std::string rate;
             };
             auto flags = std::make_shared<Flags>();
             app.add_option("volumes", flags->options.volumes, "these (default: all of yours)");
             app.add_flag("-n,--dry-run", flags->options.dry_run, "only say what would be done");
             app.add_option("--rate", flags->rate,
                            "bytes a second at most (default: [healing] rate of the configuration, else 16M)")
                 ->check(size_text());
             return [=](Context& context) {
               RebalanceOptions options = flags->options;
               if (!flags->rate.empty()) options.rate = *parse_size(flags->rate);
               return run(context, std::move(options));
             };
           }}};
}

}  // namespace cairn::tools
