#include "node/housekeeping.h"

#include <charconv>

namespace cairn::node {

namespace {

// A machine that was just switched on has other things to do.
constexpr Duration kFirstPause = std::chrono::minutes(20);
// The pool is away, or something else fails: tried again after this, doubled up to a day.
constexpr Duration kAgain = std::chrono::hours(1);
constexpr Duration kLongestAgain = std::chrono::hours(24);
constexpr Duration kPoll = std::chrono::milliseconds(500);
// For a command to end by itself when the daemon ends.
constexpr Duration kPatience = std::chrono::seconds(5);
// What was forgotten stays to be had back for so long: nobody asked for this prune.
constexpr char kMinAge[] = "7d";

}  // namespace

Housekeeping::Housekeeping(env::World world, const client::Home& home, std::string program, Duration every,
                           std::function<bool()> resting)
    : world_(world),
      home_(home),
      program_(std::move(program)),
      every_(every),
      resting_(std::move(resting)),
      tasks_(world.executor) {}

// By the wall clock, for a machine may be off for most of the week. A clock that is wrong makes it early or late.
WallTime Housekeeping::last_done() {
  auto text = env::read_file(world_.disk, home_.file("pruned"), 64);
  WallTime when = 0;
  if (!text) return 0;
  const std::string word = to_string(ByteView(*text));
  std::from_chars(word.data(), word.data() + word.size(), when);
  return std::min(when, world_.clock.wall_now());
}

void Housekeeping::note_done() {
  auto noted =
      env::write_file(world_.disk, home_.file("pruned"), as_bytes(std::to_string(world_.clock.wall_now()) + "\n"));
  if (!noted) world_.log.warning("prune_not_noted", "error=\"{}\"", to_string(noted.error()));
}

env::Task<void> Housekeeping::work() {
  if (last_done() == 0) note_done();  // there is nothing to collect yet
  co_await env::sleep_for(world_.clock, std::min(every_, kFirstPause));
  Duration again = std::min(every_, kAgain);
  while (true) {
    const Duration ago = std::chrono::nanoseconds(world_.clock.wall_now() - last_done());
    if (ago < every_) {
      co_await env::sleep_for(world_.clock, std::min(every_ - ago, kLongestAgain));
      continue;
    }
    int code = -1;
    if (!resting_()) code = co_await prune();
    if (code == 0) {
      world_.log.info("pruned");
      note_done();
      again = std::min(every_, kAgain);
      continue;
    }
    if (code > 0) world_.log.warning("not_pruned", "code={}", code);
    co_await env::sleep_for(world_.clock, again);
    again = std::min(2 * again, kLongestAgain);
  }
}

env::Task<int> Housekeeping::prune() {
  auto child = os::Child::start({program_, "prune", "--min-age", kMinAge, "--quiet", "--home", home_.path()});
  if (!child) {
    world_.log.warning("prune_not_started", "error=\"{}\"", to_string(child.error()));
    co_return 1;
  }
  child_ = std::move(*child);
  std::optional<int> code;
  while (!(code = child_->ended())) co_await env::sleep_for(world_.clock, kPoll);
  child_.reset();
  co_return *code;
}

env::Task<void> Housekeeping::stop() {
  tasks_.cancel();
  if (!child_) co_return;
  child_->terminate();
  const Time deadline = world_.clock.now() + kPatience;
  while (!child_->ended() && world_.clock.now() < deadline) co_await env::sleep_for(world_.clock, kPoll / 10);
  child_.reset();
}

}  // namespace cairn::node
