#include "pool/pack_completer.h"

#include "base/crc32c.h"
#include "content/merkle.h"
#include "erasure/code.h"
#include "pool/limits.h"
#include "pool/put_request.h"

namespace cairn::pool {

namespace {

// k data and m parity shards out of the lanes, those of `missing` alone kept; checked against the header's roots.
Result<std::vector<Buffer>> encode(const content::PackHeader& header, std::vector<Buffer> lanes,
                                   const std::vector<uint8_t>& missing) {
  const auto [k, m, length] = header.geometry;
  std::vector<Buffer> shards = std::move(lanes);
  if (m > 0) {
    auto code = erasure::Code::get(k, m);
    if (!code) return fail(std::move(code.error()));
    for (uint32_t i = 0; i < m; ++i) shards.emplace_back(length);
    std::vector<ByteView> data;
    std::vector<MutableByteView> parity;
    for (uint32_t slot = 0; slot < k; ++slot) data.push_back(shards[slot].view());
    for (uint32_t slot = k; slot < k + m; ++slot) parity.push_back(shards[slot].span());
    CAIRN_TRY(code->encode(data, parity));
  }
  std::vector<Buffer> wanted;
  for (const uint8_t slot : missing) {
    if (content::MerkleTree::over(shards[slot].view()).root() != header.roots[slot])
      return fail(Code::damaged, fmt::format("slot {} is not what its writer signed", slot));
    wanted.push_back(shards[slot]);
  }
  return wanted;
}

}  // namespace

env::Task<Result<Completion>> PackCompleter::complete(PackRef ref, PoolClient::Answers answers) {
  const auto turn = co_await places_.acquire();
  co_await locator_.locate(ref, true, answers);
  std::vector<NodeId> holders = locator_.live_holders(ref, answers);
  std::vector<uint8_t> missing;
  for (size_t slot = 0; slot < holders.size(); ++slot) {
    if (holders[slot].is_zero()) missing.push_back(static_cast<uint8_t>(slot));
  }
  Completion report{.missing = static_cast<uint32_t>(missing.size())};
  if (missing.empty()) co_return report;
  auto header = co_await locator_.header(ref);
  if (!header) co_return fail(std::move(header.error()));
  auto lanes = co_await read_lanes(ref, *header);
  if (!lanes) co_return fail(std::move(lanes.error()));
  auto shards = co_await state_.world.workers.run([&] { return encode(**header, std::move(*lanes), missing); });
  if (!shards) co_return fail(std::move(shards.error()));

  std::vector<Candidate> candidates = state_.candidates();
  std::vector<Candidate> present;
  std::erase_if(candidates, [&](const Candidate& c) {
    const bool has = std::ranges::find(holders, c.node) != holders.end();
    if (has) present.push_back(c);
    return has;
  });
  Placer placer(ref.id, static_cast<uint32_t>(missing.size()), ref.geometry.shard_length, candidates);
  for (const Candidate& c : present) placer.hand_out(c);
  for (size_t i = 0; i < missing.size(); ++i) {
    NodeId placed;
    auto done = co_await place(*header, missing[i], std::move((*shards)[i]), holders, placer, placed);
    if (!done) {
      report.error = std::move(done.error());
      break;
    }
    holders[missing[i]] = placed;
    ++report.placed;
  }
  co_return report;
}

env::Task<Result<std::vector<Buffer>>> PackCompleter::read_lanes(PackRef ref,
                                                                 std::shared_ptr<const content::PackHeader> header) {
  std::vector<Buffer> lanes;
  const uint32_t length = ref.geometry.shard_length;
  for (uint32_t slot = 0; slot < ref.geometry.k; ++slot) {
    auto check = [header, slot](ByteView bytes) {
      return content::MerkleTree::over(bytes).root() == header->roots[slot];
    };
    auto lane = co_await reader_.read(ref, slot * length, length, check, Purpose::data);
    if (!lane) co_return fail(std::move(lane.error()));
    lanes.push_back(std::move(*lane));
  }
  co_return lanes;
}

// With whoever takes it first, in the order of placement.
env::Task<Status> PackCompleter::place(std::shared_ptr<const content::PackHeader> header, uint8_t slot, Buffer shard,
                                       std::vector<NodeId> holders, Placer& placer, NodeId& placed) {
  Error last{Code::too_few_peers, "no further node may take a shard"};
  while (auto to = placer.next()) {
    wire::ShardPutRequest request = put_request(*header, slot, crc32c(shard.view()));
    for (const NodeId& node : holders) request.add_siblings(node.is_zero() ? "" : node.raw());
    ++state_.counters.shards_sent;
    auto receipt = co_await peer::ask<wire::ShardPutResponse>(state_.peers, to->node, wire::Method::shard_put, request,
                                                              kLongestPut, shard);
    if (receipt) {
      placed = to->node;
      co_return Status{};
    }
    placer.take_back(*to);
    last = std::move(receipt.error());
  }
  co_return fail(std::move(last));
}

}  // namespace cairn::pool
