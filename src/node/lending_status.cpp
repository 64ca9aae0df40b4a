// Lending: what is told to the pool and to the commands of this home.

#include "node/lending.h"

namespace cairn::node {

bool Lending::all_open() const {
  return std::ranges::all_of(lent_, [](const Lent& lent) { return lent.trouble.empty() && !lent.away; });
}

void Lending::tell(peer::NodeInfo& info) const {
  const bool open = std::ranges::any_of(lent_, [](const Lent& lent) { return lent.trouble.empty(); });
  info.lends = open && !config_.paused && !config_.leaving && resting_.empty();
  info.leaving = config_.left;
}

Lending::Phase Lending::phase_of(const Lent& lent) const {
  if (!lent.trouble.empty())
    return {.word = lent.trouble.starts_with("offline") ? "offline" : "opening", .text = lent.trouble};
  if (lent.away) return {.word = "offline", .text = "offline: its disk is not there"};
  const store::ShardStore* store = open_store(lent);
  if (store == nullptr && lent.removing) return {.word = "draining", .text = "draining 100 %", .percent = 100};
  if (store == nullptr) return {.word = "opening", .text = "opening"};
  const auto full = fmt::format("the disk is {:.0f} % full", lent.demand.full_percent);
  const auto progress = drain_.progress(lent.id);
  const bool planned = lent.removing || config_.leaving || store->figures().used > store->figures().limit;
  if (progress && progress->active) {
    Phase phase{.word = planned ? "draining" : "yielding", .percent = progress->percent, .stuck = progress->stuck};
    phase.text = fmt::format("{} {:.0f} %", phase.word, std::min(99.0, progress->percent));
    if (!planned) phase.text += ": " + full;
    if (progress->stuck > 0)
      phase.text +=
          fmt::format("{} {} shards have nowhere to go: {}", planned ? ":" : ";", progress->stuck, progress->why_stuck);
    return phase;
  }
  if (!resting_.empty()) return {.word = "resting", .text = "resting: " + resting_};
  if (config_.leaving || lent.removing) return {.word = "draining", .text = "draining 100 %", .percent = 100};
  if (!lent.demand.take) {
    std::string text = "yielding: " + full;
    if (lent.demand.drop > 0 && !lent.shed_note.empty()) text += "; " + lent.shed_note;
    return {.word = "yielding", .text = text, .percent = 100};
  }
  if (config_.paused) return {.word = "paused", .text = "paused"};
  return {.word = "ok", .text = "ok"};
}

Lending::Phase Lending::leaving_phase() const {
  double percent = 0;
  uint64_t stuck = 0;
  std::string why = leave_note_;
  for (const Lent& lent : lent_) {
    const auto progress = drain_.progress(lent.id);
    percent += progress ? progress->percent : open_store(lent) != nullptr ? 100 : 0;
    if (progress && progress->stuck > 0) {
      stuck += progress->stuck;
      if (why.empty()) why = fmt::format("{} shards have nowhere to go: {}", progress->stuck, progress->why_stuck);
    }
  }
  if (!lent_.empty()) percent /= static_cast<double>(lent_.size());
  return {.word = "leaving", .text = why, .percent = percent, .stuck = stuck};
}

void Lending::describe(wire::AdminStatusResponse& response) const {
  auto* lending = response.mutable_lending();
  if (config_.left) {
    lending->set_state("left");
  } else if (config_.leaving) {
    const Phase phase = leaving_phase();
    lending->set_state("leaving");
    lending->set_why(phase.text);
    lending->set_percent(phase.percent);
  } else if (config_.paused) {
    lending->set_state("paused");
  } else if (!resting_.empty()) {
    lending->set_state("resting");
    lending->set_why(resting_);
  } else {
    lending->set_state("lending");
  }
  lending->set_up(allowance_.up.value_or(0));
  lending->set_down(allowance_.down.value_or(0));
  lending->set_config_error(config_error_);
  for (const Lent& lent : lent_) {
    auto* entry = response.add_stores();
    entry->set_path(lent.spec.path);
    entry->set_limit(lent.spec.limit);
    entry->set_keep_free(lent.spec.keep_free);
    entry->set_keep_free_share(lent.spec.keep_free_share);
    const Phase phase = phase_of(lent);
    entry->set_state(phase.text);
    entry->set_phase(phase.word);
    entry->set_percent(phase.percent);
    entry->set_stuck(phase.stuck);
    const store::ShardStore* store = open_store(lent);
    if (store == nullptr) continue;
    const store::StoreFigures figures = store->figures();
    entry->set_id(lent.id.raw());
    entry->set_limit(figures.limit);
    entry->set_used(figures.used);
    entry->set_free(figures.free);
    entry->set_shards(figures.shards);
    entry->set_corrupt(figures.corrupt);
    const auto milliseconds = [](Duration time) {
      return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
    };
    const pool::TrashFigures trash = trash_.figures(lent.id);
    entry->set_trash_shards(trash.shards);
    entry->set_trash_bytes(trash.bytes);
    entry->set_trash_next_ms(milliseconds(trash.first_goes));
    entry->set_trash_last_ms(milliseconds(trash.all_gone));
  }
}

}  // namespace cairn::node
