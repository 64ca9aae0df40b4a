#include "peer/swim.h"

#include <cmath>

#include "peer/limits.h"
#include "proto/membership.pb.h"
#include "wire/message.h"

namespace cairn::peer {

std::string subject_of(const Doubt& doubt) {
  return "d" + doubt.about.raw() + doubt.by.raw();
}

wire::Doubt encode_doubt(const Doubt& doubt) {
  wire::DoubtBody body;
  body.set_about(doubt.about.raw());
  body.set_boot_seq(doubt.incarnation.boot_seq);
  body.set_sequence(doubt.incarnation.sequence);
  body.set_by(doubt.by.raw());
  wire::Doubt encoded;
  encoded.set_body(body.SerializeAsString());
  encoded.set_signature(doubt.signature.data(), doubt.signature.size());
  return encoded;
}

std::optional<Doubt> decode_doubt(const wire::Doubt& encoded) {
  auto body = wire::decode<wire::DoubtBody>(encoded.body());
  if (!body) return std::nullopt;
  const auto about = NodeId::from(body->about());
  const auto by = NodeId::from(body->by());
  if (!about || !by) return std::nullopt;
  return Doubt{.about = *about,
               .incarnation = {body->boot_seq(), body->sequence()},
               .by = *by,
               .signature = to_bytes(encoded.signature())};
}

Swim::Swim(env::Executor& executor, env::Clock& clock, uint64_t seed, SwimHost& host, const NodeId& self,
           SwimOptions options)
    : executor_(executor),
      clock_(clock),
      prng_(seed),
      host_(host),
      self_(self),
      options_(options),
      work_(executor),
      tasks_(executor) {}

Swim::~Swim() = default;

void Swim::start() {
  awake_since_ = clock_.now();
  tasks_.spawn(probe_loop(this));
  tasks_.spawn(news_loop(this));
}

void Swim::stop() {
  tasks_.cancel();
}

// --- news ---

env::Task<void> Swim::news_loop(Swim* self) {
  for (;;) {
    if (!self->has_work()) {
      co_await self->work_.wait();
      continue;
    }
    const Time due = self->clock_.now() + self->options_.gossip_every;
    co_await env::sleep_until(self->clock_, due);
    self->overslept(due);
    self->tick();
  }
}

void Swim::tick() {
  refute_now();
  expire();
  tell_some();
}

void Swim::tell_some() {
  if (news_.empty()) return;
  std::set<NodeId> chosen;
  for (uint32_t i = 0; i < 3 * options_.fanout && chosen.size() < options_.fanout; ++i) {
    const auto to = options_.rings == 0
                        ? any_member()
                        : friend_at(static_cast<uint32_t>(prng_.below(options_.rings)), prng_.below(2) == 0);
    if (to) chosen.insert(*to);
  }
  // Where only one other is there, nobody wants what that one told; it would wait, and be offered, for ever.
  if (chosen.size() == 1 && host_.members() <= suspicions_.departed().size() + 2) {
    news_.drop_from(*chosen.begin());
    if (news_.empty()) return;
  }
  for (const NodeId& to : chosen) tasks_.spawn(tell(this, to));
}

env::Task<void> Swim::tell(Swim* self, NodeId to) {
  Bytes request = self->request_to(to, 3, nullptr);
  auto reply = co_await self->host_.ask(to, std::move(request), self->scaled(self->options_.ack_timeout));
  if (!reply) co_return;
  auto response = wire::decode<wire::SwimResponse>(ByteView(*reply));
  if (response) self->take(*response, to);
}

Bytes Swim::request_to(const NodeId& to, uint32_t kind, const NodeId* target) {
  wire::SwimRequest request;
  request.set_kind(kind);
  if (target) request.set_target(target->raw());
  request.set_table(table_hash());
  // Lifeguard's buddy: who is doubted hears it with the next probe, and can refute it.
  const auto* suspicion = options_.lifeguard ? suspicions_.find(to) : nullptr;
  if (suspicion && !suspicion->doubts.empty()) {
    wire::News news;
    *news.mutable_doubt() = encode_doubt(suspicion->doubts.begin()->second);
    request.add_news(news.SerializeAsString());
  }
  for (std::string& piece : news_.take(to, retransmit_limit(), kMaxNewsBytes)) request.add_news(std::move(piece));
  return wire::encode(request);
}

env::Task<Result<Bytes>> Swim::answer(NodeId from, Bytes request) {
  auto asked = wire::decode<wire::SwimRequest>(ByteView(request));
  if (!asked) co_return fail(Code::bad_input, asked.error().context);
  if (asked->news_size() > kMaxNewsPerMessage + 1) co_return fail(Code::bad_input, "too much news in one message");
  heard(from);
  take(*asked, from);
  wire::SwimResponse response;
  if (asked->kind() == 2) {
    const auto target = NodeId::from(asked->target());
    if (!target) co_return fail(Code::bad_input, "a probe of nobody");
    bool reached = *target == self_;
    if (!reached && host_.incarnation(*target)) reached = co_await reach(this, *target, options_.ack_timeout);
    response.set_verdict(reached ? 1 : 2);
  }
  response.set_table(table_hash());
  for (std::string& piece : news_.take(from, retransmit_limit(), kMaxNewsBytes)) response.add_news(std::move(piece));
  co_return wire::encode(response);
}

template <class Message>
void Swim::take(const Message& message, const NodeId& from) {
  for (int i = 0; i < std::min(message.news_size(), kMaxNewsPerMessage + 1); ++i) take_news(message.news(i), from);
  // While news are under way tables differ, and they will make them the same.
  if (news_.empty() && message.table() != table_hash()) host_.differs(from);
}
template void Swim::take(const wire::SwimResponse& message, const NodeId& from);

void Swim::take_news(const std::string& encoded, const NodeId& from) {
  auto news = wire::decode<wire::News>(encoded);
  if (!news) return;
  switch (news->what_case()) {
    case wire::News::kRecord: {
      const std::string record = news->record().SerializeAsString();
      const auto node = host_.take_record(as_bytes(record));
      if (!node) return;
      record_changed(*node);
      news_.add("r" + node->raw(), encoded, from);
      wake();
      return;
    }
    case wire::News::kDoubt:
      if (const auto doubt = decode_doubt(news->doubt())) take_doubt(*doubt, from, true);
      return;
    case wire::News::kLog: {
      const std::string record = news->log().SerializeAsString();
      if (!host_.take_log(as_bytes(record), from)) return;
      news_.add("l" + record, encoded, from);
      wake();
      tell_some();  // who is no member any more is cut off at once
      return;
    }
    case wire::News::WHAT_NOT_SET:
      return;
  }
}

void Swim::tell_record(const NodeId& node, std::string entry) {
  wire::News news;
  if (!news.mutable_record()->ParseFromString(entry)) return;
  record_changed(node);
  news_.add("r" + node.raw(), news.SerializeAsString(), {});
  wake();
}

void Swim::tell_log(std::string record) {
  wire::News news;
  if (!news.mutable_log()->ParseFromString(record)) return;
  news_.add("l" + record, news.SerializeAsString(), {});
  wake();
  tell_some();
}

size_t Swim::retransmit_limit() const {
  return static_cast<size_t>(std::ceil(kRetransmit * std::log(static_cast<double>(host_.members()) + 1)));
}

uint64_t Swim::table_hash() const {
  return host_.summary() ^ suspicions_.hash();
}

// --- evidence ---

void Swim::heard(const NodeId& node) {
  if (node == self_) return;
  const Time now = clock_.now();
  evidence_[node].heard = now;
  failed_.erase(node);
  // It lives, whatever others say. It will be told that it is doubted, and refute it.
  if (auto* suspicion = suspicions_.find(node)) {
    const bool departed = suspicion->departed;
    suspicions_.revive(node, now);
    if (departed) set_state(node, NodeState::alive);
    wake();
  }
}

void Swim::failed(const NodeId& node) {
  if (node == self_) return;
  evidence_[node].failed = clock_.now();
  if (failed_.insert(node).second) recheck_.push_back(node);
}

void Swim::record_changed(const NodeId& node) {
  // It lives: can this node reach it again, too?
  if (failed_.contains(node) && std::ranges::find(recheck_, node) == recheck_.end()) recheck_.push_back(node);
  const auto incarnation = host_.incarnation(node);
  const auto* suspicion = suspicions_.find(node);
  if (!incarnation || !suspicion || *incarnation <= suspicion->incarnation) return;
  for (const auto& [by, doubt] : suspicion->doubts) news_.drop(subject_of(doubt));
  suspicions_.forget(node);
  set_state(node, NodeState::alive);
}

void Swim::members_changed() {
  std::vector<NodeId> gone;
  for (const auto& [node, suspicion] : suspicions_.all()) {
    if (!host_.incarnation(node)) gone.push_back(node);
  }
  for (const NodeId& node : gone) suspicions_.forget(node);
  suspicions_.keep_observers([&](const NodeId& by) { return by == self_ || host_.incarnation(by).has_value(); });
  std::erase_if(evidence_, [&](const auto& entry) { return !host_.incarnation(entry.first); });
  std::erase_if(failed_, [&](const NodeId& node) { return !host_.incarnation(node); });
  round_.clear();
}

bool Swim::take_doubt(const Doubt& doubt, const NodeId& from, bool pass_on) {
  const auto known = host_.incarnation(doubt.about);
  if (!known || doubt.incarnation < *known || !host_.incarnation(doubt.by) || doubt.by == self_) return false;
  if (doubt.incarnation > *known) {
    host_.differs(from);  // there is a record that is not known here
    return false;
  }
  if (doubt.about == self_) {
    if (refute_ || !host_.genuine(doubt)) return false;
    refute_ = doubt.incarnation;
    refute_now();
    wake();
    return true;
  }
  if (!suspicions_.would_add(doubt) || !host_.genuine(doubt)) return false;
  const bool first = suspicions_.find(doubt.about) == nullptr;
  suspicions_.add(doubt, clock_.now());
  if (pass_on) {
    wire::News news;
    *news.mutable_doubt() = encode_doubt(doubt);
    news_.add(subject_of(doubt), news.SerializeAsString(), from);
  }
  if (first) set_state(doubt.about, NodeState::suspect);
  wake();
  return true;
}

void Swim::refute_now() {
  if (!refute_) return;
  const Time now = clock_.now();
  // Each refutation costs everybody some bytes, and a liar must not be able to cause more than one a period.
  if (refuted_at_ && now - *refuted_at_ < options_.period) return;
  const Incarnation doubted = *std::exchange(refute_, std::nullopt);
  const auto own = host_.incarnation(self_);
  if (!own || doubted < *own) return;  // removed meanwhile; or refuted by another change already
  refuted_at_ = now;
  ++counters_.refutations;
  change_health(1);
  tell_record(self_, cairn::to_string(ByteView(host_.refute(doubted))));
}

// --- what follows ---

size_t Swim::expected_observers() const {
  const size_t others = host_.members() - std::min(host_.members(), suspicions_.departed().size() + 1);
  if (options_.observers > 1 && others < 2) return SIZE_MAX;  // nobody is there who could confirm it
  return std::min<size_t>(options_.observers, others);
}

Duration Swim::timeout_of(const Suspicions::Suspicion& suspicion) const {
  const size_t members = host_.members() - std::min(host_.members(), suspicions_.departed().size());
  const double periods = options_.alpha * std::max(1.0, std::log10(static_cast<double>(std::max<size_t>(members, 1))));
  const Duration low(static_cast<int64_t>(periods * static_cast<double>(options_.period.count())));
  if (!options_.lifeguard) return std::max(low, options_.least_suspicion);
  // Confirmations that cannot come are not waited for.
  const size_t expected = members < options_.confirmations + 2 ? 0 : options_.confirmations;
  const Duration high(static_cast<int64_t>(options_.beta * static_cast<double>(low.count())));
  return std::max(suspicion_timeout(low, high, suspicion.doubts.size() - 1, expected), options_.least_suspicion);
}

void Swim::expire() {
  if (suspicions_.open() == 0) return;
  const Time now = clock_.now();
  const size_t observers = expected_observers();
  std::vector<NodeId> over;
  for (const auto& [node, suspicion] : suspicions_.all()) {
    if (suspicion.departed) continue;
    const Duration age = now - suspicion.began;
    const bool confirmed = suspicion.doubts.size() >= observers && age >= timeout_of(suspicion);
    if (confirmed || (age >= kSilence && suspicion.doubts.contains(self_))) over.push_back(node);
  }
  for (const NodeId& node : over) {
    suspicions_.depart(node);
    ++counters_.departures;
    set_state(node, NodeState::departed);
  }
}

void Swim::set_state(const NodeId& node, NodeState state) {
  host_.state_changed(node, state);
}

NodeState Swim::state(const NodeId& node) const {
  // Asked of all nodes again and again, most of which are simply there.
  if (failed_.empty() && suspicions_.all().empty() && synced_) return NodeState::alive;
  const auto found = evidence_.find(node);
  const std::optional<Time> heard = found == evidence_.end() ? std::nullopt : found->second.heard;
  if (failed_.contains(node) && clock_.now() - *found->second.failed < kOwnFailure) {
    const auto* suspicion = suspicions_.find(node);
    return suspicion && suspicion->departed ? NodeState::departed : NodeState::suspect;
  }
  if (const auto* suspicion = suspicions_.find(node)) {
    if (suspicion->departed) return NodeState::departed;
    const bool lives = heard && *heard > suspicion->latest && clock_.now() - *heard < 2 * options_.period;
    return lives ? NodeState::alive : NodeState::suspect;
  }
  return synced_ || heard ? NodeState::alive : NodeState::unknown;
}

std::optional<Time> Swim::last_heard(const NodeId& node) const {
  const auto found = evidence_.find(node);
  return found == evidence_.end() ? std::nullopt : found->second.heard;
}

// The machine slept, or had no time for this process: its clocks ran on while it could hear nobody.
void Swim::overslept(Time due) {
  if (!options_.cautious) return;
  const Time now = clock_.now();
  if (now - due <= options_.period) return;
  suspicions_.postpone(now - std::max(due, awake_since_));
  awake_since_ = now;
  change_health(1);
}

void Swim::change_health(int by) {
  if (!options_.lifeguard) return;
  const int64_t health = static_cast<int64_t>(health_) + by;
  health_ = static_cast<uint32_t>(std::clamp<int64_t>(health, 0, kMaxLocalHealth));
}

std::optional<NodeId> Swim::friend_at(uint32_t ring, bool next) const {
  NodeId node = self_;
  for (size_t i = 0; i < host_.members(); ++i) {
    node = host_.neighbour(ring, node, next);
    if (node == self_) return std::nullopt;
    const auto* suspicion = suspicions_.find(node);
    if (!suspicion || !suspicion->departed) return node;
  }
  return std::nullopt;
}

std::optional<NodeId> Swim::any_member() {
  constexpr int kTries = 8;
  for (int i = 0; i < kTries && host_.members() > 1; ++i) {
    const NodeId node = host_.member(prng_.below(host_.members()));
    const auto* suspicion = suspicions_.find(node);
    if (node != self_ && !(suspicion && suspicion->departed)) return node;
  }
  return std::nullopt;
}

}  // namespace cairn::peer
