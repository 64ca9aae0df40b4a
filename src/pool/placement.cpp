#include "pool/placement.h"

#include <algorithm>
#include <bit>
#include <set>

#include "crypto/hash.h"
#include "pool/limits.h"

namespace cairn::pool {

namespace {

using Wide = unsigned __int128;

constexpr int kFractionBits = 48;

// -log2((hash + 1) / 2^64) with 48 fraction bits, at least 1 of the last place; by repeated squaring of the mantissa
// (Knuth, TAOCP 1, 1.2.2 exercise 25). Integers only, so that every machine computes the same order; the base of the
// logarithm is a common factor and does not matter for the order.
uint64_t negative_log2(uint64_t hash) {
  if (hash == ~uint64_t{0}) return 1;
  const uint64_t value = hash + 1;
  const int leading = std::countl_zero(value);
  uint64_t mantissa = value << leading;  // [1, 2) with 63 fraction bits
  uint64_t fraction = 0;
  for (int i = 0; i < kFractionBits; ++i) {
    const Wide square = (Wide{mantissa} * mantissa) >> 63;  // [1, 4)
    const bool carry = (square >> 64) != 0;
    mantissa = static_cast<uint64_t>(carry ? square >> 1 : square);
    fraction = fraction << 1 | (carry ? 1 : 0);
  }
  // value = 2^(63 - leading) * 1.xxx, so -log2(value / 2^64) = leading + 1 - fraction.
  const uint64_t result = (static_cast<uint64_t>(leading + 1) << kFractionBits) - fraction;
  return std::max<uint64_t>(result, 1);
}

struct Scored {
  uint64_t weight;
  uint64_t log;
  size_t index;
};

Scored score(ByteView key, const Candidate& candidate, size_t index) {
  const Hash hash = crypto::sha256({key, candidate.node.view()});
  return {candidate.free, negative_log2(read_be64(hash.bytes.data())), index};
}

// weight / log, compared without a division: below 2^64 * 2^55.
bool better(const Scored& a, const Scored& b, const std::vector<Candidate>& candidates) {
  const Wide left = Wide{a.weight} * b.log;
  const Wide right = Wide{b.weight} * a.log;
  if (left != right) return left > right;
  return candidates[a.index].node < candidates[b.index].node;
}

struct Window {
  uint32_t width;  // nodes
  uint32_t permutations;
};

Window window_for(uint32_t slots) {
  const uint32_t width = std::max(kMinWindow, kWindowPerSlot * slots);
  // A node meets those at most width - 1 away on either side, on each permutation.
  const uint32_t permutations = std::clamp(kScatterWidth / (2 * (width - 1)), 1U, kMaxPermutations);
  return {width, permutations};
}

// Moves the pack's window to the front; how long it is. `candidates` are more than kSmallPool.
size_t gather_window(const PackId& pack, uint32_t slots, std::vector<Candidate>& candidates) {
  const Window window = window_for(slots);
  const Hash seed = crypto::sha256({as_bytes("cairn/v1/window"), pack.view()});
  const size_t word = 8 * (read_be64(seed.bytes.data()) % window.permutations);

  Scored anchor = score(seed.view(), candidates[0], 0);
  for (size_t i = 1; i < candidates.size(); ++i) {
    const Scored other = score(seed.view(), candidates[i], i);
    if (better(other, anchor, candidates)) anchor = other;
  }
  const NodeId centre = candidates[anchor.index].node;

  auto place_on_ring = [word](const Candidate& c) { return read_be64(c.node.bytes.data() + word); };
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    const uint64_t left = place_on_ring(a);
    const uint64_t right = place_on_ring(b);
    return left != right ? left < right : a.node < b.node;
  });
  const auto at =
      std::find_if(candidates.begin(), candidates.end(), [&](const Candidate& c) { return c.node == centre; });
  // The anchor in the middle: its load then follows its neighbours' weights evenly on both sides.
  const size_t count = candidates.size();
  const size_t first = (static_cast<size_t>(at - candidates.begin()) + count - window.width / 2) % count;
  std::rotate(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(first), candidates.end());

  // Wider where the neighbours are of too few domains.
  const size_t wanted = std::min<size_t>(slots, count_domains(candidates));
  std::set<std::string_view> domains;
  size_t length = 0;
  while (length < count && (length < window.width || domains.size() < wanted))
    domains.insert(candidates[length++].domain);
  return length;
}

}  // namespace

content::PackGeometry geometry_for(size_t live_domains) {
  auto code = [](uint32_t k, uint32_t m) { return content::PackGeometry{.k = k, .m = m, .shard_length = 0}; };
  if (live_domains <= 1) return code(1, 0);
  if (live_domains == 2) return code(1, 1);
  if (live_domains == 3) return code(1, 2);
  if (live_domains <= 5) return code(2, 2);
  if (live_domains <= 7) return code(4, 2);
  if (live_domains <= 12) return code(5, 3);
  if (live_domains <= 24) return code(8, 4);
  return code(16, 8);
}

Fit fit_of(const content::PackGeometry& pack, const Redundancy& goal) {
  const content::PackGeometry& code = goal.code;
  if (pack.m < code.m) return Fit::weak;
  if (pack.k == code.k && pack.m == code.m) return Fit::right;
  // With one domain there is nothing to spread over, and a second copy on another of its nodes is better than none.
  if (code.m > 0 && pack.k + pack.m > goal.domains) return Fit::wide;
  // Bytes stored for each byte: (k + m) / k.
  const uint64_t takes = uint64_t{pack.k + pack.m} * code.k;
  return code.m > 0 && takes > uint64_t{code.k + code.m} * pack.k ? Fit::costly : Fit::right;
}

uint32_t commit_quorum(const content::PackGeometry& geometry) {
  return geometry.k + (geometry.m + 1) / 2;  // for m > 0 this is at least k + 1
}

uint32_t domain_cap(uint32_t m) {
  return std::max(1U, m / 2);
}

std::vector<Candidate> rendezvous_order(ByteView key, std::vector<Candidate> candidates) {
  std::vector<Scored> scored;
  scored.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) scored.push_back(score(key, candidates[i], i));
  std::sort(scored.begin(), scored.end(), [&](const Scored& a, const Scored& b) { return better(a, b, candidates); });
  std::vector<Candidate> ordered;
  ordered.reserve(candidates.size());
  for (const Scored& s : scored) ordered.push_back(std::move(candidates[s.index]));
  return ordered;
}

size_t count_domains(const std::vector<Candidate>& candidates) {
  std::set<std::string_view> domains;
  for (const Candidate& c : candidates) domains.insert(c.domain);
  return domains.size();
}

Placer::Placer(const PackId& pack, uint32_t slots, uint64_t shard_length, const std::vector<Candidate>& candidates) {
  for (const Candidate& c : candidates) {
    if (c.free >= std::max<uint64_t>(shard_length, 1)) order_.push_back(c);
  }
  // A node may be given twice by mistake; it must not be handed out twice.
  std::sort(order_.begin(), order_.end(), [](const Candidate& a, const Candidate& b) { return a.node < b.node; });
  order_.erase(std::unique(order_.begin(), order_.end(),
                           [](const Candidate& a, const Candidate& b) { return a.node == b.node; }),
               order_.end());
  if (order_.size() <= kSmallPool) {
    order_ = rendezvous_order(pack.view(), std::move(order_));
    return;
  }
  const size_t window = gather_window(pack, slots, order_);
  const auto border = order_.begin() + static_cast<ptrdiff_t>(window);
  std::vector<Candidate> rest(std::make_move_iterator(border), std::make_move_iterator(order_.end()));
  order_.erase(border, order_.end());
  order_ = rendezvous_order(pack.view(), std::move(order_));
  // The rest is wanted only when nearly the whole window fails: from the window's end on, in the ring's order.
  order_.insert(order_.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
}

std::optional<Candidate> Placer::next() {
  auto best = order_.end();
  uint32_t fewest = 0;
  for (auto it = order_.begin(); it != order_.end(); ++it) {
    const auto found = shards_.find(it->domain);
    const uint32_t held = found == shards_.end() ? 0 : found->second;
    if (best == order_.end() || held < fewest) {
      best = it;
      fewest = held;
      if (held == 0) break;
    }
  }
  if (best == order_.end()) return std::nullopt;
  Candidate chosen = std::move(*best);
  order_.erase(best);
  ++shards_[chosen.domain];
  return chosen;
}

void Placer::take_back(const Candidate& candidate) {
  const auto found = shards_.find(candidate.domain);
  if (found != shards_.end() && found->second > 0) --found->second;
}

std::vector<Candidate> place(const PackId& pack, uint32_t slots, uint64_t shard_length,
                             const std::vector<Candidate>& candidates) {
  Placer placer(pack, slots, shard_length, candidates);
  std::vector<Candidate> holders;
  while (holders.size() < slots) {
    auto candidate = placer.next();
    if (!candidate) break;
    holders.push_back(std::move(*candidate));
  }
  return holders;
}

}  // namespace cairn::pool
