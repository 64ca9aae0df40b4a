#include "pool/locator.h"

#include <set>

#include "pool/limits.h"
#include "pool/mailbox.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::pool {

PackLocator::PackLocator(ClientState& state) : state_(state), known_(kKnownPacks), headers_(kKnownHeaders) {}

// A place in the queue for one pack's lock, given up also when the task is destroyed while it waits.
struct PackLocator::Use {
  PackLocator& owner;
  PackId pack;
  Lock& lock;
  Use(PackLocator& locator, const PackId& id) : owner(locator), pack(id), lock(locator.locks_[id]) {
    if (!lock.semaphore) lock.semaphore = std::make_unique<env::Semaphore>(owner.state_.world.executor, 1);
    ++lock.users;
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() {
    if (--lock.users == 0) owner.locks_.erase(pack);
  }
};

PackLocator::Known& PackLocator::known(const PackId& pack) {
  Known* found = known_.find(pack);
  return found != nullptr ? *found : known_.put(pack, {});
}

std::vector<NodeId> PackLocator::holders(const PackRef& ref, uint8_t slot) {
  const NodeId hint = slot < ref.holders.size() ? ref.holders[slot] : NodeId{};
  bool hint_denied = hint.is_zero();
  std::vector<NodeId> list;
  const Known& pack = known(ref.id);
  for (auto it = pack.said.lower_bound({slot, NodeId{}}); it != pack.said.end() && it->first.first == slot; ++it) {
    const auto& [key, statement] = *it;
    if (key.second == hint) {
      hint_denied = true;  // it stands in the list by its own word, or not at all
      if (statement.held) list.insert(list.begin(), hint);
    } else if (statement.held) {
      list.push_back(key.second);
    }
  }
  if (!hint_denied) list.push_back(hint);
  return list;
}

void PackLocator::deny(const PackRef& ref, uint8_t slot, const NodeId& node) {
  Known& pack = known(ref.id);
  if (pack.said.size() < kMaxClaimsPerPack || pack.said.contains({slot, node})) pack.said[{slot, node}].held = false;
}

bool PackLocator::complete(const PackRef& ref, const Also& also) {
  return std::ranges::none_of(live_holders(ref, also), [](const NodeId& node) { return node.is_zero(); });
}

std::vector<NodeId> PackLocator::live_holders(const PackRef& ref, const Also& also) {
  std::vector<NodeId> live(ref.geometry.k + ref.geometry.m);
  for (const auto& [key, statement] : known(ref.id).said) {
    const auto& [slot, node] = key;
    if (!statement.held || !state_.peers.usable(node) || slot >= live.size() || (also && !also(node))) continue;
    live[slot] = node;
  }
  return live;
}

void PackLocator::take(const PackRef& ref, const Answer& answer) {
  Known& pack = known(ref.id);
  const uint32_t slots = ref.geometry.k + ref.geometry.m;
  auto entry = [&pack](uint8_t slot, const NodeId& node) -> Statement* {
    const auto found = pack.said.find({slot, node});
    if (found != pack.said.end()) return &found->second;
    return pack.said.size() < kMaxClaimsPerPack ? &pack.said[{slot, node}] : nullptr;
  };
  for (const Claim& claim : answer.claims) {
    if (claim.shard.pack != ref.id || claim.shard.slot >= slots) continue;
    if (state_.peers.membership().node(claim.node) == nullptr) continue;
    Statement* known_one = entry(claim.shard.slot, claim.node);
    if (known_one == nullptr) continue;
    const auto number = std::pair(claim.boot_seq, claim.sequence);
    if (number <= std::pair(known_one->boot_seq, known_one->sequence)) continue;
    *known_one = {claim.boot_seq, claim.sequence, claim.state != ClaimState::gone};
  }
  // What a node says of itself now is later than any claim of its own.
  const std::set<uint8_t> held(answer.held.begin(), answer.held.end());
  for (auto& [key, statement] : pack.said) {
    if (key.second == answer.from) statement.held = held.contains(key.first);
  }
  for (uint32_t slot = 0; slot < slots; ++slot) {
    const auto number = static_cast<uint8_t>(slot);
    const bool hinted = slot < ref.holders.size() && ref.holders[slot] == answer.from;
    if (!held.contains(number) && !hinted) continue;
    if (Statement* statement = entry(number, answer.from)) statement->held = held.contains(number);
  }
  for (const NodeId& node : answer.siblings) {
    if (node.is_zero() || pack.siblings.size() >= 2 * kMaxSlots) continue;
    if (std::find(pack.siblings.begin(), pack.siblings.end(), node) == pack.siblings.end()) {
      pack.siblings.push_back(node);
    }
  }
}

std::vector<NodeId> PackLocator::siblings(const PackRef& ref) {
  std::vector<NodeId> list;
  std::set<NodeId> listed;
  auto add = [&](const NodeId& node) {
    if (!node.is_zero() && state_.peers.usable(node) && listed.insert(node).second) list.push_back(node);
  };
  const Known& pack = known(ref.id);
  for (const auto& [key, statement] : pack.said) {
    if (statement.held) add(key.second);
  }
  for (const NodeId& node : ref.holders) add(node);
  for (const NodeId& node : pack.siblings) add(node);
  if (list.size() >= ref.geometry.k) return list;
  // These alone do not have the pack: perhaps some that are held for departed answer.
  auto add_away = [&](const NodeId& node) {
    if (!node.is_zero() && state_.peers.last_resort(node) && listed.insert(node).second) list.push_back(node);
  };
  for (const auto& [key, statement] : pack.said) {
    if (statement.held) add_away(key.second);
  }
  for (const NodeId& node : ref.holders) add_away(node);
  for (const NodeId& node : pack.siblings) add_away(node);
  return list;
}

std::vector<NodeId> PackLocator::others(const PackRef& ref) const {
  Placer placer(ref.id, ref.geometry.k + ref.geometry.m, 0, state_.candidates());
  std::vector<NodeId> list;
  while (list.size() < kMaxAsked) {
    const auto next = placer.next();
    if (!next) break;
    list.push_back(next->node);
  }
  // Full ones hold shards too.
  for (const Candidate& candidate : state_.candidates()) {
    if (list.size() >= 2 * kMaxAsked) break;
    if (candidate.free == 0) list.push_back(candidate.node);
  }
  return list;
}

env::Task<void> PackLocator::locate(PackRef ref, bool fresh, Also also) {
  const Time asked = state_.world.clock.now();
  Use use(*this, ref.id);
  const auto permit = co_await use.lock.semaphore->acquire();
  const auto& located = known(ref.id).located;
  if (located && *located + (fresh ? Duration{} : kLocateAgain) >= asked) co_return;
  co_await locate_locked(ref, std::move(also));
  known(ref.id).located = state_.world.clock.now();
}

env::Task<void> PackLocator::locate_locked(PackRef ref, Also also) {
  Mailbox<Answer> answers(state_.world.executor, state_.world.clock);
  env::TaskGroup group(state_.world.executor);
  std::set<NodeId> asked;
  std::vector<NodeId> rest;
  size_t at_work = 0;
  bool widen = false;  // ask others than siblings too
  while (true) {
    std::vector<NodeId> next = siblings(ref);
    if (widen) {
      if (rest.empty()) rest = others(ref);
      next.insert(next.end(), rest.begin(), rest.end());
    }
    for (const NodeId& node : next) {
      if (at_work >= kAskedAtOnce || asked.size() >= kMaxAsked) break;
      if (!asked.insert(node).second) continue;
      ++at_work;
      group.spawn([](PackLocator& self, PackRef pack, NodeId to, Mailbox<Answer>& into) -> env::Task<void> {
        auto answer = co_await self.ask(std::move(pack), to);
        into.send(std::move(answer));
      }(*this, ref, node, answers));
    }
    if (at_work == 0) {
      if (widen) co_return;
      widen = true;
      continue;
    }
    const Time patience = widen ? Time::never() : state_.world.clock.now() + state_.options.hedge_after;
    auto answer = co_await answers.receive(patience);
    if (!answer) {
      widen = true;
      continue;
    }
    --at_work;
    if (answer->ok) take(ref, *answer);
    if (complete(ref, also)) co_return;
  }
}

env::Task<PackLocator::Answer> PackLocator::ask(PackRef ref, NodeId node) {
  wire::ClaimsQueryRequest request;
  request.add_packs(ref.id.raw());
  ++state_.counters.claims_queries;
  Answer answer{.from = node};
  auto reply = co_await peer::ask<wire::ClaimsQueryResponse>(state_.peers, node, wire::Method::claims_query, request,
                                                             kQueryTimeout);
  if (!reply || reply->message.packs_size() != 1) co_return answer;
  const auto& of_pack = reply->message.packs(0);
  if (of_pack.claims_size() > static_cast<int>(kMaxClaimsPerPack) ||
      of_pack.siblings_size() > static_cast<int>(kMaxSlots) ||
      of_pack.held_slots_size() > static_cast<int>(kMaxSlots)) {
    co_return answer;
  }
  answer.claims =
      co_await state_.world.workers.run([&of_pack, &ref] { return checked_claims(of_pack.claims(), {ref.id}); });
  for (const uint32_t slot : of_pack.held_slots()) {
    if (slot < kMaxSlots) answer.held.push_back(static_cast<uint8_t>(slot));
  }
  for (const std::string& raw : of_pack.siblings()) {
    if (auto sibling = NodeId::from(raw)) answer.siblings.push_back(*sibling);
  }
  answer.ok = true;
  co_return answer;
}

// --- headers ---

env::Task<Result<PackLocator::Header>> PackLocator::header(PackRef ref) {
  {
    Use use(*this, ref.id);
    const auto permit = co_await use.lock.semaphore->acquire();
    auto found = co_await header_locked(ref);
    if (found || found.error().code == Code::damaged) co_return found;
  }
  co_await locate(ref);
  Use use(*this, ref.id);
  const auto permit = co_await use.lock.semaphore->acquire();
  co_return co_await header_locked(ref);
}

env::Task<Result<PackLocator::Header>> PackLocator::header_locked(PackRef ref) {
  if (const Header* cached = headers_.find(ref.id)) co_return *cached;
  Mailbox<HeaderAnswer> answers(state_.world.executor, state_.world.clock);
  env::TaskGroup group(state_.world.executor);
  const std::vector<NodeId> nodes = siblings(ref);
  size_t next = 0;
  size_t at_work = 0;
  while (true) {
    if (next < nodes.size()) {
      ++at_work;
      group.spawn([](PackLocator& self, PackRef pack, NodeId to, Mailbox<HeaderAnswer>& into) -> env::Task<void> {
        auto header = co_await self.ask_header(std::move(pack), to);
        into.send({to, std::move(header)});
      }(*this, ref, nodes[next++], answers));
    }
    if (at_work == 0) co_return fail(Code::too_few_peers, "nobody has the pack's header");
    // One after the other, the next at once when one fails, or when it is slow.
    const Time patience = next < nodes.size() ? state_.world.clock.now() + state_.options.hedge_after : Time::never();
    auto answer = co_await answers.receive(patience);
    if (!answer) continue;
    --at_work;
    if (!answer->header) {
      if (answer->header.error().code == Code::damaged) co_return std::move(answer->header);
      continue;
    }
    headers_.put(ref.id, *answer->header);
    co_return std::move(answer->header);
  }
}

env::Task<Result<PackLocator::Header>> PackLocator::ask_header(PackRef ref, NodeId node) {
  wire::PackHeaderRequest request;
  request.set_pack(ref.id.raw());
  auto reply = co_await peer::ask<wire::PackHeaderResponse>(state_.peers, node, wire::Method::pack_header, request,
                                                            kQueryTimeout);
  if (!reply) co_return fail(std::move(reply.error()));
  auto parsed = co_await state_.world.workers.run(
      [&reply] { return content::PackHeader::parse(wire::encode(reply->message.header())); });
  // The ID is the hash of the signed bytes: who gives another header is found out here.
  if (!parsed || parsed->id != ref.id) {
    state_.report(node, {ref.id, 0}, "a pack header that is not this pack's");
    co_return fail(Code::corrupt, "pack header");
  }
  if (parsed->geometry != ref.geometry) co_return fail(Code::damaged, "the pack is not as its reference says");
  co_return std::make_shared<const content::PackHeader>(std::move(*parsed));
}

}  // namespace cairn::pool
