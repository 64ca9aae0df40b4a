#include "os/tls_connection.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace cairn::os {

namespace {

std::string text_of_errno(int number) {
  return asio::error_code(number, asio::system_category()).message();
}

// Alerts by which a peer says that it does not want us (RFC 8446, 6.2).
bool is_refusal(int reason) {
  switch (reason - SSL_AD_REASON_OFFSET) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

}  // namespace

// ---- what connections share ----

NetworkShared::BufferPtr NetworkShared::take_buffer() {
  if (spare.empty()) return std::make_unique_for_overwrite<uint8_t[]>(kBufferSize);
  auto buffer = std::move(spare.back());
  spare.pop_back();
  return buffer;
}

void NetworkShared::give_buffer(BufferPtr buffer) {
  if (buffer && spare.size() < kSpareBuffers) spare.push_back(std::move(buffer));
}

env::Workers& NetworkShared::helpers() {
  if (!helper_pool) helper_pool.emplace(loop, cores);
  return *helper_pool;
}

bool NetworkShared::moves_beside_another(const TlsConnection* connection) {
  const Time now = loop.now();
  if (mover.connection != connection) other_mover = std::exchange(mover, {connection, now});
  mover.at = now;
  return cores > 1 && other_mover.connection != nullptr && now - other_mover.at < kMovesLately;
}

void NetworkShared::linger(std::shared_ptr<TlsConnection> connection) {
  TlsConnection& lingers = *connection;
  lingers.linger_place_ = lingering.insert(lingering.end(), {loop.now() + kLingerTime, std::move(connection)});
  sweep_lingering();
}

void NetworkShared::sweep_lingering() {
  loop.cancel(std::exchange(linger_timer, 0));
  const Time now = loop.now();
  while (!lingering.empty()) {
    const Lingering& oldest = lingering.front();
    if (oldest.until > now && lingering.size() <= kMaxLingering) break;
    const auto connection = oldest.connection;
    connection->close_socket();  // takes it out of the list
  }
  if (lingering.empty()) return;
  linger_timer = loop.schedule(lingering.front().until, [this] {
    linger_timer = 0;
    sweep_lingering();
  });
}

void NetworkShared::shut_down() {
  loop.cancel(std::exchange(linger_timer, 0));
  std::vector<std::shared_ptr<TlsConnection>> alive;
  for (TlsConnection* connection : connections) {
    if (auto held = connection->weak_from_this().lock()) alive.push_back(std::move(held));
  }
  ended = true;
  for (const auto& connection : alive) connection->end_now();
  if (std::ranges::none_of(alive, [](const auto& connection) { return connection->helped_; })) helper_pool.reset();
}

// ---- OpenSSL's way to the buffers ----

struct TlsConnection::Bio {
  static TlsConnection& of(BIO* bio) { return *static_cast<TlsConnection*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int size) {
    TlsConnection& self = of(bio);
    BIO_clear_retry_flags(bio);
    const size_t count = self.receive({reinterpret_cast<uint8_t*>(into), static_cast<size_t>(size)});
    if (count > 0) return static_cast<int>(count);
    if (self.input_over_) return 0;
    if (self.receive_error_ == 0) BIO_set_retry_read(bio);
    return -1;
  }

  static int write(BIO* bio, const char* from, int size) {
    TlsConnection& self = of(bio);
    BIO_clear_retry_flags(bio);
    const auto count = static_cast<size_t>(size);
    if (!self.output_) {
      self.output_ = self.helped_ ? std::make_unique_for_overwrite<uint8_t[]>(NetworkShared::kBufferSize)
                                  : self.shared_->take_buffer();
    }
    if (count > NetworkShared::kBufferSize - self.output_end_) return -1;  // unsent answers pile up: cut off
    std::memcpy(self.output_.get() + self.output_end_, from, count);
    self.output_end_ += count;
    return size;
  }

  static long control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return of(bio).input_over_ ? 1 : 0;
    return 0;
  }

  static const BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cairn");
      CAIRN_ASSERT(fresh != nullptr);
      BIO_meth_set_read(fresh, &Bio::read);
      BIO_meth_set_write(fresh, &Bio::write);
      BIO_meth_set_ctrl(fresh, &Bio::control);
      return fresh;
    }();
    return made;
  }
};

// ---- waiting ----

struct TlsConnection::Ready {
  TlsConnection& self;
  Direction direction;
  bool suspended = false;
  Ready(TlsConnection& connection, Direction d) : self(connection), direction(d) {}
  Ready(const Ready&) = delete;
  Ready& operator=(const Ready&) = delete;
  ~Ready() {
    if (suspended) self.waits_[direction].waiter = {};
  }
  bool await_ready() const noexcept { return self.failure_.has_value(); }
  void await_suspend(std::coroutine_handle<> handle) {
    CAIRN_ASSERT(!self.waits_[direction].waiter);  // one reader and one writer at a time
    suspended = true;
    self.turn_bytes_ = 0;
    self.turn_calls_ = 0;
    self.waits_[direction].waiter = handle;
    self.watch(direction);
  }
  void await_resume() noexcept { suspended = false; }
};

struct TlsConnection::Turn {
  env::Executor& executor;
  std::shared_ptr<env::detail::Waiter> waiter;
  explicit Turn(env::Executor& e) : executor(e) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (waiter) waiter->handle = {};
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiter = std::make_shared<env::detail::Waiter>(handle);
    env::detail::wake(executor, waiter);
  }
  void await_resume() const noexcept {}
};

// Gives the connection to a helper for as long as it lives.
struct TlsConnection::Help {
  TlsConnection& self;
  explicit Help(TlsConnection& connection) : self(connection) {
    self.helped_ = true;
    ++self.shared_->helped;
  }
  Help(const Help&) = delete;
  Help& operator=(const Help&) = delete;
  ~Help() {
    self.helped_ = false;
    self.after_help();
  }
};

void TlsConnection::after_help() {
  settle();
  if (closed_here_) say_goodbye();
  if (doomed_) {
    Error error = std::move(*doomed_);
    doomed_.reset();
    if (shared_->ended) {
      end_now();
    } else {
      fail_with(std::move(error));
    }
  }
  flush_answers();
  free_.notify_all();
}

TlsConnection::Ready TlsConnection::ready(Direction direction) {
  return {*this, direction};
}

void TlsConnection::watch(Direction direction) {
  if (waits_[direction].watched || !socket_.is_open()) return;
  waits_[direction].watched = true;
  socket_.async_wait(direction == kRead ? asio::socket_base::wait_read : asio::socket_base::wait_write,
                     [self = shared_from_this(), direction](const asio::error_code&) {
                       // Whatever the error is, the next system call tells it again.
                       self->waits_[direction].watched = false;
                       self->on_ready(direction);
                     });
}

void TlsConnection::on_ready(Direction direction) {
  if (linger_place_) return linger_step();
  if (auto waiter = std::exchange(waits_[direction].waiter, {})) return waiter.resume();
  if (direction == kWrite) flush_answers();
}

void TlsConnection::wake(Direction direction) {
  if (!waits_[direction].waiter) return;
  shared_->loop.post([self = shared_from_this(), direction] {
    if (auto waiter = std::exchange(self->waits_[direction].waiter, {})) waiter.resume();
  });
}

// True when this stream has had its share of the strand without once waiting.
bool TlsConnection::spend_turn(size_t bytes) {
  turn_bytes_ += bytes;
  if (turn_bytes_ < kTurnBytes && ++turn_calls_ < kTurnCalls) return false;
  turn_bytes_ = 0;
  turn_calls_ = 0;
  return true;
}

// ---- life ----

TlsConnection::TlsConnection(std::shared_ptr<NetworkShared> shared)
    : shared_(std::move(shared)), socket_(shared_->loop.context()), free_(shared_->loop) {
  shared_->connections.insert(this);
}

TlsConnection::~TlsConnection() {
  shared_->connections.erase(this);
}

Status TlsConnection::adopt(int descriptor, const asio::ip::tcp::endpoint& remote) {
  remote_ = remote;
  asio::error_code error;
  socket_.assign(remote.protocol(), descriptor, error);
  if (error) {
    ::close(descriptor);
    return fail(Code::io, error.message());
  }
  descriptor_ = descriptor;
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  return {};
}

env::Task<Status> TlsConnection::connect_tcp(Ptr self, asio::ip::tcp::endpoint remote) {
  const int descriptor = ::socket(remote.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (descriptor < 0) co_return fail(Code::unreachable, text_of_errno(errno));
  CAIRN_CO_TRY(self->adopt(descriptor, remote));
  if (::connect(descriptor, remote.data(), static_cast<socklen_t>(remote.size())) != 0) {
    if (errno != EINPROGRESS) co_return fail(Code::unreachable, text_of_errno(errno));
    co_await self->ready(kWrite);
    if (self->failure_) co_return fail(*self->failure_);
  }
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) co_return fail(Code::unreachable, text_of_errno(error));
  co_return Status{};
}

uint64_t TlsConnection::unconfirmed() const {
  int waiting = 0;
  return descriptor_ >= 0 && ::ioctl(descriptor_, SIOCOUTQ, &waiting) == 0 ? static_cast<uint64_t>(waiting) : 0;
}

env::Address TlsConnection::remote() const {
  asio::ip::address address = remote_.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return {address.to_string(), remote_.port()};
}

env::Task<Status> TlsConnection::handshake(Ptr self, TlsIdentity& identity, TlsIdentity::Role role,
                                           std::optional<NodeId> expected) {
  self->peer_.expected = expected;
  self->ssl_ = identity.make_session(role, self->peer_);
  BIO* bio = BIO_new(Bio::method());
  CAIRN_ASSERT(bio != nullptr);
  BIO_set_data(bio, self.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(self->ssl_.get(), bio, bio);
  while (true) {
    if (self->failure_) co_return fail(*self->failure_);
    ERR_clear_error();
    const int done = SSL_do_handshake(self->ssl_.get());
    if (done != 1) self->note_ssl_error(done, true);
    self->settle();
    // Also after a failure: an alert tells the other side why.
    if (self->output_end_ > 0) self->flush();
    self->settle();
    while (self->output_end_ > 0 && !self->failure_) {
      co_await self->ready(kWrite);
      if (!self->failure_) self->flush();
      self->settle();
    }
    if (self->failure_) co_return fail(*self->failure_);
    if (done == 1) break;
    co_await self->ready(kRead);
  }
  self->established_ = true;
  co_return Status{};
}

void TlsConnection::note_ssl_error(int returned, bool in_handshake) {
  const int kind = SSL_get_error(ssl_.get(), returned);
  if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return;
  if (kind == SSL_ERROR_ZERO_RETURN) {
    clean_end_ = true;
    if (!in_handshake) return;
  }
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const char* words = ERR_reason_error_string(code);
  Error error{in_handshake ? Code::unreachable : Code::closed, words != nullptr ? words : "the peer broke off"};
  if (!peer_.refusal.empty()) {
    error = {Code::denied, peer_.refusal};
  } else if (kind == SSL_ERROR_SSL && is_refusal(reason)) {
    error = {Code::denied, fmt::format("refused by the peer: {}", error.context)};
  } else if (receive_error_ != 0) {
    error.context = text_of_errno(receive_error_);
  } else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    error.context = "the peer broke off";
  }
  ERR_clear_error();
  if (!trouble_) trouble_ = std::move(error);
}

void TlsConnection::settle() {
  if (!trouble_) return;
  fail_with(std::move(*trouble_));
  trouble_.reset();
}

// ---- bytes in ----

// Runs inside OpenSSL, so it must not end the connection: it only notes why there is nothing.
size_t TlsConnection::receive(MutableByteView into) {
  if (input_over_ || receive_error_ != 0) return 0;
  while (true) {
    const ssize_t count = ::recv(descriptor_, into.data(), into.size(), 0);
    if (count > 0) return static_cast<size_t>(count);
    if (count == 0) {
      input_over_ = true;
    } else if (errno == EINTR) {
      continue;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
      receive_error_ = errno;
    }
    return 0;
  }
}

size_t TlsConnection::decrypt(MutableByteView into) {
  size_t got = 0;
  const size_t limit = std::min(into.size(), kTurnBytes);
  ERR_clear_error();
  while (got < limit) {
    size_t count = 0;
    const int done = SSL_read_ex(ssl_.get(), into.data() + got, limit - got, &count);
    if (done != 1) {
      note_ssl_error(done, false);
      break;
    }
    got += count;
  }
  return got;
}

size_t TlsConnection::decrypt_here(MutableByteView into) {
  const size_t got = decrypt(into);
  settle();
  flush_answers();
  return got;
}

// By a helper. Who stops waiting for it while it is at it loses nothing: the next read begins with what it has got.
env::Task<size_t> TlsConnection::decrypt_there(Ptr self, MutableByteView into) {
  struct Got {
    TlsConnection& self;
    MutableByteView into;
    size_t bytes = 0;
    Got(TlsConnection& connection, MutableByteView bytes) : self(connection), into(bytes) {}
    Got(const Got&) = delete;
    Got& operator=(const Got&) = delete;
    ~Got() { self.unread_.assign(into.begin(), into.begin() + static_cast<ptrdiff_t>(bytes)); }
  } got(*self, into);
  const Help help(*self);
  static_cast<void>(co_await self->shared_->helpers().run([&] {
    got.bytes = self->decrypt(into);
    return true;
  }));
  co_return std::exchange(got.bytes, 0);
}

size_t TlsConnection::take_unread(MutableByteView into) {
  const size_t count = std::min(into.size(), unread_.size());
  std::copy_n(unread_.begin(), count, into.begin());
  unread_.erase(unread_.begin(), unread_.begin() + static_cast<ptrdiff_t>(count));
  if (unread_.empty()) unread_ = {};
  return count;
}

bool TlsConnection::much_has_arrived() const {
  int waiting = 0;
  return ::ioctl(descriptor_, FIONREAD, &waiting) == 0 && waiting >= static_cast<int>(kHelpedBytes);
}

env::Task<Result<size_t>> TlsConnection::read_some(Ptr self, MutableByteView into, size_t wanted) {
  CAIRN_ASSERT(!into.empty());
  if (self->spend_turn(0)) co_await Turn(self->shared_->loop);
  const bool many = wanted >= kHelpedBytes;
  while (true) {
    while (self->helped_) co_await self->free_.wait();  // with the writer's helper
    if (!self->unread_.empty() && !self->closed_here_) co_return self->take_unread(into);
    if (self->failure_) co_return fail(*self->failure_);
    if (self->clean_end_) co_return size_t{0};
    size_t got = 0;
    if (many && self->shared_->moves_beside_another(self.get()) && self->much_has_arrived()) {
      got = co_await decrypt_there(self, into);
    } else {
      got = self->decrypt_here(into);
    }
    if (got > 0 && !self->closed_here_) {
      self->turn_bytes_ += got;
      co_return got;
    }
    if (self->failure_ || self->clean_end_) continue;
    // Of the record that has arrived in part less than the whole is still to come.
    constexpr size_t kInPart = kRecordSize + kRecordOverhead;
    self->set_low_water(wanted > kInPart ? std::min(wanted - kInPart, self->low_water_goal_) : 1);
    const Time before = self->shared_->loop.now();
    co_await self->ready(kRead);
    if (wanted > kInPart) self->learn_low_water(self->shared_->loop.now() - before);
  }
}

// While so many bytes are still to come it is not worth waking for each batch of the sender's. On a line that is slow
// they are taken as they come, for who looks whether it goes on.
void TlsConnection::set_low_water(size_t bytes) {
  if (descriptor_ < 0 || bytes == low_water_) return;
  const int value = static_cast<int>(bytes);
  if (::setsockopt(descriptor_, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value) == 0) low_water_ = bytes;
}

void TlsConnection::learn_low_water(Duration waited) {
  low_water_goal_ = waited < kQuickWait ? std::min(2 * low_water_goal_, kMaxLowWater) : kRecordSize;
}

// ---- bytes out ----

// What of a write has not been taken yet.
struct TlsConnection::Outgoing {
  std::vector<ByteView> parts;
  size_t index = 0, offset = 0;
  std::array<uint8_t, kRecordSize> small;  // gathers small parts into one record
  explicit Outgoing(std::vector<ByteView> all) : parts(std::move(all)) {}

  bool empty() const { return index == parts.size(); }
  size_t size() const {
    size_t bytes = 0;
    for (const ByteView part : parts) bytes += part.size();
    return bytes;
  }
  // The next record's plaintext; it stands until the next call.
  ByteView next() {
    const ByteView rest = parts[index].subspan(offset);
    if (rest.size() >= kRecordSize || index + 1 == parts.size()) return take(std::min(rest.size(), kRecordSize));
    size_t filled = 0;
    while (!empty() && filled < kRecordSize) {
      const ByteView some = take(std::min(parts[index].size() - offset, kRecordSize - filled));
      if (!some.empty()) std::memcpy(small.data() + filled, some.data(), some.size());
      filled += some.size();
    }
    return ByteView(small).first(filled);
  }

 private:
  ByteView take(size_t count) {
    const ByteView taken = parts[index].subspan(offset, count);
    offset += count;
    if (offset == parts[index].size()) ++index, offset = 0;
    return taken;
  }
};

bool TlsConnection::encrypt(ByteView plain) {
  size_t count = 0;
  const int done = SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &count);
  if (done == 1) return true;
  note_ssl_error(done, false);
  if (!trouble_) trouble_ = Error{Code::closed, "the peer wants something before it can be written to"};
  return false;
}

bool TlsConnection::flush() {
  while (output_begin_ < output_end_) {
    if (descriptor_ < 0) return false;
    const ssize_t count = ::send(descriptor_, output_.get() + output_begin_, output_end_ - output_begin_, MSG_NOSIGNAL);
    if (count >= 0) {
      output_begin_ += static_cast<size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return true;
    } else if (errno != EINTR) {
      const int number = errno;
      output_begin_ = output_end_ = 0;
      if (!trouble_) trouble_ = Error{established_ ? Code::closed : Code::unreachable, text_of_errno(number)};
      return false;
    }
  }
  output_begin_ = output_end_ = 0;
  return true;
}

// Sends what the protocol itself has to say when no writer does it on its way.
void TlsConnection::flush_answers() {
  if (writing_ || helped_ || failure_ || output_end_ == 0) return;
  if (!flush()) return settle();
  if (output_end_ > 0) return watch(kWrite);
  shared_->give_buffer(std::move(output_));
}

bool TlsConnection::send_some(Outgoing& outgoing) {
  ERR_clear_error();
  while (true) {
    while (!outgoing.empty() && output_end_ + kRecordSize + kRecordOverhead <= kSendBatch) {
      const ByteView record = outgoing.next();
      if (!record.empty() && !encrypt(record)) return false;
    }
    if (!flush()) return false;
    if (output_end_ > 0 || outgoing.empty()) return true;
  }
}

env::Task<Status> TlsConnection::write(Ptr self, std::vector<ByteView> parts) {
  CAIRN_ASSERT(!self->writing_);
  if (self->spend_turn(0)) co_await Turn(self->shared_->loop);
  struct Guard {
    TlsConnection& self;
    bool whole = false;
    explicit Guard(TlsConnection& connection) : self(connection) { self.writing_ = true; }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      self.writing_ = false;
      if (!whole) self.fail_with({Code::closed, "a write was given up half-way"});
    }
  } guard(*self);

  Outgoing outgoing(std::move(parts));
  const size_t total = outgoing.size();
  while (true) {
    while (self->helped_) co_await self->free_.wait();  // with the reader's helper
    if (self->failure_) break;
    if (total >= kHelpedBytes && self->shared_->moves_beside_another(self.get())) {
      if (!self->output_) self->output_ = self->shared_->take_buffer();
      const Help help(*self);
      static_cast<void>(co_await self->shared_->helpers().run([&] { return self->send_some(outgoing); }));
    } else {
      self->send_some(outgoing);
      self->settle();
    }
    if (self->failure_) break;
    if (outgoing.empty() && self->output_end_ == 0) {
      self->turn_bytes_ += total;
      self->shared_->give_buffer(std::move(self->output_));
      guard.whole = true;
      co_return Status{};
    }
    co_await self->ready(kWrite);
  }
  guard.whole = true;
  co_return fail(*self->failure_);
}

// ---- the end ----

void TlsConnection::fail_with(Error error) {
  if (failure_ || doomed_) return;
  if (helped_) {
    doomed_ = std::move(error);
    return;
  }
  failure_ = std::move(error);
  wake(kRead);
  wake(kWrite);
  if (!ssl_) return close_socket();
  // A refused handshake lingers as well: its alert must not be overtaken by a reset.
  shared_->linger(shared_from_this());
  linger_step();
}

void TlsConnection::end_now() {
  Error error{Code::closed, "the network has ended"};
  if (helped_) {
    doomed_ = std::move(error);
    return;
  }
  if (!failure_) failure_ = std::move(error);
  close_socket();
  wake(kRead);
  wake(kWrite);
}

void TlsConnection::close() {
  if (failure_ || doomed_) return;
  closed_here_ = true;
  if (!helped_) say_goodbye();
  fail_with({Code::closed, "closed here"});
}

// close_notify goes into the output; linger_step() sends it.
void TlsConnection::say_goodbye() {
  if (!established_ || writing_ || failure_ || !ssl_) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

void TlsConnection::linger_step() {
  if (!linger_place_ || descriptor_ < 0) return;
  set_low_water(1);
  if (!flush()) return close_socket();
  if (output_end_ > 0) {
    watch(kWrite);
  } else if (!std::exchange(write_shut_, true)) {
    ::shutdown(descriptor_, SHUT_WR);
  }
  uint8_t waste[16 * kKiB];
  for (int round = 0; round < 16; ++round) {
    const ssize_t count = ::recv(descriptor_, waste, sizeof waste, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    lingered_ += count > 0 ? static_cast<uint64_t>(count) : 0;
    if (count <= 0 || lingered_ > kMaxLingerBytes) return close_socket();
  }
  watch(kRead);
}

void TlsConnection::close_socket() {
  const auto self = shared_from_this();
  if (linger_place_) {
    shared_->lingering.erase(*linger_place_);
    linger_place_.reset();
  }
  asio::error_code ignored;
  socket_.close(ignored);
  descriptor_ = -1;
  ssl_.reset();
  output_.reset();
  output_begin_ = output_end_ = 0;
}

}  // namespace cairn::os
