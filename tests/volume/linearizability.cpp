#include "volume/linearizability.h"

#include <algorithm>
#include <bitset>
#include <set>

#include "base/result.h"

namespace cairn::volume {

namespace {

constexpr size_t kMaxOps = 512;
using Done = std::bitset<kMaxOps>;

// What the register holds after `op` when it holds `state` before; nothing when the op cannot take effect here.
std::optional<uint64_t> apply(const RegisterOp& op, uint64_t state) {
  if (op.kind == RegisterOp::Kind::read) return op.value == state ? std::optional(state) : std::nullopt;
  if (op.outcome == RegisterOp::Outcome::conflict) return op.expected != state ? std::optional(state) : std::nullopt;
  return op.expected == state ? std::optional(op.value) : std::nullopt;
}

struct Less {
  bool operator()(const std::pair<Done, uint64_t>& a, const std::pair<Done, uint64_t>& b) const {
    if (a.second != b.second) return a.second < b.second;
    const Done differ = a.first ^ b.first;
    const size_t first = differ._Find_first();
    return first < kMaxOps && b.first[first];
  }
};

class Search {
 public:
  explicit Search(const std::vector<RegisterOp>& history) : ops_(history) {
    std::ranges::sort(ops_, {}, &RegisterOp::invoked);
  }

  LinearizabilityResult run() {
    struct Step {
      Done done;
      uint64_t state;
    };
    std::vector<Step> stack{{Done(), 0}};
    while (!stack.empty()) {
      const Step step = stack.back();
      stack.pop_back();
      if (!seen_.insert({step.done, step.state}).second) continue;
      if (step.done.count() > best_.count()) {
        best_ = step.done;
        best_state_ = step.state;
      }
      // Whatever returned first of those still to be placed bounds which may come next.
      uint64_t first_return = RegisterOp::kNever;
      bool all_answered = true;
      for (size_t i = 0; i < ops_.size(); ++i) {
        if (step.done[i] || ops_[i].outcome == RegisterOp::Outcome::unknown) continue;
        all_answered = false;
        first_return = std::min(first_return, ops_[i].returned);
      }
      if (all_answered) return {.linearizable = true};  // what is left may never have happened
      for (size_t i = ops_.size(); i-- > 0;) {
        if (step.done[i] || ops_[i].invoked > first_return) continue;
        const auto next = apply(ops_[i], step.state);
        if (!next) continue;
        Step further{step.done, *next};
        further.done.set(i);
        stack.push_back(further);
      }
    }
    return {.reason = describe()};
  }

 private:
  std::string describe() const {
    std::string text = "no order goes on from the register holding " + std::to_string(best_state_) + "; left:";
    for (size_t i = 0; i < ops_.size(); ++i) {
      if (best_[i]) continue;
      const RegisterOp& op = ops_[i];
      text += op.kind == RegisterOp::Kind::read
                  ? " read " + std::to_string(op.value)
                  : " write " + std::to_string(op.expected) + "->" + std::to_string(op.value) +
                        (op.outcome == RegisterOp::Outcome::conflict  ? " conflict"
                         : op.outcome == RegisterOp::Outcome::unknown ? " unknown"
                                                                      : " ok");
      text += " [" + std::to_string(op.invoked) + "," +
              (op.returned == RegisterOp::kNever ? "never" : std::to_string(op.returned)) + "]";
    }
    return text;
  }

  std::vector<RegisterOp> ops_;
  std::set<std::pair<Done, uint64_t>, Less> seen_;
  Done best_;
  uint64_t best_state_ = 0;
};

}  // namespace

LinearizabilityResult check_linearizable(const std::vector<RegisterOp>& history) {
  CAIRN_ASSERT(history.size() <= kMaxOps);
  return Search(history).run();
}

}  // namespace cairn::volume
