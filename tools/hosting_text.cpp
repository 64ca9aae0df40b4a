#include "tools/hosting_text.h"

#include <fmt/format.h>

namespace cairn::tools {

Json store_json(const StoreReport& store) {
  return {{"id", store.id},
          {"path", store.path},
          {"state", store.state},
          {"phase", store.phase},
          {"percent", store.percent},
          {"stuck", store.stuck},
          {"limit", store.limit},
          {"used", store.used},
          {"free", store.free},
          {"shards", store.shards},
          {"corrupt", store.corrupt},
          {"trash",
           {{"shards", store.trash.shards},
            {"bytes", store.trash.bytes},
            {"next", store.trash.shards > 0 ? Json(format_time(store.trash.next)) : Json(nullptr)},
            {"last", store.trash.shards > 0 ? Json(format_time(store.trash.last)) : Json(nullptr)}}},
          {"keep_free", store.keep_free},
          {"keep_free_share", store.keep_free_share},
          {"removing", store.removing},
          {"running", store.running}};
}

Json lending_json(const LendingReport& lending) {
  Json object = {{"state", lending.state}, {"why", lending.why}, {"running", lending.running}};
  if (lending.state == "leaving") object["percent"] = lending.percent;
  object["up"] = lending.up > 0 ? Json(lending.up) : Json(nullptr);
  object["down"] = lending.down > 0 ? Json(lending.down) : Json(nullptr);
  object["config_error"] = lending.config_error.empty() ? Json(nullptr) : Json(lending.config_error);
  return object;
}

// What of it is on its way out.
void print_trash(const StoreReport& store) {
  if (store.trash.shards == 0) return;
  emit_text("  {}: {} in {} shards were removed by their owners: trash, gone from {} to {}\n", printable(store.path),
            format_size(store.trash.bytes), store.trash.shards, format_time(store.trash.next),
            format_time(store.trash.last));
}

void print_stores(const std::vector<StoreReport>& stores) {
  emit_text("{:<40}{:>11} {:>11} {:>11} {:>9}  {}\n", "DIRECTORY", "USED", "LIMIT", "FREE", "SHARDS", "STATE");
  for (const auto& store : stores) {
    emit_text("{:<40}{:>11} {:>11} {:>11} {:>9}  {}{}\n", printable(store.path), format_size(store.used),
              format_size(store.limit), format_size(store.free), store.shards, printable(store.state),
              store.removing ? " (is taken back)" : "");
    print_trash(store);
  }
}

std::string lending_line(const LendingReport& lending) {
  std::string line = lending.state;
  if (lending.state == "leaving") line += fmt::format(" the pool, {:.0f} %", lending.percent);
  if (lending.state == "left") line = "has left the pool";
  if (!lending.why.empty()) line += ": " + printable(lending.why);
  if (lending.up > 0) line += fmt::format(", up {}/s", format_size(lending.up));
  if (lending.down > 0) line += fmt::format(", down {}/s", format_size(lending.down));
  return line;
}

void print_lending(const LendingReport& lending, const std::vector<StoreReport>& stores) {
  if (stores.empty() && lending.state == "lending") return;
  emit_text("This host: {}\n", lending_line(lending));
  for (const auto& store : stores) {
    print_trash(store);
    if (store.phase == "ok" || store.phase == lending.state || store.phase == "stopped") continue;
    emit_text("  {}: {}{}\n", printable(store.path), printable(store.state), store.removing ? " (is taken back)" : "");
  }
}

}  // namespace cairn::tools
