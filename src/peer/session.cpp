#include "peer/session.h"

#include "proto/common.pb.h"

namespace cairn::peer {

Bytes encode_failure(const Error& error) {
  wire::Failure failure;
  failure.set_code(wire::code_number(error.code));
  std::string context;
  for (const char c : error.context.substr(0, wire::kMaxFailureBody / 2)) {
    const auto byte = static_cast<unsigned char>(c);
    context += byte >= 0x20 && byte < 0x7F ? c : '?';  // cut text may end inside a character: protobuf refuses that
  }
  failure.set_context(context);
  return wire::encode(failure);
}

Error decode_failure(ByteView body) {
  auto failure = wire::decode<wire::Failure>(body);
  if (!failure) return Error{Code::corrupt, "a failure that cannot be read"};
  std::string context = failure->context();
  for (char& c : context) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return Error{wire::code_from_number(failure->code()), std::move(context)};
}

Session::Session(env::World world, SessionOwner& owner, uint64_t number, std::unique_ptr<env::Stream> stream, Side side,
                 std::shared_ptr<PeerLoad> load, Duration hello_timeout)
    : world_(world),
      owner_(owner),
      number_(number),
      stream_(std::move(stream)),
      peer_(stream_->peer()),
      side_(side),
      hello_timeout_(hello_timeout),
      load_(std::move(load)),
      reader_(*stream_),
      ready_(world.executor),
      to_write_(world.executor),
      room_(world.executor),
      tasks_(world.executor) {
  load_->sessions[number_] = this;
}

Session::~Session() {
  end();
}

void Session::start() {
  progress_ = used_ = world_.clock.now();
  tasks_.spawn(read_loop(this));
  tasks_.spawn(write_loop(this));
  tasks_.spawn(watch_loop(this));
}

// --- HELLO ---

wire::Hello Session::own_hello() const {
  wire::Hello hello;
  hello.set_version(1);
  hello.set_pool(owner_.identity().pool.raw());
  const auto certificate = wire::decode_into(*hello.mutable_certificate(), owner_.identity().certificate.encoded);
  CAIRN_ASSERT(certificate);
  hello.set_serves(owner_.options().serve);
  hello.set_software("cairn/0.1");
  if (side_ == Side::accepted) {
    const auto genesis = wire::decode_into(*hello.mutable_genesis(), owner_.membership().genesis());
    CAIRN_ASSERT(genesis);
  }
  return hello;
}

Status Session::check_hello(const wire::Hello& hello) {
  if (hello.version() != 1) return fail(Code::unsupported, "the peer speaks another version");
  if (!hello.has_certificate()) {
    if (side_ == Side::dialled) return fail(Code::denied, "the peer shows no certificate");
    return {};  // a stranger
  }
  auto certificate = Certificate::parse(hello.certificate());
  if (!certificate) return fail(Code::denied, certificate.error().context);
  if (certificate->node != peer_ || certificate->device_key != stream_->peer_public_key()) {
    return fail(Code::denied, "a certificate of another device");
  }
  if (certificate->pool != owner_.identity().pool) return fail(Code::denied, "a certificate for another pool");
  if (auto admitted = owner_.membership().admits(*certificate); !admitted) {
    // Told apart for those who come back with a phrase: a wrong one gives a member whom nobody knows.
    const bool known = owner_.membership().member(certificate->member) != nullptr;
    return fail(known ? Code::denied : Code::not_found, admitted.error().context);
  }
  certificate_ = std::move(*certificate);
  peer_serves_ = hello.serves();
  return {};
}

env::Task<Status> Session::greet() {
  if (side_ == Side::accepted) {
    send(wire::FrameKind::hello, wire::Method::none, 0, std::make_shared<Bytes>(wire::encode(own_hello())));
  }
  auto header = co_await reader_.header();
  if (!header) co_return fail(std::move(header.error()));
  if (header->kind != wire::FrameKind::hello && header->kind != wire::FrameKind::failure) {
    co_return fail(Code::corrupt, "the peer does not begin with HELLO");
  }
  Bytes body(header->body_length);
  auto read = co_await reader_.read(body);
  if (!read) co_return read;
  if (header->kind == wire::FrameKind::failure) {
    refused_by_peer_ = true;
    co_return fail(decode_failure(body));
  }
  auto hello = wire::decode<wire::Hello>(ByteView(body));
  if (!hello) co_return fail(std::move(hello.error()));
  CAIRN_CO_TRY(check_hello(*hello));
  CAIRN_CO_TRY(owner_.may_open(*this));
  if (side_ == Side::dialled) {
    send(wire::FrameKind::hello, wire::Method::none, 0, std::make_shared<Bytes>(wire::encode(own_hello())));
  }
  co_return Status{};
}

void Session::become_greeted() {
  greeted_ = true;
  progress_ = used_ = world_.clock.now();
  owner_.greeted(*this);
  ready_.set(Status{});
}

// --- reading, writing, watching ---

env::Task<void> Session::read_loop(Session* self) {
  auto greeted = co_await self->greet();
  if (!greeted) {
    const Code code = greeted.error().code;
    const bool worth_telling = code == Code::denied || code == Code::not_found || code == Code::overloaded ||
                               code == Code::unsupported || code == Code::corrupt || code == Code::too_large;
    if (worth_telling && self->side_ == Side::accepted) {
      self->refuse(std::move(greeted.error()));
      co_await linger(self);
    } else {
      self->close(std::move(greeted.error()));
    }
    co_return;
  }
  self->become_greeted();
  Status status;
  while (status && !self->closed_) {
    auto header = co_await self->reader_.header();
    if (!header) {
      status = fail(std::move(header.error()));
      break;
    }
    if (self->expelled_) {
      co_await linger(self);
      co_return;
    }
    if (self->peer_serves_) {
      const Time now = self->world_.clock.now();
      if (!self->told_heard_ || now - *self->told_heard_ >= kHeardEvery) {
        self->told_heard_ = now;
        self->owner_.heard(*self);
      }
    }
    switch (header->kind) {
      case wire::FrameKind::request: {
        status = co_await self->read_request(*header);
        break;
      }
      case wire::FrameKind::response: {
        status = co_await self->read_answer(*header);
        break;
      }
      case wire::FrameKind::failure: {
        if (header->method == wire::Method::none) {
          Bytes body(header->body_length);
          status = co_await self->reader_.read(body);
          self->refused_by_peer_ = status.has_value();
          if (status) status = fail(decode_failure(body));
        } else {
          status = co_await self->read_answer(*header);
        }
        break;
      }
      case wire::FrameKind::cancel: {
        self->on_cancel(header->request_id);
        break;
      }
      case wire::FrameKind::hello: {
        status = fail(Code::corrupt, "a second HELLO");
        break;
      }
    }
  }
  if (status) co_return;
  const Code code = status.error().code;
  if (self->certificate_ || code == Code::closed) {
    self->close(std::move(status.error()));
  } else {
    self->refuse(std::move(status.error()));
    co_await linger(self);
  }
}

// Until the peer has read why and ended the session: closing while its bytes are still unread would reset the stream,
// and a reset may overtake what was written. The watch ends it in any case.
env::Task<void> Session::linger(Session* self) {
  static_cast<void>(co_await self->reader_.skip(kMaxLinger));
  self->close(*self->why_);
}

void Session::send(wire::FrameKind kind, wire::Method method, uint64_t request, std::shared_ptr<const Bytes> body,
                   Buffer payload, uint32_t deadline_ms) {
  if (closed_ || draining_) return;
  wire::FrameHeader header;
  header.kind = kind;
  header.method = method;
  header.body_length = body ? static_cast<uint32_t>(body->size()) : 0;
  header.payload_length = static_cast<uint32_t>(payload.size());
  header.request_id = request;
  header.deadline_ms = deadline_ms;
  queue_.push_back(Outgoing{header.encode(), std::move(body), std::move(payload), kind, request});
  queued_bytes_ += queue_.back().size();
  if (kind == wire::FrameKind::failure) ++queued_failures_;
  to_write_.notify_one();
}

env::Task<void> Session::write_loop(Session* self) {
  // Small parts are joined here, so that a write has few parts; large ones stay where they are.
  Bytes joined;
  while (!self->closed_) {
    if (self->queue_.empty()) {
      co_await self->to_write_.wait();
      continue;
    }
    std::vector<Outgoing> batch;
    size_t bytes = 0, to_join = 0;
    const auto joins = [](size_t size) { return size <= kJoinedPart; };
    while (!self->queue_.empty() && bytes < kWriteBatch) {
      Outgoing& next = self->queue_.front();
      bytes += next.size();
      to_join += next.header.size() + (next.body && joins(next.body->size()) ? next.body->size() : 0) +
                 (joins(next.payload.size()) ? next.payload.size() : 0);
      if (next.kind == wire::FrameKind::request) {
        if (const auto call = self->calls_.find(next.request); call != self->calls_.end()) call->second.sent = true;
      }
      batch.push_back(std::move(next));
      self->queue_.pop_front();
    }
    joined.clear();
    joined.reserve(to_join);
    std::vector<ByteView> parts;
    size_t part_begin = 0;
    const auto end_part = [&] {
      if (joined.size() > part_begin) parts.push_back(ByteView(joined).subspan(part_begin));
      part_begin = joined.size();
    };
    const auto add = [&](ByteView part) {
      if (joins(part.size())) {
        append(joined, part);
      } else {
        end_part();
        parts.push_back(part);
      }
    };
    for (const Outgoing& frame : batch) {
      add(frame.header);
      if (frame.body) add(*frame.body);
      add(frame.payload);
      if (frame.kind == wire::FrameKind::response) self->writing_replies_ += frame.size();
    }
    end_part();
    auto written = co_await self->write_parts(std::move(parts));
    self->write_due_.reset();
    self->queued_bytes_ -= bytes;
    self->queued_failures_ -= static_cast<size_t>(std::ranges::count(batch, wire::FrameKind::failure, &Outgoing::kind));
    self->load_->replies -= std::exchange(self->writing_replies_, 0);
    self->share_freed();
    if (!written) {
      self->close(std::move(written.error()));
      co_return;
    }
    self->owner_.traffic().bytes_sent += bytes;
    if (self->queued_bytes_ <= kMaxWriteQueue && self->queued_failures_ <= kMaxRequestsPerSession)
      self->room_.notify_all();
  }
}

env::Task<Status> Session::write_parts(std::vector<ByteView> parts) {
  std::vector<ByteView> slice;
  size_t size = 0;
  for (auto part = parts.begin(); part != parts.end();) {
    const size_t some = std::min(part->size(), write_slice_ - size);
    slice.push_back(part->first(some));
    *part = part->subspan(some);
    size += some;
    if (part->empty()) ++part;
    if (size < write_slice_ && part != parts.end()) continue;
    const Time begun = world_.clock.now();
    write_due_ = begun + kWritePatience + kSlowestByte * static_cast<int64_t>(size);
    auto written = co_await stream_->write(std::exchange(slice, {}));
    if (!written) co_return written;
    written_ += std::exchange(size, 0);
    write_slice_ = world_.clock.now() - begun < kFastWrite ? kFastWriteSlice : kWriteSlice;
  }
  co_return Status{};
}

env::Task<void> Session::watch_loop(Session* self) {
  co_await env::sleep_for(self->world_.clock, self->hello_timeout_);
  if (!self->greeted_) {
    self->close(Error{Code::timeout, "no HELLO came in time"});
    co_return;
  }
  if (self->stranger() && !self->asked_) {
    self->close(Error{Code::timeout, "no JOIN came in time"});
    co_return;
  }
  while (!self->closed_) {
    co_await env::sleep_for(self->world_.clock, kWatchPeriod);
    self->watch(self->world_.clock.now());
  }
}

void Session::watch(Time now) {
  if (reader_.total() != seen_bytes_ || paused_) {
    seen_bytes_ = reader_.total();
    progress_ = now;
    probing_ = false;
  }
  if (activity_ != seen_activity_ || !calls_.empty() || !incoming_.empty() || !queue_.empty()) {
    seen_activity_ = activity_;
    used_ = now;
  }
  // A line that is slow and still moves is neither silent nor stuck.
  if (const uint64_t taken = delivered(); taken >= seen_delivered_ + kLeastProgress) {
    seen_delivered_ = taken;
    progress_ = now;
    if (write_due_) write_due_ = std::max(*write_due_, now + kWritePatience);
  }
  expire_requests(now);
  if (write_due_ && now >= *write_due_) return close(Error{Code::timeout, "the peer takes nothing"});
  if (draining_) return close(*why_);  // it was told, or does not listen
  if (!calls_.empty()) {
    const Duration silence = now - progress_;
    if (silence >= 2 * kSilenceTimeout) return close(Error{Code::timeout, "the peer has fallen silent"});
    if (silence >= kSilenceTimeout && !probing_) {
      probing_ = true;
      wire::PingRequest ping;
      const uint64_t id = next_call_++;
      const Time deadline = now + 2 * kSilenceTimeout;
      calls_.emplace(id, Call{wire::Method::ping, env::OneShot<Outcome>(world_.executor), deadline});
      deadlines_.emplace(deadline, id);
      arm_deadline();
      send(wire::FrameKind::request, wire::Method::ping, id, std::make_shared<Bytes>(wire::encode(ping)));
    }
  }
  // The one who dialled closes first, so that a request does not meet a session that the other end is just closing.
  const Duration idle = side_ == Side::dialled ? kIdleTimeout : 2 * kIdleTimeout;
  if (now - used_ >= idle) close(Error{Code::closed, "idle"});
}

// --- the end ---

void Session::refuse(Error why) {
  if (closed_ || draining_) return;
  send(wire::FrameKind::failure, wire::Method::none, 0, std::make_shared<Bytes>(encode_failure(why)));
  why_ = std::move(why);
  draining_ = true;
  to_write_.notify_one();
}

void Session::close(Error why) {
  if (closed_) return;
  closed_ = true;
  if (!why_) why_ = std::move(why);
  stream_->close();
  ready_.set(fail(*why_));
  for (auto& [id, call] : std::exchange(calls_, {})) {
    call.done.set(Outcome{fail(error_for_calls()), call.sent});
  }
  deadlines_.clear();
  room_.notify_all();
  to_write_.notify_all();
  owner_.closed(*this);
}

void Session::expel(Error why) {
  if (closed_ || draining_) return;
  for (const Outgoing& frame : std::exchange(queue_, {})) {
    queued_bytes_ -= frame.size();
    if (frame.kind == wire::FrameKind::failure) --queued_failures_;
    if (frame.kind == wire::FrameKind::response) load_->replies -= frame.size();
  }
  refuse(std::move(why));
  expelled_ = true;
  for (auto& [id, call] : std::exchange(calls_, {})) call.done.set(Outcome{fail(error_for_calls()), call.sent});
  deadlines_.clear();
  waiting_.clear();
  room_.notify_all();
  // This may run inside one of the session's own handlers.
  world_.executor.post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->ended_) return;
    for (auto& [id, incoming] : self->incoming_) self->release(*incoming);
    self->incoming_.clear();
    self->share_freed();
  });
}

Error Session::error_for_calls() const {
  switch (why_->code) {
    case Code::not_found:  // the peer does not know this member
      return Error{Code::denied, why_->context};
    case Code::denied:
    case Code::overloaded:
    case Code::unsupported:
      return *why_;
    default:
      return Error{Code::closed, why_->context};
  }
}

void Session::end() {
  if (std::exchange(ended_, true)) return;
  closed_ = true;
  if (deadline_timer_ != 0) world_.clock.cancel(std::exchange(deadline_timer_, 0));
  tasks_.cancel();
  for (auto& [id, incoming] : incoming_) release(*incoming);
  incoming_.clear();
  waiting_.clear();
  for (const Outgoing& frame : queue_) {
    if (frame.kind == wire::FrameKind::response) load_->replies -= frame.size();
  }
  queue_.clear();
  load_->sessions.erase(number_);
  owner_.traffic().bytes_received += reader_.total();
  load_->replies -= std::exchange(writing_replies_, 0);
  share_freed();
}

}  // namespace cairn::peer
