#include "pool/node_scores.h"

#include "pool/limits.h"

namespace cairn::pool {

namespace {

uint64_t in_milliseconds(Duration time) {
  return static_cast<uint64_t>(
      std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(time).count()));
}

}  // namespace

void NodeScore::observe(bool there, Duration time) {
  observed += in_milliseconds(time);
  if (there) online += in_milliseconds(time);
  if (there) passed_by -= std::min(passed_by, in_milliseconds(time));
  if (observed < in_milliseconds(kScoreHalf)) return;
  for (uint64_t* one : {&online, &observed, &audits_passed, &audits_failed, &caught}) *one /= 2;
}

void NodeScore::set_away(std::optional<Duration> time) {
  away = time ? std::max<uint64_t>(1, in_milliseconds(*time)) : 0;
}

void NodeScore::caught_lying(Duration first) {
  passed_by = in_milliseconds(first) << std::min(caught, kPassedByDoublings);
  ++caught;
}

std::string NodeScore::encode() const {
  Bytes raw;
  for (const uint64_t one : {away, online, observed, audits_passed, audits_failed, caught, passed_by})
    append_be64(raw, one);
  return to_string(ByteView(raw));
}

std::optional<NodeScore> NodeScore::decode(std::string_view raw) {
  NodeScore score;
  // The last two were not there at first.
  if (raw.size() != 5 * sizeof(uint64_t) && raw.size() != 7 * sizeof(uint64_t)) return std::nullopt;
  size_t at = 0;
  for (uint64_t* one : {&score.away, &score.online, &score.observed, &score.audits_passed, &score.audits_failed,
                        &score.caught, &score.passed_by}) {
    if (at == raw.size()) break;
    *one = read_be64(as_bytes(raw).data() + at);
    at += sizeof(uint64_t);
  }
  return score;
}

env::Task<Status> NodeScores::load() {
  auto notes = co_await world_.workers.run([this] { return index_.notes(); });
  if (!notes) co_return fail(std::move(notes.error()));
  for (const auto& [node, raw] : *notes) {
    if (const auto score = NodeScore::decode(raw)) scores_[node] = saved_[node] = *score;
  }
  co_return Status{};
}

env::Task<Status> NodeScores::save() {
  std::vector<std::pair<NodeId, std::string>> changed;
  for (const auto& [node, score] : scores_) {
    const auto before = saved_.find(node);
    if (before == saved_.end() || before->second != score) changed.emplace_back(node, score.encode());
  }
  const auto now = scores_;
  auto saved = co_await world_.workers.run([this, &changed] { return index_.set_notes(changed); });
  if (saved) saved_ = now;
  co_return saved;
}

NodeScore NodeScores::of(const NodeId& node) const {
  const auto found = scores_.find(node);
  return found == scores_.end() ? NodeScore{} : found->second;
}

void NodeScores::audited(const NodeId& node, bool passed) {
  NodeScore& score = scores_[node];
  ++(passed ? score.audits_passed : score.audits_failed);
}

}  // namespace cairn::pool
