#include "peer/pacing.h"

#include "peer/limits.h"

namespace cairn::peer {

namespace {

Duration time_for(uint64_t bytes, uint64_t rate) {
  return Duration(static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate)));
}

}  // namespace

void TokenBucket::set_rate(std::optional<uint64_t> bytes_per_second, Time now) {
  if (bytes_per_second == rate_) return;
  const Duration debt = rate_ && paid_until_ > now ? paid_until_ - now : Duration{};
  const double share =
      rate_ && bytes_per_second ? static_cast<double>(*rate_) / static_cast<double>(*bytes_per_second) : 0.0;
  paid_until_ = now + Duration(static_cast<int64_t>(static_cast<double>(debt.count()) * share));
  rate_ = bytes_per_second;
}

void TokenBucket::take(uint64_t bytes, Time now) {
  if (rate_) paid_until_ = std::max(paid_until_, now - kPacingBurst) + time_for(bytes, *rate_);
}

void Pacing::set_rates(std::optional<uint64_t> up, std::optional<uint64_t> down) {
  up_.set_rate(up, clock_.now());
  down_.set_rate(down, clock_.now());
}

// Rates change while somebody waits: so not for longer than a moment at a time.
env::Task<void> Pacing::until_ready(const TokenBucket& bucket) {
  while (bucket.ready() > clock_.now()) {
    co_await env::sleep_until(clock_, std::min(bucket.ready(), clock_.now() + kPacingStep));
  }
}

env::Task<void> Pacing::send(uint64_t bytes) {
  if (!up_.rate() || bytes == 0) co_return;
  const auto turn = co_await up_turn_.acquire();
  co_await until_ready(up_);
  up_.take(bytes, clock_.now());
}

env::Task<Status> Pacing::receive(uint64_t bytes) {
  if (!down_.rate() || bytes == 0) co_return Status{};
  const Time now = clock_.now();
  const Time paid = down_.ready();
  down_.take(bytes, now);
  if (paid > now + kPacingPatience) co_return fail(Code::overloaded, "more arrives than this host allows");
  if (paid > now) co_await env::sleep_until(clock_, paid);
  co_return Status{};
}

env::Task<void> Pacing::may_ask() {
  co_await until_ready(down_);
}

}  // namespace cairn::peer
