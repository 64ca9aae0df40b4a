// Session: the requests of this side.

#include "peer/session.h"

namespace cairn::peer {

namespace {

uint32_t to_milliseconds(Duration duration) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(std::clamp(duration, Duration{1}, kMaxDeadline));
  return static_cast<uint32_t>(ms.count());
}

}  // namespace

// Takes a request back when the task that waits for it goes.
struct Session::Abandon {
  Session& session;
  uint64_t id;
  ~Abandon() { session.abandon(id); }
};

env::Task<Status> Session::wait_for_room(std::shared_ptr<Session> self) {
  while (!self->closed_ && self->queued_bytes_ > kMaxWriteQueue) co_await self->room_.wait();
  co_return Status{};
}

env::Task<Session::Outcome> Session::call(std::shared_ptr<Session> self, wire::Method method,
                                          std::shared_ptr<const Bytes> body, Buffer payload, Time deadline) {
  env::Clock& clock = self->world_.clock;
  if (self->queued_bytes_ > kMaxWriteQueue && !self->closed_) {
    auto room = co_await env::with_deadline(self->world_.executor, clock, deadline, wait_for_room(self));
    if (!room) co_return Outcome{fail(std::move(room.error())), false};
  }
  if (!self->open()) co_return Outcome{fail(Code::closed, "the session has ended"), false};
  if (self->calls_.size() >= kMaxCallsPerSession) {
    co_return Outcome{fail(Code::overloaded, "too many requests wait for this node"), false};
  }
  const uint64_t id = self->next_call_++;
  const env::OneShot<Outcome> done(self->world_.executor);
  if (self->calls_.empty()) self->progress_ = clock.now();
  self->calls_.emplace(id, Call{method, done, deadline});
  self->deadlines_.emplace(deadline, id);
  self->arm_deadline();
  ++self->activity_;
  ++self->owner_.traffic().requests_sent;
  self->send(wire::FrameKind::request, method, id, std::move(body), std::move(payload),
             to_milliseconds(deadline - clock.now()));
  const Abandon guard{*self, id};
  auto outcome = co_await done;
  co_return outcome;
}

void Session::arm_deadline() {
  if (deadlines_.empty()) return;
  const Time first = deadlines_.begin()->first;
  if (deadline_timer_ != 0) {
    if (timer_at_ <= first) return;
    world_.clock.cancel(deadline_timer_);
  }
  timer_at_ = first;
  deadline_timer_ = world_.clock.schedule(first, [this] {
    deadline_timer_ = 0;
    on_deadline();
  });
}

void Session::on_deadline() {
  const Time now = world_.clock.now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const uint64_t id = deadlines_.begin()->second;
    const auto call = calls_.find(id);
    CAIRN_ASSERT(call != calls_.end());
    const Outcome outcome{fail(Code::timeout, "no answer in time"), call->second.sent};
    const auto done = call->second.done;
    abandon(id);
    done.set(outcome);
  }
  arm_deadline();
}

void Session::abandon(uint64_t id) {
  const auto call = calls_.find(id);
  if (call == calls_.end()) return;
  const wire::Method method = call->second.method;
  const bool sent = call->second.sent;
  deadlines_.erase({call->second.deadline, id});
  calls_.erase(call);
  if (sent) {
    send(wire::FrameKind::cancel, method, id, nullptr);
    return;
  }
  const auto queued = std::ranges::find_if(
      queue_, [&](const Outgoing& frame) { return frame.kind == wire::FrameKind::request && frame.request == id; });
  if (queued == queue_.end()) return;
  queued_bytes_ -= queued->size();
  queue_.erase(queued);
  if (queued_bytes_ <= kMaxWriteQueue) room_.notify_all();
}

env::Task<Status> Session::read_answer(wire::FrameHeader header) {
  const auto call = calls_.find(header.request_id);
  if (call == calls_.end()) {
    if (header.request_id == 0 || header.request_id >= next_call_) {
      co_return fail(Code::corrupt, "an answer to nothing that was asked");
    }
    co_return co_await reader_.skip(uint64_t{header.body_length} + header.payload_length);  // cancelled meanwhile
  }
  if (call->second.method != header.method) co_return fail(Code::corrupt, "an answer to another request");
  Reply reply;
  reply.body.resize(header.body_length);
  if (!reply.body.empty()) {
    auto read = co_await reader_.read(reply.body);
    if (!read) co_return read;
  }
  if (header.payload_length > 0) {
    reply.payload = Buffer(header.payload_length);
    auto read = co_await reader_.read(reply.payload.span());
    if (!read) co_return read;
  }
  const auto still = calls_.find(header.request_id);  // its deadline may have come while the answer was read
  if (still == calls_.end()) co_return Status{};
  const env::OneShot<Outcome> done = still->second.done;
  deadlines_.erase({still->second.deadline, header.request_id});
  calls_.erase(still);
  if (header.kind == wire::FrameKind::failure) {
    done.set(Outcome{fail(decode_failure(reply.body)), true});
  } else {
    done.set(Outcome{std::move(reply), true});
  }
  co_return Status{};
}

}  // namespace cairn::peer
