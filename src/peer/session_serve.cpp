// Session: the requests of the peer.

#include "peer/session.h"

namespace cairn::peer {

env::Task<Status> Session::wait_for_share(uint64_t bytes) {
  // What is too large for the share by itself passes when nothing else is there.
  const auto fits = [&] {
    const uint64_t used = load_->requests + load_->replies;
    return used == 0 || used + bytes <= owner_.options().max_bytes_in_flight;
  };
  while (!closed_ && !fits()) {
    paused_ = true;
    co_await load_->changed.wait();
  }
  paused_ = false;
  co_return Status{};
}

env::Task<Status> Session::read_request(wire::FrameHeader header) {
  ++activity_;
  if (header.request_id <= last_request_) co_return fail(Code::corrupt, "request numbers must grow");
  last_request_ = header.request_id;
  const uint64_t length = uint64_t{header.body_length} + header.payload_length;
  // Refusals cost the peer nothing: one who does not read them is not read either.
  while (!closed_ && queued_failures_ > kMaxRequestsPerSession) {
    paused_ = true;
    co_await room_.wait();
  }
  paused_ = false;

  const SessionOwner::Served* served = owner_.served(header.method);
  if (stranger()) {
    // One JOIN or INTRODUCE and nothing else; whatever else comes ends the session.
    if (asked_ || !served || served->access != Access::strangers) {
      co_return fail(Code::denied, "a node that is not in the pool may only join");
    }
    asked_ = true;
  }
  std::optional<Error> refusal;
  if (!owner_.options().serve) {
    refusal = Error{Code::unsupported, "this process answers no requests"};
  } else if (!served) {
    refusal = Error{Code::unsupported, "this node does not serve such requests"};
  } else if (served->access == Access::own_device && peer_ != owner_.identity().node) {
    refusal = Error{Code::denied, "for processes of this node only"};
  } else if (incoming_.size() >= kMaxRequestsPerSession) {
    refusal = Error{Code::overloaded, "too many requests on this session"};
  }
  if (refusal) {
    auto skipped = co_await reader_.skip(length);
    if (!skipped) co_return skipped;
    answer_failure(header.method, header.request_id, *refusal);
    co_return Status{};
  }

  const Time arrived = world_.clock.now();
  auto share = co_await wait_for_share(length);
  if (!share || closed_) co_return share;
  load_->requests += length;
  struct Share {  // given back when the session ends while it reads
    PeerLoad& load;
    uint64_t bytes;
    ~Share() { load.requests -= bytes; }
  } held{*load_, length};

  Request request;
  request.from = peer_;
  request.remote = stream_->remote();
  request.method = header.method;
  if (certificate_) {
    request.member = certificate_->member;
    request.certificate = &*certificate_;
  }
  request.body.resize(header.body_length);
  if (!request.body.empty()) {
    auto read = co_await reader_.read(request.body);
    if (!read) co_return read;
  }
  if (header.payload_length > 0) {
    request.payload = Buffer(header.payload_length);
    auto read = co_await reader_.read(request.payload.span());
    if (!read) co_return read;
  }
  const Duration asked = std::chrono::milliseconds(header.deadline_ms);
  request.deadline = arrived + std::min(asked, kMaxDeadline);

  auto incoming = std::make_unique<Incoming>(world_.executor, std::move(request));
  incoming->method = header.method;
  incoming->deadline = incoming->request.deadline;
  incoming->served = served;
  incoming->cost = std::exchange(held.bytes, 0);
  incoming_.emplace(header.request_id, std::move(incoming));
  waiting_.push_back(header.request_id);
  start_waiting();
  co_return Status{};
}

void Session::start_waiting() {
  while (!closed_ && !draining_ && !waiting_.empty() && load_->running < kMaxRunning &&
         load_->replies < owner_.options().max_bytes_in_flight) {
    const uint64_t id = waiting_.front();
    waiting_.pop_front();
    Incoming& incoming = *incoming_.at(id);
    incoming.running = true;
    ++load_->running;
    ++owner_.traffic().requests_served;
    incoming.group.spawn(run_handler(this, id, &incoming.served->handler, std::move(incoming.request)));
  }
}

env::Task<void> Session::run_handler(Session* self, uint64_t id, const Handler* handler, Request request) {
  auto reply = co_await (*handler)(std::move(request));
  self->finish(id, std::move(reply));
}

void Session::finish(uint64_t id, Result<Reply> reply) {
  const auto found = incoming_.find(id);
  if (found == incoming_.end()) return;
  Incoming& incoming = *found->second;
  const wire::Method method = incoming.method;
  incoming.done = true;
  release(incoming);
  const auto limits = wire::limits_of(method);
  if (reply && (reply->body.size() > limits->response_body || reply->payload.size() > limits->response_payload)) {
    reply = fail(Code::too_large, "the answer is over the limit of its method");
  }
  if (closed_ || draining_) {
    // nobody to answer
  } else if (!reply) {
    answer_failure(method, id, reply.error());
  } else {
    load_->replies += wire::kFrameHeaderSize + reply->body.size() + reply->payload.size();
    send(wire::FrameKind::response, method, id, std::make_shared<Bytes>(std::move(reply->body)),
         std::move(reply->payload));
  }
  if (stranger() && !closed_ && !draining_) {
    why_ = Error{Code::closed, "joined"};
    draining_ = true;  // the joiner ends the session when it has the answer, else the watch does
  }
  // This runs inside the task that is to go.
  world_.executor.post([weak = weak_from_this(), id] {
    if (const auto self = weak.lock()) self->incoming_.erase(id);
  });
  share_freed();
}

// An answer's failure is small, and no more than one for each request that the peer has paid for; when the peer does
// not read, the writer's deadline ends the session.
void Session::answer_failure(wire::Method method, uint64_t id, const Error& error) {
  send(wire::FrameKind::failure, method, id, std::make_shared<Bytes>(encode_failure(error)));
}

void Session::release(Incoming& incoming) {
  load_->requests -= std::exchange(incoming.cost, 0);
  if (std::exchange(incoming.running, false)) --load_->running;
}

// Something of the peer's share is free again: its sessions go on, this one or others.
void Session::share_freed() {
  load_->changed.notify_all();
  for (const auto& [number, session] : load_->sessions) session->start_waiting();
}

void Session::on_cancel(uint64_t id) {
  ++activity_;
  const auto found = incoming_.find(id);
  if (found == incoming_.end() || found->second->done) return;
  std::erase(waiting_, id);
  release(*found->second);
  incoming_.erase(found);
  share_freed();
}

void Session::expire_requests(Time now) {
  std::vector<uint64_t> late;
  for (const auto& [id, incoming] : incoming_) {
    if (!incoming->done && now >= incoming->deadline + kDeadlineGrace) late.push_back(id);
  }
  for (const uint64_t id : late) {
    answer_failure(incoming_.at(id)->method, id, Error{Code::timeout, "the deadline has passed"});
    on_cancel(id);
  }
}

}  // namespace cairn::peer
