#include "pool/shard_mover.h"

#include <algorithm>

#include "base/crc32c.h"
#include "crypto/hash.h"
#include "pool/mailbox.h"
#include "pool/put_request.h"
#include "wire/message.h"

namespace cairn::pool {

namespace {

// Whether waiting or another node may help.
bool passes(Code code) {
  switch (code) {
    case Code::no_space:
    case Code::unreachable:
    case Code::timeout:
    case Code::closed:
    case Code::overloaded:
    case Code::denied:
    case Code::corrupt:  // the CRC: bytes that changed on the way
    case Code::io:
    case Code::conflict:  // it has another shard of the pack already
      return true;
    default:
      return false;
  }
}

constexpr Duration kClaimPoll = std::chrono::milliseconds(500);

}  // namespace

bool PackPicture::involves(const NodeId& node) const {
  if (std::ranges::find(placed, node) != placed.end()) return true;
  return std::ranges::any_of(slots, [&](const auto& holdings) {
    return std::ranges::any_of(holdings, [&](const Holding& holding) { return holding.node == node; });
  });
}

ShardMover::ShardMover(env::World world, peer::Peers& peers, Holder& holder, MoverOptions options)
    : world_(world),
      peers_(peers),
      holder_(holder),
      options_(options),
      table_(kLeastHedge),
      throttle_(world.clock, options.bytes_per_second, [this] { return serves_clients(); }),
      places_(world.executor, kMovesAtOnce) {}

bool ShardMover::serves_clients() {
  const HolderCounters counters = holder_.counters();
  const uint64_t served = counters.shards_taken + counters.shards_served - counters.background;
  const Time now = world_.clock.now();
  if (std::exchange(served_, served) != served) served_at_ = now;
  return served_at_ && now - *served_at_ < kForegroundLasts;
}

// --- where it is, and where to ---

env::Task<Result<PackPicture>> ShardMover::look(PackId pack) {
  PackPicture picture;
  bool known = false;
  for (const auto& store : holder_.stores()) {
    const auto slots = co_await store->slots_of(pack);
    picture.here.insert(picture.here.end(), slots.begin(), slots.end());
    if (known || slots.empty()) continue;
    auto described = co_await store->describe({pack, slots.front()});
    if (!described) continue;
    picture.header = std::move(described->header);
    known = true;
  }
  if (!known) co_return fail(Code::not_found, "no shard of this pack is here");
  auto claims = co_await holder_.claims_of(pack);
  if (!claims) co_return fail(std::move(claims.error()));
  draw(picture, *claims);
  co_return picture;
}

env::Task<std::vector<std::optional<PackPicture>>> ShardMover::look(std::vector<PackId> packs) {
  std::vector<std::optional<PackPicture>> pictures(packs.size());
  std::vector<bool> unclear(packs.size());
  for (size_t i = 0; i < holder_.stores().size(); ++i) {
    auto here = co_await holder_.stores()[i]->describe_packs(packs);
    for (size_t j = 0; j < packs.size(); ++j) {
      if (here[j].slots.empty()) continue;
      unclear[j] = unclear[j] || !here[j].header;
      if (unclear[j]) continue;
      if (!pictures[j]) pictures[j].emplace().header = std::move(*here[j].header);
      pictures[j]->here.insert(pictures[j]->here.end(), here[j].slots.begin(), here[j].slots.end());
    }
  }
  auto claims = co_await holder_.claims_of(packs);
  if (!claims) co_return std::vector<std::optional<PackPicture>>(packs.size());
  for (size_t j = 0; j < packs.size(); ++j) {
    if (unclear[j]) pictures[j].reset();
    if (pictures[j]) draw(*pictures[j], (*claims)[j]);
  }
  co_return pictures;
}

// What the claims say.
void ShardMover::draw(PackPicture& picture, const std::vector<Claim>& claims) {
  picture.slots.resize(picture.header.geometry.k + picture.header.geometry.m);
  for (const Claim& claim : claims) {
    if (claim.shard.slot >= picture.slots.size()) continue;
    if (claim.state == ClaimState::gone) {
      picture.gone.push_back(claim.shard.slot);
      continue;
    }
    picture.slots[claim.shard.slot].push_back({claim.node, claim.state});
  }
  const Time now = world_.clock.now();
  std::erase_if(placed_, [&](const auto& entry) { return entry.second.until <= now; });
  for (auto [entry, end] = placed_.equal_range(picture.header.id); entry != end; ++entry)
    picture.placed.push_back(entry->second.node);
}

// False for who has only slots that it could not prove: they are as good as lost, and take no place in its domain.
bool ShardMover::believed(const PackPicture& picture, const NodeId& node) const {
  if (!trust_.bad_source || std::ranges::find(picture.placed, node) != picture.placed.end()) return true;
  for (uint8_t slot = 0; slot < picture.slots.size(); ++slot) {
    const auto& holdings = picture.slots[slot];
    if (std::ranges::find(holdings, node, &PackPicture::Holding::node) == holdings.end()) continue;
    if (!trust_.bad_source({picture.header.id, slot}, node)) return true;
  }
  return false;
}

bool ShardMover::over_cap(const PackPicture& picture, const NodeId& node, const NodeId& leaving) const {
  const peer::NodeInfo* info = peers_.membership().node(node);
  if (info == nullptr) return true;
  uint32_t held = 0;
  for (const auto& holdings : picture.slots) {
    held += std::ranges::any_of(holdings, [&](const auto& holding) {
      const peer::NodeInfo* other = peers_.membership().node(holding.node);
      return holding.node != leaving && holding.node != node && other != nullptr && peers_.usable(holding.node) &&
             other->domain_key() == info->domain_key() && believed(picture, holding.node);
    });
  }
  return held >= domain_cap(picture.header.geometry.m);
}

std::optional<NodeId> ShardMover::choose(const PackPicture& picture, const std::set<NodeId>& avoid,
                                         const NodeId& leaving) const {
  std::vector<Candidate> candidates, last, holders;
  for (const peer::NodeInfo& node : peers_.membership().nodes()) {
    const bool self = node.id == peers_.identity().node;
    if (!self && !peers_.usable(node.id)) continue;
    Candidate candidate{node.id, node.domain_key(), table_.free(node.id, node.free, {node.boot_seq, node.sequence})};
    if (picture.involves(node.id)) {
      if (node.id != leaving && believed(picture, node.id)) holders.push_back(std::move(candidate));
      continue;
    }
    if (self || !node.lends || node.leaving || avoid.contains(node.id)) continue;
    // Who is only suspected of being away may be, and would be waited for.
    if (peers_.state(node.id) != peer::NodeState::alive) continue;
    if (trust_.bad_keeper && trust_.bad_keeper(node.id)) continue;
    const bool at_last = trust_.last_choice && trust_.last_choice(node.id);
    (at_last ? last : candidates).push_back(std::move(candidate));
  }
  const content::PackGeometry& geometry = picture.header.geometry;
  const auto best = [&]() -> std::optional<NodeId> {
    Placer placer(picture.header.id, geometry.k + geometry.m, geometry.shard_length, candidates);
    if (!options_.without_domains) {
      for (const Candidate& holder : holders) placer.hand_out(holder);
    }
    const auto next = placer.next();
    return next ? std::optional(next->node) : std::nullopt;
  };
  const auto chosen = best();
  if (last.empty() || (chosen && !over_cap(picture, *chosen, leaving))) return chosen;
  candidates.insert(candidates.end(), last.begin(), last.end());
  return best();
}

// --- bytes ---

struct ShardMover::Gathering {
  std::vector<Source> all;  // best first
  std::vector<size_t> bad;  // of these
  size_t needed = 1;

  bool is_bad(size_t i) const { return std::ranges::find(bad, i) != bad.end(); }
};

std::vector<ShardMover::Source> ShardMover::sources(const PackPicture& picture, uint8_t slot, bool direct) const {
  const NodeId self = peers_.identity().node;
  struct Ranked {
    Source source;
    Hash rank;  // so that the rebuilding of many packs asks all of their holders alike
  };
  std::vector<Ranked> ranked;
  for (uint8_t s = 0; s < picture.slots.size(); ++s) {
    if ((s == slot) != direct) continue;
    if (std::ranges::find(picture.here, s) != picture.here.end()) ranked.push_back({{s, self}, Hash{}});
    for (const auto& holding : picture.slots[s]) {
      if (holding.node == self || !peers_.usable(holding.node)) continue;
      if (trust_.bad_source && trust_.bad_source({picture.header.id, s}, holding.node)) continue;
      const uint8_t key[1] = {slot};
      ranked.push_back(
          {{s, holding.node}, crypto::sha256({picture.header.id.view(), ByteView(key), holding.node.view()})});
    }
  }
  std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return std::tie(a.rank, a.source.slot) < std::tie(b.rank, b.source.slot);
  });
  std::vector<Source> list;
  for (const Ranked& r : ranked) list.push_back(r.source);
  return list;
}

env::Task<Result<Buffer>> ShardMover::read_here(ShardId shard, uint32_t offset, uint32_t length) {
  auto bytes =
      co_await in_any_store(holder_, [&](store::ShardStore& store) { return store.read(shard, offset, length); });
  co_return bytes;
}

// A range of whole leaves, proven.
env::Task<Result<Buffer>> ShardMover::fetch(const PackPicture& picture, Source source, uint32_t offset,
                                            uint32_t length) {
  const content::PackHeader& header = picture.header;
  const ShardId shard{header.id, source.slot};
  if (source.node == peers_.identity().node) {
    auto bytes = co_await read_here(shard, offset, length);
    co_return bytes;
  }
  wire::ShardGetRequest request;
  request.set_pack(shard.pack.raw());
  request.set_slot(shard.slot);
  request.set_offset(offset);
  request.set_length(length);
  request.set_proof(true);
  request.set_background(true);
  auto reply =
      co_await peer::ask<wire::ShardGetResponse>(peers_, source.node, wire::Method::shard_get, request, kFetchTimeout);
  if (!reply) {
    if (reply.error().code == Code::not_found || reply.error().code == Code::corrupt) {
      if (trust_.found_bad) trust_.found_bad(shard, source.node);
    }
    co_return fail(std::move(reply.error()));
  }
  counters_.bytes_fetched += wire::kFrameHeaderSize + reply->message.ByteSizeLong() + reply->payload.size();
  bool good = reply->message.offset() == offset && reply->payload.size() == length;
  if (good && !options_.without_proofs) {
    good = co_await world_.workers.run([&] {
      std::vector<Hash> path;
      for (const std::string& raw : reply->message.path()) {
        auto hash = Hash::from(raw);
        if (!hash) return false;
        path.push_back(*hash);
      }
      return content::verify_merkle_range(header.roots[source.slot], header.geometry.shard_length, offset / kLeafSize,
                                          reply->payload, path);
    });
  }
  if (good) co_return std::move(reply->payload);
  ++counters_.bad_sources;
  world_.log.warning("bad_shard", "holder={} pack={} slot={} what=\"bytes that fail their proof\"",
                     source.node.short_hex(), shard.pack.short_hex(), shard.slot);
  if (trust_.found_bad) trust_.found_bad(shard, source.node);
  co_return fail(Code::corrupt, "bytes that fail their proof");
}

// The same range of as many slots as are needed.
env::Task<Result<std::vector<ShardMover::Piece>>> ShardMover::fetch_step(const PackPicture& picture,
                                                                         Gathering& gathering, uint32_t offset,
                                                                         uint32_t length) {
  struct Ended {
    size_t source;
    Result<Buffer> bytes;
  };
  Mailbox<Ended> ended(world_.executor, world_.clock);
  env::TaskGroup group(world_.executor);
  std::vector<Piece> good;
  std::set<uint8_t> slots;  // got or on their way
  size_t at_work = 0;
  while (good.size() < gathering.needed) {
    for (size_t i = 0; i < gathering.all.size() && good.size() + at_work < gathering.needed; ++i) {
      if (gathering.is_bad(i) || slots.contains(gathering.all[i].slot)) continue;
      slots.insert(gathering.all[i].slot);
      ++at_work;
      group.spawn([](ShardMover& self, const PackPicture& of, Source from, size_t number, uint32_t begin, uint32_t size,
                     Mailbox<Ended>& into) -> env::Task<void> {
        auto bytes = co_await self.fetch(of, from, begin, size);
        into.send({number, std::move(bytes)});
      }(*this, picture, gathering.all[i], i, offset, length, ended));
    }
    if (at_work == 0) {
      co_return fail(Code::too_few_peers, fmt::format("{} of {} shards needed answer", good.size(), gathering.needed));
    }
    auto end = co_await ended.receive(Time::never());  // each has its deadline
    --at_work;
    const Source& source = gathering.all[end->source];
    if (!end->bytes) {
      gathering.bad.push_back(end->source);
      slots.erase(source.slot);
      continue;
    }
    good.push_back({source, std::move(end->bytes)});
  }
  co_return good;
}

// The slot's bytes, checked against its root.
env::Task<Result<Buffer>> ShardMover::gather(const PackPicture& picture, uint8_t slot, bool direct, bool urgent) {
  const content::PackGeometry& geometry = picture.header.geometry;
  Gathering gathering;
  gathering.all = sources(picture, slot, direct);
  gathering.needed = direct ? 1 : geometry.k;
  if (gathering.all.size() < gathering.needed) co_return fail(Code::too_few_peers, "too few shards are reachable");
  Buffer shard(geometry.shard_length);
  const auto step = static_cast<uint32_t>(
      std::clamp<uint64_t>(kRebuildMemory / gathering.needed / kLeafSize * kLeafSize, kLeafSize, kMaxShardSize));
  for (uint32_t offset = 0; offset < geometry.shard_length; offset += step) {
    const uint32_t length = std::min(step, geometry.shard_length - offset);
    co_await throttle_.take(static_cast<uint64_t>(gathering.needed) * length, urgent);
    auto pieces = co_await fetch_step(picture, gathering, offset, length);
    if (!pieces) co_return fail(std::move(pieces.error()));
    auto decoded = co_await world_.workers.run([&]() -> Status {
      const MutableByteView out = shard.span().subspan(offset, length);
      if (direct) {
        std::memcpy(out.data(), pieces->front().bytes->data(), length);
        return {};
      }
      auto code = erasure::Code::get(geometry.k, geometry.m);
      if (!code) return fail(std::move(code.error()));
      std::vector<erasure::Code::Present> present;
      for (const Piece& piece : *pieces) present.push_back({piece.source.slot, *piece.bytes});
      return code->decode(present, slot, out);
    });
    if (!decoded) co_return fail(std::move(decoded.error()));
  }
  const bool right = co_await world_.workers.run(
      [&] { return content::MerkleTree::over(shard.view()).root() == picture.header.roots[slot]; });
  if (!right && !options_.without_proofs) co_return fail(Code::damaged, "the pack's shards do not belong together");
  co_return shard;
}

env::Task<Status> ShardMover::put(const PackPicture& picture, uint8_t slot, uint32_t crc, Buffer shard, NodeId to) {
  const content::PackHeader& header = picture.header;
  wire::ShardPutRequest request = put_request(header, slot, crc);
  request.set_background(true);
  // Whom the new holder tells of its claim: by slot who holds it now, and in what is left the others; also who had this
  // slot and is away, so that it hears of its successor when it is back.
  std::vector<NodeId> siblings(picture.slots.size());
  std::vector<NodeId> others;
  for (size_t i = 0; i < picture.slots.size(); ++i) {
    for (const auto& holding : picture.slots[i]) {
      if (holding.node == to) continue;
      NodeId& place = siblings[i];
      if (!place.is_zero()) others.push_back(peers_.usable(place) ? holding.node : std::exchange(place, holding.node));
      if (place.is_zero()) place = holding.node;
    }
  }
  for (NodeId& place : siblings) {
    if (!place.is_zero() || others.empty()) continue;
    place = others.back();
    others.pop_back();
  }
  for (const NodeId& sibling : siblings) request.add_siblings(sibling.is_zero() ? "" : sibling.raw());
  const uint64_t size = wire::kFrameHeaderSize + request.ByteSizeLong() + shard.size();
  auto receipt = co_await peer::ask<wire::ShardPutResponse>(peers_, to, wire::Method::shard_put, request,
                                                            kDeliverTimeout, std::move(shard));
  counters_.bytes_sent += size;
  const peer::NodeInfo* info = peers_.membership().node(to);
  if (info != nullptr && (receipt || receipt.error().code == Code::no_space)) {
    table_.set_free(to, receipt ? receipt->message.free() : 0, {info->boot_seq, info->sequence});
  }
  if (!receipt) co_return fail(std::move(receipt.error()));
  co_return Status{};
}

// The node that choose() gives, once it has said that it has no part of the pack: asked before anything is fetched for
// it. What it says to the contrary is taken in.
env::Task<std::optional<NodeId>> ShardMover::find_target(PackPicture& picture, uint8_t slot, NodeId leaving) {
  std::set<NodeId> silent;
  for (size_t i = 0; i < kMoveTries; ++i) {
    const auto target = choose(picture, silent, leaving);
    if (!target) co_return std::nullopt;
    wire::ClaimsQueryRequest request;
    request.add_packs(picture.header.id.raw());
    auto reply = co_await peer::ask<wire::ClaimsQueryResponse>(peers_, *target, wire::Method::claims_query, request,
                                                               kQueryTimeout);
    if (!reply || reply->message.packs_size() != 1) {
      silent.insert(*target);
      continue;
    }
    const auto& about = reply->message.packs(0);
    auto claims = co_await world_.workers.run([&] { return checked_claims(about.claims(), {picture.header.id}); });
    // The very slot may lie on a disk of it that is missing: it is given it again.
    const bool another = claims_another(claims, *target, slot) ||
                         std::ranges::any_of(about.held_slots(), [slot](uint32_t held) { return held != slot; });
    if (!another) co_return target;
    picture.placed.push_back(*target);
    co_await world_.workers.run([&]() -> Status {
      auto news = holder_.index().accept(claims);
      return news ? Status{} : fail(std::move(news.error()));
    });
  }
  co_return std::nullopt;
}

env::Task<Result<NodeId>> ShardMover::deliver(const PackPicture& picture, uint8_t slot, Buffer shard,
                                              std::optional<NodeId> to, bool or_others, NodeId leaving, bool urgent) {
  const uint32_t crc = co_await world_.workers.run([&] { return crc32c(shard.view()); });
  std::set<NodeId> avoid;
  Error last{Code::no_space, "no further node has room for a shard of this pack"};
  for (size_t i = 0; i < kMoveTries; ++i) {
    const auto target = i == 0 && to ? to : choose(picture, avoid, leaving);
    if (!target) break;
    co_await throttle_.take(shard.size(), urgent);
    auto done = co_await put(picture, slot, crc, shard, *target);
    if (done) {
      counters_.bytes_placed += shard.size();
      placed_.insert({picture.header.id, {*target, world_.clock.now() + kPlacedPatience}});
      co_return *target;
    }
    last = std::move(done.error());
    if (!or_others || !passes(last.code)) break;
    avoid.insert(*target);
  }
  ++counters_.failed;
  co_return fail(std::move(last));
}

env::Task<Result<NodeId>> ShardMover::move(ShardId shard, std::optional<NodeId> to, bool urgent) {
  const auto place = co_await places_.acquire();
  auto picture = co_await look(shard.pack);
  if (!picture) co_return fail(std::move(picture.error()));
  std::optional<NodeId> first = to;
  if (!to) {
    first = co_await find_target(*picture, shard.slot, peers_.identity().node);
    if (!first) co_return fail(Code::no_space, "no further node has room for a shard of this pack");
  }
  auto bytes = co_await read_here(shard, 0, picture->header.geometry.shard_length);
  if (!bytes) co_return fail(std::move(bytes.error()));
  auto placed = co_await deliver(*picture, shard.slot, std::move(*bytes), first, !to, peers_.identity().node, urgent);
  if (placed) ++counters_.moved;
  co_return placed;
}

env::Task<Result<NodeId>> ShardMover::rebuild(ShardId shard, std::optional<NodeId> to, bool urgent) {
  const auto place = co_await places_.acquire();
  auto picture = co_await look(shard.pack);
  if (!picture) co_return fail(std::move(picture.error()));
  if (shard.slot >= picture->slots.size()) co_return fail(Code::bad_input, "no such slot");
  std::optional<NodeId> first = to;
  if (!to) {
    first = co_await find_target(*picture, shard.slot, NodeId{});
    if (!first) {
      ++counters_.failed;
      co_return fail(Code::no_space, "no further node has room for a shard of this pack");
    }
  }
  // One that is leaving is still the cheapest source.
  auto bytes = co_await gather(*picture, shard.slot, true, urgent);
  if (!bytes) bytes = co_await gather(*picture, shard.slot, false, urgent);
  if (!bytes) {
    ++counters_.failed;
    co_return fail(std::move(bytes.error()));
  }
  auto placed = co_await deliver(*picture, shard.slot, std::move(*bytes), first, !to, NodeId{}, urgent);
  if (placed) ++counters_.rebuilt;
  co_return placed;
}

env::Task<Status> ShardMover::wait_for_claim(ShardId shard, NodeId node, Duration timeout) {
  const Time deadline = world_.clock.now() + timeout;
  while (true) {
    auto claims = co_await holder_.claims_of(shard.pack);
    if (!claims) co_return fail(std::move(claims.error()));
    for (const Claim& claim : *claims) {
      if (claim.shard == shard && claim.node == node && claim.state == ClaimState::held) co_return Status{};
    }
    if (world_.clock.now() >= deadline) co_return fail(Code::timeout, "the new holder has not claimed the shard");
    co_await env::sleep_for(world_.clock, kClaimPoll);
  }
}

}  // namespace cairn::pool
