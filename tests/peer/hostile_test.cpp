// Peers that do not keep to the rules: each gets a clear end, and nothing grows.

#include <catch2/catch.hpp>

#include "peer/domains.h"
#include "peer/limits.h"
#include "peer/member_log.h"
#include "peer/pool.h"

namespace cairn::peer {
namespace {

using env::Task;

Bytes frame(wire::FrameKind kind, wire::Method method, ByteView body = {}, uint64_t request = 0) {
  wire::FrameHeader header{.kind = kind,
                           .method = method,
                           .body_length = static_cast<uint32_t>(body.size()),
                           .request_id = request,
                           .deadline_ms = 10'000};
  const auto raw = header.encode();
  Bytes bytes(raw.begin(), raw.end());
  append(bytes, body);
  return bytes;
}

Bytes hello_frame(const Identity* identity, bool serves = true, const Membership* genesis = nullptr) {
  wire::Hello hello;
  hello.set_version(1);
  hello.set_serves(serves);
  if (identity) {
    hello.set_pool(identity->pool.raw());
    REQUIRE(wire::decode_into(*hello.mutable_certificate(), identity->certificate.encoded));
  }
  if (genesis) REQUIRE(wire::decode_into(*hello.mutable_genesis(), genesis->genesis()));
  return frame(wire::FrameKind::hello, wire::Method::none, wire::encode(hello));
}

// Writes these bytes on each stream that comes in, and reads what comes without looking at it.
class RawServer {
 public:
  RawServer(env::World world, Bytes bytes, bool reads = true)
      : world_(world), bytes_(std::move(bytes)), reads_(reads), tasks_(world.executor) {
    listener_ = world.network
                    .listen({"0.0.0.0", kPort},
                            [this](std::unique_ptr<env::Stream> stream) {
                              ++streams;
                              tasks_.spawn(serve(this, std::move(stream)));
                            })
                    .value();
  }
  int streams = 0, ended = 0;

 private:
  static Task<void> serve(RawServer* self, std::unique_ptr<env::Stream> stream) {
    std::vector<ByteView> parts{self->bytes_};
    if (!self->bytes_.empty()) static_cast<void>(co_await stream->write(std::move(parts)));
    Bytes buffer(4096);
    for (;;) {
      if (!self->reads_) co_await env::sleep_for(self->world_.clock, std::chrono::hours(1));
      auto got = co_await stream->read_some(buffer);
      if (!got || *got == 0) break;
    }
    ++self->ended;
  }
  env::World world_;
  Bytes bytes_;
  bool reads_;
  env::TaskGroup tasks_;
  std::unique_ptr<env::Listener> listener_;
};

// Connects, writes, and gives back all that the other end sent until it ended the stream or the time was over.
struct Heard {
  Bytes bytes;
  bool ended = false;
};
Task<Heard> speak(env::World world, env::Address to, Bytes bytes, Duration patience) {
  Heard heard;
  auto stream = co_await world.network.connect(to, std::nullopt, world.clock.now() + seconds(5));
  CAIRN_ASSERT(stream);
  const auto listen = [](env::Stream& from, Heard& into) -> Task<Result<bool>> {
    Bytes buffer(4096);
    for (;;) {
      auto got = co_await from.read_some(buffer);
      if (!got || *got == 0) break;
      append(into.bytes, ByteView(buffer).first(*got));
    }
    into.ended = true;
    co_return true;
  };
  std::vector<ByteView> parts{bytes};
  if (!bytes.empty()) static_cast<void>(co_await (*stream)->write(std::move(parts)));
  static_cast<void>(
      co_await env::with_deadline(world.executor, world.clock, world.clock.now() + patience, listen(**stream, heard)));
  co_return heard;
}

struct Frame {
  wire::FrameHeader header;
  Bytes body;
};
std::vector<Frame> frames_of(ByteView bytes) {
  std::vector<Frame> frames;
  while (bytes.size() >= wire::kFrameHeaderSize) {
    auto header = wire::FrameHeader::decode(bytes.first<wire::kFrameHeaderSize>());
    REQUIRE(header);
    bytes = bytes.subspan(wire::kFrameHeaderSize);
    frames.push_back({*header, to_bytes(bytes.first(header->body_length))});
    bytes = bytes.subspan(header->body_length + header->payload_length);
  }
  CHECK(bytes.empty());
  return frames;
}
std::optional<Code> refusal_in(const Heard& heard) {
  for (const Frame& one : frames_of(heard.bytes)) {
    if (one.header.kind == wire::FrameKind::failure) {
      return wire::code_from_number(wire::decode<wire::Failure>(ByteView(one.body))->code());
    }
  }
  return std::nullopt;
}

// Node 0 is honest, node 1 is a member's machine whose process is written here.
struct Hostile : TestPool {
  explicit Hostile(uint64_t seed) : TestPool(seed, 2) {
    start(0, {}, {.serve = true, .probe_period = std::chrono::hours(10)});
    NodeInfo info;
    info.addresses = {address(1)};
    info.boot_seq = info.sequence = 1;
    REQUIRE(peers(0).membership().add_node(sign_node(identities[1], info)));
    peers(0).membership_changed();
    sim.run_for(seconds(2));  // the gossip that this causes finds nobody, and its back-off passes
  }
  RawServer& serve_raw(Bytes bytes, bool reads = true) {
    return sim.node(1).own(std::make_shared<RawServer>(sim.node(1).world(), std::move(bytes), reads));
  }
  Heard speak_to_0(Bytes bytes, Duration patience = seconds(3)) {
    return sim.run(speak(sim.node(1).world(), address(0), std::move(bytes), patience));
  }
  Result<Reply> ask(Duration timeout = seconds(30)) { return call(0, 1, wire::Method::ping, ping_body(), {}, timeout); }
};

}  // namespace

TEST_CASE("a server that accepts and never says a word is unreachable") {
  Hostile pool(1);
  pool.serve_raw({});
  const Time before = pool.sim.now();
  CHECK(pool.ask().error().code == Code::unreachable);
  CHECK(pool.sim.now() - before <= seconds(6));
  CHECK(pool.sim.run_until([&] { return pool.peers(0).sessions() == 0; }, seconds(1)));
}

TEST_CASE("a server that says HELLO and never answers costs a deadline, then its session") {
  Hostile pool(2);
  pool.serve_raw(hello_frame(&pool.identities[1], true, &*pool.membership));
  CHECK(pool.ask(seconds(3)).error().code == Code::timeout);
  CHECK(pool.ask(std::chrono::minutes(5)).error().code == Code::closed);
  CHECK(pool.peers(0).state(pool.node(1)) == NodeState::suspect);
}

TEST_CASE("a server that answers garbage gets its session closed, with a clear error") {
  Hostile pool(3);
  const Bytes hello = hello_frame(&pool.identities[1], true, &*pool.membership);
  Bytes garbage = hello;
  bool greets = true;
  SECTION("random bytes instead of HELLO") {
    garbage = Bytes(5000);
    pool.sim.prng().fill(garbage);
    greets = false;
  }
  SECTION("another frame instead of HELLO") {
    garbage = frame(wire::FrameKind::request, wire::Method::ping, ping_body(), 1);
    greets = false;
  }
  SECTION("random bytes after HELLO") {
    Bytes noise(5000);
    pool.sim.prng().fill(noise);
    append(garbage, noise);
  }
  SECTION("lengths of 0xFFFFFFFF") {
    Bytes header = frame(wire::FrameKind::response, wire::Method::ping, {}, 1);
    const size_t at = GENERATE(size_t{4}, size_t{8});
    for (size_t i = at; i < at + 4; ++i) header[i] = 0xFF;
    append(garbage, header);
  }
  SECTION("an unknown method") {
    Bytes header = frame(wire::FrameKind::request, wire::Method::ping, {}, 1);
    header[3] = 250;
    append(garbage, header);
  }
  SECTION("an answer to nothing") {
    append(garbage, frame(wire::FrameKind::response, wire::Method::ping, {}, 999));
  }
  SECTION("a second HELLO") {
    append(garbage, hello);
  }
  SECTION("a message that does not parse where HELLO belongs") {
    garbage = frame(wire::FrameKind::hello, wire::Method::none, Bytes(100, 0xFF));
    greets = false;
  }
  pool.serve_raw(garbage);
  const auto reply = pool.ask();
  REQUIRE_FALSE(reply);
  if (greets) {
    // The garbage comes with HELLO, so nothing was sent yet on this session.
    CHECK((reply.error().code == Code::closed || reply.error().code == Code::unreachable));
  } else {
    CHECK((reply.error().code == Code::corrupt || reply.error().code == Code::unreachable));
  }
  CHECK(pool.sim.run_until([&] { return pool.peers(0).sessions() == 0; }, seconds(1)));
}

TEST_CASE("a server that shows another's certificate, or another pool's, is denied") {
  Hostile pool(4);
  Identity shown = pool.identities[1];
  SECTION("of another device") {
    shown = pool.identities[0];
  }
  SECTION("for another pool") {
    const PoolId other = *pool_of_genesis(genesis_of(pool.founder, 9));
    shown = make_identity(pool.member(1), other, pool.identities[1].device, "n", 1);
  }
  SECTION("by a member whom nobody knows") {
    shown = make_identity(person(999), pool.id(), pool.identities[1].device, "n", 1);
  }
  pool.serve_raw(hello_frame(&shown, true, &*pool.membership));
  CHECK(pool.ask().error().code == Code::denied);
}

TEST_CASE("a client that says nothing is dropped after its time") {
  Hostile pool(5);
  const Time before = pool.sim.now();
  const Heard heard = pool.speak_to_0({}, seconds(60));
  CHECK(heard.ended);
  CHECK(pool.sim.now() - before <= kHelloTimeout + seconds(1));
  REQUIRE(frames_of(heard.bytes).size() == 1);  // the server's HELLO comes first
  CHECK(frames_of(heard.bytes)[0].header.kind == wire::FrameKind::hello);
}

TEST_CASE("a stranger may send a JOIN and nothing else") {
  Hostile pool(6);
  const auto say = [&](Bytes more, Duration patience = seconds(30)) {
    Bytes bytes = hello_frame(nullptr);
    append(bytes, more);
    return pool.speak_to_0(std::move(bytes), patience);
  };
  SECTION("no other request") {
    for (const auto method : {wire::Method::ping, wire::Method::gossip, wire::Method::shard_put,
                              wire::Method::shard_get, wire::Method::admin_status, wire::Method::claims_query}) {
      const Heard heard = say(frame(wire::FrameKind::request, method, {}, 1));
      CHECK(heard.ended);
      CHECK(refusal_in(heard) == Code::denied);
    }
  }
  SECTION("no JOIN of more than 4 KiB") {
    const Heard heard = say(frame(wire::FrameKind::request, wire::Method::join, Bytes(4097, 1), 1));
    CHECK(heard.ended);
    CHECK(refusal_in(heard) == Code::too_large);
  }
  SECTION("a malformed JOIN is answered, and that is the end") {
    const Heard heard = say(frame(wire::FrameKind::request, wire::Method::join, Bytes(100, 0xFF), 1));
    CHECK(heard.ended);
    CHECK(refusal_in(heard) == Code::bad_input);
  }
  SECTION("no second request") {
    Bytes two = frame(wire::FrameKind::request, wire::Method::join, Bytes(100, 0xFF), 1);
    append(two, frame(wire::FrameKind::request, wire::Method::join, Bytes(100, 0xFF), 2));
    CHECK(say(two).ended);
  }
  SECTION("no INTRODUCE of more than 1 MiB") {
    const Heard heard =
        say(frame(wire::FrameKind::request, wire::Method::introduce, Bytes(wire::kMaxIntroduceBody + 1, 1), 1));
    CHECK(heard.ended);
    CHECK(refusal_in(heard) == Code::too_large);
  }
  SECTION("entries that it made itself admit nobody, and few are looked at in a minute") {
    // A log of this pool as it would be had he founded it.
    const MemberKeys stranger = person(999);
    const Identity he = make_identity(stranger, pool.id(), pool.identities[1].device, "his", 1);
    MemberLog log(pool.id(), stranger.member.public_key(), "he");
    auto action = wire::decode<wire::LogEntry>(add_action(person(998)));
    REQUIRE(action);
    auto entry = log.prepare(he, 1, *action);
    REQUIRE(entry);
    REQUIRE(log.add(*entry));
    wire::IntroduceRequest request;
    *request.add_log() = *entry;
    for (unsigned i = 0; i <= kIntroductions; ++i) {
      const Heard heard =
          say(frame(wire::FrameKind::request, wire::Method::introduce, wire::encode(request), 1), seconds(1));
      CHECK(refusal_in(heard) == (i < kIntroductions ? std::nullopt : std::optional(Code::overloaded)));
    }
    CHECK(pool.peers(0).membership().member(person(998).id()) == nullptr);
  }
  SECTION("none at all: dropped after its time") {
    const Time before = pool.sim.now();
    CHECK(say({}).ended);
    CHECK(pool.sim.now() - before <= kHelloTimeout + seconds(1));
  }
  CHECK(pool.peers(0).membership().log().size() == 1);
  CHECK(pool.sim.run_until([&] { return pool.peers(0).sessions() == 0; }, seconds(1)));
}

TEST_CASE("strangers cannot use up the sessions") {
  Hostile pool(7);
  env::TaskGroup group(pool.sim.executor());
  for (int i = 0; i < 200; ++i) {
    group.spawn([](env::World world, env::Address to) -> Task<void> {
      static_cast<void>(co_await speak(world, to, hello_frame(nullptr), seconds(60)));
    }(pool.sim.node(1).world(), pool.address(0)));
  }
  for (int i = 0; i < 20; ++i) {
    pool.sim.run_for(milliseconds(100));
    CHECK(pool.peers(0).sessions() <= kMaxUnproven);
  }
  pool.sim.run_for(seconds(15));
  CHECK(pool.peers(0).sessions() == 0);
  CHECK(pool.speak_to_0(hello_frame(&pool.identities[1])).bytes.size() > 100);
}

TEST_CASE("a certificate that the log does not admit is refused with a reason") {
  Hostile pool(8);
  const Identity unknown = make_identity(person(999), pool.id(), pool.identities[1].device, "n", 1);
  CHECK(refusal_in(pool.speak_to_0(hello_frame(&unknown))) == Code::not_found);
  CHECK(refusal_in(pool.speak_to_0(hello_frame(&pool.identities[0]))) == Code::denied);  // not this device's
  REQUIRE(pool.peers(0).membership().append(pool.identities[0], 1, remove_action(pool.member(1))));
  CHECK(refusal_in(pool.speak_to_0(hello_frame(&pool.identities[1]))) == Code::denied);
}

TEST_CASE("a member that breaks the protocol loses its session") {
  Hostile pool(9);
  const auto say = [&](Bytes more) {
    Bytes bytes = hello_frame(&pool.identities[1]);
    append(bytes, more);
    return pool.speak_to_0(std::move(bytes));
  };
  SECTION("request numbers that do not grow") {
    Bytes same = frame(wire::FrameKind::request, wire::Method::ping, ping_body(), 5);
    append(same, same);
    CHECK(say(same).ended);
  }
  SECTION("a length of 0xFFFFFFFF") {
    Bytes header = frame(wire::FrameKind::request, wire::Method::shard_put, {}, 1);
    for (size_t i = 8; i < 12; ++i) header[i] = 0xFF;
    CHECK(say(header).ended);
  }
  SECTION("an answer with another method") {
    CHECK(say(frame(wire::FrameKind::response, wire::Method::gossip, {}, 1)).ended);
  }
  SECTION("while harmless things are let pass") {
    Bytes bytes = frame(wire::FrameKind::cancel, wire::Method::ping, {}, 77);
    append(bytes, frame(wire::FrameKind::request, wire::Method::ping, ping_body(), 78));
    const Heard heard = say(bytes);
    CHECK_FALSE(heard.ended);
    CHECK(frames_of(heard.bytes).size() == 2);
  }
}

TEST_CASE("a peer that asks much and never reads is not served without bound") {
  Hostile pool(10);
  int served = 0;
  pool.peers(0).serve(wire::Method::shard_get, Access::members, [&](Request) -> Task<Result<Reply>> {
    ++served;
    co_return Reply{.body = {}, .payload = Buffer(kMaxShardSize)};
  });
  Bytes bytes = hello_frame(&pool.identities[1]);
  for (uint64_t i = 1; i <= 500; ++i) append(bytes, frame(wire::FrameKind::request, wire::Method::shard_get, {}, i));
  env::TaskGroup group(pool.sim.executor());
  group.spawn([](env::World world, env::Address to, Bytes flood) -> Task<void> {
    auto stream = co_await world.network.connect(to, std::nullopt, world.clock.now() + seconds(5));
    std::vector<ByteView> parts{flood};
    static_cast<void>(co_await (*stream)->write(std::move(parts)));
    co_await env::sleep_for(world.clock, std::chrono::hours(1));
  }(pool.sim.node(1).world(), pool.address(0), std::move(bytes)));
  pool.sim.run_for(seconds(5));
  // 64 MiB of answers, and as many as may run at once.
  CHECK(served <= static_cast<int>(16 + kMaxRunning));
  CHECK(served >= 16);
  // In the end its session is given up.
  CHECK(pool.sim.run_until([&] { return pool.peers(0).sessions() == 0; }, std::chrono::minutes(5)));
}

TEST_CASE("a flood of refused requests from a peer that never reads does not pile up answers") {
  Hostile pool(11);
  // Nobody serves this method here: each request would be refused.
  Bytes bytes = hello_frame(&pool.identities[1]);
  for (uint64_t i = 1; i <= 100'000; ++i) {
    append(bytes, frame(wire::FrameKind::request, wire::Method::claims_query, {}, i));
  }
  env::TaskGroup group(pool.sim.executor());
  bool taken = false;
  group.spawn([](env::World world, env::Address to, Bytes flood, bool& done) -> Task<void> {
    auto stream = co_await world.network.connect(to, std::nullopt, world.clock.now() + seconds(5));
    std::vector<ByteView> parts{flood};
    done = (co_await (*stream)->write(std::move(parts))).has_value();
    co_await env::sleep_for(world.clock, std::chrono::hours(1));
  }(pool.sim.node(1).world(), pool.address(0), std::move(bytes), taken));
  pool.sim.run_for(seconds(10));
  CHECK_FALSE(taken);  // it stopped reading before the end
  CHECK(pool.sim.run_until([&] { return pool.peers(0).sessions() == 0; }, std::chrono::minutes(2)));
}

}  // namespace cairn::peer
