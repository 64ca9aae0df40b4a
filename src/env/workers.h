#pragma once
// Workers: threads for CPU and disk work; the strand never blocks.

#include <memory>

#include "env/task.h"

namespace cairn::env {

class Workers {
 public:
  virtual ~Workers() = default;

  // Runs f() on a worker thread and resumes on the strand with what it returned. f may refer to the caller's frame:
  // when the frame is destroyed, a job that has not begun never begins, and one that runs is waited for. So keep jobs
  // short (under about 50 ms).
  template <class F>
  Task<std::invoke_result_t<F&>> run(F f) {
    using R = std::invoke_result_t<F&>;
    static_assert(!std::is_void_v<R>, "return Status, so that failure has a way out");
    std::optional<R> result;
    co_await JobAwaiter(*this, [&] { result.emplace(f()); });
    co_return std::move(*result);
  }

  virtual unsigned threads() const = 0;

 protected:
  // A job's ticket: made by submit(), given back to abandon().
  struct Job {
    virtual ~Job() = default;
  };
  // Runs `work` on a worker thread, then `done` on the strand.
  virtual std::shared_ptr<Job> submit(std::move_only_function<void()> work, std::move_only_function<void()> done) = 0;
  // When this returns, `work` neither runs nor will, and `done` will not be called.
  virtual void abandon(Job& job) = 0;

 private:
  class JobAwaiter {
   public:
    JobAwaiter(Workers& workers, std::move_only_function<void()> work) : workers_(workers), work_(std::move(work)) {}
    JobAwaiter(const JobAwaiter&) = delete;
    JobAwaiter& operator=(const JobAwaiter&) = delete;
    ~JobAwaiter() {
      if (job_) workers_.abandon(*job_);
    }
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      job_ = workers_.submit(std::move(work_), [this, handle] {
        job_.reset();
        handle.resume();
      });
    }
    void await_resume() const noexcept {}

   private:
    Workers& workers_;
    std::move_only_function<void()> work_;
    std::shared_ptr<Job> job_;
  };
};

}  // namespace cairn::env
