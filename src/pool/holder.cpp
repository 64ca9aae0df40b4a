#include "pool/holder.h"

#include <set>

#include "pool/claim_exchange.h"
#include "pool/limits.h"
#include "pool/placement.h"
#include "proto/pack.pb.h"
#include "store/no_store.h"
#include "wire/message.h"

namespace cairn::pool {

namespace {

using peer::Reply;
using peer::Request;

template <class Message>
Result<Reply> reply(const Message& message, Buffer payload = {}) {
  return Reply{wire::encode(message), std::move(payload)};
}

Result<ShardId> shard_id(const std::string& pack, uint32_t slot) {
  auto id = PackId::from(pack);
  if (!id) return fail(Code::bad_input, "malformed pack");
  if (slot >= kMaxSlots) return fail(Code::bad_input, "slot out of range");
  return ShardId{*id, static_cast<uint8_t>(slot)};
}

class HolderImpl final : public Holder {
 public:
  HolderImpl(env::World world, peer::Peers& peers, std::unique_ptr<ClaimIndex> index, uint64_t boot_seq, bool walk)
      : world_(world),
        peers_(peers),
        index_(std::move(index)),
        exchange_(world, peers, *index_, boot_seq),
        walk_(walk),
        reads_(world.executor, kMaxDiskReads),
        writes_(world.executor, kMaxDiskWrites),
        memory_(world.executor, kMaxHolderMemory),
        idle_(world.executor),
        tasks_(world.executor) {
    stores_.reserve(kMaxStores);
    serve(wire::Method::shard_put, &HolderImpl::shard_put);
    serve(wire::Method::shard_get, &HolderImpl::shard_get);
    serve(wire::Method::pack_header, &HolderImpl::pack_header);
    serve(wire::Method::claims_query, &HolderImpl::claims_query);
    serve(wire::Method::claims_push, &HolderImpl::claims_push);
    exchange_.start();
  }

  Status add_store(std::unique_ptr<store::ShardStore> store) override {
    store::ShardStore& added = *store;
    const auto unused = std::ranges::find(stores_, StoreId{}, [](const auto& one) { return one->id(); });
    if (unused != stores_.end()) {
      past_stores_.push_back(std::exchange(*unused, std::move(store)));
    } else if (stores_.size() < kMaxStores) {
      stores_.push_back(std::move(store));
    } else {
      return fail(Code::overloaded, fmt::format("a node has {} stores at most", kMaxStores));
    }
    added.on_verified([this](const store::ShardStore::Verified& outcome) { verified(outcome); });
    added.on_rot([this](ShardId shard) { rotten(shard); });
    if (walk_) tasks_.spawn(make_up_for_lost_claims(added));
    return {};
  }
  env::Task<Status> close_store(StoreId id) override {
    const auto found = std::ranges::find(stores_, id, [](const auto& one) { return one->id(); });
    if (id.is_zero() || found == stores_.end()) co_return fail(Code::not_found, "no such store");
    past_stores_.push_back(std::exchange(*found, std::make_unique<store::NoStore>()));
    store::ShardStore& closing = *past_stores_.back();
    co_await closing.close();
    co_return Status{};
  }
  void set_resting(bool resting) override { resting_ = resting; }
  const std::vector<std::unique_ptr<store::ShardStore>>& stores() const override { return stores_; }

  void watch(HolderWatch* watch) override { watch_ = watch; }

  store::StoreFigures figures() const override {
    store::StoreFigures sum;
    for (const auto& store : stores_) {
      const auto one = store->figures();
      sum.limit += one.limit;
      sum.used += one.used;
      sum.free += one.free;
      sum.shards += one.shards;
      sum.unverified += one.unverified;
      sum.corrupt += one.corrupt;
    }
    return sum;
  }

  HolderCounters counters() const override {
    HolderCounters all = counters_;
    all.claims_made = exchange_.counters().claims_made;
    all.claims_told = exchange_.counters().claims_told;
    all.push_requests = exchange_.counters().push_requests;
    return all;
  }

  env::Task<Result<std::vector<Claim>>> claims_of(PackId pack) override {
    auto claims = co_await world_.workers.run([this, pack] { return index_->of_pack(pack); });
    co_return claims;
  }
  env::Task<Result<std::vector<std::vector<Claim>>>> claims_of(std::vector<PackId> packs) override {
    auto claims = co_await world_.workers.run([this, &packs] { return index_->of_packs(packs); });
    co_return claims;
  }
  env::Task<Result<std::vector<ShardId>>> held_by(NodeId node, std::optional<ShardId> after, size_t limit) override {
    auto shards =
        co_await world_.workers.run([this, node, after, limit] { return index_->of_node(node, after, limit); });
    co_return shards;
  }
  ClaimIndex& index() override { return *index_; }
  void on_news(News handler) override { news_.push_back(std::move(handler)); }
  void announce(ShardId shard, ClaimState state, std::vector<NodeId> tell) override {
    exchange_.announce(shard, state, std::move(tell));
    for (const News& handler : news_) handler(shard, peers_.identity().node, state);
  }
  env::Task<Status> drop(ShardId shard) override;
  size_t untold_nodes() const override { return exchange_.untold(); }

  env::Task<Status> settle() override {
    for (size_t i = 0; i < stores_.size(); ++i) {
      auto settled = co_await stores_[i]->settle();
      if (!settled) co_return fail(std::move(settled.error()));
    }
    const bool all = co_await exchange_.flush();
    if (!all) co_return fail(Code::io, "claims could not be written");
    co_return Status{};
  }

  env::Task<void> close() override {
    closing_ = true;
    while (at_work_ > 0) co_await idle_.wait();
    const bool walked = tasks_.empty();
    tasks_.cancel();
    for (auto& store : stores_) co_await store->close();
    const bool all = co_await exchange_.flush();
    exchange_.stop();
    if (all && walked) {
      auto marked = co_await world_.workers.run([this] { return index_->set_clean_mark(); });
      if (!marked) world_.log.error("claims_index", "error=\"{}\"", to_string(marked.error()));
    }
  }

 private:
  // A request at work; close() waits for them, for the stores must not be closed under one.
  struct AtWork {
    HolderImpl& owner;
    explicit AtWork(HolderImpl& holder) : owner(holder) { ++owner.at_work_; }
    AtWork(const AtWork&) = delete;
    AtWork& operator=(const AtWork&) = delete;
    ~AtWork() {
      if (--owner.at_work_ == 0) owner.idle_.notify_all();
    }
  };

  using Method = env::Task<Result<Reply>> (HolderImpl::*)(Request);
  void serve(wire::Method method, Method member) {
    peers_.serve(method, peer::Access::members,
                 [this, member](Request request) { return guarded(member, std::move(request)); });
  }
  env::Task<Result<Reply>> guarded(Method member, Request request) {
    if (closing_) co_return fail(Code::closed, "closing");
    const bool shards = request.method == wire::Method::shard_put || request.method == wire::Method::shard_get;
    if (resting_ && shards && request.member != peers_.identity().certificate.member)
      co_return fail(Code::overloaded, "this host lends nothing now");
    const AtWork at_work(*this);
    auto reply = co_await (this->*member)(std::move(request));
    co_return reply;
  }

  env::Task<Result<Reply>> shard_put(Request request);
  env::Task<Result<Reply>> shard_get(Request request);
  env::Task<Result<Reply>> pack_header(Request request);
  env::Task<Result<Reply>> claims_query(Request request);
  env::Task<Result<Reply>> claims_push(Request request);

  std::vector<store::ShardStore*> order_for(const ShardId& shard) const;
  struct Held {
    size_t store;  // its place in stores_
    ShardId shard;
  };
  env::Task<std::vector<Held>> held_of(PackId pack);
  env::Task<std::map<PackId, store::ShardStore::PackHere>> found_here(std::vector<PackId> packs);
  env::Task<std::optional<store::StoredShard>> any_of(std::vector<Held> held);
  void verified(const store::ShardStore::Verified& outcome);
  void rotten(ShardId shard);
  env::Task<void> make_up_for_lost_claims(store::ShardStore& store);
  env::Task<Status> claim_page(store::ShardStore& store, std::vector<ShardId> page);

  env::World world_;
  peer::Peers& peers_;
  std::unique_ptr<ClaimIndex> index_;
  ClaimExchange exchange_;
  HolderWatch* watch_ = nullptr;
  bool walk_;  // the last run did not end cleanly
  std::vector<std::unique_ptr<store::ShardStore>> stores_;
  std::vector<News> news_;
  std::vector<std::unique_ptr<store::ShardStore>> past_stores_;  // closed; somebody may still use them
  HolderCounters counters_;
  RateLimit log_limit_{10, std::chrono::minutes(1)};
  bool closing_ = false;
  bool resting_ = false;
  size_t at_work_ = 0;
  env::Semaphore reads_, writes_, memory_;
  env::Signal idle_;
  env::TaskGroup tasks_;
};

// --- uploads ---

// Spread over the stores by their free space; the others follow for when that one refuses.
std::vector<store::ShardStore*> HolderImpl::order_for(const ShardId& shard) const {
  std::vector<Candidate> candidates;
  for (const auto& store : stores_) {
    candidates.push_back({id_cast<NodeId>(store->id()), {}, store->figures().free});
  }
  Bytes key = to_bytes(shard.pack.view());
  key.push_back(shard.slot);
  std::vector<store::ShardStore*> ordered;
  for (const Candidate& c : rendezvous_order(key, std::move(candidates))) {
    for (const auto& store : stores_) {
      if (id_cast<NodeId>(store->id()) == c.node) ordered.push_back(store.get());
    }
  }
  return ordered;
}

env::Task<Result<Reply>> HolderImpl::shard_put(Request request) {
  struct Refused {
    HolderImpl& owner;
    bool taken = false;
    ~Refused() { (taken ? owner.counters_.shards_taken : owner.counters_.shards_refused) += 1; }
  } outcome{*this};

  auto message = wire::decode<wire::ShardPutRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  const uint64_t size = request.payload.size();
  if (size == 0 || size > kMaxShardSize) co_return fail(Code::bad_input, "shard length out of range");
  if (message->siblings_size() > static_cast<int>(kMaxSlots)) co_return fail(Code::bad_input, "too many siblings");
  std::vector<NodeId> siblings;
  for (const std::string& raw : message->siblings()) {
    auto sibling = raw.empty() ? Result<NodeId>(NodeId{}) : NodeId::from(raw);
    if (!sibling) co_return fail(std::move(sibling.error()));
    siblings.push_back(*sibling);
  }
  // What waits for the disk waits in memory: bounded, and who comes later is sent elsewhere.
  auto memory = memory_.try_acquire(size);
  if (!memory) co_return fail(Code::overloaded, "too many uploads");

  auto header =
      co_await world_.workers.run([&message] { return content::PackHeader::parse(wire::encode(message->header())); });
  if (!header) co_return fail(std::move(header.error()));
  // Any member may bring any pack: a sibling rebuilds those of writers that left, or never lent and so are not known.
  if (message->slot() >= header->geometry.k + header->geometry.m) co_return fail(Code::bad_input, "no such slot");
  if (size != header->geometry.shard_length) co_return fail(Code::bad_input, "not the pack's shard length");

  const auto slot = static_cast<uint8_t>(message->slot());
  if (watch_ != nullptr) {
    const bool refused = co_await watch_->refuses(header->id, header->volume);
    if (refused) co_return fail(Code::denied, "the pack has a tombstone");
  }
  const auto permit = co_await writes_.acquire();
  // One shard of a pack on a node: movers that do not know of each other may choose the same.
  if (message->background()) {
    const auto held = co_await held_of(header->id);
    auto claims = co_await world_.workers.run([this, &header] { return index_->of_pack(header->id); });
    if (!claims) co_return fail(std::move(claims.error()));
    const bool another = claims_another(*claims, peers_.identity().node, slot) ||
                         std::ranges::any_of(held, [slot](const Held& one) { return one.shard.slot != slot; });
    if (another) co_return fail(Code::conflict, "another shard of this pack is here");
  }
  // A shard that is here already stays where it is, or one node would keep it twice.
  auto stores = order_for({header->id, slot});
  if (stores.size() > 1) {
    for (size_t i = 1; i < stores.size(); ++i) {
      const auto slots = co_await stores[i]->slots_of(header->id);
      if (std::find(slots.begin(), slots.end(), slot) == slots.end()) continue;
      std::swap(stores[0], stores[i]);
      break;
    }
  }
  // Before it is: who waits for the answer may go away while the shard is written.
  if (watch_ != nullptr) watch_->storing(*header);
  Error last{Code::no_space, "no store"};
  for (store::ShardStore* store : stores) {
    auto stored = co_await store->put(*header, slot, message->crc32c(), request.payload, siblings);
    if (stored) {
      outcome.taken = true;
      counters_.background += message->background() ? 1 : 0;
      wire::ShardPutResponse response;
      response.set_free(figures().free);
      co_return reply(response);
    }
    const Code code = stored.error().code;
    if (code != Code::no_space && code != Code::io) co_return fail(std::move(stored.error()));
    // One disk that fails is not what the writer should hear about when the other is merely full.
    if (code == Code::io) {
      world_.log.error("store_failed", "store={} error=\"{}\"", store->id().short_hex(), to_string(stored.error()));
    }
    last = std::move(stored.error());
  }
  co_return fail(std::move(last));
}

// --- reads ---

env::Task<Result<Reply>> HolderImpl::shard_get(Request request) {
  auto message = wire::decode<wire::ShardGetRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  auto shard = shard_id(message->pack(), message->slot());
  if (!shard) co_return fail(std::move(shard.error()));
  const uint32_t offset = message->offset();
  const uint32_t length = message->length();
  if (length == 0 || length > kMaxShardSize || offset > kMaxShardSize - length) {
    co_return fail(Code::bad_input, "range out of bounds");
  }
  // With a proof whole leaves are read, up to one more on each side.
  const uint64_t size = length + (message->proof() ? 2ULL * kLeafSize : 0);
  const auto memory = co_await memory_.acquire(size);
  const auto permit = co_await reads_.acquire();
  wire::ShardGetResponse response;
  Buffer payload;
  if (message->proof()) {
    auto range = co_await in_any_store(
        *this, [&](store::ShardStore& store) { return store.read_proven(*shard, offset, length); });
    if (!range) co_return fail(std::move(range.error()));
    response.set_offset(range->offset);
    for (const Hash& hash : range->path) response.add_path(hash.raw());
    payload = std::move(range->bytes);
  } else {
    auto bytes =
        co_await in_any_store(*this, [&](store::ShardStore& store) { return store.read(*shard, offset, length); });
    if (!bytes) co_return fail(std::move(bytes.error()));
    response.set_offset(offset);
    payload = std::move(*bytes);
  }
  ++counters_.shards_served;
  counters_.background += message->background() ? 1 : 0;
  co_return reply(response, std::move(payload));
}

// The shards of this pack that are held here.
env::Task<std::vector<HolderImpl::Held>> HolderImpl::held_of(PackId pack) {
  std::vector<Held> held;
  for (size_t i = 0; i < stores_.size(); ++i) {
    const auto slots = co_await stores_[i]->slots_of(pack);
    for (const uint8_t slot : slots) held.push_back({i, {pack, slot}});
  }
  co_return held;
}

// The same for many, with what is known of each.
env::Task<std::map<PackId, store::ShardStore::PackHere>> HolderImpl::found_here(std::vector<PackId> packs) {
  std::map<PackId, store::ShardStore::PackHere> found;
  for (const PackId& pack : packs) found[pack];
  for (size_t i = 0; i < stores_.size(); ++i) {
    auto in_store = co_await stores_[i]->describe_packs(packs);
    for (size_t j = 0; j < packs.size(); ++j) {
      auto& of_pack = found[packs[j]];
      of_pack.slots.insert(of_pack.slots.end(), in_store[j].slots.begin(), in_store[j].slots.end());
      if (of_pack.header || !in_store[j].header) continue;
      of_pack.header = std::move(in_store[j].header);
      of_pack.siblings = std::move(in_store[j].siblings);
    }
  }
  co_return found;
}

// Of any of them what is known of it.
env::Task<std::optional<store::StoredShard>> HolderImpl::any_of(std::vector<Held> held) {
  for (const Held& one : held) {
    auto described = co_await stores_[one.store]->describe(one.shard);
    if (described) co_return std::move(*described);
  }
  co_return std::nullopt;
}

env::Task<Result<Reply>> HolderImpl::pack_header(Request request) {
  auto message = wire::decode<wire::PackHeaderRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  auto pack = PackId::from(message->pack());
  if (!pack) co_return fail(std::move(pack.error()));
  const auto permit = co_await reads_.acquire();
  auto held = co_await held_of(*pack);
  const auto shard = co_await any_of(std::move(held));
  if (!shard) co_return fail(Code::not_found, "no shard of this pack here");
  wire::PackHeaderResponse response;
  if (auto status = wire::decode_into(*response.mutable_header(), shard->header.serialize()); !status) {
    co_return fail(std::move(status.error()));
  }
  co_return reply(response);
}

// --- claims ---

env::Task<Result<Reply>> HolderImpl::claims_query(Request request) {
  auto message = wire::decode<wire::ClaimsQueryRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  if (message->packs_size() > static_cast<int>(kMaxQueryPacks)) co_return fail(Code::too_large, "too many packs");
  wire::ClaimsQueryResponse response;
  size_t claims_sent = 0;
  for (const std::string& raw : message->packs()) {
    auto pack = PackId::from(raw);
    if (!pack) co_return fail(std::move(pack.error()));
    const auto permit = co_await reads_.acquire();
    auto* entry = response.add_packs();
    entry->set_pack(raw);
    auto claims = co_await world_.workers.run([this, &pack] { return index_->of_pack(*pack); });
    if (!claims) co_return fail(std::move(claims.error()));
    for (const Claim& claim : *claims) {
      if (claims_sent++ >= kMaxClaimsPerAnswer) break;
      if (auto status = wire::decode_into(*entry->add_claims(), claim.signed_message); !status) {
        co_return fail(std::move(status.error()));
      }
    }
    auto held = co_await held_of(*pack);
    for (const Held& one : held) entry->add_held_slots(one.shard.slot);
    const auto shard = co_await any_of(std::move(held));
    if (!shard) continue;
    for (const NodeId& node : shard->siblings) entry->add_siblings(node.is_zero() ? "" : node.raw());
  }
  co_return reply(response);
}

env::Task<Result<Reply>> HolderImpl::claims_push(Request request) {
  auto message = wire::decode<wire::ClaimsPushRequest>(ByteView(request.body));
  if (!message) co_return fail(std::move(message.error()));
  const auto count = static_cast<size_t>(message->claims_size());
  if (count > kClaimsPerPush) {
    counters_.claims_refused += count;
    co_return fail(Code::too_large, "too many claims");
  }
  const auto permit = co_await reads_.acquire();
  struct Checked {
    Claim claim;
    uint32_t place;  // in the request
  };
  auto checked = co_await world_.workers.run([&message, &request] {
    std::vector<Checked> good;
    for (int i = 0; i < message->claims_size(); ++i) {
      auto claim = Claim::heard(wire::encode(message->claims(i)), request.from);
      if (claim) good.push_back({std::move(*claim), static_cast<uint32_t>(i)});
    }
    return good;
  });
  // Only of nodes of this pool, and only for packs of which a shard is here: nobody can fill this index with others.
  std::vector<PackId> packs;
  for (const auto& [claim, place] : checked) packs.push_back(claim.shard.pack);
  std::ranges::sort(packs);
  packs.erase(std::ranges::unique(packs).begin(), packs.end());
  const auto here = co_await found_here(packs);
  std::vector<Claim> wanted;
  wire::ClaimsPushResponse response;
  for (auto& [claim, place] : checked) {
    if (peers_.membership().node(claim.node) == nullptr) {
      response.add_early(place);  // its record may still come
      continue;
    }
    if (here.at(claim.shard.pack).slots.empty()) {
      response.add_early(place);
    } else {
      wanted.push_back(std::move(claim));
    }
  }
  counters_.claims_refused += count - wanted.size();
  if (wanted.size() < count && log_limit_.allow(world_.clock.now())) {
    world_.log.warning("claims_refused", "from={} count={} of={}", request.from.short_hex(), count - wanted.size(),
                       count);
  }
  auto news = co_await world_.workers.run([this, &wanted] { return index_->accept(wanted); });
  if (!news) co_return fail(std::move(news.error()));
  counters_.claims_taken += news->size();
  for (const Claim& claim : *news) {
    for (const News& handler : news_) handler(claim.shard, claim.node, claim.state);
  }
  if (watch_ != nullptr) watch_->heard(*news);

  // A holder that was not among the planned siblings (a replacement) has not been told of the shard here.
  std::map<NodeId, std::vector<PackId>> strangers;
  for (const Claim& claim : *news) {
    if (claim.state == ClaimState::gone) continue;
    const auto& of_pack = here.at(claim.shard.pack);
    if (!of_pack.header || std::ranges::find(of_pack.siblings, claim.node) != of_pack.siblings.end()) continue;
    strangers[claim.node].push_back(claim.shard.pack);
  }
  if (!strangers.empty()) exchange_.tell(std::move(strangers));
  co_return reply(response);
}

// --- what the stores tell ---

void HolderImpl::verified(const store::ShardStore::Verified& outcome) {
  if (outcome.ok) {
    announce(outcome.shard, ClaimState::held, outcome.siblings);
    return;
  }
  ++counters_.writer_faults;
  if (log_limit_.allow(world_.clock.now())) {
    world_.log.warning("wrong_merkle_root", "pack={} slot={} writer={}", outcome.shard.pack.short_hex(),
                       outcome.shard.slot, outcome.writer.short_hex());
  }
}

void HolderImpl::rotten(ShardId shard) {
  ++counters_.rotten_shards;
  world_.log.error("rotten_shard", "pack={} slot={}", shard.pack.short_hex(), shard.slot);
  announce(shard, ClaimState::gone, {});
}

env::Task<Status> HolderImpl::drop(ShardId shard) {
  if (closing_) co_return fail(Code::closed, "closing");
  const AtWork at_work(*this);
  auto removed = co_await in_any_store(*this, [&](store::ShardStore& store) { return store.remove(shard); });
  if (removed) announce(shard, ClaimState::gone, {});
  co_return removed;
}

// A crash may come between a shard's verification and its claim. Only after one are all shards looked at.
env::Task<void> HolderImpl::make_up_for_lost_claims(store::ShardStore& store) {
  std::optional<ShardId> after;
  while (true) {
    auto page = co_await store.list(after, kWalkPage);
    if (page.empty()) co_return;
    after = page.back();
    const bool last = page.size() < kWalkPage;
    auto claimed = co_await claim_page(store, std::move(page));
    if (!claimed) world_.log.error("claims_walk", "error=\"{}\"", to_string(claimed.error()));
    if (last) co_return;
    co_await env::sleep_for(world_.clock, kWalkRest);
  }
}

env::Task<Status> HolderImpl::claim_page(store::ShardStore& store, std::vector<ShardId> page) {
  auto known = co_await world_.workers.run([this, &page]() -> Result<std::set<ShardId>> {
    std::set<ShardId> claimed;
    const NodeId self = peers_.identity().node;
    std::vector<PackId> packs;
    for (const ShardId& shard : page) {
      if (packs.empty() || packs.back() != shard.pack) packs.push_back(shard.pack);
    }
    auto claims = index_->of_packs(packs);
    if (!claims) return fail(std::move(claims.error()));
    for (const auto& of_pack : *claims) {
      for (const Claim& c : of_pack) {
        if (c.node == self && c.state == ClaimState::held) claimed.insert(c.shard);
      }
    }
    return claimed;
  });
  if (!known) co_return fail(std::move(known.error()));
  std::erase_if(page, [&](const ShardId& shard) { return known->contains(shard); });
  if (page.empty()) co_return Status{};
  auto described = co_await store::describe_each(store, page);
  for (size_t i = 0; i < page.size(); ++i) {
    // One that is not verified yet is announced when it is.
    if (described[i] && described[i]->verified)
      exchange_.announce(page[i], ClaimState::held, std::move(described[i]->siblings));
  }
  co_return Status{};
}

}  // namespace

env::Task<Result<std::unique_ptr<Holder>>> Holder::open(env::World world, peer::Peers& peers, std::string claims_path,
                                                        uint64_t boot_seq) {
  struct Opened {
    std::unique_ptr<ClaimIndex> index;
    bool clean;
  };
  const NodeId self = peers.identity().node;
  auto opened = co_await world.workers.run([&]() -> Result<Opened> {
    auto index = ClaimIndex::open(world.meta_stores, claims_path, self);
    if (!index) return fail(std::move(index.error()));
    auto clean = (*index)->take_clean_mark();
    if (!clean) return fail(std::move(clean.error()));
    return Opened{std::move(*index), *clean};
  });
  if (!opened) co_return fail(std::move(opened.error()));
  co_return std::unique_ptr<Holder>(
      std::make_unique<HolderImpl>(world, peers, std::move(opened->index), boot_seq, !opened->clean));
}

}  // namespace cairn::pool
