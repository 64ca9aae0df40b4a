// The failure detector by sessions.

#include <catch2/catch.hpp>

#include "peer/failure_detector.h"

namespace cairn::peer {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

NodeId node(uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}
Time at(Duration since_start) {
  return Time{since_start};
}

struct Watched {
  std::unique_ptr<FailureDetector> detector = make_session_detector({}, at({}));
  Watched() { detector->track({node(1), node(2), node(3), node(4)}); }
  NodeState state(Duration now) const { return detector->state(node(1), at(now)); }
};

}  // namespace

TEST_CASE("a node is unknown until something is heard of it, then alive, then suspect") {
  Watched w;
  CHECK(w.state(seconds(0)) == NodeState::unknown);
  CHECK(w.detector->state(node(9), at({})) == NodeState::unknown);
  w.detector->heard_from(node(1), at(seconds(1)));
  CHECK(w.state(seconds(2)) == NodeState::alive);
  CHECK(w.state(seconds(22)) == NodeState::suspect);
  w.detector->heard_from(node(1), at(seconds(23)));
  CHECK(w.state(seconds(24)) == NodeState::alive);
}

TEST_CASE("a failed request makes a node suspect until somebody hears from it later") {
  Watched w;
  w.detector->heard_from(node(1), at(seconds(1)));
  w.detector->failed(node(1), at(seconds(2)));
  CHECK(w.state(seconds(2)) == NodeState::suspect);
  // Older news change nothing, newer ones do.
  w.detector->told(node(1), NodeState::alive, at(seconds(1)), node(2), at(seconds(3)));
  CHECK(w.state(seconds(3)) == NodeState::suspect);
  w.detector->told(node(1), NodeState::alive, at(seconds(3)), node(2), at(seconds(4)));
  CHECK(w.state(seconds(4)) == NodeState::alive);
}

TEST_CASE("a node departs when others cannot reach it either, not by one voice") {
  Watched w;
  w.detector->heard_from(node(1), at(seconds(0)));
  const Duration late = minutes(3);
  w.detector->failed(node(1), at(late));
  w.detector->told(node(1), NodeState::suspect, std::nullopt, node(2), at(late));
  CHECK(w.state(late) == NodeState::suspect);
  w.detector->told(node(1), NodeState::suspect, std::nullopt, node(2), at(late));
  CHECK(w.state(late) == NodeState::suspect);
  w.detector->told(node(1), NodeState::suspect, std::nullopt, node(3), at(late));
  CHECK(w.state(late) == NodeState::departed);
  // Opinions age, and one that changes its mind does not count.
  CHECK(w.state(late + minutes(2)) == NodeState::suspect);
  w.detector->told(node(1), NodeState::alive, std::nullopt, node(3), at(late));
  CHECK(w.state(late) == NodeState::suspect);
  w.detector->heard_from(node(1), at(late + seconds(1)));
  CHECK(w.state(late + seconds(1)) == NodeState::alive);
}

TEST_CASE("after a long silence a node has departed even where nobody else is there to ask") {
  Watched w;
  w.detector->heard_from(node(1), at(seconds(0)));
  w.detector->failed(node(1), at(seconds(30)));
  CHECK(w.state(minutes(9)) == NodeState::suspect);
  CHECK(w.state(minutes(10)) == NodeState::departed);
}

TEST_CASE("a rumour of life that nobody refreshes dies by itself") {
  Watched w;
  // Both keep telling each other what they know; nobody hears from node 1 itself.
  for (int second = 1; second < 60; ++second) {
    w.detector->told(node(1), NodeState::alive, at(seconds(1)), node(2), at(seconds(second)));
  }
  CHECK(w.state(seconds(60)) == NodeState::suspect);
  // A time in the future is not believed.
  w.detector->told(node(1), NodeState::alive, at(minutes(90)), node(2), at(seconds(61)));
  CHECK(w.detector->last_heard(node(1)) == at(seconds(61)));
}

TEST_CASE("the node of which nothing was heard for the longest is probed next, each in its turn") {
  Watched w;
  const Duration now = seconds(10);
  w.detector->heard_from(node(1), at(seconds(9)));
  w.detector->heard_from(node(2), at(seconds(2)));
  w.detector->heard_from(node(3), at(seconds(1)));
  w.detector->heard_from(node(4), at(seconds(4)));
  CHECK(w.detector->next_probe(at(now)) == node(3));
  CHECK(w.detector->next_probe(at(now)) == node(2));
  CHECK(w.detector->next_probe(at(now)) == node(4));
  CHECK(w.detector->next_probe(at(now)) == std::nullopt);
}

TEST_CASE("a node that is tracked no more is forgotten") {
  Watched w;
  w.detector->heard_from(node(1), at(seconds(1)));
  w.detector->track({node(2)});
  CHECK(w.state(seconds(1)) == NodeState::unknown);
  w.detector->heard_from(node(1), at(seconds(1)));
  CHECK(w.state(seconds(1)) == NodeState::unknown);
}

}  // namespace cairn::peer
