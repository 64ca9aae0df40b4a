#include "bench/tls_stage.h"

#include <chrono>
#include <ctime>
#include <thread>

#include "base/log.h"
#include "os/event_loop.h"
#include "os/network.h"
#include "os/tls_identity.h"

namespace cairn::bench {

namespace {

constexpr size_t kHeader = 24;
// Sent from, and received into: one place after the other, as shards lie in memory, not from one that the first-level
// cache knows by heart.
constexpr size_t kMemory = 32 * kMiB;
constexpr int kRoundTrips = 5'000;
constexpr int kHandshakes = 200;

double thread_cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

crypto::Key seed_of(uint8_t number) {
  crypto::Key seed{};
  seed.fill(number);
  return seed;
}

struct Node {
  explicit Node(uint8_t number) : network(loop, log) { network.set_identity(seed_of(number)); }
  void run(env::Task<void> task) {
    env::TaskGroup group(loop);
    group.spawn([](os::EventLoop& l, env::Task<void> inner) -> env::Task<void> {
      co_await std::move(inner);
      l.stop();
    }(loop, std::move(task)));
    loop.run();
  }
  NullLog log;
  os::EventLoop loop;
  os::TlsNetwork network;
};

struct Plan {
  uint64_t bytes;
  size_t message;
  env::Address address;
  TlsFigures figures;
};

env::Task<void> must_read(env::Stream& stream, MutableByteView into) {
  while (!into.empty()) {
    auto got = co_await stream.read_some(into);
    CAIRN_ASSERT(got && *got > 0);
    into = into.subspan(*got);
  }
}

env::Task<void> must_write(env::Stream& stream, ByteView bytes) {
  std::vector<ByteView> parts{bytes};
  auto written = co_await stream.write(std::move(parts));
  CAIRN_ASSERT(written);
}

// The receiving end: takes the bulk, then echoes, then lets handshakes come and go.
env::Task<void> receive(Node& node, Plan& plan, env::OneShot<std::unique_ptr<env::Stream>> first) {
  auto stream = co_await first;
  Bytes buffer(kMemory);
  const double cpu = thread_cpu_seconds();
  size_t at = 0;
  for (uint64_t left = plan.bytes; left > 0;) {
    const auto into = MutableByteView(buffer).subspan(at).first(std::min<uint64_t>(left, buffer.size() - at));
    // As who reads a shard: all of the message is wanted.
    const size_t of_message = plan.message - (plan.bytes - left) % plan.message;
    auto got = co_await stream->read_some(into, std::min(of_message, into.size()));
    CAIRN_ASSERT(got && *got > 0);
    left -= *got;
    at = (at + *got) % buffer.size();
  }
  plan.figures.receive_cpu_seconds = thread_cpu_seconds() - cpu;
  co_await must_write(*stream, ByteView(buffer).first(1));
  for (int i = 0; i < kRoundTrips; ++i) {
    co_await must_read(*stream, MutableByteView(buffer).first(64));
    co_await must_write(*stream, ByteView(buffer).first(64));
  }
  // Until the sender has done its handshakes and closes.
  auto end = co_await stream->read_some(buffer);
  CAIRN_ASSERT(end && *end == 0);
  static_cast<void>(node);
}

env::Task<void> send(Node& node, Plan& plan) {
  auto connected = co_await node.network.connect(plan.address, os::node_id_of(seed_of(2)),
                                                 node.loop.now() + std::chrono::seconds(10));
  CAIRN_ASSERT(connected);
  auto& stream = **connected;
  Bytes header(kHeader, 1);
  Bytes payload(kMemory, 2);
  size_t at = 0;
  const double begin = wall_seconds();
  const double cpu = thread_cpu_seconds();
  for (uint64_t left = plan.bytes; left > 0;) {
    const auto size = static_cast<size_t>(std::min<uint64_t>(left, plan.message));
    std::vector<ByteView> parts{ByteView(header).first(std::min(size, kHeader))};
    if (size > kHeader) {
      if (at + size > payload.size()) at = 0;
      parts.push_back(ByteView(payload).subspan(at, size - kHeader));
      at += size;
    }
    auto written = co_await stream.write(std::move(parts));
    CAIRN_ASSERT(written);
    left -= size;
  }
  plan.figures.send_cpu_seconds = thread_cpu_seconds() - cpu;
  co_await must_read(stream, MutableByteView(header).first(1));
  plan.figures.seconds = wall_seconds() - begin;

  Bytes small(64);
  const double trips = wall_seconds();
  for (int i = 0; i < kRoundTrips; ++i) {
    co_await must_write(stream, small);
    co_await must_read(stream, small);
  }
  plan.figures.round_trips_per_second = kRoundTrips / (wall_seconds() - trips);

  const double handshakes = wall_seconds();
  for (int i = 0; i < kHandshakes; ++i) {
    auto other = co_await node.network.connect(plan.address, os::node_id_of(seed_of(2)),
                                               node.loop.now() + std::chrono::seconds(10));
    CAIRN_ASSERT(other);
  }
  plan.figures.handshakes_per_second = kHandshakes / (wall_seconds() - handshakes);
  stream.close();
}

}  // namespace

TlsFigures measure_tls(uint64_t bytes, size_t message) {
  CAIRN_ASSERT(message > kHeader);
  Plan plan{.bytes = bytes, .message = message, .address = {}, .figures = {.bytes = bytes}};
  Node receiver(2), sender(1);
  const env::OneShot<std::unique_ptr<env::Stream>> first(receiver.loop);
  auto listener = receiver.network.listen({"127.0.0.1", 0}, [first](std::unique_ptr<env::Stream> stream) {
    first.set(std::move(stream));  // the later ones are for the handshakes, and go at once
  });
  CAIRN_ASSERT(listener);
  plan.address = (*listener)->address();
  std::thread thread([&] { receiver.run(receive(receiver, plan, first)); });
  sender.run(send(sender, plan));
  thread.join();
  return plan.figures;
}

}  // namespace cairn::bench
