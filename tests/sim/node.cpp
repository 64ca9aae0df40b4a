#include "sim/node.h"

#include "sim/world.h"

namespace cairn::sim {

class SimNode::Strand final : public env::Executor {
 public:
  explicit Strand(SimNode& node) : node_(node) {}
  void post(std::move_only_function<void()> fn) override {
    if (!node_.up_) return;
    SimWorld& world = node_.world_;
    world.scheduler().at(world.now(), node_.index_ + 1, std::move(fn));
  }

 private:
  SimNode& node_;
};

class SimNode::LocalClock final : public env::Clock {
 public:
  explicit LocalClock(SimNode& node) : node_(node) {}
  Time now() const override { return local(node_.world_.now()); }
  WallTime wall_now() const override {
    const Duration passed = node_.world_.now() - Time{};
    return kWallStart + passed.count() + passed.count() / 1'000'000 * node_.drift_ + node_.wall_offset_;
  }
  env::TimerId schedule(Time when, std::move_only_function<void()> fn) override {
    Scheduler& scheduler = node_.world_.scheduler();
    if (!node_.up_) return 0;
    return scheduler.at(simulated(when), node_.index_ + 1, std::move(fn));
  }
  void cancel(env::TimerId timer) override { node_.world_.scheduler().cancel(timer); }

 private:
  static constexpr WallTime kWallStart = 1'790'000'000LL * 1'000'000'000LL;  // some day in 2026

  Time local(Time real) const {
    const Duration passed = real - node_.booted_;
    return {node_.clock_start_ + passed + passed / 1'000'000 * node_.drift_};
  }
  // The first moment at which now() is at least `when`.
  Time simulated(Time when) const {
    constexpr Duration kFar = std::chrono::hours(24 * 365 * 100);
    if (when.since_start >= kFar) return Time::never();
    const Duration wanted = when.since_start - node_.clock_start_;
    Time guess = node_.booted_ + wanted - wanted / 1'000'000 * node_.drift_;
    while (local(guess) < when) guess = guess + std::max(Duration(1), when - local(guess));
    return guess;
  }
  SimNode& node_;
};

// A few threads: each job begins when one is free, runs all at once at some virtual moment, and then takes as long as
// its disk calls cost.
class SimNode::Threads final : public env::Workers {
 public:
  explicit Threads(SimNode& node) : node_(node) {}
  unsigned threads() const override { return kThreads; }
  void crash() {
    waiting_.clear();
    running_ = 0;
  }

 private:
  static constexpr unsigned kThreads = 2;
  struct SimJob final : Job {
    enum class State { waiting, running, ran, over } state = State::waiting;
    std::move_only_function<void()> work, done;
    env::TimerId event = 0;
  };

  std::shared_ptr<Job> submit(std::move_only_function<void()> work, std::move_only_function<void()> done) override {
    auto job = std::make_shared<SimJob>();
    job->work = std::move(work);
    job->done = std::move(done);
    if (!node_.up_) return job;
    waiting_.push_back(job);
    begin();
    return job;
  }

  void abandon(Job& base) override {
    auto& job = static_cast<SimJob&>(base);
    Scheduler& scheduler = node_.world_.scheduler();
    switch (job.state) {
      case SimJob::State::waiting:
        std::erase_if(waiting_, [&](const auto& other) { return other.get() == &job; });
        break;
      case SimJob::State::running:
        scheduler.cancel(job.event);
        --running_;
        begin();
        break;
      case SimJob::State::ran:  // its thread is busy until then all the same
        job.done = nullptr;
        break;
      case SimJob::State::over:
        break;
    }
    job.state = job.state == SimJob::State::ran ? SimJob::State::ran : SimJob::State::over;
  }

  void begin() {
    Scheduler& scheduler = node_.world_.scheduler();
    while (running_ < kThreads && !waiting_.empty()) {
      auto job = std::move(waiting_.front());
      waiting_.pop_front();
      ++running_;
      job->state = SimJob::State::running;
      job->event = scheduler.at(scheduler.now() + some_time(), node_.index_ + 1, [this, job] { run(job); });
    }
  }

  void run(const std::shared_ptr<SimJob>& job) {
    ++node_.counters_.jobs;
    node_.disk_.take_elapsed();
    node_.disk_.set_in_worker(true);
    std::exchange(job->work, nullptr)();
    node_.disk_.set_in_worker(false);
    job->state = SimJob::State::ran;
    Scheduler& scheduler = node_.world_.scheduler();
    job->event = scheduler.at(scheduler.now() + node_.disk_.take_elapsed(), node_.index_ + 1, [this, job] {
      job->state = SimJob::State::over;
      --running_;
      begin();
      if (job->done) std::exchange(job->done, nullptr)();
    });
  }

  Duration some_time() {
    return Duration(static_cast<int64_t>(node_.prng_.below(static_cast<uint64_t>(node_.job_time_.count()) + 1)));
  }

  SimNode& node_;
  std::deque<std::shared_ptr<SimJob>> waiting_;
  unsigned running_ = 0;
};

class SimNode::Random final : public env::SecureRandom {
 public:
  explicit Random(uint64_t seed) : prng_(seed) {}
  void fill(MutableByteView out) override { prng_.fill(out); }

 private:
  env::Prng prng_;
};

class SimNode::TraceLog final : public Log {
 public:
  explicit TraceLog(SimNode& node) : Log(LogLevel::debug), node_(node) {}

 private:
  void emit(LogLevel level, std::string_view line) override {
    if (level == LogLevel::error) ++node_.error_lines_;
    node_.world_.trace().event(node_.world_.now(), node_.name_, line);
  }
  SimNode& node_;
};

SimNode::SimNode(SimWorld& world, NodeIndex index, uint64_t seed)
    : world_(world),
      index_(index),
      name_(fmt::format("n{}", index)),
      host_(fmt::format("10.0.{}.{}", index / 250, index % 250 + 1)),
      prng_(seed),
      disk_(prng_.next(), world.trace(), name_),
      network_(*this),
      booted_(world.now()),
      clock_start_(std::chrono::seconds(static_cast<int64_t>(prng_.between(1, 100'000)))),
      strand_(std::make_unique<Strand>(*this)),
      clock_(std::make_unique<LocalClock>(*this)),
      threads_(std::make_unique<Threads>(*this)),
      random_(std::make_unique<Random>(prng_.next())),
      log_(std::make_unique<TraceLog>(*this)) {}

SimNode::~SimNode() {
  up_ = false;
}

env::World SimNode::world() {
  return {*strand_, *clock_, network_, disk_, disk_, *random_, *threads_, *log_};
}
env::Executor& SimNode::executor() {
  return *strand_;
}
env::Clock& SimNode::clock() {
  return *clock_;
}
env::Workers& SimNode::workers() {
  return *threads_;
}
env::SecureRandom& SimNode::random() {
  return *random_;
}

void SimNode::set_identity(const NodeId& id, Bytes public_key) {
  id_ = id;
  public_key_ = std::move(public_key);
}

void SimNode::set_drift(int64_t parts_per_million) {
  const Time here = clock_->now();  // goes on from where it is
  wall_offset_ += (world_.now() - Time{}).count() / 1'000'000 * (drift_ - parts_per_million);
  clock_start_ = here.since_start;
  booted_ = world_.now();
  drift_ = parts_per_million;
}

void SimNode::crash(CrashKind kind) {
  CAIRN_ASSERT(up_ && world_.scheduler().running() != index_ + 1);
  world_.trace().event(world_.now(), name_, kind == CrashKind::power ? "power lost" : "process killed");
  up_ = false;
  disk_.crash(kind == CrashKind::power ? SimDisk::Loss::unsynced : SimDisk::Loss::nothing);
  network_.crash();
  world_.network().node_crashed(index_, kind == CrashKind::power);
  owner_.reset();
  threads_->crash();
  world_.scheduler().drop(index_ + 1);
}

env::World SimNode::restart() {
  CAIRN_ASSERT(!up_);
  world_.trace().event(world_.now(), name_, "started");
  up_ = true;
  ++boots_;
  booted_ = world_.now();
  clock_start_ = std::chrono::seconds(static_cast<int64_t>(prng_.between(1, 100'000)));
  disk_.restart();
  world_.network().node_restarted(index_);
  return world();
}

}  // namespace cairn::sim
