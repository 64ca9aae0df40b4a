#include "volume/register_proposer.h"

#include <algorithm>

#include "volume/register_limits.h"

namespace cairn::volume {

namespace {

// Wakes whoever waits on a signal once the time has come.
class Alarm {
 public:
  Alarm(env::Clock& clock, env::Signal& signal) : clock_(clock), signal_(signal) {}
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm() { clock_.cancel(timer_); }
  // Keeps the earliest of the times asked for.
  void at(Time when) {
    if (timer_ != 0 && when >= when_) return;
    clock_.cancel(timer_);
    when_ = when;
    timer_ = clock_.schedule(when, [this] {
      timer_ = 0;
      rung_ = true;
      signal_.notify_all();
    });
  }
  bool rung() const { return rung_; }

 private:
  env::Clock& clock_;
  env::Signal& signal_;
  env::TimerId timer_ = 0;
  Time when_{};
  bool rung_ = false;
};

}  // namespace

struct Proposer::Answers {
  Answers(env::Executor& executor, RegisterConfig asked, const Ballot& under, Duration with)
      : config(std::move(asked)),
        ballot(under),
        patience(with),
        verdicts(config.keepers.size()),
        values(config.keepers.size()),
        accepted(config.keepers.size()),
        clocks(config.keepers.size()),
        retained(config.keepers.size()),
        receipts(config.keepers.size()),
        changed(executor) {}

  size_t count(wire::RegisterVerdict verdict) const {
    return static_cast<size_t>(std::ranges::count(verdicts, std::optional(verdict)));
  }
  size_t open() const {
    return static_cast<size_t>(std::ranges::count_if(verdicts, [](const auto& verdict) { return !verdict; }));
  }
  // Keeps what a refusal tells: what outbid the ballot, where the register has moved. False when it is malformed.
  template <class Response>
  bool note_refusal(const Response& response) {
    if (response.verdict() == wire::OUTBID) {
      if (auto other = parse_ballot(response.highest())) highest = std::max(highest, *other);
    }
    if (response.verdict() == wire::MOVED) {
      auto newer = parse_config(response.config());
      if (!newer) return false;
      if (!moved || moved->first.epoch < newer->epoch) moved.emplace(std::move(*newer), response.origin());
    }
    return true;
  }
  void settle(size_t index, wire::RegisterVerdict verdict) {
    verdicts[index] = verdict;
    changed.notify_all();
  }

  const RegisterConfig config;
  const Ballot ballot;
  const Duration patience;
  wire::Signed proposal;  // accept: what is proposed
  Hash proposal_hash;
  bool proposes = false;                                       // it is an accept round
  bool seals = false;                                          // the proposal seals `config`
  std::vector<std::optional<wire::RegisterVerdict>> verdicts;  // by keeper; VERDICT_UNKNOWN: no answer to be had
  std::vector<std::optional<Value>> values;                    // prepare
  std::vector<Ballot> accepted;                                // prepare
  std::vector<WallTime> clocks;                                // prepare
  std::vector<uint64_t> retained;                              // prepare
  std::vector<wire::Signed> receipts;                          // accept
  Ballot highest;
  // The newest proven configuration that an answer named.
  std::optional<std::pair<RegisterConfig, wire::RegisterOrigin>> moved;
  env::Signal changed;
};

struct Proposer::Discovery {
  explicit Discovery(env::Executor& executor) : changed(executor) {}
  std::vector<std::pair<NodeId, bool>> nodes;  // and whether it lends: others keep nothing, or no longer should
  size_t open = 0, answered = 0;
  bool adopted = false;
  env::Signal changed;
};

Proposer::Proposer(env::World world, RegisterTransport& transport, Founding founding, RegisterConfig first,
                   ProposerFaults faults)
    : world_(world),
      transport_(transport),
      founding_(std::move(founding)),
      first_(std::move(first)),
      faults_(faults),
      prng_(world.random.u64()),
      session_(world.random.u64()),
      patience_(kKeeperTimeout),
      behind_(world.executor) {
  if (founding_.kind == wire::RegisterFounding::HEAD) first_ = founding_.first;
  // A hint only, so that the first ballot of a new process is not outbid by those of the last one.
  counter_ = static_cast<uint64_t>(std::max<WallTime>(world_.clock.wall_now(), 0) / 1'000'000);
}

Ballot Proposer::next_ballot() {
  return Ballot{++counter_, transport_.identity().node, session_};
}

void Proposer::learn(const Ballot& ballot) {
  counter_ = std::max(counter_, ballot.counter);
}

env::Task<void> Proposer::back_off(int round) {
  const Duration limit = std::min(kLastPause, kFirstPause * (1 << std::min(round, 10)));
  co_await env::sleep_for(world_.clock,
                          Duration(static_cast<int64_t>(prng_.below(static_cast<uint64_t>(limit.count())))));
}

bool Proposer::adopt(const RegisterConfig& config, const wire::RegisterOrigin* origin, const wire::Signed* value) {
  if (known_ && config.epoch <= config_.epoch) return false;
  if (config.epoch == 0) {
    // An account's first configuration is its owner's choice: a value of the owner's must say so.
    if (founding_.kind == wire::RegisterFounding::HEAD) {
      if (config != founding_.first) return false;
    } else if (config != first_) {
      if (value == nullptr) return false;
      auto parsed = parse_value(founding_, *value);
      if (!parsed || parsed->config != config) return false;
    }
  } else {
    if (origin == nullptr) return false;
    auto parsed = check_origin(founding_, *origin, config);
    if (!parsed) return false;
    origin_ = *origin;
  }
  config_ = config;
  known_ = true;
  return true;
}

env::Task<void> Proposer::peek_one(Proposer& self, std::shared_ptr<Discovery> found, size_t index) {
  wire::RegisterPeekRequest request;
  request.set_register_(self.founding_.id.raw());
  const auto& [node, lends] = found->nodes[index];
  auto raw = co_await self.transport_.call(node, wire::Method::register_peek, wire::encode(request), kPeekTimeout);
  --found->open;
  if (raw) {
    auto response = wire::decode<wire::RegisterPeekResponse>(ByteView(*raw));
    if (response) {
      if (lends) ++found->answered;
      auto config = parse_config(response->config());
      if (response->known() && config &&
          self.adopt(*config, response->has_origin() ? &response->origin() : nullptr,
                     response->has_value() ? &response->value() : nullptr)) {
        found->adopted = true;
      }
    }
  }
  found->changed.notify_all();
}

env::Task<Result<bool>> Proposer::discover(Time deadline) {
  std::vector<KeeperCandidate> nodes = transport_.nodes();
  sort_by_rendezvous(founding_.order_key, nodes);
  // Those that keep registers now come before those that once did, and last those that are held for gone: they may
  // answer all the same.
  std::vector<KeeperCandidate> late;
  for (const bool gone : {false, true}) {
    for (const KeeperCandidate& node : nodes) {
      if (node.gone == gone && (gone || !node.usable || !node.lends)) late.push_back(node);
    }
  }
  std::erase_if(nodes, [](const KeeperCandidate& node) { return node.gone || !node.usable || !node.lends; });
  nodes.insert(nodes.end(), late.begin(), late.end());
  peeks_asked_ = peeks_answered_ = 0;
  for (size_t first = 0, end = 0; first < nodes.size() && world_.clock.now() < deadline; first = end) {
    auto found = std::make_shared<Discovery>(world_.executor);
    end = std::min(first + kPeekBatch, nodes.size());
    while (nodes[end - 1].gone && !nodes[first].gone) --end;  // nobody waits for those with the others
    for (size_t i = first; i < end; ++i) {
      found->nodes.emplace_back(nodes[i].node, nodes[i].lends && !nodes[i].gone);
      if (nodes[i].lends && !nodes[i].gone) ++peeks_asked_;
    }
    found->open = found->nodes.size();
    env::TaskGroup group(world_.executor);
    for (size_t i = 0; i < found->nodes.size(); ++i) group.spawn(peek_one(*this, found, i));
    Alarm alarm(world_.clock, found->changed);
    alarm.at(std::min(deadline, world_.clock.now() + kPeekTimeout));
    while (found->open > 0 && !alarm.rung()) co_await found->changed.wait();
    peeks_answered_ += found->answered;
    if (found->adopted) co_return true;
  }
  co_return false;
}

Result<Value> Proposer::check_value(const wire::Signed& message) {
  // All keepers answer with the same bytes, and again in the next round.
  if (checked_ && same_bytes(checked_->encoded, message)) return *checked_;
  auto value = parse_value(founding_, message);
  if (value) checked_ = *value;
  return value;
}

env::Task<void> Proposer::ask_prepare(Proposer& self, std::shared_ptr<Answers> answers, size_t index) {
  wire::RegisterPrepareRequest request;
  request.set_founding(self.founding_.bytes.data(), self.founding_.bytes.size());
  put_ballot(answers->ballot, request.mutable_ballot());
  put_config(answers->config, request.mutable_config());
  for (int tries = 0; tries < 2; ++tries) {
    auto raw = co_await self.transport_.call(answers->config.keepers[index], wire::Method::register_prepare,
                                             wire::encode(request), answers->patience);
    if (!raw) break;
    auto response = wire::decode<wire::RegisterPrepareResponse>(ByteView(*raw));
    if (!response) break;
    if (response->verdict() == wire::NEEDS_ORIGIN && self.config_ == answers->config && !request.has_origin()) {
      *request.mutable_origin() = self.origin_;
      continue;
    }
    if (!answers->note_refusal(*response)) break;
    if (response->verdict() == wire::AGREED) {
      auto accepted = parse_ballot(response->accepted());
      if (!accepted) break;
      if (response->has_value()) {
        auto value = self.check_value(response->value());
        if (!value || (value->config != answers->config && !value->begins(answers->config))) break;
        answers->values[index] = std::move(*value);
      }
      answers->accepted[index] = *accepted;
      answers->clocks[index] = response->now();
      answers->retained[index] = response->retained();
    }
    answers->settle(index, response->verdict());
    co_return;
  }
  answers->settle(index, wire::VERDICT_UNKNOWN);
}

env::Task<void> Proposer::ask_accept(Proposer& self, std::shared_ptr<Answers> answers, size_t index) {
  wire::RegisterAcceptRequest request;
  request.set_founding(self.founding_.bytes.data(), self.founding_.bytes.size());
  put_ballot(answers->ballot, request.mutable_ballot());
  put_config(answers->config, request.mutable_config());
  *request.mutable_value() = answers->proposal;
  for (int tries = 0; tries < 2; ++tries) {
    const NodeId keeper = answers->config.keepers[index];
    auto raw =
        co_await self.transport_.call(keeper, wire::Method::register_accept, wire::encode(request), answers->patience);
    if (!raw) break;
    auto response = wire::decode<wire::RegisterAcceptResponse>(ByteView(*raw));
    if (!response) break;
    if (response->verdict() == wire::NEEDS_ORIGIN && self.config_ == answers->config && !request.has_origin()) {
      *request.mutable_origin() = self.origin_;
      continue;
    }
    if (!answers->note_refusal(*response)) break;
    if (response->verdict() == wire::AGREED) {
      if (answers->seals && !check_receipt(response->receipt(), self.founding_.id, answers->ballot,
                                           answers->proposal_hash, answers->config.epoch, keeper)) {
        break;
      }
      answers->receipts[index] = response->receipt();
    }
    answers->settle(index, response->verdict());
    co_return;
  }
  answers->settle(index, wire::VERDICT_UNKNOWN);
}

size_t Proposer::needed_of(const Answers& answers) const {
  const bool has_value = std::ranges::any_of(answers.values, [](const auto& value) { return value.has_value(); });
  if (answers.proposes || has_value || founding_.kind != wire::RegisterFounding::ACCOUNT || answers.config.epoch > 0) {
    return majority(answers.config);
  }
  return answers.config.keepers.size();
}

env::Task<void> Proposer::gather(std::shared_ptr<Answers> answers, Time deadline) {
  Alarm alarm(world_.clock, answers->changed);
  alarm.at(std::min(deadline, world_.clock.now() + answers->patience));
  for (;;) {
    const size_t needed = needed_of(*answers);
    const size_t agreed = answers->count(wire::AGREED);
    // Founding needs all, but the first value that an answer brings makes a majority enough: who fails quickly must not
    // end the round before it.
    const size_t open = answers->open();
    if (agreed >= needed || open == 0 || agreed + open < majority(answers->config) || alarm.rung()) co_return;
    // It has to come again anyway: not worth waiting long for the others.
    if (answers->highest.counter != 0 || answers->moved) alarm.at(world_.clock.now() + kOutbidGrace);
    co_await answers->changed.wait();
  }
}

bool Proposer::follow(const Answers& answers) {
  learn(answers.highest);
  return answers.moved && adopt(answers.moved->first, &answers.moved->second, nullptr);
}

env::Task<Result<std::optional<RegisterView>>> Proposer::prepare_round(Time deadline, bool& lonely) {
  while (behind_.size() >= kMaxBehind) co_await behind_.join();
  auto answers = std::make_shared<Answers>(world_.executor, config_, next_ballot(), patience_);
  for (size_t i = 0; i < config_.keepers.size(); ++i) behind_.spawn(ask_prepare(*this, answers, i));
  co_await gather(answers, deadline);
  // A view of a configuration that turns out to be over is worth nothing, majority or not.
  const bool moved = follow(*answers);
  if (moved || answers->count(wire::AGREED) < needed_of(*answers)) {
    lonely = !moved && answers->highest.counter == 0;
    co_return std::optional<RegisterView>();
  }
  RegisterView view{.config = config_, .ballot = answers->ballot};
  Ballot newest;
  std::vector<WallTime> clocks;
  for (size_t i = 0; i < answers->values.size(); ++i) {
    if (answers->verdicts[i] != wire::AGREED) continue;
    view.answered.push_back(answers->config.keepers[i]);
    clocks.push_back(answers->clocks[i]);
    view.retained = std::max(view.retained, answers->retained[i]);
    if (!answers->values[i]) continue;
    if (!view.value || answers->accepted[i] > newest) {
      view.value = answers->values[i];
      newest = answers->accepted[i];
    }
  }
  // Of two the one that is behind: what waits for a time rather waits longer.
  std::ranges::sort(clocks);
  if (!clocks.empty()) view.now = clocks[(clocks.size() - 1) / 2];
  size_t alike = 0;
  for (size_t i = 0; i < answers->values.size(); ++i) {
    if (answers->verdicts[i] == wire::AGREED && answers->values[i] && answers->accepted[i] == newest) ++alike;
  }
  // The value that began the configuration was chosen in the one before it.
  view.chosen = !view.value || newest.counter == 0 || alike >= majority(answers->config);
  co_return std::optional<RegisterView>(std::move(view));
}

struct Proposer::Loneliness {
  int rounds = 0;
  Time since{};
};

env::Task<bool> Proposer::wait_for_keepers(Loneliness& lonely, Time deadline) {
  const Time now = world_.clock.now();
  // Who is cut off from everybody learns nothing by waiting.
  const NodeId self = transport_.identity().node;
  const auto nodes = transport_.nodes();
  const bool hope = std::ranges::any_of(nodes, [&](const auto& node) { return node.usable && node.node != self; });
  if (++lonely.rounds >= kLonelyRounds && (!hope || now - lonely.since >= kLonelyPatience)) co_return false;
  if (now + kLonelyPause >= deadline) co_return false;
  patience_ = std::min(2 * patience_, kLongestKeeperTimeout);
  co_await env::sleep_for(world_.clock, kLonelyPause);
  co_return true;
}

env::Task<Result<RegisterView>> Proposer::prepare(Time deadline) {
  if (transport_.identity().member.id() != founding_.owner) {
    co_return fail(Code::denied, "only the owner's devices may use a register");
  }
  Loneliness loneliness;
  for (int round = 0; round < kMaxRounds && world_.clock.now() < deadline;) {
    if (loneliness.rounds == 0) loneliness.since = world_.clock.now();
    if (!known_) {
      if (founding_.kind == wire::RegisterFounding::HEAD) {
        adopt(founding_.first, nullptr, nullptr);
      } else {
        auto found = co_await discover(deadline);
        if (!found) co_return fail(std::move(found.error()));
        if (!*found && !first_.keepers.empty()) {
          adopt(first_, nullptr, nullptr);
        } else if (!*found) {
          if (peeks_answered_ == peeks_asked_ && peeks_asked_ > 0) {
            co_return fail(Code::not_found, "none of the pool's nodes keeps this account");
          }
          const bool again = co_await wait_for_keepers(loneliness, deadline);
          if (again) continue;
          co_return fail(Code::too_few_peers, "no keeper of this account among the nodes that answered");
        }
      }
    }
    bool lonely = false;
    const RegisterConfig asked = config_;
    auto view = co_await prepare_round(deadline, lonely);
    if (!view) co_return fail(std::move(view.error()));
    if (*view && (*view)->value && (*view)->value->sealed && (*view)->value->config == asked) {
      // Somebody began to move the register: finish that, whether it was chosen or not.
      const Value seal = *(*view)->value;
      auto done = co_await propose(**view, seal, deadline);
      if (!done) co_return fail(std::move(done.error()));
      if (!*done) co_await back_off(round);
      ++round;
      continue;
    }
    if (*view) co_return std::move(**view);
    if (lonely) {
      auto newer = co_await discover(deadline);
      if (!newer) co_return fail(std::move(newer.error()));
      if (*newer) continue;
      const bool again = co_await wait_for_keepers(loneliness, deadline);
      if (!again) break;
      continue;
    }
    loneliness.rounds = 0;
    if (config_ == asked) co_await back_off(round);
    ++round;
  }
  co_return fail(Code::too_few_peers, "the register's keepers could not be brought to agree");
}

env::Task<Result<bool>> Proposer::propose(RegisterView view, Value value, Time deadline) {
  CAIRN_ASSERT(view.config == config_);
  while (behind_.size() >= kMaxBehind) co_await behind_.join();
  auto answers = std::make_shared<Answers>(world_.executor, config_, view.ballot, patience_);
  answers->proposal = value.encoded;
  answers->proposal_hash = value.body_hash;
  answers->proposes = true;
  answers->seals = value.sealed && value.config == config_;
  for (size_t i = 0; i < config_.keepers.size(); ++i) behind_.spawn(ask_accept(*this, answers, i));
  co_await gather(answers, deadline);
  follow(*answers);
  if (answers->count(wire::AGREED) < majority(answers->config)) co_return false;
  if (answers->seals) {
    wire::RegisterOrigin origin;
    *origin.mutable_value() = value.encoded;
    for (size_t i = 0; i < answers->receipts.size(); ++i) {
      if (answers->verdicts[i] == wire::AGREED) *origin.add_receipts() = answers->receipts[i];
    }
    adopt(value.next, &origin, nullptr);
  }
  co_return true;
}

env::Task<Result<bool>> Proposer::move_to(RegisterView view, RegisterConfig next, Time deadline) {
  next.epoch = config_.epoch + 1;
  Value seal{.config = config_, .sealed = true, .next = std::move(next)};
  if (view.value) {
    seal.sequence = view.value->sequence;
    if (seal.sequence > 0) seal.previous = view.value->hash();
    seal.content = view.value->content;
    seal.written = view.value->written;
    seal.recent = view.value->recent;
    seal.forced = view.value->forced;
    seal.writer = view.value->writer;
  }
  sign_value(founding_, transport_.identity(), seal);
  auto chosen = co_await propose(std::move(view), std::move(seal), deadline);
  co_return chosen;
}

env::Task<Result<Proposer::Found>> Proposer::find_all(Time deadline) {
  if (transport_.identity().member.id() != founding_.owner)
    co_return fail(Code::denied, "only the owner's devices may use a register");
  Found found;
  std::vector<NodeId> nodes;
  auto candidates = transport_.nodes();
  std::ranges::stable_sort(candidates, {}, [](const auto& node) { return std::pair(node.gone, !node.usable); });
  for (const KeeperCandidate& node : candidates) nodes.push_back(node.node);
  wire::RegisterPeekRequest request;
  request.set_register_(founding_.id.raw());
  request.set_values(true);
  for (size_t first = 0; first < nodes.size() && world_.clock.now() < deadline; first += kPeekBatch) {
    std::vector<env::Task<Result<Bytes>>> asks;
    const size_t end = std::min(first + kPeekBatch, nodes.size());
    for (size_t i = first; i < end; ++i)
      asks.push_back(transport_.call(nodes[i], wire::Method::register_peek, wire::encode(request), kKeeperTimeout));
    auto answers = co_await env::when_all(world_.executor, std::move(asks));
    for (size_t i = first; i < end; ++i) {
      if (!answers[i - first]) continue;
      auto response = wire::decode<wire::RegisterPeekResponse>(ByteView(*answers[i - first]));
      KeeperInstance instance;
      if (!response || response->instance().size() != instance.size()) continue;
      std::ranges::copy(as_bytes(response->instance()), instance.begin());
      found.answered.emplace_back(nodes[i], instance);
      if (!response->known()) continue;
      if (auto config = parse_config(response->config()))
        adopt(*config, response->has_origin() ? &response->origin() : nullptr,
              response->has_value() ? &response->value() : nullptr);
      for (const wire::Signed& message : response->values()) {
        auto value = parse_value(founding_, message);
        if (value) found.values.push_back(std::move(*value));
      }
    }
  }
  if (!known_ && founding_.kind == wire::RegisterFounding::HEAD) adopt(founding_.first, nullptr, nullptr);
  if (!known_ && !first_.keepers.empty()) adopt(first_, nullptr, nullptr);
  if (!known_ || found.answered.empty())
    co_return fail(Code::too_few_peers, "none of the nodes that answered knows the register");
  co_return found;
}

env::Task<Result<bool>> Proposer::force(std::optional<RegisterState> best, RegisterConfig next) {
  next.epoch = epoch_after_force(config_.epoch, world_.random.u64());
  Value seal{.config = config_, .sealed = true, .next = next, .force = true};
  if (best && best->sequence > 0) {
    seal.sequence = best->sequence;
    seal.previous = best->hash;
    seal.content = best->content;
    seal.written = best->written;
    seal.recent = best->recent;
    seal.forced = best->forced;
    seal.writer = best->writer;
  }
  seal.forced.push_back({.epoch = next.epoch,
                         .sequence = seal.sequence,
                         .hash = seal.previous,
                         .lost = config_,
                         .when = world_.clock.wall_now(),
                         .by = transport_.identity().node});
  if (seal.forced.size() > kMaxForced) seal.forced.erase(seal.forced.begin());
  sign_value(founding_, transport_.identity(), seal);
  wire::RegisterOrigin origin;
  *origin.mutable_value() = seal.encoded;
  if (!adopt(next, &origin, nullptr)) co_return fail(Code::conflict, "the register was forced by another device");
  // The new keepers begin; a majority of them holds it durably then.
  for (int round = 0; round < kMaxRounds; ++round) {
    bool lonely = false;
    auto view = co_await prepare_round(world_.clock.now() + kOperationTimeout, lonely);
    if (!view) co_return fail(std::move(view.error()));
    if (config_ != next) co_return false;
    if (*view) co_return true;
    if (lonely) co_return false;
    co_await back_off(round);
  }
  co_return false;
}

env::Task<void> Proposer::tell_given_up(RegisterConfig lost) {
  if (config_.epoch == 0) co_return;
  wire::RegisterPrepareRequest request;
  request.set_founding(founding_.bytes.data(), founding_.bytes.size());
  put_ballot(next_ballot(), request.mutable_ballot());
  put_config(config_, request.mutable_config());
  *request.mutable_origin() = origin_;
  std::vector<env::Task<Result<Bytes>>> asks;
  for (const KeeperCandidate& node : transport_.nodes()) {
    if (!node.usable || has_keeper(config_, node.node) || !has_keeper(lost, node.node)) continue;
    asks.push_back(transport_.call(node.node, wire::Method::register_prepare, wire::encode(request), kPeekTimeout));
  }
  auto told = co_await env::when_all(world_.executor, std::move(asks));
  (void)told;  // who is away is told another time
}

Value Proposer::make_value(const std::optional<Value>& previous, Bytes content, bool settles) const {
  Value value{.sequence = 1,
              .config = config_,
              .content = std::move(content),
              .written = world_.clock.wall_now(),
              .writer = transport_.identity().node};
  if (previous) value.forced = previous->forced;
  if (previous && previous->sequence > 0) {
    value.sequence = previous->sequence + 1;
    value.previous = previous->hash();
    value.recent = previous->recent;
    value.recent.push_back(value.previous);
    if (value.recent.size() > kRecentValues) value.recent.erase(value.recent.begin());
  }
  value.settles = settles;
  sign_value(founding_, transport_.identity(), value);
  return value;
}

env::Task<Result<std::vector<RegisterState>>> Proposer::retained(Time deadline) {
  std::map<std::string, RegisterState> found;  // by sequence and hash
  size_t answered = 0;
  const RegisterConfig config = config_;
  for (const NodeId& keeper : config.keepers) {
    wire::RegisterRetainedRequest request;
    request.set_founding(founding_.bytes.data(), founding_.bytes.size());
    for (bool more = true; more && world_.clock.now() < deadline;) {
      auto raw = co_await transport_.call(keeper, wire::Method::register_retained, wire::encode(request), patience_);
      if (!raw) break;
      auto response = wire::decode<wire::RegisterRetainedResponse>(ByteView(*raw));
      if (!response) break;
      more = response->more() && response->values_size() > 0;
      for (const wire::RetainedValue& one : response->values()) {
        request.set_after(one.key());
        if (found.contains(one.key())) continue;
        auto value = parse_value(founding_, one.value());
        if (value) found.emplace(one.key(), state_of(*value, config));  // a keeper's forgery is nobody's loss
      }
      if (!more) ++answered;
    }
  }
  if (answered < majority(config)) co_return fail(Code::too_few_peers, "too few keepers told what was replaced");
  std::vector<RegisterState> states;
  for (auto& [key, state] : found) states.push_back(std::move(state));
  co_return states;
}

}  // namespace cairn::volume
