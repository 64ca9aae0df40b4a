#include "peer/newcomer.h"

#include "peer/domains.h"
#include "peer/frame_reader.h"
#include "peer/session.h"

namespace cairn::peer {

namespace {

// A session as a newcomer has it: one request at a time, and nothing is known of the other end but what it shows.
class Introduction {
 public:
  explicit Introduction(std::unique_ptr<env::Stream> stream) : stream_(std::move(stream)), reader_(*stream_) {}

  // The server's HELLO; its certificate is the session's own and for `pool`, whose genesis came with it.
  env::Task<Status> meet(PoolId pool);
  env::Task<Status> send(wire::FrameKind kind, wire::Method method, Bytes body, Duration limit);
  env::Task<Result<Bytes>> answer(wire::Method method);
  const Certificate& server() const { return *server_; }
  const Bytes& genesis() const { return genesis_; }

 private:
  std::unique_ptr<env::Stream> stream_;
  FrameReader reader_;
  uint64_t next_ = 1;
  std::optional<Certificate> server_;
  Bytes genesis_;
};

env::Task<Status> Introduction::meet(PoolId pool) {
  auto header = co_await reader_.header();
  if (!header) co_return fail(std::move(header.error()));
  if (header->kind != wire::FrameKind::hello && header->kind != wire::FrameKind::failure) {
    co_return fail(Code::corrupt, "the node does not begin with HELLO");
  }
  Bytes body(header->body_length);
  auto read = co_await reader_.read(body);
  if (!read) co_return read;
  if (header->kind == wire::FrameKind::failure) co_return fail(decode_failure(body));
  auto hello = wire::decode<wire::Hello>(ByteView(body));
  if (!hello) co_return fail(std::move(hello.error()));
  if (hello->version() != 1) co_return fail(Code::unsupported, "the node speaks another version");
  genesis_ = wire::encode(hello->genesis());
  const auto served = pool_of_genesis(genesis_);
  if (!served || *served != pool || hello->pool() != pool.raw()) co_return fail(Code::denied, "a node of another pool");
  auto certificate = Certificate::parse(hello->certificate());
  if (!certificate) co_return fail(std::move(certificate.error()));
  if (certificate->node != stream_->peer() || certificate->device_key != stream_->peer_public_key() ||
      certificate->pool != pool) {
    co_return fail(Code::denied, "the node shows a certificate of another device");
  }
  server_ = std::move(*certificate);
  co_return Status{};
}

env::Task<Status> Introduction::send(wire::FrameKind kind, wire::Method method, Bytes body, Duration limit) {
  wire::FrameHeader header;
  header.kind = kind;
  header.method = method;
  header.body_length = static_cast<uint32_t>(body.size());
  if (kind == wire::FrameKind::request) header.request_id = next_++;
  header.deadline_ms = static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count());
  const auto raw = header.encode();
  std::vector<ByteView> parts{raw, body};
  co_return co_await stream_->write(std::move(parts));
}

env::Task<Result<Bytes>> Introduction::answer(wire::Method method) {
  for (;;) {
    auto header = co_await reader_.header();
    if (!header) co_return fail(std::move(header.error()));
    Bytes body(header->body_length);
    auto read = co_await reader_.read(body);
    if (!read) co_return fail(std::move(read.error()));
    if (header->kind == wire::FrameKind::failure) co_return fail(decode_failure(body));
    if (header->kind == wire::FrameKind::response && header->method == method && header->request_id == next_ - 1) {
      co_return body;
    }
    // The node may ask as well, but a newcomer serves nothing.
    if (header->kind != wire::FrameKind::request && header->kind != wire::FrameKind::cancel) {
      co_return fail(Code::corrupt, "an answer to nothing that was asked");
    }
    auto skipped = co_await reader_.skip(header->payload_length);
    if (!skipped) co_return fail(std::move(skipped.error()));
  }
}

wire::Hello hello_of(const PoolId& pool) {
  wire::Hello hello;
  hello.set_version(1);
  hello.set_pool(pool.raw());
  hello.set_serves(false);
  hello.set_software("cairn/0.1");
  return hello;
}

// A stranger's one request.
env::Task<Result<Bytes>> ask_at(env::World world, env::Address address, NodeId node, PoolId pool, wire::Method method,
                                Bytes request, Time deadline) {
  auto stream = co_await world.network.connect(address, node, deadline);
  if (!stream) co_return fail(std::move(stream.error()));
  Introduction session(std::move(*stream));
  auto met = co_await session.meet(pool);
  if (!met) co_return fail(std::move(met.error()));
  const Duration left = std::max(deadline - world.clock.now(), Duration{std::chrono::milliseconds(1)});
  auto greeted = co_await session.send(wire::FrameKind::hello, wire::Method::none, wire::encode(hello_of({})), {});
  if (!greeted) co_return fail(std::move(greeted.error()));
  auto asked = co_await session.send(wire::FrameKind::request, method, std::move(request), left);
  if (!asked) co_return fail(std::move(asked.error()));
  auto answer = co_await session.answer(method);
  co_return answer;
}

Result<Membership> membership_from(const wire::JoinResponse& response, const Invite& invite,
                                   const Certificate& certificate) {
  const Bytes genesis = wire::encode(response.genesis());
  const auto pool = pool_of_genesis(genesis);
  if (!pool || *pool != invite.pool) return fail(Code::corrupt, "the node served another pool's genesis");
  auto membership = Membership::from_genesis(genesis);
  if (!membership) return membership;
  wire::GossipResponse records;
  *records.mutable_log() = response.log();
  *records.mutable_entries() = response.nodes();
  membership->merge(records);
  if (!membership->admits(certificate)) return fail(Code::corrupt, "the log that came does not admit this device");
  return membership;
}

env::Task<Result<Membership>> fetch(env::World world, Identity identity, env::Address address, Time deadline) {
  auto stream = co_await world.network.connect(address, std::nullopt, deadline);
  if (!stream) co_return fail(std::move(stream.error()));
  Introduction session(std::move(*stream));
  auto met = co_await session.meet(identity.pool);
  if (!met) co_return fail(std::move(met.error()));
  auto membership = Membership::from_genesis(session.genesis());
  if (!membership) co_return membership;

  wire::Hello hello = hello_of(identity.pool);
  CAIRN_CO_TRY(wire::decode_into(*hello.mutable_certificate(), identity.certificate.encoded));
  auto greeted = co_await session.send(wire::FrameKind::hello, wire::Method::none, wire::encode(hello), {});
  if (!greeted) co_return fail(std::move(greeted.error()));
  // Until a round brings nothing new: each brings a bounded part.
  for (bool news = true; news;) {
    const Duration left = std::max(deadline - world.clock.now(), Duration{std::chrono::milliseconds(1)});
    auto asked =
        co_await session.send(wire::FrameKind::request, wire::Method::gossip, wire::encode(membership->digest()), left);
    Result<Bytes> answer = Bytes{};
    if (asked) {
      answer = co_await session.answer(wire::Method::gossip);
    } else {
      answer = fail(std::move(asked.error()));
    }
    if (!answer) {
      // The node does not know the member: then the phrase makes another member than the one of this pool.
      if (answer.error().code == Code::not_found) {
        co_return fail(Code::wrong_phrase, "no member of this pool has this phrase");
      }
      co_return fail(std::move(answer.error()));
    }
    auto response = wire::decode<wire::GossipResponse>(ByteView(*answer));
    if (!response) co_return fail(std::move(response.error()));
    news = membership->merge(*response);
  }
  if (!membership->admits(session.server())) {
    co_return fail(Code::denied, "the node is not admitted by the log that it serves");
  }
  if (!membership->member(identity.member.id())) {
    co_return fail(Code::wrong_phrase, "no member of this pool has this phrase");
  }
  CAIRN_CO_TRY(membership->admits(identity.certificate));
  co_return membership;
}

}  // namespace

env::Task<Result<Joined>> join(env::World world, MemberKeys member, crypto::PrivateKey device, std::string code,
                               std::string member_name, std::string node_name, Duration timeout) {
  auto invite = parse_invite(code);
  if (!invite) co_return fail(std::move(invite.error()));
  const Time deadline = world.clock.now() + timeout;
  Identity identity = make_identity(member, invite->pool, device, std::move(node_name), world.clock.wall_now());

  wire::JoinRequest request;
  request.set_invite(invite->id.data(), invite->id.size());
  request.set_code_hash(invite_code_hash(code).raw());
  request.set_proof(
      crypto::hmac_sha256(invite->secret, {as_bytes(kUseJoinProof), member.member.public_key(), device.public_key()})
          .raw());
  request.set_member_key(member.member.public_key().data(), member.member.public_key().size());
  request.set_member_name(std::move(member_name));
  CAIRN_CO_TRY(wire::decode_into(*request.mutable_certificate(), identity.certificate.encoded));
  const Bytes encoded = wire::encode(request);
  if (encoded.size() > wire::kMaxJoinBody) co_return fail(Code::bad_input, "the names are too long");

  Error error{Code::unreachable, "the invite names no address"};
  const size_t addresses = invite->addresses.size();
  for (size_t i = 0; i < addresses; ++i) {
    // Each address gets an equal share of what is left.
    const Time now = world.clock.now();
    if (now >= deadline) break;
    const Time until = now + (deadline - now) / static_cast<int64_t>(addresses - i);
    auto answer = co_await env::with_deadline(
        world.executor, world.clock, until,
        ask_at(world, invite->addresses[i], invite->node, invite->pool, wire::Method::join, encoded, until));
    if (!answer) {
      error = std::move(answer.error());
      const bool refused = error.code == Code::expired || error.code == Code::used || error.code == Code::denied;
      if (refused) break;
      continue;
    }
    auto response = wire::decode<wire::JoinResponse>(ByteView(*answer));
    if (!response) co_return fail(std::move(response.error()));
    auto membership = membership_from(*response, *invite, identity.certificate);
    if (!membership) co_return fail(std::move(membership.error()));
    co_return Joined{std::move(identity), std::move(*membership)};
  }
  co_return fail(std::move(error));
}

env::Task<Status> introduce(env::World world, PoolId pool, NodeId to, env::Address address,
                            std::vector<wire::LogRecord> log, Duration timeout) {
  wire::IntroduceRequest request;
  size_t left = wire::kMaxIntroduceBody;
  for (wire::LogRecord& record : log) {
    const size_t size = record.ByteSizeLong() + 8;  // with its tag and length
    if (size > left) break;
    left -= size;
    *request.add_log() = std::move(record);
  }
  const Time deadline = world.clock.now() + timeout;
  auto answer = co_await env::with_deadline(
      world.executor, world.clock, deadline,
      ask_at(world, std::move(address), to, pool, wire::Method::introduce, wire::encode(request), deadline));
  if (!answer) co_return fail(std::move(answer.error()));
  co_return Status{};
}

env::Task<Result<Membership>> fetch_membership(env::World world, Identity identity, env::Address address,
                                               Duration timeout) {
  const Time deadline = world.clock.now() + timeout;
  auto membership = co_await env::with_deadline(world.executor, world.clock, deadline,
                                                fetch(world, std::move(identity), std::move(address), deadline));
  co_return membership;
}

}  // namespace cairn::peer
