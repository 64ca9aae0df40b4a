// What a peer can send to Swim: requests, answers to its own requests, doubts. Nobody but the one who can sign may make
// a node suspect, and nothing may make one depart without its time. Input: first byte chooses, the rest is the message.

#include "peer/swim.h"

#include <deque>

#include "fuzz/fuzz.h"
#include "proto/membership.pb.h"
#include "wire/message.h"

namespace cairn::fuzz {

namespace {

using peer::Doubt;
using peer::Incarnation;

NodeId node(uint8_t number) {
  NodeId id;
  id.bytes.fill(number);
  return id;
}
constexpr uint8_t kNodes = 5;  // 0 is this one

struct Loop final : env::Executor, env::Clock {
  std::deque<std::move_only_function<void()>> queue;
  std::map<env::TimerId, std::move_only_function<void()>> timers;
  env::TimerId last = 0;
  void post(std::move_only_function<void()> fn) override { queue.push_back(std::move(fn)); }
  Time now() const override { return Time{std::chrono::seconds(100)}; }
  WallTime wall_now() const override { return 0; }
  env::TimerId schedule(Time, std::move_only_function<void()> fn) override {
    timers[++last] = std::move(fn);
    return last;
  }
  void cancel(env::TimerId timer) override { timers.erase(timer); }
  void run() {
    for (int i = 0; i < 10000 && !queue.empty(); ++i) {
      auto fn = std::move(queue.front());
      queue.pop_front();
      fn();
    }
  }
};

// A signature of 64 bytes of the observer's number is genuine.
struct Host final : peer::SwimHost {
  Bytes answer;
  Incarnation own{1, 1};
  size_t members() const override { return kNodes; }
  NodeId member(size_t index) const override { return node(static_cast<uint8_t>(index)); }
  std::optional<Incarnation> incarnation(const NodeId& id) const override {
    if (id == node(0)) return own;
    for (uint8_t i = 1; i < kNodes; ++i) {
      if (id == node(i)) return Incarnation{1, 1};
    }
    return std::nullopt;
  }
  NodeId neighbour(uint32_t, const NodeId& from, bool next) const override {
    return node(static_cast<uint8_t>((from.bytes[0] + (next ? 1 : kNodes - 1)) % kNodes));
  }
  bool dialable() const override { return true; }
  env::Task<Result<Bytes>> ask(NodeId, Bytes, Duration) override { co_return answer; }
  std::optional<NodeId> take_record(ByteView) override { return std::nullopt; }
  bool take_log(ByteView, const NodeId&) override { return false; }
  Bytes refute(const Incarnation& doubted) override {
    own = {doubted.boot_seq, doubted.sequence + 1};
    return {};
  }
  void sign(Doubt& doubt) const override { doubt.signature = Bytes(64, doubt.by.bytes[0]); }
  bool genuine(const Doubt& doubt) const override { return doubt.signature == Bytes(64, doubt.by.bytes[0]); }
  uint64_t summary() const override { return own.sequence; }
  void differs(const NodeId&) override {}
};

}  // namespace

void run_one(ByteView input) {
  if (input.empty()) return;
  const ByteView message = input.subspan(1);
  Loop loop;
  Host host;
  {
    peer::Swim swim(loop, loop, 1, host, node(0), peer::SwimOptions::lan());
    swim.synced();
    env::TaskGroup group(loop);
    switch (input[0] % 3) {
      case 0:
      case 1: {  // a request; or the answer to a probe for another
        Bytes request = to_bytes(message);
        if (input[0] % 3 == 1) {
          host.answer = request;
          wire::SwimRequest probe;
          probe.set_kind(2);
          probe.set_target(node(2).raw());
          request = wire::encode(probe);
        }
        group.spawn([](peer::Swim& s, Bytes body) -> env::Task<void> {
          auto answer = co_await s.answer(node(1), std::move(body));
          if (answer) CAIRN_ASSERT(wire::decode<wire::SwimResponse>(ByteView(*answer)));
        }(swim, std::move(request)));
        loop.run();
        break;
      }
      default: {
        const auto encoded = wire::decode<wire::Doubt>(message);
        const auto doubt = encoded ? peer::decode_doubt(*encoded) : std::nullopt;
        if (doubt) swim.take_doubt(*doubt, node(1), true);
        break;
      }
    }
    for (const auto& [about, suspicion] : swim.suspicions().all()) {
      CAIRN_ASSERT(!suspicion.departed && about != node(0));
      for (const auto& [by, doubt] : suspicion.doubts) CAIRN_ASSERT(host.genuine(doubt) && host.incarnation(by));
    }
    CAIRN_ASSERT(swim.state(node(0)) != peer::NodeState::departed);
    group.cancel();
  }
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> all;
  const auto add = [&](uint8_t choice, const Bytes& message) {
    Bytes seed{choice};
    append(seed, message);
    all.push_back(std::move(seed));
  };
  const Host host;
  for (const uint8_t about : {uint8_t{0}, uint8_t{2}}) {
    Doubt doubt{.about = node(about), .incarnation = {1, 1}, .by = node(3), .signature = {}};
    host.sign(doubt);
    add(2, wire::encode(peer::encode_doubt(doubt)));
    wire::News news;
    *news.mutable_doubt() = peer::encode_doubt(doubt);
    wire::SwimRequest request;
    request.set_kind(about == 0 ? 1 : 2);
    request.set_target(node(4).raw());
    request.set_table(7);
    request.add_news(news.SerializeAsString());
    add(0, wire::encode(request));
    wire::SwimResponse response;
    response.set_verdict(1);
    response.add_news(news.SerializeAsString());
    add(1, wire::encode(response));
  }
  wire::News log;
  log.mutable_log()->mutable_entry()->set_body("x");
  wire::News record;
  record.mutable_record()->mutable_record()->set_body("y");
  wire::SwimRequest request;
  request.set_kind(3);
  request.add_news(log.SerializeAsString());
  request.add_news(record.SerializeAsString());
  add(0, wire::encode(request));
  return all;
}

}  // namespace cairn::fuzz
