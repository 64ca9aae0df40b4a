#pragma once
// Pacing: how many bytes a second a daemon sends to other machines and takes from them. Token buckets for payloads.
//
// Payloads wait for their turn before they are sent, and answers to uploads before they are given, so that what is
// small (gossip, claims, registers) never waits behind them; it is counted and paid for by the next payload. Processes
// of this node's own home are not counted. Without a rate nothing waits.

#include <optional>

#include "env/executor.h"
#include "env/task.h"

namespace cairn::peer {

// Bytes a second, and a debt: what was taken is paid for by the time that passes. Pure.
class TokenBucket {
 public:
  // None: no limit. A debt in bytes stays.
  void set_rate(std::optional<uint64_t> bytes_per_second, Time now);
  const std::optional<uint64_t>& rate() const { return rate_; }
  // From when on the next may go.
  Time ready() const { return rate_ ? paid_until_ : Time{}; }
  // However much at a time; idle time counts for up to kPacingBurst.
  void take(uint64_t bytes, Time now);

 private:
  std::optional<uint64_t> rate_;
  Time paid_until_{};
};

// Strand only.
class Pacing {
 public:
  Pacing(env::Executor& executor, env::Clock& clock) : clock_(clock), up_turn_(executor, 1) {}

  // Bytes a second, none: no limit. Counts at once, also for those that wait.
  void set_rates(std::optional<uint64_t> up, std::optional<uint64_t> down);
  bool limited() const { return up_.rate() || down_.rate(); }

  // Until a payload of this size may be sent; the first that asked goes first.
  env::Task<void> send(uint64_t bytes);
  // What has arrived: paid for by what comes later. Not yet an answer to it, then: until it has been paid for what came
  // before. Code::overloaded when that would take longer than kPacingPatience.
  env::Task<Status> receive(uint64_t bytes);
  // Until all that has arrived is paid for: before something is asked for.
  env::Task<void> may_ask();
  // Counted without waiting.
  void sent(uint64_t bytes) { up_.take(bytes, clock_.now()); }
  void received(uint64_t bytes) { down_.take(bytes, clock_.now()); }

 private:
  env::Task<void> until_ready(const TokenBucket& bucket);

  env::Clock& clock_;
  TokenBucket up_, down_;
  env::Semaphore up_turn_;
};

}  // namespace cairn::peer
