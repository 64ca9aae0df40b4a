#pragma once
// The real implementations of src/os as a bench for the contract suite and for this room's own tests: two nodes on one
// loop, each with a network of its own on 127.0.0.1, in one temporary folder that goes with the bench.

#include "env/contract.h"
#include "os/disk.h"
#include "os/event_loop.h"
#include "os/meta_store.h"
#include "os/network.h"
#include "os/random.h"
#include "os/temporary_folder.h"
#include "os/tls_identity.h"
#include "os/workers.h"

namespace cairn::os {

inline crypto::Key test_seed(uint8_t number) {
  crypto::Key seed{};
  seed.fill(number);
  return seed;
}

class RealBench final : public env::contract::Bench {
 public:
  RealBench() {
    for (uint8_t node = 0; node < 2; ++node) {
      auto& place = networks_[node];
      place = std::make_unique<TlsNetwork>(loop_, log_);
      place->set_identity(test_seed(node + 1));
    }
  }

  env::World world(size_t node) override {
    return {loop_, loop_, *networks_[node], disk_, stores_, random_, workers_, log_};
  }
  NodeId id(size_t node) override { return node_id_of(test_seed(static_cast<uint8_t>(node + 1))); }
  std::string host(size_t) override { return "127.0.0.1"; }

  void run(env::Task<void> task) override {
    bool done = false, late = false;
    env::TaskGroup group(loop_);
    env::TimerId timer = 0;
    // Everything on the strand, the clock's calls too.
    loop_.post([&] {
      timer = loop_.schedule(loop_.now() + std::chrono::minutes(1), [&] {
        late = true;
        loop_.stop();
      });
      group.spawn([](EventLoop& loop, env::Task<void> inner, bool& out) -> env::Task<void> {
        co_await std::move(inner);
        out = true;
        loop.stop();
      }(loop_, std::move(task), done));
    });
    loop_.run();
    loop_.cancel(timer);
    if (!done) FAIL(std::string(late ? "the task did not end within a minute" : "somebody stopped the loop"));
  }

  bool power_cycle() override { return false; }

  EventLoop& loop() { return loop_; }
  TlsNetwork& network(size_t node) { return *networks_[node]; }
  void end_network(size_t node) { networks_[node].reset(); }
  const std::string& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
  NullLog log_;
  EventLoop loop_;
  OsRandom random_;
  PosixDisk disk_{folder_.path()};
  LevelStores stores_{folder_.path()};
  std::unique_ptr<TlsNetwork> networks_[2];
  WorkerPool workers_{loop_};
};

}  // namespace cairn::os
