#include "pool/audit.h"

#include <set>

#include "pool/mailbox.h"
#include "proto/pack.pb.h"
#include "wire/limits.h"
#include "wire/message.h"

namespace cairn::pool {

AuditOptions AuditOptions::scaled(double factor) const {
  AuditOptions options = *this;
  for (Duration* one : {&options.every, &options.retry, &options.confirm, &options.distrust_retry, &options.passed_by,
                        &options.scrub_delay, &options.scrub_every, &options.save_every}) {
    *one = scaled_time(*one, factor);
  }
  return options;
}

Auditor::Auditor(env::World world, peer::Peers& peers, Holder& holder, NodeScores& scores, AuditOptions options)
    : world_(world),
      peers_(peers),
      holder_(holder),
      scores_(scores),
      options_(options),
      doubts_changed_(world.executor),
      tasks_(world.executor) {
  peers_.serve(wire::Method::audit, peer::Access::members,
               [this](peer::Request request) { return serve(std::move(request)); });
  // Who says itself that it no longer has it may be trusted again: its disk may have failed, and it has another.
  holder_.on_news([this](const ShardId& shard, const NodeId& node, ClaimState state) {
    if (state == ClaimState::gone) forget({shard, node});
  });
}

void Auditor::start() {
  if (!options_.without_audits) tasks_.spawn(audit_loop());
  tasks_.spawn(follow_up_loop());
  tasks_.spawn(scrub_loop());
  tasks_.spawn(save_loop());
}

void Auditor::stop() {
  tasks_.cancel();
}

bool Auditor::distrusted(const ShardId& shard, const NodeId& node) const {
  const auto found = doubts_.find({shard, node});
  return found != doubts_.end() && found->second.distrusted;
}

// --- answering ---

// Nothing: it is not there.
env::Task<Result<std::optional<store::ShardStore::ProvenRange>>> Auditor::leaf_here(ShardId shard, uint32_t leaf) {
  auto range = co_await in_any_store(
      holder_, [&](store::ShardStore& store) { return store.read_proven(shard, leaf * kLeafSize, 1); });
  if (range) co_return std::optional(std::move(*range));
  // Rot: the shard has gone just now. A disk that cannot be read says nothing yet.
  for (const Code none : {Code::not_found, Code::corrupt, Code::bad_input})
    if (range.error().code == none) co_return std::nullopt;
  co_return fail(std::move(range.error()));
}

// Siblings may have lost what they were told, or were never told: then the asker hears it here.
env::Task<Status> Auditor::tell_what_differs(PackId pack, std::string known, wire::AuditResponse& response) {
  auto claims = co_await holder_.claims_of(pack);
  if (!claims) co_return fail(std::move(claims.error()));
  if (known.empty() || known == digest_of(*claims).raw()) co_return Status{};
  for (const Claim& claim : *claims) {
    if (response.claims_size() >= static_cast<int>(wire::kMaxAuditClaims)) break;
    CAIRN_CO_TRY(wire::decode_into(*response.add_claims(), claim.signed_message));
  }
  co_return Status{};
}

env::Task<void> Auditor::hear_what_differs(NodeId from, std::set<PackId> packs, wire::AuditResponse response) {
  if (response.claims().empty()) co_return;
  std::map<PackId, std::vector<Claim>> told;
  auto accepted = co_await world_.workers.run([&]() -> Result<std::vector<Claim>> {
    const std::vector<Claim> claims = checked_claims(response.claims(), packs);
    for (const Claim& claim : claims) told[claim.shard.pack].push_back(claim);
    return holder_.index().accept(claims);
  });
  if (!accepted) {
    world_.log.error("claims_index", "error=\"{}\"", to_string(accepted.error()));
    co_return;
  }
  counters_.claims_heard += accepted->size();
  for (const Claim& claim : *accepted) {
    if (changed_) changed_(claim.shard);
  }
  // And the other of what lies here, when it does not know.
  for (const auto& [pack, claims] : told) {
    if (std::ranges::find(claims, peers_.identity().node, &Claim::node) != claims.end()) continue;
    auto known = co_await holder_.claims_of(pack);
    if (!known) continue;
    for (const Claim& claim : *known) {
      if (claim.node == peers_.identity().node && claim.state != ClaimState::gone)
        holder_.announce(claim.shard, claim.state, {from});
    }
  }
}

env::Task<Result<peer::Reply>> Auditor::serve(peer::Request request) {
  auto message = wire::decode<wire::AuditRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  if (message->challenges_size() > static_cast<int>(wire::kMaxAuditChallenges)) {
    co_return fail(Code::too_large, "too many challenges");
  }
  wire::AuditResponse response;
  std::set<PackId> compared;
  std::vector<Buffer> leaves;
  size_t total = 0;
  for (const auto& challenge : message->challenges()) {
    auto pack = PackId::from(challenge.pack());
    if (!pack) co_return fail(std::move(pack.error()));
    if (challenge.slot() >= kMaxSlots || challenge.leaf() >= kMaxShardSize / kLeafSize) {
      co_return fail(Code::bad_input, "no such leaf");
    }
    if (compared.insert(*pack).second) {
      auto told = co_await tell_what_differs(*pack, challenge.known(), response);
      if (!told) co_return fail(std::move(told.error()));
    }
    auto range = co_await leaf_here({*pack, static_cast<uint8_t>(challenge.slot())}, challenge.leaf());
    if (!range) co_return fail(std::move(range.error()));
    ++counters_.answered;
    auto* proof = response.add_proofs();
    if (!*range) {
      // Who asks has not heard that it is gone.
      const ShardId shard{*pack, static_cast<uint8_t>(challenge.slot())};
      auto claims = co_await holder_.claims_of(*pack);
      const bool claimed = claims && std::ranges::any_of(*claims, [&](const Claim& claim) {
                             return claim.shard == shard && claim.node == peers_.identity().node;
                           });
      if (claimed) holder_.announce(shard, ClaimState::gone, {request.from});
      continue;
    }
    proof->set_found(true);
    proof->set_length(static_cast<uint32_t>((*range)->bytes.size()));
    for (const Hash& hash : (*range)->path) proof->add_path(hash.raw());
    total += (*range)->bytes.size();
    leaves.push_back(std::move((*range)->bytes));
  }
  Buffer payload(total);
  size_t at = 0;
  for (const Buffer& leaf : leaves) {
    std::memcpy(payload.data() + at, leaf.data(), leaf.size());
    at += leaf.size();
  }
  co_return peer::Reply{wire::encode(response), std::move(payload)};
}

// --- asking ---

env::Task<std::optional<content::PackHeader>> Auditor::header_of(PackId pack) {
  for (const auto& store : holder_.stores()) {
    const auto slots = co_await store->slots_of(pack);
    if (slots.empty()) continue;
    auto described = co_await store->describe({pack, slots.front()});
    if (described) co_return std::move(described->header);
  }
  co_return std::nullopt;
}

env::Task<std::optional<Auditor::Challenge>> Auditor::make_challenge(ShardId shard) {
  const auto header = co_await header_of(shard.pack);
  if (!header || shard.slot >= header->roots.size()) co_return std::nullopt;
  Bytes random(8);
  world_.random.fill(random);
  const uint32_t leaves = (header->geometry.shard_length + kLeafSize - 1) / kLeafSize;
  co_return Challenge{shard, static_cast<uint32_t>(read_be64(random.data()) % leaves)};
}

// One answer for each challenge that could be put.
env::Task<std::vector<Auditor::Asked>> Auditor::ask(NodeId node, std::vector<Challenge> challenges) {
  std::vector<Asked> asked;
  std::vector<content::PackHeader> headers;
  std::set<PackId> packs;
  wire::AuditRequest request;
  for (const Challenge& challenge : challenges) {
    auto header = co_await header_of(challenge.shard.pack);
    if (!header || challenge.shard.slot >= header->roots.size()) continue;
    headers.push_back(std::move(*header));
    asked.push_back({challenge});
    auto* entry = request.add_challenges();
    entry->set_pack(challenge.shard.pack.raw());
    entry->set_slot(challenge.shard.slot);
    entry->set_leaf(challenge.leaf);
    auto claims = co_await holder_.claims_of(challenge.shard.pack);
    if (claims) entry->set_known(digest_of(*claims).raw());
    packs.insert(challenge.shard.pack);
  }
  if (asked.empty()) co_return asked;
  counters_.asked += asked.size();
  auto reply = co_await peer::ask<wire::AuditResponse>(peers_, node, wire::Method::audit, request, kAuditTimeout);
  if (reply) {
    counters_.bytes += wire::kFrameHeaderSize + reply->message.ByteSizeLong() + reply->payload.size();
    co_await world_.workers.run([&]() -> Status {
      size_t at = 0;
      for (size_t i = 0; i < asked.size(); ++i) {
        Asked& one = asked[i];
        one.answer = Answer::wrong;
        if (static_cast<int>(i) >= reply->message.proofs_size()) continue;
        const auto& proof = reply->message.proofs(static_cast<int>(i));
        if (!proof.found() || proof.length() > reply->payload.size() - at) continue;
        const ByteView bytes = reply->payload.view().subspan(at, proof.length());
        at += proof.length();
        std::vector<Hash> path;
        for (const std::string& raw : proof.path()) {
          if (auto hash = Hash::from(raw)) path.push_back(*hash);
        }
        const uint32_t length = headers[i].geometry.shard_length;
        const size_t expected = std::min<size_t>(kLeafSize, length - size_t{one.challenge.leaf} * kLeafSize);
        if (bytes.size() == expected && content::verify_merkle_range(headers[i].roots[one.challenge.shard.slot], length,
                                                                     one.challenge.leaf, bytes, path)) {
          one.answer = Answer::proven;
        }
      }
      return {};
    });
    co_await hear_what_differs(node, std::move(packs), std::move(reply->message));
  } else if (reply.error().code == Code::corrupt || reply.error().code == Code::unsupported) {
    // An answer that is none.
    for (Asked& one : asked) one.answer = reply.error().code == Code::corrupt ? Answer::wrong : Answer::silent;
  }
  for (const Asked& one : asked) {
    ++(one.answer == Answer::proven  ? counters_.proven
       : one.answer == Answer::wrong ? counters_.wrong
                                     : counters_.silent);
  }
  co_return asked;
}

env::Task<Result<bool>> Auditor::check(ShardId shard, NodeId node) {
  const auto challenge = co_await make_challenge(shard);
  if (!challenge) co_return fail(Code::not_found, "no shard of this pack is here");
  std::vector<Challenge> one{*challenge};
  const auto asked = co_await ask(node, std::move(one));
  if (asked.empty()) co_return fail(Code::not_found, "no shard of this pack is here");
  take(node, asked.front());
  if (asked.front().answer == Answer::silent) co_return fail(Code::timeout, "no answer to an audit");
  co_return asked.front().answer == Answer::proven;
}

void Auditor::suspect(const ShardId& shard, const NodeId& node) {
  if (options_.without_audits || doubts_.contains({shard, node})) return;
  tasks_.spawn([](Auditor& self, ShardId what, NodeId who) -> env::Task<void> {
    auto checked = co_await self.check(what, who);
    static_cast<void>(checked);  // check() has taken what follows from it
  }(*this, shard, node));
}

// --- what follows from an answer ---

void Auditor::set_distrusted(const Key& key, Doubt& doubt, bool distrusted) {
  if (std::exchange(doubt.distrusted, distrusted) == distrusted) return;
  if (distrusted) {
    distrusted_nodes_.insert(key.second);
  } else {
    distrusted_nodes_.erase(distrusted_nodes_.find(key.second));
  }
  if (changed_) changed_(key.first);
}

void Auditor::take(const NodeId& node, const Asked& asked) {
  const Key key{asked.challenge.shard, node};
  const auto found = doubts_.find(key);
  const Time now = world_.clock.now();
  if (asked.answer == Answer::proven) {
    scores_.audited(node, true);
    // Only the leaf that was in doubt takes the doubt away.
    if (found == doubts_.end() || found->second.challenge.leaf != asked.challenge.leaf) return;
    Doubt cleared = found->second;
    doubts_.erase(found);
    set_distrusted(key, cleared, false);
    return;
  }
  if (found == doubts_.end() && doubts_.size() >= kMaxDistrusted) return;
  Doubt& doubt = found == doubts_.end() ? doubts_[key] : found->second;
  if (found == doubts_.end()) doubt.challenge = asked.challenge;
  ++(asked.answer == Answer::wrong ? doubt.wrong : doubt.silent);
  doubt.when = now + (doubt.distrusted                ? options_.distrust_retry
                      : asked.answer == Answer::wrong ? options_.confirm
                                                      : options_.retry);
  if (!doubt.distrusted && (doubt.wrong >= 2 || doubt.silent >= kAuditTries)) {
    ++counters_.failed;
    scores_.audited(node, false);
    if (log_limit_.allow(now)) {
      world_.log.warning("audit_failed", "node={} pack={} slot={} leaf={}", node.short_hex(),
                         key.first.pack.short_hex(), key.first.slot, doubt.challenge.leaf);
    }
    doubt.when = now + options_.distrust_retry;
    set_distrusted(key, doubt, true);
  }
  doubts_changed_.notify_all();
}

env::Task<void> Auditor::follow_up_loop() {
  while (true) {
    const Time now = world_.clock.now();
    Time next = Time::never();
    std::optional<Key> due;
    for (const auto& [key, doubt] : doubts_) {
      if (doubt.when <= now) due = key;
      next = std::min(next, doubt.when);
    }
    if (due) {
      co_await follow_up(*due);
    } else {
      co_await wait_until(world_.clock, doubts_changed_, next);
    }
  }
}

void Auditor::forget(const Key& key) {
  const auto found = doubts_.find(key);
  if (found == doubts_.end()) return;
  Doubt gone = found->second;
  doubts_.erase(found);
  const bool was = gone.distrusted;
  set_distrusted(key, gone, false);
  // It has not made it good, only taken its claim back.
  if (was && !distrusted(key.second)) scores_.at(key.second).caught_lying(options_.passed_by);
}

env::Task<void> Auditor::follow_up(Key key) {
  const auto& [shard, node] = key;
  doubts_[key].when = world_.clock.now() + options_.retry;
  // Who is not there, or says itself that it no longer has it, is no matter for audits.
  auto claims = co_await holder_.claims_of(shard.pack);
  if (!doubts_.contains(key)) co_return;
  const bool claimed = claims && std::ranges::any_of(*claims, [&](const Claim& claim) {
                         return claim.shard == key.first && claim.node == key.second && claim.state != ClaimState::gone;
                       });
  if (!claimed) {
    forget(key);
    co_return;
  }
  const peer::NodeState state = peers_.state(node);
  if (state != peer::NodeState::alive && state != peer::NodeState::suspect) {
    if (!doubts_[key].distrusted) forget(key);
    co_return;
  }
  std::vector<Challenge> same{doubts_[key].challenge};
  const auto asked = co_await ask(node, std::move(same));
  if (asked.empty()) {
    forget(key);
  } else {
    take(node, asked.front());
  }
}

// --- the rounds ---

// Random shards that it claims of packs that are held here, and the one whose turn it is: chance passes by those whose
// ID comes soon after another's. Index look-ups, however many there are.
env::Task<std::vector<ShardId>> Auditor::sample(NodeId node) {
  std::vector<ShardId> shards;
  // Siblings begin anywhere, or what comes last in the order would have its turn with all of them at last.
  if (const auto [turn, fresh] = turns_.try_emplace(node); fresh) world_.random.fill(turn->second.pack.bytes);
  for (size_t i = 0; i < kAuditBatch; ++i) {
    ShardId from;
    if (i == 0) {
      from = turns_[node];
    } else {
      world_.random.fill(from.pack.bytes);
    }
    auto found = co_await holder_.held_by(node, from, 1);
    if (found && found->empty()) found = co_await holder_.held_by(node, std::nullopt, 1);
    if (!found || found->empty()) break;
    if (i == 0) turns_[node] = found->front();
    if (std::ranges::find(shards, found->front()) == shards.end()) shards.push_back(found->front());
  }
  co_return shards;
}

env::Task<void> Auditor::audit_loop() {
  // Anywhere and at any time: daemons that are started often, or all at once, do not all ask the same ones.
  world_.random.fill(last_asked_.bytes);
  Bytes random(8);
  world_.random.fill(random);
  constexpr uint64_t kParts = 1024;
  Duration pause = options_.every * static_cast<int64_t>(1 + read_be64(random.data()) % kParts) / kParts;
  while (true) {
    co_await env::sleep_for(world_.clock, pause);
    pause = options_.every;
    // The next node, in the order of their IDs, that is there and has something in common with this one.
    std::vector<NodeId> round;
    peers_.membership().any_node([&](const peer::NodeInfo& node) {
      if (node.id != peers_.identity().node && peers_.state(node) == peer::NodeState::alive) round.push_back(node.id);
      return false;
    });
    std::erase_if(turns_, [&](const auto& turn) { return peers_.membership().node(turn.first) == nullptr; });
    std::ranges::sort(round);
    std::ranges::rotate(round, std::ranges::upper_bound(round, last_asked_));
    for (const NodeId& node : round) {
      const auto shards = co_await sample(node);
      if (shards.empty()) continue;
      last_asked_ = node;
      std::vector<Challenge> challenges;
      for (const ShardId& shard : shards) {
        const auto challenge = co_await make_challenge(shard);
        // One in doubt has its own challenge and time.
        if (challenge && !doubts_.contains({shard, node})) challenges.push_back(*challenge);
      }
      const auto asked = co_await ask(node, std::move(challenges));
      for (const Asked& one : asked) take(node, one);
      break;
    }
  }
}

env::Task<void> Auditor::scrub_loop() {
  co_await env::sleep_for(world_.clock, options_.scrub_delay);
  while (true) {
    for (size_t i = 0; i < holder_.stores().size(); ++i) {
      auto scrubbed = co_await holder_.stores()[i]->scrub(options_.scrub_rate);
      if (!scrubbed) world_.log.warning("scrub", "error=\"{}\"", to_string(scrubbed.error()));
    }
    ++counters_.scrubs;
    co_await env::sleep_for(world_.clock, options_.scrub_every);
  }
}

env::Task<void> Auditor::save_loop() {
  while (true) {
    co_await env::sleep_for(world_.clock, options_.save_every);
    auto saved = co_await scores_.save();
    if (!saved) world_.log.warning("scores_not_saved", "error=\"{}\"", to_string(saved.error()));
  }
}

}  // namespace cairn::pool
