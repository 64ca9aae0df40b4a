#pragma once
// WorkerPool: env::Workers as a fixed number of threads over one first-in, first-out queue.
//
// The executor outlives it. Destroying it ends the threads after their current jobs; jobs that have not begun never
// begin, so destroy it only once all tasks that use it are gone. The queue is bounded by the number of tasks that wait.

#include "env/workers.h"

namespace cairn::os {

class WorkerPool final : public env::Workers {
 public:
  // 0: as many as the hardware runs at the same time, and some for jobs that wait for a disk.
  explicit WorkerPool(env::Executor& executor, unsigned threads = 0);
  ~WorkerPool() override;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  unsigned threads() const override;

 private:
  std::shared_ptr<Job> submit(std::move_only_function<void()> work, std::move_only_function<void()> done) override;
  void abandon(Job& job) override;

  struct Ticket;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn::os
