#include "pool/pack_reader.h"

#include "content/merkle.h"
#include "erasure/code.h"
#include "pool/limits.h"
#include "pool/mailbox.h"
#include "wire/message.h"

namespace cairn::pool {

PackReader::PackReader(ClientState& state, PackLocator& locator)
    : state_(state),
      locator_(locator),
      memory_(state.world.executor, kMaxReadMemory),
      decode_memory_(state.world.executor, kMaxDecodeMemory),
      proven_(kMaxProvenMemory),
      computed_(kMaxProvenMemory / 2),
      decoded_(state.world.executor) {}

class PackReader::Decoding {
 public:
  Decoding(PackReader& owner, const PackId& pack, const Range& range)
      : owner_(owner), pack_(pack), range_(range), number_(++owner.last_decoding_) {
    owner_.decodings_.emplace(number_, this);
  }
  Decoding(const Decoding&) = delete;
  Decoding& operator=(const Decoding&) = delete;
  ~Decoding() {
    owner_.decodings_.erase(number_);
    owner_.decoded_.notify_all();
  }
  bool covers(const PackId& pack, const Range& range) const {
    return pack == pack_ && range.slot != range_.slot && range.start() >= range_.start() &&
           uint64_t{range.offset} + range.length <= uint64_t{range_.offset} + range_.length;
  }

 private:
  PackReader& owner_;
  PackId pack_;
  Range range_;
  uint64_t number_;
};

env::Task<void> PackReader::other_decoding(PackId pack, Range range) {
  for (const auto& [number, decoding] : decodings_) {
    if (!decoding->covers(pack, range)) continue;
    const uint64_t waited_for = number;
    while (decodings_.contains(waited_for)) co_await decoded_.wait();
    co_return;
  }
}

uint32_t PackReader::Range::end(uint32_t shard_length) const {
  const uint64_t last = static_cast<uint64_t>(offset) + length;
  return static_cast<uint32_t>(std::min<uint64_t>(shard_length, (last + kLeafSize - 1) / kLeafSize * kLeafSize));
}

env::Task<Result<Buffer>> PackReader::read(PackRef ref, uint32_t offset, uint32_t length, PoolClient::Check check,
                                           Purpose purpose) {
  const content::PackGeometry& geometry = ref.geometry;
  const uint64_t end = static_cast<uint64_t>(offset) + length;
  if (geometry.k == 0 || geometry.k + geometry.m > kMaxSlots || geometry.shard_length == 0 ||
      geometry.shard_length > kMaxShardSize || end > static_cast<uint64_t>(geometry.k) * geometry.shard_length) {
    co_return fail(Code::bad_input, "not a range of this pack");
  }
  if (length == 0) co_return Buffer();

  std::vector<Range> ranges;
  for (uint64_t at = offset; at < end;) {
    const auto slot = static_cast<uint8_t>(at / geometry.shard_length);
    const auto within = static_cast<uint32_t>(at % geometry.shard_length);
    const auto part = static_cast<uint32_t>(std::min<uint64_t>(end - at, geometry.shard_length - within));
    ranges.push_back({slot, within, part, purpose});
    at += part;
  }
  if (ranges.size() == 1) {
    auto bytes = co_await read_lane(std::move(ref), ranges.front(), std::move(check));
    co_return bytes;
  }

  // `check` can judge only the whole: first all lanes without proof, and when it says no, with proofs.
  for (const bool proven : {false, true}) {
    std::vector<env::Task<Result<Buffer>>> tasks;
    for (const Range& range : ranges) {
      tasks.push_back(proven ? read_proven(ref, range) : read_lane(ref, range, {}));
    }
    auto parts = co_await env::when_all(state_.world.executor, std::move(tasks));
    Buffer whole(length);
    size_t filled = 0;
    for (auto& part : parts) {
      if (!part) co_return fail(std::move(part.error()));
      std::memcpy(whole.data() + filled, part->data(), part->size());
      filled += part->size();
    }
    if (!check || check(whole)) co_return whole;
  }
  co_return fail(Code::damaged, "the pack's bytes are not what was written");
}

std::optional<NodeId> PackReader::choose(const PackRef& ref, uint8_t slot) {
  const Time now = state_.world.clock.now();
  for (const NodeId& node : locator_.holders(ref, slot)) {
    if (state_.peers.usable(node) && !state_.holders.resting(Work::get, node, now)) return node;
  }
  return std::nullopt;
}

env::Task<Result<Buffer>> PackReader::read_lane(PackRef ref, Range range, PoolClient::Check check) {
  const auto permit = co_await memory_.acquire(range.length);
  if (auto known = proven_.find(ref.id, range.slot, range.offset, range.length)) {
    if (!check || check(*known)) co_return std::move(*known);
  }
  env::Clock& clock = state_.world.clock;
  Mailbox<Outcome> outcomes(state_.world.executor, clock);
  env::TaskGroup group(state_.world.executor);
  bool degraded = false;  // others are being asked
  bool direct = false;    // the holder is being asked
  bool wrong = false;     // it answered, with wrong bytes
  Buffer doubted;         // these
  NodeId asked;
  auto ask_others = [&] {
    if (std::exchange(degraded, true)) return;
    group.spawn([](PackReader& self, PackRef pack, Range part, NodeId skip, bool skip_wrong,
                   Mailbox<Outcome>& into) -> env::Task<void> {
      auto bytes = co_await self.reconstruct(std::move(pack), part, skip, skip_wrong);
      into.send({true, std::move(bytes)});
    }(*this, ref, range, asked, wrong, outcomes));
  };

  Time patience = Time::never();
  if (const auto holder = choose(ref, range.slot)) {
    asked = *holder;
    direct = true;
    patience = clock.now() + state_.holders.slow_after(asked, range.length);
    group.spawn([](PackReader& self, PackRef pack, Range part, NodeId node, Mailbox<Outcome>& into) -> env::Task<void> {
      auto bytes = co_await self.ask_plain(std::move(pack), part, node);
      into.send({false, std::move(bytes)});
    }(*this, ref, range, asked, outcomes));
  } else {
    ask_others();
  }

  auto blame = [&] {
    state_.report(asked, {ref.id, range.slot}, "bytes that fail their tag");
    locator_.deny(ref, range.slot, asked);
  };
  std::optional<Error> refused;  // why others could not help
  while (true) {
    auto outcome = co_await outcomes.receive(degraded ? Time::never() : patience);
    if (!outcome) {
      ++state_.counters.hedged_reads;
      ask_others();
      continue;
    }
    if (!outcome->degraded) {
      direct = false;
      if (outcome->bytes) {
        if (!check || check(*outcome->bytes)) co_return std::move(outcome->bytes);
        doubted = std::move(*outcome->bytes);
        wrong = true;
        if (refused) blame();
      } else {
        wrong = outcome->bytes.error().code == Code::corrupt;
      }
      if (refused) co_return fail(std::move(*refused));
      ask_others();
      continue;
    }
    if (outcome->bytes) {
      // Others were faster than a holder that has not answered yet.
      if (direct) state_.holders.lost_race(asked, clock.now());
      const bool right = !check || check(*outcome->bytes);
      // Proven bytes are what the writer signed: only who gave others is to blame, not who gave these.
      if (!doubted.empty() && !equal(doubted, *outcome->bytes)) blame();
      if (right) co_return std::move(outcome->bytes);
      co_return fail(Code::damaged, "the pack's bytes are not what was written");
    }
    if (!doubted.empty()) blame();
    if (!direct) co_return fail(std::move(outcome->bytes.error()));
    refused = std::move(outcome->bytes.error());
  }
}

env::Task<Result<Buffer>> PackReader::read_proven(PackRef ref, Range range) {
  const auto permit = co_await memory_.acquire(range.length);
  auto bytes = co_await reconstruct(std::move(ref), range, NodeId{}, false);
  co_return bytes;
}

void PackReader::note_failure(const PackRef& ref, uint8_t slot, const NodeId& node, const Error& error) {
  switch (error.code) {
    case Code::not_found:
      locator_.deny(ref, slot, node);
      return;
    case Code::corrupt:  // it found rot itself, or its answer was none
      locator_.deny(ref, slot, node);
      state_.report(node, {ref.id, slot}, error.context.empty() ? "rot" : error.context);
      return;
    default:
      state_.holders.failed(Work::get, node, state_.world.clock.now());
  }
}

env::Task<Result<peer::Answer<wire::ShardGetResponse>>> PackReader::ask(PackRef ref, Range range, NodeId node,
                                                                        bool proof) {
  wire::ShardGetRequest request;
  request.set_pack(ref.id.raw());
  request.set_slot(range.slot);
  request.set_offset(range.offset);
  request.set_length(range.length);
  request.set_proof(proof);
  ++state_.reads(range.purpose).requests;
  state_.asked[static_cast<size_t>(range.purpose)].insert(node);
  const Time begun = state_.world.clock.now();
  auto reply = co_await peer::ask<wire::ShardGetResponse>(state_.peers, node, wire::Method::shard_get, request,
                                                          state_.options.get_timeout);
  if (!reply) {
    note_failure(ref, range.slot, node, reply.error());
    co_return reply;
  }
  state_.reads(range.purpose).bytes += wire::kFrameHeaderSize + reply->message.ByteSizeLong() + reply->payload.size();
  state_.holders.answered(Work::get, node, range.length, state_.world.clock.now() - begun);
  co_return reply;
}

env::Task<Result<Buffer>> PackReader::ask_plain(PackRef ref, Range range, NodeId node) {
  auto reply = co_await ask(ref, range, node, false);
  if (!reply) co_return fail(std::move(reply.error()));
  if (reply->message.offset() != range.offset || reply->payload.size() != range.length) {
    state_.report(node, {ref.id, range.slot}, "another range than was asked");
    locator_.deny(ref, range.slot, node);
    co_return fail(Code::corrupt, "another range than was asked");
  }
  co_return std::move(reply->payload);
}

env::Task<PackReader::Piece> PackReader::ask_proven(PackRef ref, std::shared_ptr<const content::PackHeader> header,
                                                    Range range, NodeId node) {
  auto reply = co_await ask(ref, range, node, true);
  if (!reply) co_return Piece{range.slot, node, fail(std::move(reply.error()))};
  const uint32_t shard_length = header->geometry.shard_length;
  const uint32_t expected = range.end(shard_length) - range.start();
  bool good = reply->message.offset() == range.start() && reply->payload.size() == expected;
  if (good) {
    good = co_await state_.world.workers.run([&] {
      std::vector<Hash> path;
      for (const std::string& raw : reply->message.path()) {
        auto hash = Hash::from(raw);
        if (!hash) return false;
        path.push_back(*hash);
      }
      return content::verify_merkle_range(header->roots[range.slot], shard_length, range.first_leaf(), reply->payload,
                                          path);
    });
  }
  if (!good) {
    state_.report(node, {ref.id, range.slot}, "bytes that fail their proof");
    locator_.deny(ref, range.slot, node);
    co_return Piece{range.slot, node, fail(Code::corrupt, "bytes that fail their proof")};
  }
  co_return Piece{range.slot, node, std::move(reply->payload)};
}

// One reconstruction's view of whom to ask.
class PackReader::Reconstruction {
 public:
  Reconstruction(PackReader& owner, const PackRef& ref, Range range, NodeId skip, bool skip_wrong)
      : owner_(owner), ref_(ref), range_(range) {
    if (!skip.is_zero()) asked_.insert({range.slot, skip});
    if (skip_wrong) wrong_.insert(range.slot);
  }
  // Of the slot itself, if anybody who can be asked now claims it: one answer is then enough.
  std::optional<std::pair<uint8_t, NodeId>> next_of_slot() {
    for (const NodeId& node : owner_.locator_.holders(ref_, range_.slot)) {
      if (may_ask(range_.slot, node) && !resting(node)) return take(range_.slot, node);
    }
    return std::nullopt;
  }
  // Of another slot: the fastest first, then those that failed lately, and last those that are held for departed.
  std::optional<std::pair<uint8_t, NodeId>> next_other() {
    using Rank = std::tuple<bool, bool, bool, Duration, uint8_t>;
    std::optional<std::pair<Rank, NodeId>> best;
    const auto slots = static_cast<uint8_t>(ref_.geometry.k + ref_.geometry.m);
    for (uint8_t slot = 0; slot < slots; ++slot) {
      if (have_.contains(slot)) continue;
      for (const NodeId& node : owner_.locator_.holders(ref_, slot)) {
        const bool away = !may_ask(slot, node);
        if (away && (asked_.contains({slot, node}) || !owner_.state_.peers.last_resort(node))) continue;
        // A slot that is already asked for is asked again elsewhere only when nothing else is left.
        const Rank rank{away, pending_.contains(slot), resting(node),
                        owner_.state_.holders.expected(node, range_.length), slot};
        if (!best || rank < best->first) best = {rank, node};
      }
    }
    if (!best) return std::nullopt;
    return take(std::get<uint8_t>(best->first), best->second);
  }
  void answered(uint8_t slot, bool good, bool wrong) {
    if (const auto found = pending_.find(slot); found != pending_.end()) pending_.erase(found);
    if (good) have_.insert(slot);
    if (wrong) wrong_.insert(slot);
  }
  // Slots that somebody answered for, rightly or wrongly.
  size_t reached() const {
    std::set<uint8_t> all = have_;
    all.insert(wrong_.begin(), wrong_.end());
    return all.size();
  }

 private:
  bool may_ask(uint8_t slot, const NodeId& node) const {
    return !asked_.contains({slot, node}) && owner_.state_.peers.usable(node);
  }
  bool resting(const NodeId& node) const {
    return owner_.state_.holders.resting(Work::get, node, owner_.state_.world.clock.now());
  }
  std::pair<uint8_t, NodeId> take(uint8_t slot, const NodeId& node) {
    asked_.insert({slot, node});
    pending_.insert(slot);
    return {slot, node};
  }

  PackReader& owner_;
  const PackRef& ref_;
  Range range_;
  std::set<std::pair<uint8_t, NodeId>> asked_;
  std::multiset<uint8_t> pending_;
  std::set<uint8_t> have_, wrong_;
};

env::Task<Result<Buffer>> PackReader::reconstruct(PackRef ref, Range range, NodeId skip, bool skip_wrong) {
  const uint32_t k = ref.geometry.k;
  co_await other_decoding(ref.id, range);
  for (const ProvenRanges* ranges : {&proven_, &computed_}) {
    if (auto known = ranges->find(ref.id, range.slot, range.offset, range.length)) co_return std::move(*known);
  }
  const Decoding decoding(*this, ref.id, range);
  const auto permit = co_await decode_memory_.acquire(static_cast<uint64_t>(k) *
                                                      (range.end(ref.geometry.shard_length) - range.start()));
  auto header = co_await locator_.header(ref);
  if (!header) co_return fail(std::move(header.error()));

  env::Clock& clock = state_.world.clock;
  Reconstruction plan(*this, ref, range, skip, skip_wrong);
  Mailbox<Piece> pieces(state_.world.executor, clock);
  env::TaskGroup group(state_.world.executor);
  std::vector<Piece> good;
  size_t at_work = 0;
  size_t extra = 0;     // asked beyond k because somebody is slow
  bool others = false;  // not only holders of the slot itself
  bool located = false;
  auto launch = [&](const std::pair<uint8_t, NodeId>& to) {
    ++at_work;
    Range part = range;
    part.slot = to.first;
    group.spawn([](PackReader& self, PackRef pack, std::shared_ptr<const content::PackHeader> head, Range what,
                   NodeId node, Mailbox<Piece>& into) -> env::Task<void> {
      auto piece = co_await self.ask_proven(std::move(pack), std::move(head), what, node);
      into.send(std::move(piece));
    }(*this, ref, *header, part, to.second, pieces));
    return state_.holders.slow_after(to.second, range.length);
  };

  while (true) {
    Duration slow = state_.options.hedge_after;
    bool nobody_left = false;
    if (!others) {
      if (at_work == 0) {
        if (const auto next = plan.next_of_slot()) {
          slow = launch(*next);
        } else {
          others = true;
        }
      }
    }
    if (others) {
      while (at_work + good.size() < k + extra) {
        const auto next = plan.next_other();
        if (!next) {
          nobody_left = true;
          break;
        }
        slow = std::max(slow, launch(*next));
      }
    }
    if (at_work == 0 && located) {
      // Fewer than k slots: are the bytes there and wrong, or is nobody there?
      if (plan.reached() >= k) co_return fail(Code::damaged, "too many shards hold wrong bytes");
      co_return fail(Code::too_few_peers, fmt::format("{} of {} shards needed answer", good.size(), k));
    }
    if (at_work == 0) {
      located = true;
      co_await locator_.locate(ref);
      others = false;  // the slot itself may have a new holder
      continue;
    }
    auto piece = co_await pieces.receive(nobody_left && located ? Time::never() : clock.now() + slow);
    if (!piece) {
      if (!others) {
        others = true;
      } else if (!nobody_left) {
        ++extra;
      } else {
        // All that are known were asked and some are silent: are there other holders?
        located = true;
        co_await locator_.locate(ref);
      }
      continue;
    }
    --at_work;
    const bool right = piece->bytes.has_value();
    plan.answered(piece->slot, right, !right && piece->bytes.error().code == Code::corrupt);
    if (!right) continue;
    if (piece->slot == range.slot) co_return piece->bytes->slice(range.offset - range.start(), range.length);
    const uint8_t slot = piece->slot;
    if (std::any_of(good.begin(), good.end(), [slot](const Piece& p) { return p.slot == slot; })) continue;
    good.push_back(std::move(*piece));
    if (good.size() < k) continue;
    auto bytes = co_await decode(*header, range, std::move(good));
    if (bytes) ++state_.counters.degraded_reads;
    co_return bytes;
  }
}

env::Task<Result<Buffer>> PackReader::decode(std::shared_ptr<const content::PackHeader> header, Range range,
                                             std::vector<Piece> pieces) {
  // Of each data lane the whole leaves.
  auto lanes = co_await state_.world.workers.run([&]() -> Result<std::vector<Buffer>> {
    auto code = erasure::Code::get(header->geometry.k, header->geometry.m);
    if (!code) return fail(std::move(code.error()));
    std::vector<erasure::Code::Present> present;
    std::vector<Buffer> all(header->geometry.k);
    for (const Piece& piece : pieces) {
      present.push_back({piece.slot, *piece.bytes});
      if (piece.slot < all.size()) all[piece.slot] = *piece.bytes;
    }
    for (uint8_t slot = 0; slot < all.size(); ++slot) {
      if (!all[slot].empty()) continue;
      all[slot] = Buffer(pieces.front().bytes->size());
      if (auto status = code->decode(present, slot, all[slot].span()); !status) return fail(std::move(status.error()));
    }
    return all;
  });
  if (!lanes) co_return fail(std::move(lanes.error()));
  for (uint8_t slot = 0; slot < header->geometry.k; ++slot) {
    if (slot == range.slot) continue;
    const bool asked = std::ranges::any_of(pieces, [slot](const Piece& piece) { return piece.slot == slot; });
    (asked ? proven_ : computed_).put(header->id, slot, range.start(), (*lanes)[slot]);
  }
  co_return (*lanes)[range.slot].slice(range.offset - range.start(), range.length);
}

}  // namespace cairn::pool
