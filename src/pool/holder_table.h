#pragma once
// What a client has learned of each holder: how fast it answers, whether it failed just now, how much it has free.

#include <map>
#include <optional>

#include "base/ids.h"
#include "base/units.h"

namespace cairn::pool {

enum class Work : uint8_t { put, get };

// Strand only. Bounded by the nodes that the pool knows.
class HolderTable {
 public:
  explicit HolderTable(Duration hedge_after) : hedge_after_(hedge_after) {}

  // An answer of `bytes` took so long; ends the back-off.
  void answered(Work work, const NodeId& node, uint64_t bytes, Duration took);
  // It failed or was too slow: a back-off begins, doubled each time.
  void failed(Work work, const NodeId& node, Time now);
  // Others were faster than this one's answer. Once may be chance; after twice without an answer in between
  // it rests, at first for a moment only.
  void lost_race(const NodeId& node, Time now);
  // Not to be asked now if another can be.
  bool resting(Work work, const NodeId& node, Time now) const { return rests_until(work, node) > now; }
  Time rests_until(Work work, const NodeId& node) const;
  // It failed last time and has not been heard of since: one try at a time is enough.
  bool on_trial(Work work, const NodeId& node) const;

  // How long to wait for `bytes` before others are asked too: smoothed latency plus four deviations (Jacobson 1988, as
  // in RFC 6298); until one is known `hedge_after`, longer for longer ranges.
  Duration slow_after(const NodeId& node, uint64_t bytes) const;
  // For choosing the fastest; the default where nothing is known.
  Duration expected(const NodeId& node, uint64_t bytes) const;

  // Free bytes that the holder told after its NodeRecord (boot_seq, sequence): counts until a newer record.
  void set_free(const NodeId& node, uint64_t free, std::pair<uint64_t, uint64_t> record);
  uint64_t free(const NodeId& node, uint64_t of_record, std::pair<uint64_t, uint64_t> record) const;

 private:
  struct Latency {
    bool known = false;
    Duration smoothed{}, deviation{};
    void add(Duration sample);
  };
  struct Entry {
    Latency small, large;  // of answers up to kSmallRange, and above
    uint32_t failures[2] = {0, 0};
    uint32_t lost_races = 0;
    Time rests_until[2] = {};
    std::optional<std::pair<uint64_t, std::pair<uint64_t, uint64_t>>> free;
  };
  void rest(Work work, const NodeId& node, Time now, Duration first);
  const Entry* find(const NodeId& node) const;
  static const Latency& latency(const Entry& entry, uint64_t bytes);
  Duration default_for(uint64_t bytes) const;

  Duration hedge_after_;
  std::map<NodeId, Entry> entries_;
};

}  // namespace cairn::pool
