#pragma once
// PoolRoster: what Swim needs of the real pool: members and records from the Membership, messages over sessions.

#include <unordered_map>

#include "peer/session_table.h"
#include "peer/swim.h"

namespace cairn::peer {

class PoolRoster final : public SwimHost {
 public:
  struct Hooks {
    std::function<void()> changed;               // the membership has changed
    std::function<void(const NodeId&)> differs;  // see SwimHost
  };
  // All references outlive it.
  PoolRoster(env::World world, const Identity& identity, Membership& membership, SessionTable& sessions, Hooks hooks)
      : world_(world), identity_(identity), membership_(membership), sessions_(sessions), hooks_(std::move(hooks)) {}

  size_t members() const override { return rings().members.size(); }
  NodeId member(size_t index) const override { return rings().members[index]; }
  std::optional<Incarnation> incarnation(const NodeId& node) const override;
  NodeId neighbour(uint32_t ring, const NodeId& from, bool next) const override;
  bool dialable() const override;
  env::Task<Result<Bytes>> ask(NodeId to, Bytes request, Duration timeout) override;
  std::optional<NodeId> take_record(ByteView entry) override;
  bool take_log(ByteView record, const NodeId& from) override;
  Bytes refute(const Incarnation& doubted) override;
  void sign(Doubt& doubt) const override;
  bool genuine(const Doubt& doubt) const override;
  uint64_t summary() const override { return membership_.summary(); }
  void differs(const NodeId& from) override { hooks_.differs(from); }
  void state_changed(const NodeId& node, NodeState state) override;

 private:
  struct Rings {
    std::vector<NodeId> members;  // by NodeID
    std::unordered_map<NodeId, uint32_t> index;
    std::array<std::vector<uint32_t>, kRings> order, place;  // members by place, places by member
  };
  const Rings& rings() const;  // made anew when members changed

  env::World world_;
  const Identity& identity_;
  Membership& membership_;
  SessionTable& sessions_;
  Hooks hooks_;
  mutable Rings rings_;
  mutable std::optional<uint64_t> seen_;  // the roster version that rings_ is of
};

}  // namespace cairn::peer
