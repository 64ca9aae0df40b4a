// Figures of membership in large pools, by hand: swim_bench [failure|join|idle|false] NODES...

#include <fmt/format.h>

#include <cstring>

#include "peer/swim_experiments.h"

int main(int argc, char** argv) {
  using namespace cairn::peer;
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::string what = argc > 1 ? argv[1] : "";
  for (int i = 2; i < argc; ++i) {
    const size_t nodes = std::strtoul(argv[i], nullptr, 10);
    for (const uint32_t rings : {kRings, 0U}) {
      SwimWorldOptions options{.nodes = nodes, .swim = SwimOptions::lan(), .seed = 7};
      options.swim.rings = rings;
      if (rings == 0 && nodes > 2000 && what != "failure") continue;
      const char* how = rings == 0 ? "any node" : "6 rings";
      if (what == "failure") {
        const auto r = crash_some(options, std::clamp<size_t>(nodes / 25, 1, nodes > 2000 ? 2 : 10), true);
        fmt::print(
            "{:>6} nodes, {}: first probe in period {:.2f}, suspected after {:.2f}, by all {:.2f} later "
            "(worst {:.2f}), departed everywhere after {:.2f} (worst {:.2f})\n",
            nodes, how, r.first_probe.mean, r.suspected.mean, r.all_suspect.mean, r.all_suspect.worst, r.departed.mean,
            r.departed.worst);
      } else if (what == "join") {
        const auto r = join_one(options);
        fmt::print("{:>6} nodes, {}: known to all after {:.2f} periods, {:.0f} bytes sent per node\n", nodes, how,
                   r.periods, r.bytes_per_node);
      } else if (what == "idle") {
        for (const bool lan : {true, false}) {
          options.swim = lan ? SwimOptions::lan() : SwimOptions::wan();
          options.swim.rings = rings;
          const auto r = idle(options, options.swim.period * 60);
          fmt::print("{:>6} nodes, {}, {}: {:.0f} bytes/s per node (busiest {:.0f}), {:.1f} partners in 60 periods\n",
                     nodes, how, lan ? "LAN" : "WAN", r.bytes_per_second, r.worst, r.partners);
        }
      } else if (what == "false") {
        for (const auto& [slow, blocked, awake] : {std::tuple{8UL, seconds(16), milliseconds(1000)},
                                                   {16UL, seconds(16), milliseconds(1000)},
                                                   {16UL, seconds(16), milliseconds(2000)},
                                                   {16UL, seconds(8), milliseconds(1000)}}) {
          for (const int variant : {0, 1, 2}) {
            SwimOptions& swim = options.swim;
            swim = SwimOptions::lan();
            swim.rings = rings;
            swim.cautious = variant == 2;
            swim.lifeguard = variant > 0;
            swim.observers = variant == 2 ? 3 : 1;
            const auto r = slow_nodes(options, slow, blocked, awake, std::chrono::minutes(5));
            fmt::print("{:>6} nodes, {}, {} slow ({} s, {} ms), {}: {} suspected, {} departed\n", nodes, how, slow,
                       blocked.count(), awake.count(),
                       variant == 0   ? "SWIM"
                       : variant == 1 ? "Lifeguard"
                                      : "ours",
                       r.suspected, r.departed);
          }
        }
      }
    }
  }
  return 0;
}
