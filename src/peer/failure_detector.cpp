#include "peer/failure_detector.h"

#include <map>
#include <set>

namespace cairn::peer {

std::string_view to_string(NodeState state) {
  switch (state) {
    case NodeState::unknown:
      return "unknown";
    case NodeState::alive:
      return "alive";
    case NodeState::suspect:
      return "suspect";
    case NodeState::departed:
      return "departed";
    case NodeState::left:
      return "left";
    case NodeState::removed:
      return "removed";
  }
  return "unknown";
}

namespace {

class SessionDetector final : public FailureDetector {
 public:
  SessionDetector(DetectorOptions options, Time now) : options_(options), started_(now) {}

  void track(const std::vector<NodeId>& nodes) override {
    const std::set<NodeId> wanted(nodes.begin(), nodes.end());
    std::erase_if(nodes_, [&](const auto& entry) { return !wanted.contains(entry.first); });
    for (const NodeId& node : nodes) nodes_.try_emplace(node);
  }

  void heard_from(const NodeId& node, Time now) override {
    const auto found = nodes_.find(node);
    if (found != nodes_.end()) news(found->second, now);
  }

  void failed(const NodeId& node, Time now) override {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return;
    found->second.failed = now;
    found->second.probed = now;
  }

  void told(const NodeId& about, NodeState state, std::optional<Time> heard, const NodeId& by, Time now) override {
    const auto found = nodes_.find(about);
    if (found == nodes_.end()) return;
    if (heard) news(found->second, std::min(*heard, now));
    auto& doubts = found->second.doubts;
    if (state == NodeState::suspect || state == NodeState::departed) {
      if (doubts.size() < kMaxDoubts || doubts.contains(by)) doubts[by] = now;
    } else if (state == NodeState::alive) {
      doubts.erase(by);
    }
  }

  NodeState state(const NodeId& node, Time now) const override {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return NodeState::unknown;
    const Known& known = found->second;
    if (!known.heard) {
      if (!known.failed) return NodeState::unknown;
      return now - started_ >= options_.silence ? NodeState::departed : NodeState::suspect;
    }
    const Duration age = now - *known.heard;
    if (age >= options_.silence) return NodeState::departed;
    if (age >= options_.depart_after) {
      const auto observers = std::ranges::count_if(
          known.doubts, [&](const auto& doubt) { return now - doubt.second <= options_.opinion_lasts; });
      if (static_cast<size_t>(observers) >= options_.min_observers) return NodeState::departed;
    }
    if (age >= options_.suspect_after || (known.failed && *known.failed >= *known.heard)) return NodeState::suspect;
    return NodeState::alive;
  }

  std::optional<Time> last_heard(const NodeId& node) const override {
    const auto found = nodes_.find(node);
    return found == nodes_.end() ? std::nullopt : found->second.heard;
  }

  std::optional<NodeId> next_probe(Time now) override {
    std::optional<NodeId> stalest;
    Time oldest = now - options_.probe_after;
    for (const auto& [id, known] : nodes_) {
      const Time last = std::max(known.heard.value_or(started_ - options_.probe_after), known.probed);
      if (last <= oldest && (!stalest || last < oldest)) {
        stalest = id;
        oldest = last;
      }
    }
    if (stalest) nodes_[*stalest].probed = now;
    return stalest;
  }

 private:
  static constexpr size_t kMaxDoubts = 16;  // more observers say nothing new
  struct Known {
    std::optional<Time> heard;   // by anybody
    std::optional<Time> failed;  // by this node
    Time probed{Duration::min()};
    std::map<NodeId, Time> doubts;  // who says that it is suspect or departed, and when
  };

  static void news(Known& known, Time heard) {
    if (known.heard && *known.heard >= heard) return;
    known.heard = heard;
    std::erase_if(known.doubts, [&](const auto& doubt) { return doubt.second <= heard; });
  }

  DetectorOptions options_;
  Time started_;
  std::map<NodeId, Known> nodes_;
};

}  // namespace

std::unique_ptr<FailureDetector> make_session_detector(DetectorOptions options, Time now) {
  return std::make_unique<SessionDetector>(options, now);
}

}  // namespace cairn::peer
