// Streams against peers that are silent, rude or slow.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/door.h"
#include "os/raw_tls.h"
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

env::Task<Status> write_all(env::Stream& stream, const Bytes& bytes) {
  std::vector<ByteView> parts{bytes};
  co_return co_await stream.write(std::move(parts));
}

}  // namespace

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
