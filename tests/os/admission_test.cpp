// Who is let in, and who is not: TLS as src/os/tls_identity.h describes it, against peers that do otherwise.

#include <openssl/sslerr.h>

#include "os/raw_tls.h"
#include "os/real_bench.h"

namespace cairn::os {

namespace {

using env::contract::run;

// Node 1 listens; what it lets in is counted and kept.
struct Door {
  explicit Door(RealBench& bench, TlsNetwork& network) {
    auto made = network.listen({"127.0.0.1", 0},
                               [this](std::unique_ptr<env::Stream> stream) { streams.push_back(std::move(stream)); });
    REQUIRE(made);
    listener = std::move(*made);
    static_cast<void>(bench);
  }
  std::vector<std::unique_ptr<env::Stream>> streams;
  std::unique_ptr<env::Listener> listener;
};

CertificateForm form_of(uint8_t seed) {
  CertificateForm form;
  form.seed = test_seed(seed);
  return form;
}

// A client with this certificate does its handshake with node 1 and reads: the reason why it could not, 0 when it was
// let in (node 1 then sends one byte).
int knock(RealBench& bench, Door& door, RawTls::Shows shows, const CertificateForm& form,
          int version = TLS1_3_VERSION) {
  struct Knock {
    RealBench& bench;
    Door& door;
    RawTls client;
  } knocking{bench, door, RawTls(false, shows, form, version)};
  return run(bench, [](Knock& k) -> env::Task<int> {
    env::World world = k.bench.world(1);
    env::TaskGroup greeters(world.executor);
    greeters.spawn([](env::World w, Door& d) -> env::Task<void> {
      const bool came = co_await env::contract::until(w.clock, [&d] { return !d.streams.empty(); });
      if (!came) co_return;
      const uint8_t hello = 1;
      std::vector<ByteView> parts{ByteView(&hello, 1)};
      co_await d.streams.back()->write(std::move(parts));
    }(world, k.door));
    const env::Address address = k.door.listener->address();
    const int reason = co_await world.workers.run([&k, &address] {
      if (!k.client.dial(address) || !k.client.handshake()) return k.client.reason();
      return k.client.receive(1).size() == 1 ? 0 : k.client.reason();
    });
    co_return reason;
  }(knocking));
}

constexpr int kBadCertificate = SSL_R_SSLV3_ALERT_BAD_CERTIFICATE;

}  // namespace

TEST_CASE("a client that nobody knows is let in under the NodeID of its key") {
  RealBench bench;
  Door door(bench, bench.network(1));
  CHECK(knock(bench, door, RawTls::Shows::certificate, form_of(9)) == 0);
  REQUIRE(door.streams.size() == 1);
  CHECK(door.streams[0]->peer() == node_id_of(test_seed(9)));
  CHECK(id_cast<NodeId>(crypto::sha256(ByteView(door.streams[0]->peer_public_key()))) == door.streams[0]->peer());
}

TEST_CASE("a client without a certificate is refused") {
  RealBench bench;
  Door door(bench, bench.network(1));
  CHECK(knock(bench, door, RawTls::Shows::nothing, {}) == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
  CHECK(door.streams.empty());
}

TEST_CASE("a client with a certificate of another form is refused") {
  RealBench bench;
  Door door(bench, bench.network(1));
  CertificateForm form = form_of(9);
  SECTION("expired") {
    form.begins = -7200;
    form.ends = -60;
  }
  SECTION("not yet valid") {
    form.begins = 600;
  }
  SECTION("with an extension") {
    form.basic_constraints = true;
  }
  SECTION("signed by another key") {
    form.signed_by = test_seed(8);
  }
  SECTION("issued by another name") {
    form.other_issuer = true;
  }
  SECTION("with a second certificate beside it") {
    form.with_second = true;
  }
  CHECK(knock(bench, door, RawTls::Shows::certificate, form) == kBadCertificate);
  CHECK(door.streams.empty());
}

TEST_CASE("a client with another kind of key is refused") {
  RealBench bench;
  Door door(bench, bench.network(1));
  CertificateForm form = form_of(9);
  form.elliptic = true;
  // It cannot even sign the handshake in a way that we offer.
  CHECK(knock(bench, door, RawTls::Shows::certificate, form) != 0);
  CHECK(door.streams.empty());
}

TEST_CASE("a client that knows TLS 1.2 only is refused") {
  RealBench bench;
  Door door(bench, bench.network(1));
  CHECK(knock(bench, door, RawTls::Shows::certificate, form_of(9), TLS1_2_VERSION) ==
        SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
  CHECK(door.streams.empty());
}

TEST_CASE("a server with a certificate of another form is denied by connect") {
  RealBench bench;
  struct Case {
    RealBench& bench;
    RawListener listener;
    RawTls server;
  };
  CertificateForm form = form_of(9);
  bool good = false;
  SECTION("as it should be") {
    good = true;
  }
  SECTION("expired") {
    form.begins = -7200;
    form.ends = -60;
  }
  SECTION("with an extension") {
    form.basic_constraints = true;
  }
  SECTION("with a second certificate beside it") {
    form.with_second = true;
  }
  SECTION("signed by another key") {
    form.signed_by = test_seed(8);
  }
  Case made{bench, {}, RawTls(true, RawTls::Shows::certificate, form)};
  const auto code = run(bench, [](Case& c) -> env::Task<std::optional<Code>> {
    env::World world = c.bench.world(0);
    env::TaskGroup servers(world.executor);
    servers.spawn([](env::World w, Case& with) -> env::Task<void> {
      co_await w.workers.run([&with] {
        with.server.take(with.listener.accept());
        with.server.handshake();
        return 0;
      });
    }(world, c));
    auto stream = co_await world.network.connect(c.listener.address, node_id_of(test_seed(9)),
                                                 world.clock.now() + std::chrono::seconds(20));
    co_await servers.join();
    if (stream) co_return std::nullopt;
    co_return stream.error().code;
  }(made));
  if (good) {
    CHECK(code == std::nullopt);
  } else {
    CHECK(code == Code::denied);
  }
}

TEST_CASE("what a refused client reads is that it was denied") {
  // In TLS 1.3 the server's refusal comes after the client's end of the handshake.
  RealBench bench;
  struct Case {
    RealBench& bench;
    RawListener listener;
    RawTls server;
  } made{bench, {}, RawTls(true, RawTls::Shows::certificate, form_of(9))};
  made.server.refuse_peers();
  const auto read = run(bench, [](Case& c) -> env::Task<Result<size_t>> {
    env::World world = c.bench.world(0);
    env::TaskGroup servers(world.executor);
    servers.spawn([](env::World w, Case& with) -> env::Task<void> {
      co_await w.workers.run([&with] {
        with.server.take(with.listener.accept());
        return with.server.handshake();
      });
    }(world, c));
    auto stream = co_await world.network.connect(c.listener.address, node_id_of(test_seed(9)),
                                                 world.clock.now() + std::chrono::seconds(20));
    co_await servers.join();
    if (!stream) co_return fail(Code::bad_input, "connect should have succeeded");
    Bytes buffer(10);
    co_return co_await (*stream)->read_some(buffer);
  }(made));
  REQUIRE_FALSE(read);
  CHECK(read.error().code == Code::denied);
}

TEST_CASE("sessions are never resumed: no ticket is given") {
  RealBench bench;
  Door door(bench, bench.network(1));
  struct Case {
    RealBench& bench;
    Door& door;
    RawTls client;
  } made{bench, door, RawTls(false, RawTls::Shows::certificate, form_of(9))};
  const bool ticket = run(bench, [](Case& c) -> env::Task<bool> {
    env::World world = c.bench.world(1);
    env::TaskGroup greeters(world.executor);
    greeters.spawn([](env::World w, Door& d) -> env::Task<void> {
      const bool came = co_await env::contract::until(w.clock, [&d] { return !d.streams.empty(); });
      if (!came) co_return;
      const Bytes hello(10);
      std::vector<ByteView> parts{hello};
      co_await d.streams[0]->write(std::move(parts));
    }(world, c.door));
    const env::Address address = c.door.listener->address();
    const bool got = co_await world.workers.run([&c, &address] {
      return !c.client.dial(address) || !c.client.handshake() || c.client.receive(10).size() != 10 ||
             c.client.got_ticket();
    });
    co_return got;
  }(made));
  CHECK_FALSE(ticket);
}

}  // namespace cairn::os
