#include "pool/tombstones.h"

#include <algorithm>
#include <set>

#include "crypto/hash.h"
#include "pool/limits.h"
#include "proto/garbage.pb.h"
#include "wire/message.h"

namespace cairn::pool {

Tombstones::Tombstones(env::World world, peer::Peers& peers, Bytes founding)
    : world_(world),
      peers_(peers),
      founding_(std::move(founding)),
      volume_(id_cast<VolumeId>(crypto::sha256(founding_))) {}

env::Task<Result<std::vector<FateReport>>> Tombstones::tell(std::vector<PackRef> packs, Fate fate, uint64_t sequence) {
  std::vector<FateReport> reports(packs.size());
  // In steps, so that a million packs do not lie in memory as signed statements.
  for (size_t begin = 0; begin < packs.size(); begin += kTombstonesPerStep) {
    const size_t end = std::min(packs.size(), begin + kTombstonesPerStep);
    const auto statements = co_await world_.workers.run([&] {
      std::vector<Tombstone> made;
      for (size_t i = begin; i < end; ++i)
        made.push_back(Tombstone::make(peers_.identity().device, volume_, packs[i].id, fate, sequence));
      return made;
    });
    std::vector<FateReport> step(statements.size());
    std::vector<std::set<NodeId>> asked(statements.size());
    std::map<NodeId, std::vector<size_t>> whom;
    for (size_t i = 0; i < statements.size(); ++i) {
      for (const NodeId& node : packs[begin + i].holders) {
        if (node.is_zero() || !peers_.usable(node) || !asked[i].insert(node).second) continue;
        whom[node].push_back(i);
      }
    }
    CAIRN_CO_TRY(co_await ask_all(std::move(whom), statements, step));
    whom.clear();
    for (size_t i = 0; i < statements.size(); ++i) {
      const auto& geometry = packs[begin + i].geometry;
      const uint32_t enough = fate == Fate::dead ? geometry.m + 1 : geometry.k + geometry.m;
      const uint32_t good = fate == Fate::dead ? step[i].in_trash + step[i].gone : step[i].live;
      if (good >= enough) continue;
      size_t more = 0;
      for (const NodeId& node : peers_.live_nodes()) {
        if (more == kMaxAsked) break;
        const peer::NodeInfo* info = peers_.membership().node(node);
        if (info == nullptr || !info->lends || !peers_.usable(node) || !asked[i].insert(node).second) continue;
        whom[node].push_back(i);
        ++more;
      }
    }
    CAIRN_CO_TRY(co_await ask_all(std::move(whom), statements, step));
    std::ranges::copy(step, reports.begin() + static_cast<ptrdiff_t>(begin));
  }
  co_return reports;
}

env::Task<Status> Tombstones::ask_all(std::map<NodeId, std::vector<size_t>> whom,
                                      const std::vector<Tombstone>& statements, std::vector<FateReport>& reports) {
  std::vector<env::Task<Result<std::vector<std::pair<size_t, FateAnswer>>>>> asks;
  asks.reserve(whom.size());
  for (auto& [node, which] : whom) asks.push_back(ask(node, std::move(which), statements));
  auto all = co_await env::when_all(world_.executor, std::move(asks));
  for (auto& one : all) {
    if (!one) continue;  // who does not answer now hears it from its siblings
    for (const auto& [i, answer] : *one) {
      FateReport& report = reports[i];
      if (answer != FateAnswer::unknown && answer != FateAnswer::refused) ++report.acknowledged;
      if (answer == FateAnswer::in_trash) ++report.in_trash;
      if (answer == FateAnswer::live) ++report.live;
      if (answer == FateAnswer::gone) ++report.gone;
      if (answer == FateAnswer::refused) ++report.refused;
    }
  }
  co_return Status{};
}

env::Task<Result<std::vector<std::pair<size_t, FateAnswer>>>> Tombstones::ask(
    NodeId node, std::vector<size_t> which, const std::vector<Tombstone>& statements) {
  std::vector<std::pair<size_t, FateAnswer>> answers;
  for (size_t begin = 0; begin < which.size(); begin += kTombstonesPerRequest) {
    const size_t end = std::min(which.size(), begin + kTombstonesPerRequest);
    wire::TombstonesRequest request;
    request.add_foundings(to_string(ByteView(founding_)));
    CAIRN_CO_TRY(wire::decode_into(*request.add_certificates(), peers_.identity().certificate.encoded));
    for (size_t i = begin; i < end; ++i)
      CAIRN_CO_TRY(wire::decode_into(*request.add_statements(), statements[which[i]].signed_message));
    auto answer = co_await peer::ask<wire::TombstonesResponse>(peers_, node, wire::Method::tombstones, request,
                                                               kTombstoneTimeout);
    if (!answer) {
      world_.log.warning("tombstones_not_told", "node={} error=\"{}\"", node.short_hex(), to_string(answer.error()));
      break;
    }
    for (size_t i = begin; i < end; ++i) {
      const int at = static_cast<int>(i - begin);
      if (at >= answer->message.answers_size()) break;
      const auto number = answer->message.answers(at);
      answers.emplace_back(which[i], wire::TombstonesResponse::Answer_IsValid(number) ? static_cast<FateAnswer>(number)
                                                                                      : FateAnswer::unknown);
    }
  }
  co_return answers;
}

// Equal hash: nothing to do. Else the list, or where it would be too long both halves of the range.
env::Task<Result<std::vector<PackId>>> Tombstones::strangers(NodeId node, std::vector<PackId> expected) {
  PackId zero, top;
  top.bytes.fill(0xff);
  struct Range {
    PackId first, last;
  };
  std::vector<Range> ranges{{zero, top}};
  std::vector<PackId> strangers;
  while (!ranges.empty()) {
    const Range range = ranges.back();
    ranges.pop_back();
    wire::ReconcileRequest request;
    request.set_founding(to_string(ByteView(founding_)));
    request.set_first(range.first.raw());
    request.set_last(range.last.raw());
    request.set_list_up_to(kListedPacks);
    auto answer =
        co_await peer::ask<wire::ReconcileResponse>(peers_, node, wire::Method::reconcile, request, kTombstoneTimeout);
    if (!answer) co_return fail(std::move(answer.error()));
    const wire::ReconcileResponse& there = answer->message;
    if (!there.ready()) co_return fail(Code::overloaded, "still looking through its stores");
    const auto begin = std::ranges::lower_bound(expected, range.first);
    const auto end = std::ranges::upper_bound(expected, range.last);
    Hash hash;
    for (auto at = begin; at != end; ++at) hash = crypto::sha256({hash.view(), at->view()});
    if (there.hash() == hash.raw()) continue;
    if (there.count() <= kListedPacks) {
      for (const std::string& raw : there.packs()) {
        auto pack = PackId::from(raw);
        if (!pack) co_return fail(Code::corrupt, "malformed pack");
        if (!std::binary_search(begin, end, *pack)) strangers.push_back(*pack);
      }
      continue;
    }
    // The middle, by the first 8 bytes: IDs are hashes.
    const uint64_t low = read_be64(range.first.bytes.data()), high = read_be64(range.last.bytes.data());
    if (low == high) co_return fail(Code::corrupt, "more packs in a range than there can be");
    PackId middle;
    middle.bytes.fill(0xff);
    Bytes raw;
    append_be64(raw, low + (high - low) / 2);
    std::ranges::copy(raw, middle.bytes.begin());
    PackId next;
    raw.clear();
    append_be64(raw, low + (high - low) / 2 + 1);
    std::ranges::copy(raw, next.bytes.begin());
    ranges.push_back({range.first, middle});
    ranges.push_back({next, range.last});
  }
  co_return strangers;
}

}  // namespace cairn::pool
