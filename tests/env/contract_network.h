#pragma once
// Contract of env::Network and env::Stream (src/env/network.h): what holds on every network that works.

#include <deque>

#include "env/contract.h"

namespace cairn::env::contract {

namespace network_detail {

// Takes in what a listener is given; on the strand.
class Inbox {
 public:
  explicit Inbox(World world) : signal_(world.executor) {}
  void add(std::unique_ptr<Stream> stream) {
    streams_.push_back(std::move(stream));
    signal_.notify_all();
  }
  Task<std::unique_ptr<Stream>> next() {
    while (streams_.empty()) co_await signal_.wait();
    auto stream = std::move(streams_.front());
    streams_.pop_front();
    co_return stream;
  }

 private:
  Signal signal_;
  std::deque<std::unique_ptr<Stream>> streams_;
};

// Two ends: `near` connected at node 0, `far` accepted at node 1.
struct Pair {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> near, far;
};

inline Task<Pair> connect(Bench& bench, Inbox& inbox) {
  World here = bench.world(0);
  World there = bench.world(1);
  Pair pair;
  auto listener = there.network.listen({bench.host(1), 0},
                                       [&inbox](std::unique_ptr<Stream> stream) { inbox.add(std::move(stream)); });
  REQUIRE(listener);
  pair.listener = std::move(*listener);
  REQUIRE(pair.listener->address().port != 0);
  auto stream = co_await here.network.connect({bench.host(1), pair.listener->address().port}, bench.id(1),
                                              here.clock.now() + std::chrono::seconds(20));
  REQUIRE(stream);
  pair.near = std::move(*stream);
  pair.far = co_await inbox.next();
  co_return pair;
}

inline Task<Status> send(Stream& stream, std::string text) {
  std::vector<ByteView> parts{as_bytes(text)};
  co_return co_await stream.write(std::move(parts));
}

// Exactly `size` bytes, fewer at the end of the stream.
inline Task<Bytes> receive(Stream& stream, size_t size) {
  Bytes bytes(size);
  size_t got = 0;
  while (got < size) {
    auto more = co_await stream.read_some(MutableByteView(bytes).subspan(got), size - got);
    if (!more || *more == 0) break;
    CHECK(*more <= size - got);
    got += *more;
  }
  bytes.resize(got);
  co_return bytes;
}

inline Bytes pattern(size_t size, uint64_t seed) {
  Bytes bytes(size);
  Prng(seed).fill(bytes);
  return bytes;
}

}  // namespace network_detail

inline void check_network(const MakeBench& make) {
  using namespace network_detail;
  const auto bench = make();
  World there = bench->world(1);
  Inbox inbox(there);

  SECTION("both ends know each other's NodeID and public key") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      CHECK(pair.near->peer() == b.id(1));
      CHECK(pair.far->peer() == b.id(0));
      CHECK(pair.near->peer_public_key().size() == 44);
      CHECK(pair.far->peer_public_key().size() == 44);
      CHECK(pair.near->peer_public_key() != pair.far->peer_public_key());
      CHECK(pair.near->remote().port == pair.listener->address().port);
    }(*bench, inbox));
  }

  SECTION("bytes arrive in order, both ways at the same time") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      const Bytes up = pattern(3'000'001, 1);
      const Bytes down = pattern(2'000'003, 2);
      TaskGroup writers(b.executor());
      const auto write = [](Stream& stream, const Bytes& bytes) -> Task<void> {
        for (size_t at = 0, step = 1; at < bytes.size(); at += step, step = std::min(step * 3, bytes.size() - at)) {
          if (step == 0) break;
          std::vector<ByteView> parts{ByteView(bytes).subspan(at, step / 2),
                                      ByteView(bytes).subspan(at + step / 2, step - step / 2)};
          const Status written = co_await stream.write(std::move(parts));
          CHECK(written);
        }
      };
      writers.spawn(write(*pair.near, up));
      writers.spawn(write(*pair.far, down));
      std::vector<Task<Bytes>> readers;
      readers.push_back(receive(*pair.far, up.size()));
      readers.push_back(receive(*pair.near, down.size()));
      const auto got = co_await when_all(b.executor(), std::move(readers));
      CHECK((got[0] == up));
      CHECK((got[1] == down));
      co_await writers.join();
    }(*bench, inbox));
  }

  SECTION("who wants many bytes gets the last of them, though nothing follows and they come in pieces") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      const Bytes all = pattern(2'000'000, 7);
      Prng prng(8);
      std::vector<size_t> sizes{1, 16'384, 16'385, 16'500, 32'768, 33'000, 70'000, 600'000, 1'100'000, 2'000'000};
      for (int i = 0; i < 30; ++i) sizes.push_back(1 + prng.below(300'000));
      TaskGroup writer(b.executor());
      writer.spawn([](Bench& w, Stream& stream, const Bytes& from, const std::vector<size_t>& messages) -> Task<void> {
        World here = w.world(0);
        Prng pieces(9);
        for (const size_t size : messages) {
          const bool slow = pieces.below(4) == 0;
          for (size_t at = 0; at < size;) {
            const size_t piece = std::min<size_t>(size - at, 1 + pieces.below(slow ? 100'000 : 600'000));
            std::vector<ByteView> parts{ByteView(from).subspan(at, piece)};
            const Status sent = co_await stream.write(std::move(parts));
            REQUIRE(sent);
            at += piece;
            if (slow) co_await sleep_for(here.clock, std::chrono::milliseconds(pieces.below(40)));
          }
          const Bytes heard = co_await receive(stream, 1);
          REQUIRE(heard.size() == 1);
        }
      }(b, *pair.near, all, sizes));
      for (const size_t size : sizes) {
        const Bytes got = co_await receive(*pair.far, size);
        REQUIRE(equal(got, ByteView(all).first(size)));
        const Status answered = co_await send(*pair.far, "!");
        REQUIRE(answered);
      }
      co_await writer.join();
    }(*bench, inbox));
  }

  SECTION("an empty write is fine") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      std::vector<ByteView> nothing;
      const Status sent1 = co_await pair.near->write(std::move(nothing));
      CHECK(sent1);
      const Status sent2 = co_await send(*pair.near, "");
      CHECK(sent2);
      const Status sent3 = co_await send(*pair.near, "x");
      CHECK(sent3);
      const Bytes got8 = co_await receive(*pair.far, 1);
      CHECK(got8 == to_bytes("x"));
    }(*bench, inbox));
  }

  SECTION("a read that is destroyed while it waits loses nothing") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      World w = b.world(1);
      const Bytes bytes = pattern(400'000, 3);
      TaskGroup writer(b.executor());
      writer.spawn([](Bench& bench2, Stream& stream, const Bytes& all) -> Task<void> {
        World v = bench2.world(0);
        for (size_t at = 0; at < all.size(); at += 20'000) {
          std::vector<ByteView> parts{ByteView(all).subspan(at, 20'000)};
          const Status sent4 = co_await stream.write(std::move(parts));
          CHECK(sent4);
          co_await sleep_for(v.clock, std::chrono::microseconds(300));
        }
      }(b, *pair.near, bytes));
      // Reads with deadlines that often pass: some end with the bytes, the others must leave them. Each has a buffer of
      // its own, and what a read that ended in time has given counts even when the deadline came first.
      Bytes got;
      struct Read {
        Bytes buffer = Bytes(7000);
        size_t filled = 0;
      };
      for (int round = 0; round < 100'000 && got.size() < bytes.size(); ++round) {
        Read read;
        const auto once = [](Stream& stream, Read& into) -> Task<Result<size_t>> {
          auto more = co_await stream.read_some(into.buffer);
          if (more) into.filled = *more;
          co_return more;
        };
        const Time deadline = w.clock.now() + std::chrono::microseconds(150 * (round % 4));
        auto more = co_await with_deadline(b.executor(), w.clock, deadline, once(*pair.far, read));
        if (!more) CHECK(more.error().code == Code::timeout);
        got.insert(got.end(), read.buffer.begin(), read.buffer.begin() + static_cast<ptrdiff_t>(read.filled));
      }
      CHECK((got == bytes));
      co_await writer.join();
    }(*bench, inbox));
  }

  SECTION("a closed stream ends cleanly at the peer, after all that was sent") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      const Status sent5 = co_await send(*pair.near, "last words");
      CHECK(sent5);
      pair.near->close();
      const Bytes got9 = co_await receive(*pair.far, 100);
      CHECK(got9 == to_bytes("last words"));
      Bytes buffer(10);
      auto end = co_await pair.far->read_some(buffer);
      REQUIRE(end);
      CHECK(*end == 0);
      auto own = co_await pair.near->read_some(buffer);
      REQUIRE_FALSE(own);
      CHECK(own.error().code == Code::closed);
      const Status written = co_await send(*pair.near, "more");
      REQUIRE_FALSE(written);
      CHECK(written.error().code == Code::closed);
      pair.near->close();
    }(*bench, inbox));
  }

  SECTION("closing wakes a waiting read and a waiting write") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      Bytes buffer(10);
      const Bytes much(64 * kMiB);  // nobody reads it: the writer has to wait
      std::optional<Status> written;
      std::optional<Result<size_t>> read;
      TaskGroup tasks(b.executor());
      tasks.spawn([](Stream& stream, const Bytes& bytes, std::optional<Status>& out) -> Task<void> {
        std::vector<ByteView> parts{bytes};
        out = co_await stream.write(std::move(parts));
      }(*pair.near, much, written));
      tasks.spawn([](Stream& stream, MutableByteView into, std::optional<Result<size_t>>& out) -> Task<void> {
        out = co_await stream.read_some(into);
      }(*pair.near, buffer, read));
      co_await sleep_for(b.world(0).clock, std::chrono::milliseconds(30));
      CHECK_FALSE(written);
      CHECK_FALSE(read);
      pair.near->close();
      co_await tasks.join();
      REQUIRE((written && read));
      REQUIRE_FALSE(*written);
      CHECK(written->error().code == Code::closed);
      REQUIRE_FALSE(*read);
      CHECK(read->error().code == Code::closed);
    }(*bench, inbox));
  }

  SECTION("a peer that went away ends reads and writes") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      pair.far.reset();
      Bytes buffer(10);
      auto read = co_await pair.near->read_some(buffer);
      if (read) {
        CHECK(*read == 0);
      } else {
        CHECK(read.error().code == Code::closed);
      }
      Status written;
      const Bytes some(100'000);
      for (int i = 0; i < 1000 && written; ++i) {
        std::vector<ByteView> parts{some};
        written = co_await pair.near->write(std::move(parts));
      }
      REQUIRE_FALSE(written);
      CHECK(written.error().code == Code::closed);
    }(*bench, inbox));
  }

  SECTION("a write that is destroyed half-way closes the stream") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      const Bytes much(64 * kMiB);
      {
        TaskGroup writer(b.executor());
        writer.spawn([](Stream& stream, const Bytes& bytes) -> Task<void> {
          std::vector<ByteView> parts{bytes};
          co_await stream.write(std::move(parts));
        }(*pair.near, much));
        co_await sleep_for(b.world(0).clock, std::chrono::milliseconds(30));
        REQUIRE(writer.size() == 1);
      }
      const Status written = co_await send(*pair.near, "more");
      REQUIRE_FALSE(written);
      CHECK(written.error().code == Code::closed);
    }(*bench, inbox));
  }

  SECTION("a slow reader holds the writer back and loses nothing") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      Pair pair = co_await connect(b, in);
      const Bytes bytes = pattern(12 * kMiB, 5);
      bool written = false;
      TaskGroup writer(b.executor());
      writer.spawn([](Stream& stream, const Bytes& all, bool& out) -> Task<void> {
        std::vector<ByteView> parts{all};
        const Status status = co_await stream.write(std::move(parts));
        out = status.has_value();
      }(*pair.near, bytes, written));
      co_await sleep_for(b.world(1).clock, std::chrono::milliseconds(20));
      const Bytes got = co_await receive(*pair.far, bytes.size());
      CHECK((got == bytes));
      co_await writer.join();
      CHECK(written);
    }(*bench, inbox));
  }

  SECTION("another node than the expected one is refused") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      World w = b.world(0);
      auto listener = b.world(1).network.listen({b.host(1), 0},
                                                [&in](std::unique_ptr<Stream> stream) { in.add(std::move(stream)); });
      REQUIRE(listener);
      const Address address{b.host(1), (*listener)->address().port};
      auto wrong = co_await w.network.connect(address, b.id(0), w.clock.now() + std::chrono::seconds(20));
      REQUIRE_FALSE(wrong);
      CHECK(wrong.error().code == Code::denied);
      auto any = co_await w.network.connect(address, std::nullopt, w.clock.now() + std::chrono::seconds(20));
      REQUIRE(any);
      CHECK((*any)->peer() == b.id(1));
    }(*bench, inbox));
  }

  SECTION("nobody listens: unreachable; and no longer once the listener is gone") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      World w = b.world(0);
      auto listener = b.world(1).network.listen({b.host(1), 0},
                                                [&in](std::unique_ptr<Stream> stream) { in.add(std::move(stream)); });
      REQUIRE(listener);
      const Address address{b.host(1), (*listener)->address().port};
      CHECK_FALSE(b.world(1).network.listen(address, [](std::unique_ptr<Stream>) {}));  // in use
      listener->reset();
      auto none = co_await w.network.connect(address, b.id(1), w.clock.now() + std::chrono::seconds(20));
      REQUIRE_FALSE(none);
      CHECK(none.error().code == Code::unreachable);
      const Time passed = w.clock.now() - std::chrono::milliseconds(1);
      auto late = co_await w.network.connect(address, b.id(1), passed);
      REQUIRE_FALSE(late);
      CHECK(late.error().code == Code::unreachable);
    }(*bench, inbox));
  }

  SECTION("a connect that is destroyed leaves nothing behind that hurts") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      World w = b.world(0);
      auto listener = b.world(1).network.listen({b.host(1), 0},
                                                [&in](std::unique_ptr<Stream> stream) { in.add(std::move(stream)); });
      REQUIRE(listener);
      const Address address{b.host(1), (*listener)->address().port};
      for (int round = 0; round < 8; ++round) {
        TaskGroup group(b.executor());
        group.spawn([](World v, Address to, NodeId id) -> Task<void> {
          auto stream = co_await v.network.connect(to, id, v.clock.now() + std::chrono::seconds(20));
          CHECK(stream);
        }(w, address, b.id(1)));
        co_await sleep_for(w.clock, std::chrono::microseconds(400 * round));
      }
      auto stream = co_await w.network.connect(address, b.id(1), w.clock.now() + std::chrono::seconds(20));
      REQUIRE(stream);
      const Status sent6 = co_await send(**stream, "well");
      CHECK(sent6);
      // One of the incoming streams is this one; the others have ended.
      for (;;) {
        auto far = co_await in.next();
        const Bytes got = co_await receive(*far, 4);
        if (got == to_bytes("well")) break;
        CHECK(got.empty());
      }
    }(*bench, inbox));
  }

  SECTION("many streams at the same time do not mix") {
    bench->run([](Bench& b, Inbox& in) -> Task<void> {
      World w = b.world(0);
      auto listener = b.world(1).network.listen({b.host(1), 0},
                                                [&in](std::unique_ptr<Stream> stream) { in.add(std::move(stream)); });
      REQUIRE(listener);
      const Address address{b.host(1), (*listener)->address().port};
      const auto echo = [](Inbox& inbox2) -> Task<void> {
        auto stream = co_await inbox2.next();
        const Bytes got = co_await receive(*stream, 5000);
        std::vector<ByteView> parts{got};
        const Status sent7 = co_await stream->write(std::move(parts));
        CHECK(sent7);
        Bytes end(1);
        co_await stream->read_some(end);
      };
      TaskGroup servers(b.executor());
      std::vector<Task<bool>> clients;
      for (uint64_t i = 0; i < 20; ++i) {
        servers.spawn(echo(in));
        clients.push_back([](World v, Address to, NodeId id, uint64_t seed) -> Task<bool> {
          auto stream = co_await v.network.connect(to, id, v.clock.now() + std::chrono::seconds(30));
          if (!stream) co_return false;
          const Bytes bytes = pattern(5000, seed);
          std::vector<ByteView> parts{bytes};
          const Status written = co_await (*stream)->write(std::move(parts));
          if (!written) co_return false;
          const Bytes back = co_await receive(**stream, 5000);
          co_return back == bytes;
        }(w, address, b.id(1), i));
      }
      const auto fine = co_await when_all(b.executor(), std::move(clients));
      for (const bool ok : fine) CHECK(ok);
      co_await servers.join();
    }(*bench, inbox));
  }
}

}  // namespace cairn::env::contract
