#include "os/workers.h"

#include <condition_variable>
#include <thread>

namespace cairn::os {

namespace {
// Jobs that wait for a disk leave as many threads for those that compute.
constexpr unsigned kWaitingJobs = 2;
}  // namespace

struct WorkerPool::Ticket final : Job, std::enable_shared_from_this<Ticket> {
  enum class State { queued, running, finished };
  State state = State::queued;           // under Impl::mutex
  bool abandoned = false;                // under Impl::mutex; the strand sets it, so it may read it without
  std::move_only_function<void()> work;  // the queue's until it runs, then the worker's
  std::move_only_function<void()> done;  // the strand's
};

struct WorkerPool::Impl {
  explicit Impl(env::Executor& e) : executor(e) {}

  void serve() {
    std::unique_lock lock(mutex);
    while (true) {
      ready.wait(lock, [this] { return stopping || !queue.empty(); });
      if (stopping) return;
      const std::shared_ptr<Ticket> job = std::move(queue.front());
      queue.pop_front();
      if (job->abandoned) continue;
      job->state = Ticket::State::running;
      lock.unlock();
      job->work();
      job->work = nullptr;
      lock.lock();
      job->state = Ticket::State::finished;
      if (job->abandoned) {
        finished.notify_all();
        continue;
      }
      lock.unlock();
      executor.post([job] {
        if (job->abandoned) return;
        auto done = std::move(job->done);
        done();
      });
      lock.lock();
    }
  }

  env::Executor& executor;
  std::mutex mutex;
  std::condition_variable ready, finished;
  std::deque<std::shared_ptr<Ticket>> queue;
  bool stopping = false;
  std::vector<std::jthread> threads;
};

WorkerPool::WorkerPool(env::Executor& executor, unsigned threads) : impl_(std::make_unique<Impl>(executor)) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency()) + kWaitingJobs;
  for (unsigned i = 0; i < threads; ++i) impl_->threads.emplace_back([impl = impl_.get()] { impl->serve(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->ready.notify_all();
  impl_->threads.clear();  // joins
}

unsigned WorkerPool::threads() const {
  return static_cast<unsigned>(impl_->threads.size());
}

std::shared_ptr<env::Workers::Job> WorkerPool::submit(std::move_only_function<void()> work,
                                                      std::move_only_function<void()> done) {
  auto job = std::make_shared<Ticket>();
  job->work = std::move(work);
  job->done = std::move(done);
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->queue.push_back(job);
  }
  impl_->ready.notify_one();
  return job;
}

void WorkerPool::abandon(Job& job) {
  auto& ticket = static_cast<Ticket&>(job);
  std::move_only_function<void()> work;  // dropped outside the lock, on the strand, while what it refers to lives
  std::unique_lock lock(impl_->mutex);
  ticket.abandoned = true;
  if (ticket.state == Ticket::State::queued) {
    work = std::move(ticket.work);  // the empty ticket stays in the queue until a worker passes it
  } else {
    impl_->finished.wait(lock, [&] { return ticket.state == Ticket::State::finished; });
  }
  lock.unlock();
  ticket.done = nullptr;
}

}  // namespace cairn::os
