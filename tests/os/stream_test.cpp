// Streams against peers that are silent, rude or slow.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "os/raw_tls.h"
#include "os/real_bench.h"
#include "os/real_world.h"

namespace cairn::os {

namespace {

using env::contract::run;
using env::contract::until;

CertificateForm form_of(uint8_t seed) {
  CertificateForm form;
  form.seed = test_seed(seed);
  return form;
}

// A TCP connection that is closed with its owner.
struct Silent {
  explicit Silent(const env::Address& address) : descriptor(dial_tcp(address)) {}
  ~Silent() { ::close(descriptor); }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;
  int descriptor;
};

// A listener that keeps what it is given.
struct Door {
  explicit Door(TlsNetwork& network, const env::Address& at = {"127.0.0.1", 0}) {
    auto made =
        network.listen(at, [this](std::unique_ptr<env::Stream> stream) { streams.push_back(std::move(stream)); });
    REQUIRE(made);
    listener = std::move(*made);
  }
  std::vector<std::unique_ptr<env::Stream>> streams;
  std::unique_ptr<env::Listener> listener;
};

// Passes one connection on in small pieces, with pauses, that end anywhere in a TLS record.
class Relay {
 public:
  explicit Relay(const env::Address& to) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof here;
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&here), length) == 0);
    REQUIRE(::listen(listener_, 1) == 0);
    REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &length) == 0);
    address_ = {"127.0.0.1", ntohs(here.sin_port)};
    thread_ = std::jthread([this, to] { work(to); });
  }
  ~Relay() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  const env::Address& address() const { return address_; }

 private:
  void work(const env::Address& to) const {
    const int near = ::accept(listener_, nullptr, nullptr);
    if (near < 0) return;
    const int far = dial_tcp(to);
    const int on = 1;
    for (const int end : {near, far}) ::setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    env::Prng prng(11);
    Bytes piece(20'000);
    for (bool open = far >= 0; open;) {
      pollfd ends[2] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
      ::poll(ends, 2, -1);
      for (size_t i = 0; i < 2 && open; ++i) {
        if (ends[i].revents == 0) continue;
        const ssize_t got = ::recv(ends[i].fd, piece.data(), 1 + prng.below(piece.size()), 0);
        open = got > 0 && ::send(ends[1 - i].fd, piece.data(), static_cast<size_t>(got), MSG_NOSIGNAL) == got;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(prng.below(100)));
    }
    ::close(near);
    ::close(far);
  }

  int listener_;
  env::Address address_;
  std::jthread thread_;
};

env::Task<Result<std::unique_ptr<env::Stream>>> connect(RealBench& bench, env::Address address) {
  return bench.network(0).connect(std::move(address), bench.id(1), bench.loop().now() + std::chrono::seconds(20));
}

env::Task<Status> write_all(env::Stream& stream, const Bytes& bytes) {
  std::vector<ByteView> parts{bytes};
  co_return co_await stream.write(std::move(parts));
}

// Reads `size` bytes and compares each with the pattern of write_pattern(); false also at an early end.
env::Task<bool> check_pattern(env::Stream& stream, uint64_t size, uint64_t seed) {
  Bytes buffer(300'000), expected(300'000);
  env::Prng source(seed);
  uint64_t done = 0;
  size_t left = 0;  // of `expected`
  while (done < size) {
    auto got = co_await stream.read_some(buffer);
    if (!got || *got == 0) co_return false;
    size_t at = 0;
    while (at < *got) {
      if (left == 0) {
        source.fill(expected);
        left = expected.size();
      }
      const size_t take = std::min(*got - at, left);
      if (!equal(ByteView(buffer).subspan(at, take), ByteView(expected).subspan(expected.size() - left, take))) {
        co_return false;
      }
      at += take;
      left -= take;
    }
    done += *got;
  }
  co_return done == size;
}

env::Task<void> write_pattern(env::Stream& stream, uint64_t size, uint64_t seed) {
  Bytes piece(300'000);
  env::Prng source(seed);
  for (uint64_t done = 0; done < size; done += piece.size()) {
    source.fill(piece);
    const size_t take = std::min<uint64_t>(piece.size(), size - done);
    std::vector<ByteView> parts{ByteView(piece).first(take / 3), ByteView(piece).first(take).subspan(take / 3)};
    const Status written = co_await stream.write(std::move(parts));
    CHECK(written);
  }
}

}  // namespace

TEST_CASE("much goes both ways at the same time") {
  RealBench bench;
  Door door(bench.network(1));
  bench.run([](RealBench& b, Door& d) -> env::Task<void> {
    constexpr uint64_t kSize = 48 * kMiB + 12'345;
    auto near = co_await connect(b, d.listener->address());
    REQUIRE(near);
    const bool came = co_await until(b.loop(), [&d] { return !d.streams.empty(); });
    REQUIRE(came);
    env::TaskGroup writers(b.loop());
    writers.spawn(write_pattern(**near, kSize, 1));
    writers.spawn(write_pattern(*d.streams[0], kSize, 2));
    std::vector<env::Task<bool>> readers;
    readers.push_back(check_pattern(*d.streams[0], kSize, 1));
    readers.push_back(check_pattern(**near, kSize, 2));
    const auto good = co_await env::when_all(b.loop(), std::move(readers));
    CHECK(good[0]);
    CHECK(good[1]);
    co_await writers.join();
  }(bench, door));
}

TEST_CASE("the last bytes that are wanted come, wherever the network cuts the records") {
  RealBench bench;
  Door door(bench.network(1));
  const Relay relay(door.listener->address());
  bench.run([](RealBench& b, Door& d, env::Address at) -> env::Task<void> {
    auto near = co_await connect(b, at);
    REQUIRE(near);
    const bool came = co_await until(b.loop(), [&d] { return !d.streams.empty(); });
    REQUIRE(came);
    Bytes message(700'000), got(message.size());
    env::Prng prng(12);
    prng.fill(message);
    for (int i = 0; i < 150; ++i) {
      const size_t size = 1 + prng.below(i % 10 == 0 ? message.size() : 60'000);
      env::TaskGroup writer(b.loop());
      writer.spawn([](env::Stream& stream, ByteView bytes) -> env::Task<void> {
        std::vector<ByteView> parts{bytes};
        const Status sent = co_await stream.write(std::move(parts));
        CHECK(sent);
      }(**near, ByteView(message).first(size)));
      for (size_t have = 0; have < size;) {
        auto more = co_await d.streams[0]->read_some(MutableByteView(got).subspan(have, size - have), size - have);
        REQUIRE(more);
        REQUIRE(*more > 0);
        have += *more;
      }
      REQUIRE(equal(ByteView(got).first(size), ByteView(message).first(size)));
      co_await writer.join();
    }
    (*near)->close();
  }(bench, door, relay.address()));
}

// Several streams between the two nodes.
struct Streams {
  RealBench bench;
  Door door{bench.network(1)};
  std::vector<std::unique_ptr<env::Stream>> near;  // far ends: door.streams, in the same order

  explicit Streams(size_t count) {
    bench.run([](Streams& s, size_t wanted) -> env::Task<void> {
      while (s.near.size() < wanted) {
        auto made = co_await connect(s.bench, s.door.listener->address());
        REQUIRE(made);
        s.near.push_back(std::move(*made));
        const bool came = co_await until(s.bench.loop(), [&s] { return s.door.streams.size() == s.near.size(); });
        REQUIRE(came);
      }
    }(*this, count));
  }
  env::Stream& far(size_t i) { return *door.streams[i]; }
  // With one core nobody helps: these tests then show that it works without.
  bool were_helped() {
    return std::thread::hardware_concurrency() < 2 || (bench.network(0).helped() > 0 && bench.network(1).helped() > 0);
  }
  // Until some work was done, and any moment longer.
  env::Task<void> at_work(env::Prng& prng) {
    const uint64_t enough = std::thread::hardware_concurrency() < 2 ? 0 : 1 + prng.below(40);
    const bool helped = co_await until(bench.loop(), [&] { return bench.network(0).helped() >= enough; });
    CHECK(helped);
    co_await env::sleep_for(bench.loop(), std::chrono::microseconds(prng.below(1000)));
  }
};

// One read that wants all of `into`. 0 when it was given up after `patience`: it has then lost nothing.
env::Task<Result<size_t>> read_or_give_up(EventLoop& loop, env::Stream& stream, MutableByteView into,
                                          Duration patience) {
  std::optional<Result<size_t>> got;  // also when the time was over just before it came
  {
    const env::OneShot<bool> over(loop);
    env::TaskGroup group(loop);
    group.spawn([](env::Stream& from, MutableByteView to, std::optional<Result<size_t>>& out,
                   env::OneShot<bool> ended) -> env::Task<void> {
      out = co_await from.read_some(to, to.size());
      ended.set(true);
    }(stream, into, got, over));
    group.spawn([](env::Clock& clock, Duration wait, env::OneShot<bool> ended) -> env::Task<void> {
      co_await env::sleep_for(clock, wait);
      ended.set(true);
    }(loop, patience, over));
    static_cast<void>(co_await over);
  }
  if (!got) co_return size_t{0};
  co_return *got;
}

TEST_CASE("several streams that move much at once are helped, and nothing is lost") {
  constexpr size_t kStreams = 4, kRounds = 8, kSize = 3 * kMiB + 12'345;
  Streams streams(kStreams);
  const bool give_up = GENERATE(false, true);  // readers that do not wait long, again and again
  CAPTURE(give_up);
  streams.bench.run([](Streams& s, bool gives_up) -> env::Task<void> {
    env::TaskGroup all(s.bench.loop());
    size_t good = 0;
    for (size_t i = 0; i < 2 * kStreams; ++i) {
      env::Stream& from = i % 2 == 0 ? *s.near[i / 2] : s.far(i / 2);
      env::Stream& to = i % 2 == 0 ? s.far(i / 2) : *s.near[i / 2];
      all.spawn([](env::Stream& out, uint64_t seed) -> env::Task<void> {
        Bytes message(kSize);
        env::Prng prng(seed);
        for (size_t round = 0; round < kRounds; ++round) {
          prng.fill(message);
          std::vector<ByteView> parts{ByteView(message).first(100), ByteView(message).subspan(100)};
          const Status sent = co_await out.write(std::move(parts));
          CHECK(sent);
        }
      }(from, i));
      all.spawn([](RealBench& b, env::Stream& in, uint64_t seed, bool impatient, size_t& count) -> env::Task<void> {
        Bytes expected(kSize), got(kSize);
        env::Prng prng(seed), times(seed + 100);
        for (size_t round = 0; round < kRounds; ++round) {
          prng.fill(expected);
          for (size_t have = 0; have < kSize;) {
            const MutableByteView rest = MutableByteView(got).subspan(have);
            const Duration patience =
                impatient ? Duration(std::chrono::microseconds(times.below(2000))) : Duration(std::chrono::seconds(30));
            auto more = co_await read_or_give_up(b.loop(), in, rest, patience);
            REQUIRE(more);
            have += *more;
          }
          if (!equal(got, expected)) co_return;
        }
        ++count;
      }(s.bench, to, i, gives_up, good));
    }
    co_await all.join();
    CHECK(good == 2 * kStreams);
  }(streams, give_up));
  CHECK(streams.were_helped());
}

TEST_CASE("streams may end at any time while others work for them") {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    CAPTURE(seed);
    Streams streams(3);
    streams.bench.run([](Streams& s, uint64_t number) -> env::Task<void> {
      env::Prng prng(number);
      auto all = std::make_unique<env::TaskGroup>(s.bench.loop());
      const Bytes message(6 * kMiB, 7);
      std::vector<Bytes> got(6, Bytes(message.size()));
      for (size_t i = 0; i < 6; ++i) {
        env::Stream& out = i % 2 == 0 ? *s.near[i / 2] : s.far(i / 2);
        env::Stream& in = i % 2 == 0 ? s.far(i / 2) : *s.near[i / 2];
        all->spawn([](env::Stream& stream, ByteView bytes) -> env::Task<void> {
          for (Status sent; sent;) {
            std::vector<ByteView> parts{bytes};
            sent = co_await stream.write(std::move(parts));
          }
        }(out, message));
        all->spawn([](env::Stream& stream, MutableByteView into) -> env::Task<void> {
          while (true) {
            auto more = co_await stream.read_some(into, into.size());
            if (!more || *more == 0) co_return;
          }
        }(in, got[i]));
      }
      co_await s.at_work(prng);
      switch (number % 3) {
        case 0: {  // ended by one side: all that wait on either side come back
          for (const auto& stream : s.near) stream->close();
          co_await all->join();
          auto after = co_await s.near[0]->read_some(got[0]);
          CHECK_FALSE(after);
          break;
        }
        case 1: {  // those who wait go, then the streams
          all.reset();
          s.near.clear();
          s.door.streams.clear();
          break;
        }
        default: {  // the streams' network goes
          s.bench.end_network(0);
          co_await all->join();
          break;
        }
      }
    }(streams, seed));
  }
}

TEST_CASE("who closes while others work for it says goodbye all the same, and reads nothing more") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    Streams streams(3);
    streams.bench.run([](Streams& s, uint64_t number) -> env::Task<void> {
      env::Prng prng(number);
      const Bytes message(6 * kMiB, 7);
      std::vector<Bytes> got(3, Bytes(message.size()));
      std::vector<bool> ended(3), clean(3);
      env::TaskGroup readers(s.bench.loop()), others(s.bench.loop());
      for (size_t i = 0; i < 3; ++i) {
        others.spawn([](env::Stream& stream, ByteView bytes) -> env::Task<void> {
          for (Status sent; sent;) {
            std::vector<ByteView> parts{bytes};
            sent = co_await stream.write(std::move(parts));
          }
        }(s.far(i), message));
        readers.spawn([](env::Stream& stream, std::vector<bool>& all, size_t which) -> env::Task<void> {
          Bytes some(10);
          auto more = co_await stream.read_some(some);
          all[which] = more && *more == 0;
        }(s.far(i), clean, i));
        readers.spawn(
            [](env::Stream& stream, MutableByteView into, std::vector<bool>& all, size_t which) -> env::Task<void> {
              while (true) {
                auto more = co_await stream.read_some(into, into.size());
                if (!more) co_return;
                CHECK_FALSE(all[which]);
              }
            }(*s.near[i], got[i], ended, i));
      }
      co_await s.at_work(prng);
      for (size_t i = 0; i < 3; ++i) {
        ended[i] = true;
        s.near[i]->close();
      }
      co_await readers.join();
      CHECK(clean == std::vector<bool>(3, true));
    }(streams, seed));
  }
}

TEST_CASE("IPv6 and names work like IPv4 addresses") {
  RealBench bench;
  const auto reach = [](RealBench& b, env::Address address) -> env::Task<std::optional<env::Address>> {
    auto stream = co_await connect(b, std::move(address));
    if (!stream) co_return std::nullopt;
    co_return (*stream)->remote();
  };
  SECTION("a literal IPv6 address") {
    auto door = bench.network(1).listen({"::1", 0}, [](std::unique_ptr<env::Stream>) {});
    if (!door) {
      WARN("no IPv6 on this machine");
      return;
    }
    const auto remote = run(bench, reach(bench, (*door)->address()));
    REQUIRE(remote);
    CHECK(remote->host == "::1");
  }
  SECTION("a name") {
    Door door(bench.network(1));
    const auto remote = run(bench, reach(bench, {"localhost", door.listener->address().port}));
    REQUIRE(remote);
    CHECK(remote->port == door.listener->address().port);
  }
  SECTION("any address of the machine") {
    Door door(bench.network(1), {"0.0.0.0", 0});
    CHECK(run(bench, reach(bench, {"127.0.0.1", door.listener->address().port})));
  }
  SECTION("a name to listen at is refused") {
    CHECK(bench.network(1).listen({"example.invalid", 0}, [](std::unique_ptr<env::Stream>) {}).error().code ==
          Code::bad_input);
  }
}

TEST_CASE("a name that leads nowhere is unreachable") {
  RealBench bench;
  const auto code = run(bench, [](RealBench& b) -> env::Task<Code> {
    // The name server may never answer: the deadline holds all the same.
    auto stream = co_await b.network(0).connect({"no-such-host.invalid", 1}, b.id(1),
                                                b.loop().now() + std::chrono::milliseconds(500));
    co_return stream ? Code::exists : stream.error().code;
  }(bench));
  CHECK(code == Code::unreachable);
}

TEST_CASE("garbage in place of a handshake gets nowhere") {
  RealBench bench;
  Door door(bench.network(1));
  struct Case {
    RealBench& bench;
    Door& door;
  } made{bench, door};
  const auto answer = run(bench, [](Case& c) -> env::Task<ssize_t> {
    const env::Address address = c.door.listener->address();
    const ssize_t last = co_await c.bench.world(0).workers.run([&address] {
      const Silent client(address);
      const Bytes garbage(100'000, 0xEE);
      ssize_t got = ::send(client.descriptor, garbage.data(), garbage.size(), MSG_NOSIGNAL);
      Bytes reply(1000);
      do got = ::recv(client.descriptor, reply.data(), reply.size(), 0);
      while (got > 0);
      return got;  // the end or a reset, not a timeout
    });
    const bool free = co_await until(c.bench.loop(), [&c] { return c.bench.network(1).handshakes() == 0; });
    CHECK(free);
    auto stream = co_await connect(c.bench, address);
    CHECK(stream);
    co_return last;
  }(made));
  CHECK((answer == 0 || errno != EAGAIN));
  CHECK(door.streams.size() <= 1);
}

TEST_CASE("silent clients hold their places for a while only") {
  RealBench bench;
  NullLog log;
  HandshakeLimits limits;
  limits.at_once = 4;
  SECTION("a newcomer takes the place of an old one") {
    limits.fair_time = std::chrono::milliseconds(50);
  }
  SECTION("each has its time limit") {
    limits.timeout = std::chrono::milliseconds(100);
    limits.fair_time = std::chrono::hours(1);
  }
  TlsNetwork network(bench.loop(), log, limits);
  network.set_identity(test_seed(2));
  Door door(network);
  std::vector<std::unique_ptr<Silent>> silent;
  // Twice as many as there are places; the kernel's queue takes them all.
  for (int i = 0; i < 8; ++i) silent.push_back(std::make_unique<Silent>(door.listener->address()));
  struct Case {
    RealBench& bench;
    TlsNetwork& network;
    Door& door;
  } made{bench, network, door};
  bench.run([](Case& c) -> env::Task<void> {
    const bool full = co_await until(c.bench.loop(), [&c] { return c.network.handshakes() == 4; });
    CHECK(full);
    auto stream = co_await connect(c.bench, c.door.listener->address());
    CHECK(stream);
    CHECK(c.network.handshakes() <= 4);
  }(made));
}

TEST_CASE("the places of clients that leave are free again") {
  RealBench bench;
  Door door(bench.network(1));
  bench.run([](RealBench& b, Door& d) -> env::Task<void> {
    {
      const Silent one(d.listener->address()), two(d.listener->address());
      const bool came = co_await until(b.loop(), [&b] { return b.network(1).handshakes() == 2; });
      CHECK(came);
    }
    const bool gone = co_await until(b.loop(), [&b] { return b.network(1).handshakes() == 0; });
    CHECK(gone);
  }(bench, door));
}

TEST_CASE("a server that accepts and never speaks is unreachable at the deadline") {
  RealBench bench;
  const RawListener listener;  // the kernel accepts for it
  const auto code = run(bench, [](RealBench& b, env::Address address) -> env::Task<Code> {
    auto stream = co_await b.network(0).connect(address, std::nullopt, b.loop().now() + std::chrono::milliseconds(100));
    co_return stream ? Code::exists : stream.error().code;
  }(bench, listener.address));
  CHECK(code == Code::unreachable);
}

namespace {

// What is accepted on this port from now on has a small send buffer (it comes from the listening socket), so that a
// peer that does not read is felt soon.
void shrink_send_buffers(uint16_t port) {
  for (int descriptor = 3; descriptor < 1024; ++descriptor) {
    sockaddr_in at{};
    socklen_t length = sizeof at;
    if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&at), &length) != 0) continue;
    const int small = 4096;
    if (at.sin_family == AF_INET && ntohs(at.sin_port) == port) {
      ::setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    }
  }
}

// A raw client that has shaken hands with node 1 and is `door.streams[0]` there.
struct Met {
  RealBench bench;
  Door door{bench.network(1)};
  RawTls client{false, RawTls::Shows::certificate, form_of(9)};
  explicit Met(bool small_buffer = false) {
    if (small_buffer) shrink_send_buffers(door.listener->address().port);
    bench.run([](Met& m, bool small) -> env::Task<void> {
      const env::Address address = m.door.listener->address();
      const bool good = co_await m.bench.world(0).workers.run(
          [&m, &address, small] { return m.client.dial(address, small) && m.client.handshake(); });
      REQUIRE(good);
      const bool came = co_await until(m.bench.loop(), [&m] { return m.door.streams.size() == 1; });
      REQUIRE(came);
    }(*this, small_buffer));
  }
  env::Stream& stream() { return *door.streams[0]; }
};

}  // namespace

TEST_CASE("close() does not wait for a peer that does not read") {
  Met met;
  met.bench.run([](Met& m) -> env::Task<void> {
    const Bytes much(32 * kMiB);
    std::optional<Status> written;
    env::TaskGroup writer(m.bench.loop());
    writer.spawn([](env::Stream& stream, const Bytes& bytes, std::optional<Status>& out) -> env::Task<void> {
      out = co_await write_all(stream, bytes);
    }(m.stream(), much, written));
    // It has filled what the kernel takes once it waits; a turn later is enough for the test's sake.
    co_await env::sleep_for(m.bench.loop(), std::chrono::milliseconds(20));
    m.stream().close();
    co_await writer.join();
    REQUIRE(written);
    REQUIRE_FALSE(*written);
    CHECK(written->error().code == Code::closed);
  }(met));
}

TEST_CASE("a connection that breaks off is no clean end") {
  Met met;
  const auto read = run(met.bench, [](Met& m) -> env::Task<Result<size_t>> {
    co_await m.bench.world(0).workers.run([&m] {
      m.client.send(as_bytes("half"));
      m.client.break_off();
      return 0;
    });
    Bytes buffer(100);
    auto first = co_await m.stream().read_some(buffer);
    CHECK((first && *first == 4));
    co_return co_await m.stream().read_some(buffer);
  }(met));
  REQUIRE_FALSE(read);
  CHECK(read.error().code == Code::closed);
}

TEST_CASE("garbage after the handshake ends the stream") {
  Met met;
  const auto read = run(met.bench, [](Met& m) -> env::Task<Result<size_t>> {
    co_await m.bench.world(0).workers.run([&m] {
      const Bytes garbage(3000, 0x17);
      return ::send(m.client.descriptor(), garbage.data(), garbage.size(), MSG_NOSIGNAL);
    });
    Bytes buffer(100);
    co_return co_await m.stream().read_some(buffer);
  }(met));
  REQUIRE_FALSE(read);
  CHECK(read.error().code == Code::closed);
}

TEST_CASE("a peer may change its keys as often as it likes, in both directions of the traffic") {
  Met met;
  const auto sum = run(met.bench, [](Met& m) -> env::Task<size_t> {
    env::TaskGroup echo(m.bench.loop());
    echo.spawn([](env::Stream& stream) -> env::Task<void> {
      Bytes buffer(1000);
      while (true) {
        auto got = co_await stream.read_some(buffer);
        if (!got || *got == 0) break;
        buffer.resize(*got);
        const Status written = co_await write_all(stream, buffer);
        CHECK(written);
        buffer.resize(1000);
      }
    }(m.stream()));
    const size_t echoed = co_await m.bench.world(0).workers.run([&m] {
      size_t count = 0;
      for (int round = 0; round < 50; ++round) {
        if (!m.client.request_key_update() || !m.client.send(as_bytes("again"))) break;
        while (count < static_cast<size_t>(round + 1) * 5) {
          const Bytes got = m.client.receive(100);
          if (got.empty()) return count;
          count += got.size();
        }
      }
      return count;
    });
    co_return echoed;
  }(met));
  CHECK(sum == 250);
}

TEST_CASE("a peer that provokes answers and reads none is cut off") {
  Met met(true);
  const auto read = run(met.bench, [](Met& m) -> env::Task<Result<size_t>> {
    env::TaskGroup flood(m.bench.loop());
    flood.spawn([](Met& with) -> env::Task<void> {
      co_await with.bench.world(0).workers.run([&with] {
        // Each asks for an answer of about 30 bytes: the kernel's buffers and ours are full at some point.
        while (with.client.request_key_update() && with.client.send(as_bytes("x"))) {
        }
        return 0;
      });
    }(m));
    Bytes buffer(1000);
    while (true) {
      auto got = co_await m.stream().read_some(buffer);
      if (got && *got > 0) continue;
      co_await flood.join();
      co_return got;
    }
  }(met));
  REQUIRE_FALSE(read);
  CHECK(read.error().code == Code::closed);
}

TEST_CASE("streams outlive their network, as closed ones") {
  RealBench bench;
  NullLog log;
  auto network = std::make_unique<TlsNetwork>(bench.loop(), log);
  network->set_identity(test_seed(3));
  Door door(bench.network(1));
  struct Case {
    RealBench& bench;
    std::unique_ptr<TlsNetwork>& network;
    Door& door;
  } made{bench, network, door};
  bench.run([](Case& c) -> env::Task<void> {
    auto stream = co_await c.network->connect(c.door.listener->address(), c.bench.id(1),
                                              c.bench.loop().now() + std::chrono::seconds(20));
    REQUIRE(stream);
    std::optional<Result<size_t>> waiting;
    Bytes buffer(10);
    env::TaskGroup reader(c.bench.loop());
    reader.spawn([](env::Stream& s, Bytes& into, std::optional<Result<size_t>>& out) -> env::Task<void> {
      out = co_await s.read_some(into);
    }(**stream, buffer, waiting));
    co_await env::sleep_for(c.bench.loop(), std::chrono::milliseconds(2));
    c.network.reset();
    co_await reader.join();
    REQUIRE(waiting);
    REQUIRE_FALSE(*waiting);
    CHECK(waiting->error().code == Code::closed);
    const Status written = co_await write_all(**stream, buffer);
    CHECK_FALSE(written);
  }(made));
}

TEST_CASE("a listener may go while it hands over a stream") {
  RealBench bench;
  std::unique_ptr<env::Listener> listener;
  std::unique_ptr<env::Stream> stream;
  auto made = bench.network(1).listen({"127.0.0.1", 0}, [&](std::unique_ptr<env::Stream> came) {
    listener.reset();
    stream = std::move(came);
  });
  REQUIRE(made);
  listener = std::move(*made);
  struct Case {
    RealBench& bench;
    env::Address address;
    std::unique_ptr<env::Stream>& stream;
  } with{bench, listener->address(), stream};
  bench.run([](Case& c) -> env::Task<void> {
    auto near = co_await connect(c.bench, c.address);
    CHECK(near);
    const bool came = co_await until(c.bench.loop(), [&c] { return c.stream != nullptr; });
    CHECK(came);
  }(with));
  CHECK_FALSE(listener);
}

TEST_CASE("without an identity there is no network") {
  NullLog log;
  RealWorld world({.log = log, .workers = 1});
  CHECK(world.network().listen({"127.0.0.1", 0}, [](std::unique_ptr<env::Stream>) {}).error().code == Code::denied);
  auto stream = world.block_on(
      world.network().connect({"127.0.0.1", 1}, std::nullopt, world.loop().now() + std::chrono::seconds(1)));
  REQUIRE_FALSE(stream);
  CHECK(stream.error().code == Code::denied);
}

}  // namespace cairn::os
