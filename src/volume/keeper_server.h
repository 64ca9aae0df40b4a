#pragma once
// Answers requests with an Acceptor: off the strand, and one at a time for each register.

#include "env/world.h"
#include "volume/keeper_acceptor.h"
#include "wire/frame.h"

namespace cairn::volume {

// Strand only. Outlives its handle() tasks.
class KeeperServer {
 public:
  KeeperServer(env::World world, std::unique_ptr<Acceptor> acceptor);

  // The encoded answer to a register_prepare, register_accept, register_peek or
  // register_retained by the device `from`.
  env::Task<Result<Bytes>> handle(wire::Method method, Requester from, Bytes body);
  const Acceptor& acceptor() const { return *acceptor_; }

 private:
  struct Line {  // to one register
    explicit Line(env::Executor& executor) : turn(executor, 1) {}
    env::Semaphore turn;
    uint32_t users = 0;
  };
  class Place;
  template <class Response, class Request>
  using Answerer = Result<Response> (Acceptor::*)(const Request&, const Requester&);
  template <class Response, class Request>
  env::Task<Result<Bytes>> answer(Answerer<Response, Request> answerer, RegisterId id, Requester from, Request request);

  env::World world_;
  std::unique_ptr<Acceptor> acceptor_;
  std::map<RegisterId, std::unique_ptr<Line>> lines_;
};

}  // namespace cairn::volume
