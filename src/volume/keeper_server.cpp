#include "volume/keeper_server.h"

namespace cairn::volume {

// One user of a register's line; the line goes with its last user.
class KeeperServer::Place {
 public:
  Place(KeeperServer& server, const RegisterId& id) : server_(server), id_(id) {
    auto& line = server_.lines_[id_];
    if (!line) line = std::make_unique<Line>(server_.world_.executor);
    ++line->users;
    line_ = line.get();
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    if (--line_->users == 0) server_.lines_.erase(id_);
  }
  env::Semaphore& turn() { return line_->turn; }

 private:
  KeeperServer& server_;
  RegisterId id_;
  Line* line_;
};

KeeperServer::KeeperServer(env::World world, std::unique_ptr<Acceptor> acceptor)
    : world_(world), acceptor_(std::move(acceptor)) {}

template <class Response, class Request>
env::Task<Result<Bytes>> KeeperServer::answer(Answerer<Response, Request> answerer, RegisterId id, Requester from,
                                              Request request) {
  Place place(*this, id);
  auto permit = co_await place.turn().acquire();
  auto response = co_await world_.workers.run([&] { return (*acceptor_.*answerer)(request, from); });
  if (!response) co_return fail(std::move(response.error()));
  co_return wire::encode(*response);
}

env::Task<Result<Bytes>> KeeperServer::handle(wire::Method method, Requester from, Bytes body) {
  const auto id_of = [](const auto& request) {
    return id_cast<RegisterId>(crypto::sha256(as_bytes(request.founding())));
  };
  from.now = world_.clock.wall_now();
  switch (method) {
    case wire::Method::register_retained: {
      auto request = wire::decode<wire::RegisterRetainedRequest>(ByteView(body));
      if (!request) co_return fail(std::move(request.error()));
      const RegisterId id = id_of(*request);
      auto result = co_await answer(&Acceptor::retained, id, from, std::move(*request));
      co_return result;
    }
    case wire::Method::register_prepare: {
      auto request = wire::decode<wire::RegisterPrepareRequest>(ByteView(body));
      if (!request) co_return fail(std::move(request.error()));
      const RegisterId id = id_of(*request);
      auto result = co_await answer(&Acceptor::prepare, id, from, std::move(*request));
      co_return result;
    }
    case wire::Method::register_accept: {
      auto request = wire::decode<wire::RegisterAcceptRequest>(ByteView(body));
      if (!request) co_return fail(std::move(request.error()));
      const RegisterId id = id_of(*request);
      auto result = co_await answer(&Acceptor::accept, id, from, std::move(*request));
      co_return result;
    }
    case wire::Method::register_peek: {
      auto request = wire::decode<wire::RegisterPeekRequest>(ByteView(body));
      if (!request) co_return fail(std::move(request.error()));
      auto id = RegisterId::from(request->register_());
      if (!id) co_return fail(std::move(id.error()));
      auto result = co_await answer(&Acceptor::peek, *id, from, std::move(*request));
      co_return result;
    }
    default:
      co_return fail(Code::unsupported, "not a keeper's request");
  }
}

}  // namespace cairn::volume
