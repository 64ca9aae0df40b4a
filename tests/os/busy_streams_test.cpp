// Streams that move much: both ways, cut anywhere, several at once with others working for them.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "os/door.h"
#include "os/raw_tls.h"

namespace cairn::os {

namespace {

using env::contract::until;

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

namespace {

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

// Writes the same again and again, until the stream ends.
env::Task<void> write_on(env::Stream& stream, ByteView bytes) {
  for (Status sent; sent;) {
    std::vector<ByteView> parts{bytes};
    sent = co_await stream.write(std::move(parts));
  }
}

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

}  // namespace

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
        all->spawn(write_on(out, message));
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
        others.spawn(write_on(s.far(i), message));
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

}  // namespace cairn::os
