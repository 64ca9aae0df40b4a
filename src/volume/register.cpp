#include "volume/register.h"

#include <algorithm>

#include "volume/register_keepers.h"
#include "volume/register_limits.h"
#include "volume/register_proposer.h"

namespace cairn::volume {

namespace {

class PeersTransport final : public RegisterTransport {
 public:
  explicit PeersTransport(peer::Peers& peers) : peers_(peers) {}

  const peer::Identity& identity() const override { return peers_.identity(); }

  env::Task<Result<Bytes>> call(NodeId to, wire::Method method, Bytes body, Duration timeout) override {
    auto reply = co_await peers_.call(to, method, std::move(body), {}, timeout);
    if (!reply) co_return fail(std::move(reply.error()));
    co_return std::move(reply->body);
  }

  std::vector<KeeperCandidate> nodes() const override {
    std::vector<KeeperCandidate> candidates;
    for (const peer::NodeInfo& node : peers_.membership().nodes()) {
      const peer::NodeState state = peers_.state(node.id);
      using enum peer::NodeState;
      candidates.push_back({.node = node.id,
                            .domain = node.domain_key(),
                            .lends = node.lends && !node.leaving,
                            .usable = peers_.usable(node.id),
                            .gone = state == departed || state == left || state == removed});
    }
    return candidates;
  }

 private:
  peer::Peers& peers_;
};

}  // namespace

std::unique_ptr<RegisterTransport> transport_over(peer::Peers& peers) {
  return std::make_unique<PeersTransport>(peers);
}

class Register::Impl {
 public:
  Impl(env::World world, std::unique_ptr<RegisterTransport> owned, RegisterTransport& transport, Bytes founding,
       RegisterConfig first, ProposerFaults faults)
      : world_(world), owned_(std::move(owned)), transport_(transport), turn_(world.executor, 1) {
    auto parsed = parse_founding(founding);
    if (!parsed) {
      broken_ = std::move(parsed.error());
      id_ = id_cast<RegisterId>(crypto::sha256(founding));
      return;
    }
    id_ = parsed->id;
    proposer_.emplace(world, transport, std::move(*parsed), std::move(first), faults);
  }

  RegisterId id() const { return id_; }
  const std::vector<Hash>& attempted() const { return attempted_; }
  void expect_at_least(uint64_t sequence) { floor_ = std::max(floor_, sequence); }

  env::Task<Result<RegisterState>> read() {
    auto permit = co_await turn_.acquire();
    if (broken_) co_return fail(*broken_);
    auto view = co_await settled(world_.clock.now() + kOperationTimeout);
    if (!view) co_return fail(std::move(view.error()));
    co_return state_in(*view);
  }

  env::Task<Result<RegisterState>> write(RegisterState expected, Bytes content) {
    auto permit = co_await turn_.acquire();
    attempted_.clear();
    if (broken_) co_return fail(*broken_);
    if (content.size() > kMaxRegisterContent) co_return fail(Code::too_large, "a register's content");
    auto result = co_await attempt(std::move(expected), std::move(content));
    // Once a value was sent, only what is chosen can tell its fate.
    if (!result && !attempted_.empty() && result.error().code != Code::conflict) {
      co_return fail(Code::unknown_outcome, std::move(result.error().context));
    }
    co_return result;
  }

  env::Task<Result<Remains>> look_at_remains() {
    auto permit = co_await turn_.acquire();
    if (broken_) co_return fail(*broken_);
    auto remains = co_await remains_now();
    co_return remains;
  }

  env::Task<Result<RegisterState>> force(std::optional<RegisterState> known) {
    auto permit = co_await turn_.acquire();
    if (broken_) co_return fail(*broken_);
    auto remains = co_await remains_now();
    if (!remains) co_return fail(std::move(remains.error()));
    if (remains->majority())
      co_return fail(Code::conflict, "a majority of the keepers answers: nothing is lost, and nothing is to be forced");
    std::optional<RegisterState> best = remains->best;
    // Kept elsewhere than by a keeper, it may remember less of those before it.
    if (known) known->recent.resize(std::min<uint64_t>(std::max<uint64_t>(known->sequence, 1) - 1, kRecentValues));
    if (known && known->era() == (best ? best->era() : known->era()) && (!best || known->sequence > best->sequence))
      best = std::move(known);
    auto next = co_await choose_after_force(world_, transport_, proposer_->founding());
    if (!next) co_return fail(std::move(next.error()));
    auto done = co_await proposer_->force(std::move(best), std::move(*next));
    if (!done) co_return fail(std::move(done.error()));
    if (!*done) co_return fail(Code::too_few_peers, "too few of the new keepers answer: do it again");
    auto view = co_await settled(world_.clock.now() + kOperationTimeout);
    if (!view) co_return fail(std::move(view.error()));
    if (view->value && !view->value->forced.empty()) co_await proposer_->tell_given_up(view->value->forced.back().lost);
    world_.log.warning("register_forced", "register={} sequence={} epoch={}", id_.short_hex(),
                       view->value ? view->value->sequence : 0, view->config.epoch);
    co_return state_in(*view);
  }

  env::Task<Result<std::vector<RegisterState>>> retained() {
    auto permit = co_await turn_.acquire();
    if (broken_) co_return fail(*broken_);
    const Time deadline = world_.clock.now() + kOperationTimeout;
    auto view = co_await settled(deadline);
    if (!view) co_return fail(std::move(view.error()));
    auto values = co_await proposer_->retained(deadline);
    co_return values;
  }

  env::Task<Status> adapt_keepers() {
    auto permit = co_await turn_.acquire();
    if (broken_) co_return fail(*broken_);
    const Time deadline = world_.clock.now() + kOperationTimeout;
    // A read first: nobody should be asked who else could keep it while the configuration is in doubt.
    auto view = co_await settled(deadline);
    if (!view) co_return fail(std::move(view.error()));
    if (view->value && !view->value->forced.empty()) co_await proposer_->tell_given_up(view->value->forced.back().lost);
    // New keepers would not have what was replaced: a full device settles that first, with its next commit.
    if (view->retained > 0 || transport_.identity().certificate.append_only) co_return Status();
    auto next = co_await choose_next_keepers(world_, transport_, proposer_->founding(), view->config);
    if (!next) co_return fail(std::move(next.error()));
    if (!*next) co_return Status();
    for (int round = 0; round < kMaxRounds; ++round) {
      auto current = co_await proposer_->prepare(deadline);
      if (!current) co_return fail(std::move(current.error()));
      // Somebody else has moved it meanwhile.
      if (current->config != view->config) co_return Status();
      auto moved = co_await proposer_->move_to(std::move(*current), **next, deadline);
      if (!moved) co_return fail(std::move(moved.error()));
      if (*moved) {
        // So that a majority of the new keepers has begun, and the old ones may go.
        auto begun = co_await settled(deadline);
        if (!begun) co_return fail(std::move(begun.error()));
        world_.log.info("register_moved", "register={} epoch={} keepers={}", id_.short_hex(), begun->config.epoch,
                        begun->config.keepers.size());
        co_return Status();
      }
      co_await proposer_->back_off(round);
    }
    co_return fail(Code::too_few_peers, "the register's keepers could not be brought to agree");
  }

 private:
  env::Task<Result<Remains>> remains_now() {
    auto found = co_await proposer_->find_all(world_.clock.now() + kOperationTimeout);
    if (!found) co_return fail(std::move(found.error()));
    Remains remains{.config = proposer_->config()};
    for (size_t i = 0; i < remains.config.keepers.size(); ++i) {
      const std::pair keeper(remains.config.keepers[i], remains.config.instances[i]);
      const bool there = std::ranges::find(found->answered, keeper) != found->answered.end();
      (there ? remains.answering : remains.lost).push_back(keeper.first);
    }
    std::vector<RegisterState> states;
    for (const Value& value : found->values) {
      RegisterState state = state_of(value, remains.config);
      if (state.sequence == 0 && state.forced.empty()) continue;
      if (std::ranges::none_of(states,
                               [&](const auto& one) { return one.hash == state.hash && one.era() == state.era(); }))
        states.push_back(std::move(state));
    }
    for (const RegisterState& state : states) {
      if (!remains.best ||
          std::pair(state.era(), state.sequence) > std::pair(remains.best->era(), remains.best->sequence))
        remains.best = state;
    }
    if (remains.best) {
      for (RegisterState& state : states) {
        if (parted_from(*remains.best, state.era(), state.sequence, state.hash)) remains.strays.push_back(state);
      }
      std::ranges::sort(remains.strays, std::greater(), &RegisterState::sequence);
    }
    co_return remains;
  }

  // A view whose value is chosen.
  env::Task<Result<RegisterView>> settled(Time deadline) {
    for (int round = 0; round < kMaxRounds; ++round) {
      auto view = co_await proposer_->prepare(deadline);
      if (!view) co_return fail(std::move(view.error()));
      if (auto status = check_floor(*view); !status) co_return fail(std::move(status.error()));
      if (view->chosen || proposer_->faults().trust_one_answer) co_return std::move(*view);
      auto chosen = co_await proposer_->propose(*view, *view->value, deadline);
      if (!chosen) co_return fail(std::move(chosen.error()));
      if (*chosen) co_return std::move(*view);
      co_await proposer_->back_off(round);
    }
    co_return fail(Code::too_few_peers, "the register's keepers could not be brought to agree");
  }

  env::Task<Result<RegisterState>> attempt(RegisterState expected, Bytes content) {
    const Time deadline = world_.clock.now() + kOperationTimeout;
    std::optional<Value> own;
    for (int round = 0; round < kMaxRounds; ++round) {
      auto view = co_await proposer_->prepare(deadline);
      if (!view) co_return fail(std::move(view.error()));
      if (auto status = check_floor(*view); !status) co_return fail(std::move(status.error()));
      const RegisterState current = current_of(*view);
      std::optional<Hash> done;
      bool beyond_memory = false;
      for (const Hash& hash : attempted_) {
        const auto contained = chain_contains(current, expected.sequence + 1, hash);
        if (!contained) beyond_memory = true;
        if (contained.value_or(false)) done = hash;
      }
      if (done || current.sequence != expected.sequence || current.hash != expected.hash) {
        // What decides must be chosen first: a value that a minority has may yet come to nothing.
        bool chosen = view->chosen;
        if (!chosen) {
          auto proposed = co_await proposer_->propose(*view, *view->value, deadline);
          if (!proposed) co_return fail(std::move(proposed.error()));
          chosen = *proposed;
        }
        if (!chosen) {
          co_await proposer_->back_off(round);
          continue;
        }
        if (beyond_memory) co_return fail(Code::unknown_outcome, "too many values were written since");
        raise_floor(current);
        if (!done) co_return fail(Code::conflict, "somebody else wrote first");
        RegisterState written = own_state(expected, *done, content);
        written.config = view->config;
        co_return written;
      }
      // The same bytes under each ballot; a new value only for a new configuration, and then the old one can no longer
      // be chosen: what sealed that configuration does not have it.
      if (!own || own->config != view->config) {
        own = proposer_->make_value(view->value, content, expected.settled);
        attempted_.push_back(own->body_hash);
      }
      auto chosen = co_await proposer_->propose(*view, *own, deadline);
      if (!chosen) co_return fail(std::move(chosen.error()));
      if (*chosen) {
        RegisterState state = state_of(*own, view->config);
        state.now = view->now;
        state.retained = expected.settled ? 0 : view->retained;
        raise_floor(state);
        co_return state;
      }
      co_await proposer_->back_off(round);
    }
    co_return fail(Code::too_few_peers, "the register's keepers could not be brought to agree");
  }

  // The state that an own value made, found in the chain of a later one.
  RegisterState own_state(const RegisterState& expected, const Hash& hash, Bytes content) const {
    RegisterState state{.sequence = expected.sequence + 1,
                        .hash = hash,
                        .content = std::move(content),
                        .writer = transport_.identity().node,
                        .written = world_.clock.wall_now(),
                        .recent = expected.recent,
                        .forced = expected.forced};
    if (expected.sequence > 0) state.recent.push_back(expected.hash);
    if (state.recent.size() > kRecentValues) state.recent.erase(state.recent.begin());
    return state;
  }

  RegisterState current_of(const RegisterView& view) const {
    RegisterState state = view.value ? state_of(*view.value, view.config) : RegisterState{.config = view.config};
    state.now = view.now;
    state.retained = view.retained;
    return state;
  }
  RegisterState state_in(const RegisterView& view) {
    RegisterState state = current_of(view);
    raise_floor(state);
    return state;
  }
  void raise_floor(const RegisterState& state) {
    if (std::pair(state.era(), state.sequence) <= std::pair(floor_era_, floor_)) return;
    floor_era_ = state.era();
    floor_ = state.sequence;
  }

  Status check_floor(const RegisterView& view) const {
    const RegisterState state = current_of(view);
    const uint64_t sequence = state.sequence;
    if (std::pair(state.era(), sequence) >= std::pair(floor_era_, floor_)) return {};
    std::string names;
    for (const NodeId& node : view.answered) names += " " + node.short_hex();
    world_.log.warning("register_older", "register={} sequence={} expected={} keepers={}", id_.short_hex(), sequence,
                       floor_, names);
    return fail(Code::damaged, "an older state than was seen before is served by" + names);
  }

  env::World world_;
  std::unique_ptr<RegisterTransport> owned_;
  RegisterTransport& transport_;
  RegisterId id_;
  std::optional<Error> broken_;
  std::vector<Hash> attempted_;
  uint64_t floor_ = 0, floor_era_ = 0;
  env::Semaphore turn_;
  std::optional<Proposer> proposer_;
};

Register::Register(env::World world, peer::Peers& peers, Bytes founding) {
  auto transport = transport_over(peers);
  RegisterTransport& used = *transport;
  impl_ = std::make_unique<Impl>(world, std::move(transport), used, std::move(founding), RegisterConfig{},
                                 ProposerFaults{});
}
Register::Register(env::World world, RegisterTransport& transport, Bytes founding, RegisterConfig first,
                   ProposerFaults faults)
    : impl_(std::make_unique<Impl>(world, nullptr, transport, std::move(founding), std::move(first), faults)) {}
Register::~Register() = default;

RegisterId Register::id() const {
  return impl_->id();
}
env::Task<Result<RegisterState>> Register::read() {
  return impl_->read();
}
env::Task<Result<RegisterState>> Register::write(const RegisterState& expected, Bytes content) {
  return impl_->write(expected, std::move(content));
}
const std::vector<Hash>& Register::attempted() const {
  return impl_->attempted();
}
env::Task<Result<std::vector<RegisterState>>> Register::retained() {
  return impl_->retained();
}
env::Task<Status> Register::adapt_keepers() {
  return impl_->adapt_keepers();
}
env::Task<Result<Register::Remains>> Register::look_at_remains() {
  return impl_->look_at_remains();
}
env::Task<Result<RegisterState>> Register::force(std::optional<RegisterState> known) {
  return impl_->force(std::move(known));
}
void Register::expect_at_least(uint64_t sequence) {
  impl_->expect_at_least(sequence);
}

}  // namespace cairn::volume
