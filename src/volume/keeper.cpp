// The Keeper of register.h: a KeeperServer behind peer::Peers.

#include "volume/keeper_server.h"

namespace cairn::volume {

namespace {

class PeerKeeper final : public Keeper {
 public:
  PeerKeeper(env::World world, std::unique_ptr<Acceptor> acceptor)
      : world_(world), server_(std::make_shared<KeeperServer>(world, std::move(acceptor))) {}

  void serve(peer::Peers& peers) {
    using enum wire::Method;
    for (const wire::Method method : {register_prepare, register_accept, register_peek, register_retained}) {
      peers.serve(method, peer::Access::members, [server = std::weak_ptr(server_)](peer::Request request) {
        Requester from(request.member);
        if (request.certificate->append_only) from.only = id_cast<RegisterId>(request.certificate->volume);
        return answer(server.lock(), request.method, from, std::move(request.body));
      });
    }
  }

  env::Task<Result<size_t>> registers_here() override {
    const auto server = server_;
    if (!server) co_return fail(Code::closed, "this keeper has stopped");
    auto count = co_await world_.workers.run([&] { return server->acceptor().registers_here(); });
    co_return count;
  }
  env::Task<void> close() override {
    server_.reset();
    co_return;
  }

 private:
  // Holds the server for as long as it runs, so the Keeper may be closed meanwhile.
  static env::Task<Result<peer::Reply>> answer(std::shared_ptr<KeeperServer> server, wire::Method method,
                                               Requester from, Bytes body) {
    if (!server) co_return fail(Code::closed, "this keeper has stopped");
    auto response = co_await server->handle(method, from, std::move(body));
    if (!response) co_return fail(std::move(response.error()));
    co_return peer::Reply{.body = std::move(*response)};
  }

  env::World world_;
  std::shared_ptr<KeeperServer> server_;
};

}  // namespace

Result<std::unique_ptr<Keeper>> Keeper::open(env::World world, peer::Peers& peers, std::string path) {
  auto store = world.meta_stores.open(path);
  if (!store) return fail(std::move(store.error()), "keeper");
  auto acceptor = Acceptor::open(std::move(*store), peers.identity(), world.random);
  if (!acceptor) return fail(std::move(acceptor.error()), "keeper");
  auto keeper = std::make_unique<PeerKeeper>(world, std::move(*acceptor));
  keeper->serve(peers);
  return keeper;
}

}  // namespace cairn::volume
