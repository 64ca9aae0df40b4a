#include "pool/pack_writer.h"

#include <set>

#include "pool/limits.h"
#include "pool/mailbox.h"
#include "pool/put_request.h"
#include "wire/message.h"

namespace cairn::pool {

// The state of one pack, shared by the tasks that fill its slots.
struct PackWriter::Writing {
  Writing(ClientState& state, env::Semaphore::Permit permit, content::EncodedPack encoded,
          const std::vector<Candidate>& candidates)
      : place(std::move(permit)),
        pack(std::move(encoded)),
        placer(pack.header.id, slots(), pack.header.geometry.shard_length, candidates),
        planned(slots()),
        holders(slots()),
        in_memory(slots()),
        outcome(state.world.executor),
        begun(state.world.clock.now()),
        moved(begun) {
    for (const Candidate& c : candidates) {
      if (c.free < pack.header.geometry.shard_length) full_domains.insert(c.domain);
    }
  }

  // This slot's bytes are gone, or copied out: the pack's own memory is free once all are.
  void leave() {
    if (--in_memory == 0) place.release();
  }
  uint32_t slots() const { return pack.header.geometry.k + pack.header.geometry.m; }
  uint32_t quorum() const { return commit_quorum(pack.header.geometry); }
  bool committed() const { return domains.size() >= quorum(); }
  // Slots whose receipt is still on its way are hinted at where they are being sent to.
  WriteOutcome so_far() const {
    WriteOutcome outcome_now{{pack.header.id, pack.header.geometry, holders}, receipts};
    for (size_t slot = 0; slot < holders.size() && slot < planned.size(); ++slot) {
      if (holders[slot].is_zero()) outcome_now.ref.holders[slot] = planned[slot];
    }
    return outcome_now;
  }

  env::Semaphore::Permit place;
  content::EncodedPack pack;
  Placer placer;
  std::vector<Candidate> resting;  // taken from the placer while they rest after a failure: for later
  std::vector<NodeId> planned;     // by slot, for the siblings' hint
  std::vector<NodeId> holders;     // by slot, who gave a receipt
  std::set<NodeId> in_doubt;       // asked for a slot, no answer: they may have it
  uint32_t receipts = 0;
  uint32_t in_memory = 0;              // slots
  std::set<std::string> domains;       // that gave a receipt
  std::set<std::string> full_domains;  // with a node that has no room
  env::OneShot<Result<WriteOutcome>> outcome;
  Time begun;
  Time moved{};                 // an upload of it, last
  std::optional<Time> half_at;  // half of the receipts
  std::optional<Time> committed_at;
};

PackWriter::PackWriter(ClientState& state)
    : state_(state),
      places_(state.world.executor, state.options.max_packs_in_flight),
      stragglers_(state.world.executor, kMaxStragglerMemory),
      finished_(state.world.executor),
      tasks_(state.world.executor) {}

PackWriter::~PackWriter() = default;

void PackWriter::stop() {
  tasks_.cancel();
}

content::PackGeometry PackWriter::geometry_now() const {
  if (const auto& code = state_.options.code) return {.k = code->first, .m = code->second, .shard_length = 0};
  std::vector<Candidate> live = state_.candidates();
  const content::PackGeometry goal = geometry_for(count_domains(live));
  // Those that are full, or that nobody has reached lately, would only keep the pack from its quorum.
  std::erase_if(live, [this](const Candidate& c) {
    return c.free < kMaxShardSize || state_.peers.state(c.node) == peer::NodeState::suspect;
  });
  const content::PackGeometry able = geometry_for(count_domains(live));
  return !live.empty() && able.m >= std::min(goal.m, 2U) ? able : goal;
}

Redundancy PackWriter::goal() const {
  const size_t domains = count_domains(state_.candidates());
  if (const auto& code = state_.options.code)
    return {.code = {.k = code->first, .m = code->second, .shard_length = 0}, .domains = domains};
  return {.code = geometry_for(domains), .domains = domains};
}

env::Task<Result<WriteOutcome>> PackWriter::write(content::EncodedPack pack) {
  auto place = co_await places_.acquire();
  auto candidates = state_.candidates();
  auto writing = std::make_shared<Writing>(state_, std::move(place), std::move(pack), candidates);

  const size_t alive = count_domains(candidates);
  std::erase_if(candidates, [&](const Candidate& c) { return c.free < writing->pack.header.geometry.shard_length; });
  const size_t roomy = count_domains(candidates);
  if (roomy < writing->quorum()) {
    if (alive >= writing->quorum()) co_return fail(Code::no_space, "the pool's stores are full");
    co_return fail(Code::too_few_peers, fmt::format("{} domains are alive, {} are needed", alive, writing->quorum()));
  }
  auto outcome = writing->outcome;
  under_way_.insert(++begun_);
  tasks_.spawn(run(std::move(writing), begun_));
  auto written = co_await outcome;
  co_return written;
}

env::Task<uint64_t> PackWriter::settle() {
  const uint64_t last = begun_;  // later ones are not waited for: there may always be some
  while (!under_way_.empty() && *under_way_.begin() <= last) co_await finished_.wait();
  co_return state_.counters.packs_below_goal;
}

env::Task<void> PackWriter::run(std::shared_ptr<Writing> pack, uint64_t number) {
  struct Finished {
    PackWriter& owner;
    uint64_t number;
    ~Finished() {
      owner.under_way_.erase(number);
      owner.finished_.notify_all();
    }
  } finished{*this, number};
  env::TaskGroup slots(state_.world.executor);
  for (uint32_t slot = 0; slot < pack->slots(); ++slot) slots.spawn(fill(pack, static_cast<uint8_t>(slot)));
  co_await slots.join();
  if (pack->committed()) {
    if (pack->receipts < pack->slots()) {
      ++state_.counters.packs_below_goal;
      if (state_.log_limit.allow(state_.world.clock.now())) {
        state_.world.log.warning("pack_below_goal", "pack={} receipts={} slots={}", pack->pack.header.id.short_hex(),
                                 pack->receipts, pack->slots());
      }
    }
    co_return;
  }
  // Would it have been enough, had the full ones taken theirs?
  std::set<std::string> with_full = pack->domains;
  with_full.insert(pack->full_domains.begin(), pack->full_domains.end());
  if (with_full.size() >= pack->quorum() && !pack->full_domains.empty()) {
    pack->outcome.set(fail(Code::no_space, "the pool's stores are full"));
  } else {
    pack->outcome.set(fail(Code::too_few_peers,
                           fmt::format("{} domains of {} needed took a shard", pack->domains.size(), pack->quorum())));
  }
}

// Who is next in order and may be asked now. Those who rest after a failure are put aside, and taken when their rest is
// over.
std::optional<Candidate> PackWriter::take_candidate(Writing& pack) {
  auto resting = [this, now = state_.world.clock.now()](const Candidate& c) {
    return state_.holders.resting(Work::put, c.node, now) || state_.on_trial.contains(c.node);
  };
  while (auto next = pack.placer.next()) {
    if (!resting(*next)) return next;
    pack.placer.take_back(*next);
    pack.resting.push_back(std::move(*next));
  }
  for (auto it = pack.resting.begin(); it != pack.resting.end(); ++it) {
    if (resting(*it) || !state_.peers.usable(it->node)) continue;
    Candidate taken = std::move(*it);
    pack.resting.erase(it);
    pack.placer.hand_out(taken);
    return taken;
  }
  return std::nullopt;
}

void PackWriter::look_at(Writing& pack, Upload& upload) const {
  const uint64_t delivered = state_.peers.delivered(upload.to.node);
  if (delivered < upload.delivered) upload.delivered = delivered;  // another session
  if (delivered < upload.delivered + kLeastMovement) return;
  upload.delivered = delivered;
  upload.moved = pack.moved = state_.world.clock.now();
}

// From when on an upload counts as slow, and is raced by a replacement: beside the others of its pack or, before these
// can tell, when nothing of it moves.
Time PackWriter::patience(const Writing& pack, const Upload& upload) const {
  if (!pack.half_at) return upload.moved + kSlowPut;
  const Duration wait = std::max<Duration>(kSlowPut, (*pack.half_at - pack.begun) * kStragglerFactor);
  return std::min(upload.begun + wait, upload.moved + state_.options.put_timeout);
}

void PackWriter::received(Writing& pack, uint8_t slot, const Candidate& holder) {
  pack.holders[slot] = holder.node;
  ++pack.receipts;
  pack.domains.insert(holder.domain);
  const Time now = state_.world.clock.now();
  if (!pack.half_at && 2 * pack.receipts >= pack.slots()) pack.half_at = now;
  if (pack.committed() && !pack.committed_at) {
    pack.committed_at = now;
    ++state_.counters.packs_written;
    pack.outcome.set(pack.so_far());
  }
}

// What an upload's failure says about the holder; true when it may be asked again later.
bool PackWriter::note_failure(Writing& pack, const Candidate& holder, Code code) {
  pack.placer.take_back(holder);
  const Time now = state_.world.clock.now();
  if (code == Code::no_space) {
    const peer::NodeInfo* info = state_.peers.membership().node(holder.node);
    if (info != nullptr) state_.holders.set_free(holder.node, 0, {info->boot_seq, info->sequence});
    pack.full_domains.insert(holder.domain);
    return false;
  }
  state_.holders.failed(Work::put, holder.node, now);
  switch (code) {
    case Code::unreachable:
    case Code::timeout:
    case Code::closed:
    case Code::overloaded:
    case Code::corrupt:  // the CRC: bytes that changed on the way
      return true;
    default:
      return false;
  }
}

// One slot, until some node gives a receipt or nobody is left to ask in time.
env::Task<void> PackWriter::fill(std::shared_ptr<Writing> pack, uint8_t slot) {
  env::Clock& clock = state_.world.clock;
  Mailbox<Ended> ended(state_.world.executor, clock);
  env::TaskGroup uploads(state_.world.executor);
  std::vector<Upload> at_work;  // oldest first
  std::optional<env::Semaphore::Permit> aside;
  while (true) {
    const Time now = clock.now();
    for (Upload& upload : at_work) look_at(*pack, upload);
    // Until the quorum, and a while longer behind it; a line that is slow and moves is waited for.
    const Time slot_moved = at_work.empty() ? Time{} : at_work.back().moved;
    const Time give_up = pack->committed_at ? std::max(*pack->committed_at, slot_moved) + kFinishWithin
                                            : pack->moved + state_.options.put_timeout;
    if (now >= give_up) break;
    Time wake = std::min(give_up, now + kSlowPut);  // the quorum may bring give_up forward
    if (at_work.empty() || now >= patience(*pack, at_work.back())) {
      if (auto next = take_candidate(*pack)) {
        for (const Upload& upload : at_work) pack->in_doubt.insert(upload.to.node);
        pack->planned[slot] = next->node;
        at_work.push_back({*next, now, now, state_.peers.delivered(next->node)});
        uploads.spawn([](PackWriter& self, std::shared_ptr<Writing> writing, uint8_t number, Candidate to,
                         Mailbox<Ended>& into) -> env::Task<void> {
          auto status = co_await self.put(std::move(writing), number, to);
          into.send({to.node, std::move(status)});
        }(*this, pack, slot, std::move(*next), ended));
      } else if (pack->committed() && !aside) {
        // Nobody new is left. The pack's memory is not kept for this slot: its shard is copied out, and who is slow or
        // rests is tried again from there, as far as there is room.
        for (const Upload& upload : at_work) {
          if (note_failure(*pack, upload.to, Code::timeout)) pack->resting.push_back(upload.to);
        }
        uploads.cancel();
        at_work.clear();
        if (pack->resting.empty()) break;
        aside = stragglers_.try_acquire(pack->pack.shards[slot].size());
        if (!aside) break;
        pack->pack.shards[slot] = Buffer::copy_of(pack->pack.shards[slot]);
        pack->leave();
        continue;
      } else {
        // Somebody's rest may end in time.
        Time back = Time::never();
        for (const Candidate& c : pack->resting) {
          back = std::min(back, std::max(state_.holders.rests_until(Work::put, c.node), now + kTrialPoll));
        }
        if (at_work.empty() && back > give_up) break;
        wake = std::min(wake, back);
      }
    } else {
      wake = std::min(wake, patience(*pack, at_work.back()));
    }
    auto end = co_await ended.receive(wake);
    if (!end) continue;
    const auto found =
        std::find_if(at_work.begin(), at_work.end(), [&](const Upload& u) { return u.to.node == end->node; });
    const Upload upload = *found;
    at_work.erase(found);
    if (end->status) {
      // An older upload that is still under way was too slow; a younger one was started for nothing.
      for (const Upload& other : at_work) {
        pack->placer.take_back(other.to);
        if (other.begun < upload.begun) state_.holders.failed(Work::put, other.to.node, clock.now());
      }
      received(*pack, slot, upload.to);
      pack->pack.shards[slot] = Buffer();
      if (!aside) pack->leave();
      co_return;
    }
    if (note_failure(*pack, upload.to, end->status.error().code)) {
      pack->in_doubt.insert(upload.to.node);
      pack->resting.push_back(upload.to);
    }
  }
  for (const Upload& upload : at_work) note_failure(*pack, upload.to, Code::timeout);
  pack->planned[slot] = NodeId{};
  pack->pack.shards[slot] = Buffer();
  if (!aside) pack->leave();
}

env::Task<Status> PackWriter::put(std::shared_ptr<Writing> pack, uint8_t slot, Candidate to) {
  struct Trial {  // one upload at a time finds out whether a holder that failed is back
    ClientState& state;
    NodeId node;
    bool counted;
    ~Trial() {
      if (counted) state.on_trial.erase(node);
    }
  } trial{state_, to.node, state_.holders.on_trial(Work::put, to.node) && state_.on_trial.insert(to.node).second};

  const content::PackHeader& header = pack->pack.header;
  wire::ShardPutRequest request = put_request(header, slot, pack->pack.crcs[slot]);
  for (const NodeId& node : pack->planned) request.add_siblings(node.is_zero() ? "" : node.raw());
  for (const NodeId& node : pack->in_doubt) {
    if (request.siblings_size() >= static_cast<int>(kMaxSlots)) break;
    if (std::ranges::find(pack->planned, node) == pack->planned.end()) request.add_siblings(node.raw());
  }
  ++state_.counters.shards_sent;
  const Buffer shard = pack->pack.shards[slot];
  const Time begun = state_.world.clock.now();
  auto receipt = co_await peer::ask<wire::ShardPutResponse>(state_.peers, to.node, wire::Method::shard_put, request,
                                                            kLongestPut, shard);
  if (!receipt) co_return fail(std::move(receipt.error()));
  state_.holders.answered(Work::put, to.node, shard.size(), state_.world.clock.now() - begun);
  if (const peer::NodeInfo* info = state_.peers.membership().node(to.node)) {
    state_.holders.set_free(to.node, receipt->message.free(), {info->boot_seq, info->sequence});
  }
  co_return Status{};
}

}  // namespace cairn::pool
