#include "volume/collect.h"

#include <algorithm>

#include "volume/dead.h"
#include "volume/keys.h"
#include "volume/marker.h"
#include "volume/pack_ref.h"
#include "volume/repack.h"

namespace cairn::volume {

namespace {

// Other writers may be first so often; each time only what they changed is walked.
constexpr int kCollectTries = 16;
// Records of dead packs are kept as long as holders know tombstones, forgotten snapshots as long as some trash may.
constexpr WallTime kDay = 24LL * 3600 * 1'000'000'000;
constexpr WallTime kKeepDead = 180 * kDay;
constexpr WallTime kKeepForgotten = 30 * kDay;
constexpr size_t kItemsPerScan = 4096;
// A pack that is live from here on is full: lanes that do not come out even and Padme's rounding take the rest.
constexpr double kFull = 0.85;
// A quarter of a full pack is small; so many small packs are put together, even where little is gained by it.
constexpr uint64_t kSmallShare = 4;
constexpr size_t kManySmall = 8;

uint64_t bytes_of(const pool::PackRef& pack) {
  return uint64_t{pack.geometry.k} * pack.geometry.shard_length;
}

class Collector {
 public:
  Collector(VolumeHost& host, CollectOptions options)
      : host_(host), options_(std::move(options)), marker_(std::in_place, host.world(), host.nodes()) {}

  env::Task<Result<CollectReport>> run() {
    for (int i = 0; i < kCollectTries; ++i) {
      auto head = co_await host_.latest();
      if (!head) co_return fail(std::move(head.error()));
      head_ = *head;
      if (host_.unsettled())
        co_return fail(Code::damaged,
                       "what a device that may only add has replaced cannot be read: nothing is removed");
      CAIRN_CO_TRY(co_await look());
      std::map<PackId, pool::PackRef> apart;
      if (!repacked_ && !repacker_ && !options_.dry_run) {
        apart = choose();
        choose_unfit(apart);
      }
      // What was copied already when somebody else was first is used in any case.
      if (!repacked_ && (repacker_ || !apart.empty())) {
        auto done = co_await repack(apart);
        if (!done && done.error().code == Code::conflict) continue;
        if (!done) co_return fail(std::move(done.error()));
        // What they were made of is dead by the new head.
        repacked_ = true;
        marker_.emplace(host_.world(), host_.nodes());
        continue;
      }
      if (!asked_ && options_.ask_holders) CAIRN_CO_TRY(co_await ask_holders());
      plan();
      if (options_.dry_run) co_return report_;
      CAIRN_CO_TRY(co_await take_away_places());
      if (!edits_.empty()) {
        CommitRequest request{.base = head_, .edits = &edits_, .packs = {}};
        auto committed = co_await host_.commit_upon(std::move(request), {});
        if (!committed && committed.error().code == Code::conflict) continue;
        if (!committed) co_return fail(std::move(committed.error()));
        ++report_.commits;
      }
      auto told = co_await tell();
      if (!told) co_return fail(std::move(told.error()));
      co_return report_;
    }
    co_return fail(Code::conflict, "other writers were always first; try again");
  }

 private:
  template <class Visit>
  env::Task<Status> each_item(char prefix, Visit visit) {
    const KeyRange range = range_of_prefix(prefix);
    std::string first = range.first;
    while (true) {
      auto items = co_await host_.tree().scan(head_->root, first, range.last, kItemsPerScan);
      if (!items) co_return fail(std::move(items.error()));
      for (Item& item : *items) CAIRN_CO_TRY(visit(item));
      if (items->size() < kItemsPerScan) co_return Status{};
      first = items->back().key + '\0';
    }
  }

  void tell_progress(CollectProgress::Phase phase, uint64_t done, uint64_t total) {
    if (options_.on_progress) options_.on_progress({phase, done, total});
  }

  // What the head has, and what is live by it. Of an earlier try what is marked stays marked.
  env::Task<Status> look() {
    const WallTime now = host_.witnessed_now();
    packs_.clear();
    dead_.clear();
    snapshots_.clear();
    forgotten_.clear();
    CAIRN_CO_TRY(co_await each_item('P', [this](const Item& item) -> Status {
      auto pack = decode_pack_ref(item.value);
      if (!pack) return fail(std::move(pack.error()));
      packs_.emplace(pack->id, std::move(*pack));
      return {};
    }));
    for (const pool::PackRef& pack : head_->tree_packs) packs_.emplace(pack.id, pack);
    CAIRN_CO_TRY(co_await each_item('D', [this](const Item& item) -> Status {
      auto dead = decode_dead_pack(item.value);
      if (!dead) return fail(std::move(dead.error()));
      dead_.emplace(dead->pack.id, std::move(*dead));
      return {};
    }));
    CAIRN_CO_TRY(co_await each_item('S', [this](const Item& item) -> Status {
      auto snapshot = decode_snapshot(item.value);
      if (!snapshot) return fail(std::move(snapshot.error()));
      snapshots_.push_back(std::move(*snapshot));
      return {};
    }));
    std::vector<Root> roots{head_->root};
    for (const SnapshotItem& snapshot : snapshots_) roots.push_back(snapshot.root);
    CAIRN_CO_TRY(co_await each_item('U', [&](const Item& item) -> Status {
      auto forgotten = decode_forgotten(item.value);
      if (!forgotten) return fail(std::move(forgotten.error()));
      if (forgotten->pruned == 0 && now - forgotten->forgotten < options_.keep_forgotten.count()) {
        roots.push_back(forgotten->snapshot.root);
      } else {
        forgotten_.push_back(std::move(*forgotten));
      }
      return {};
    }));
    for (size_t i = 0; i < roots.size(); ++i) {
      tell_progress(CollectProgress::Phase::marking, i, roots.size());
      CAIRN_CO_TRY(co_await marker_->mark(roots[i]));
    }
    co_return Status{};
  }

  // Packs that holders have and that nothing refers to: uploads that were never committed, and tombstones that did not
  // get through.
  env::Task<Status> ask_holders() {
    tell_progress(CollectProgress::Phase::asking, 0, 0);
    std::vector<PackId> live;
    for (const auto& [pack, use] : marker_->packs()) live.push_back(pack);
    std::ranges::sort(live);
    auto strangers = co_await host_.packs().strangers(std::move(live));
    if (!strangers) co_return fail(std::move(strangers.error()));
    asked_ = true;
    strangers_ = std::move(*strangers);
    co_return Status{};
  }

  // Whether this pack should be of another code, and writing it now would better it.
  bool unfit(const pool::PackRef& pack) const {
    if (options_.recode == Recode::none) return false;
    const pool::Redundancy goal = host_.packs().goal();
    const content::PackGeometry now = host_.packs().geometry_now();
    const pool::Fit fit = pool::fit_of(pack.geometry, goal);
    if (fit == pool::Fit::right || (fit != pool::Fit::weak && options_.recode == Recode::weak)) return false;
    // While some domains are full or slow what is written is less than what is wanted.
    return pool::fit_of(now, goal) == pool::Fit::right || (fit == pool::Fit::weak && now.m > pack.geometry.m);
  }

  // Packs for the sake of their code: those that stand the fewest losses first.
  void choose_unfit(std::map<PackId, pool::PackRef>& chosen) {
    struct Candidate {
      uint32_t m;
      uint64_t live;
      const pool::PackRef* pack;
    };
    std::vector<Candidate> candidates;
    for (const auto& [id, pack] : packs_) {
      const auto use = marker_->packs().find(id);
      if (use == marker_->packs().end() || !unfit(pack)) continue;
      candidates.push_back({pack.geometry.m, use->second.live, &pack});
    }
    std::ranges::stable_sort(candidates, {}, &Candidate::m);
    uint64_t bytes = 0;
    for (const Candidate& one : candidates) {
      if (recoded_.packs > 0 && bytes + one.live > options_.max_recode_bytes) continue;
      bytes += one.live;
      ++recoded_.packs;
      recoded_.bytes += one.live;
      chosen.emplace(one.pack->id, *one.pack);
    }
  }

  // Which packs are worth taking apart: those with the least in them, until what is left unused is little enough.
  std::map<PackId, pool::PackRef> choose() const {
    std::map<PackId, pool::PackRef> chosen;
    for (const bool trees : {false, true}) {
      struct Candidate {
        const pool::PackRef* pack;
        uint64_t size, live;
      };
      std::vector<Candidate> candidates, small;
      uint64_t live_bytes = 0, unused = 0;
      const uint64_t full = uint64_t{host_.packs().geometry_now().k} * kMaxShardSize;
      for (const auto& [id, pack] : packs_) {
        const auto use = marker_->packs().find(id);
        if (use == marker_->packs().end() || use->second.has_nodes != trees) continue;
        const Candidate one{&pack, bytes_of(pack), use->second.live};
        live_bytes += one.live;
        if (one.size <= full / kSmallShare) small.push_back(one);
        if (static_cast<double>(one.live) >= kFull * static_cast<double>(one.size)) continue;
        unused += one.size - one.live;
        candidates.push_back(one);
      }
      const auto share = static_cast<uint64_t>(options_.max_unused_share * static_cast<double>(live_bytes));
      const uint64_t limit = options_.max_unused_bytes.value_or(share);
      std::ranges::sort(candidates, {}, [](const Candidate& one) {
        return static_cast<double>(one.live) / static_cast<double>(one.size);
      });
      std::map<PackId, Candidate> taken;
      uint64_t size = 0, live = 0;
      const auto take = [&](const Candidate& one) {
        if (live + one.live > options_.max_copy_bytes || !taken.emplace(one.pack->id, one).second) return;
        size += one.size;
        live += one.live;
      };
      for (const Candidate& one : candidates) {
        if (unused <= limit) break;
        take(one);
        unused -= one.size - one.live;
      }
      const bool many = small.size() >= kManySmall || (options_.copy_small && small.size() > 1);
      // What the copies will take at least: rounded up, and the last of them with lanes that do not come out even.
      const uint64_t uneven = trees ? kMaxNodeSize : host_.options().deduplicates ? kMaxChunkSize : kExtentSize;
      const uint64_t after = live + live / 8 + host_.packs().geometry_now().k * uneven;
      if (!many && after >= size) continue;
      if (many) {
        if (after >= size) taken.clear();
        for (const Candidate& one : small) take(one);
      }
      for (const auto& [id, one] : taken) chosen.emplace(id, *one.pack);
    }
    return chosen;
  }

  env::Task<Status> repack(std::map<PackId, pool::PackRef> apart) {
    // When somebody else was first, what was copied is used again.
    if (!repacker_) {
      report_.copied_packs = apart.size();
      repacker_.emplace(host_, apart);
      if (options_.copy_rate > 0) repacker_->set_rate(options_.copy_rate);
      uint64_t total = 0;
      for (const auto& [id, pack] : apart) total += marker_->packs().at(id).live;
      repacker_->on_progress(
          [this, total](uint64_t bytes) { tell_progress(CollectProgress::Phase::copying, bytes, total); });
    }
    auto rewritten = co_await repacker_->rewrite(head_, snapshots_);
    if (!rewritten) co_return fail(std::move(rewritten.error()));
    CommitRequest request{.base = rewritten->base, .edits = &rewritten->edits, .packs = std::move(rewritten->packs)};
    auto committed = co_await host_.commit_upon(std::move(request), {});
    if (!committed) co_return fail(std::move(committed.error()));
    ++report_.commits;
    report_.copied_bytes = repacker_->copied_bytes();
    co_return Status{};
  }

  // The edits that take away what is dead.
  void plan() {
    const WallTime now = host_.witnessed_now();
    const uint64_t next = head_->state.sequence + 1;
    const uint64_t commits = report_.commits;
    report_ = {.copied_packs = report_.copied_packs, .copied_bytes = report_.copied_bytes, .commits = commits};
    report_.recoded_packs = recoded_.packs;
    report_.recoded_bytes = recoded_.bytes;
    edits_.clear();
    to_tell_.clear();
    const auto bury = [&](DeadPack dead) {
      dead.sequence = next;
      dead.buried = now;
      edits_.insert_or_assign(dead_pack_key(dead.pack.id), encode_dead_pack(dead));
      edits_.insert_or_assign(pack_key(dead.pack.id), std::nullopt);
      to_tell_.push_back(dead.pack);
    };
    for (const auto& [id, pack] : packs_) {
      ++report_.packs;
      report_.bytes += bytes_of(pack);
      if (const auto use = marker_->packs().find(id); use != marker_->packs().end()) {
        ++report_.live_packs;
        report_.live_bytes += use->second.live;
        report_.unused_bytes += bytes_of(pack) - std::min(bytes_of(pack), use->second.live);
        if (unfit(pack)) {
          ++report_.unfit_packs;
          report_.unfit_bytes += use->second.live;
        }
        // Somebody refers to it again, and it has no tombstone yet.
        if (dead_.contains(id)) edits_.insert_or_assign(dead_pack_key(id), std::nullopt);
        continue;
      }
      const auto known = dead_.find(id);
      const WallTime since = known == dead_.end() ? now : known->second.since;
      if (now - since < options_.grace.count()) {
        if (known == dead_.end())
          edits_.insert_or_assign(dead_pack_key(id), encode_dead_pack({.pack = pack, .since = now}));
        continue;
      }
      ++report_.dead_packs;
      report_.dead_bytes += bytes_of(pack);
      bury({.pack = pack, .since = since});
    }
    plan_strangers(now, bury);
    for (const auto& [id, dead] : dead_) {
      if (dead.sequence != 0 && now - dead.buried > kKeepDead && !edits_.contains(dead_pack_key(id)))
        edits_.insert_or_assign(dead_pack_key(id), std::nullopt);
    }
    for (ForgottenSnapshot& forgotten : forgotten_) {
      const std::string key = forgotten_key(forgotten.snapshot.info.name);
      if (forgotten.pruned == 0) {
        ++report_.snapshots;
        forgotten.pruned = now;
        edits_.insert_or_assign(key, encode_forgotten(forgotten));
      } else if (now - forgotten.pruned > kKeepForgotten) {
        edits_.insert_or_assign(key, std::nullopt);
      }
    }
  }

  template <class Bury>
  void plan_strangers(WallTime now, Bury bury) {
    std::set<PackId> seen;
    for (const pool::PackRef& pack : strangers_.packs) {
      seen.insert(pack.id);
      // Dead just now, or come to life since the holders were asked.
      if (packs_.contains(pack.id) || marker_->live(pack.id)) continue;
      const auto known = dead_.find(pack.id);
      if (known != dead_.end() && known->second.sequence != 0) {
        bury(known->second);  // its tombstone did not get through, or somebody had it back and did not need it
      } else if (known == dead_.end()) {
        ++report_.orphans_seen;
        edits_.insert_or_assign(dead_pack_key(pack.id), encode_dead_pack({.pack = pack, .since = now, .orphan = true}));
      } else if (now - known->second.since < options_.orphan_grace.count()) {
        ++report_.orphans_seen;
      } else {
        ++report_.orphans_buried;
        bury({.pack = pack, .since = known->second.since, .orphan = true});
      }
    }
    // An orphan that nobody has any more.
    if (!asked_ || !strangers_.all_asked) return;
    for (const auto& [id, dead] : dead_) {
      if (dead.orphan && dead.sequence == 0 && !seen.contains(id))
        edits_.insert_or_assign(dead_pack_key(id), std::nullopt);
    }
  }

  // Chunks in packs that are buried are found no more.
  env::Task<Status> take_away_places() {
    if (to_tell_.empty() || !host_.options().deduplicates) co_return Status{};
    std::set<PackId> buried;
    for (const pool::PackRef& pack : to_tell_) buried.insert(pack.id);
    auto done = co_await each_item('C', [&](Item& item) -> Status {
      auto place = decode_extent(0, item.value);
      if (!place) return fail(std::move(place.error()));
      if (buried.contains(place->pack)) edits_.insert_or_assign(std::move(item.key), std::nullopt);
      return {};
    });
    co_return done;
  }

  env::Task<Status> tell() {
    tell_progress(CollectProgress::Phase::burying, 0, to_tell_.size());
    if (to_tell_.empty()) co_return Status{};
    // As of the head that was just chosen.
    auto told = co_await host_.packs().bury(to_tell_, head_->state.sequence + 1);
    if (!told) co_return fail(std::move(told.error()));
    report_.told += *told;
    tell_progress(CollectProgress::Phase::burying, to_tell_.size(), to_tell_.size());
    co_return Status{};
  }

  VolumeHost& host_;
  CollectOptions options_;
  std::optional<Marker> marker_;
  HeadPtr head_;
  std::map<PackId, pool::PackRef> packs_;  // records of the head
  std::map<PackId, DeadPack> dead_;
  std::vector<SnapshotItem> snapshots_;
  std::vector<ForgottenSnapshot> forgotten_;
  PackIo::Strangers strangers_;
  bool asked_ = false;
  std::optional<Repacker> repacker_;
  bool repacked_ = false;
  struct {
    uint64_t packs = 0, bytes = 0;
  } recoded_;
  EditMap edits_;
  std::vector<pool::PackRef> to_tell_;
  CollectReport report_;
};

}  // namespace

env::Task<Result<CollectReport>> collect_garbage(VolumeHost& host, CollectOptions options) {
  Collector collector(host, std::move(options));
  auto report = co_await collector.run();
  co_return report;
}

}  // namespace cairn::volume
