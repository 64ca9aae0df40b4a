#pragma once
// The ends of streams between the two nodes of a bench.

#include "os/real_bench.h"

namespace cairn::os {

// A listener that keeps what it is given.
struct Door {
  explicit Door(TlsNetwork& network, const env::Address& at = {"127.0.0.1", 0}) {
    auto made =
        network.listen(at, [this](std::unique_ptr<env::Stream> stream) { streams.push_back(std::move(stream)); });
    REQUIRE(made);
    listener = std::move(*made);
  }
  std::vector<std::unique_ptr<env::Stream>> streams;
  std::unique_ptr<env::Listener> listener;
};

inline env::Task<Result<std::unique_ptr<env::Stream>>> connect(RealBench& bench, env::Address address) {
  return bench.network(0).connect(std::move(address), bench.id(1), bench.loop().now() + std::chrono::seconds(20));
}

}  // namespace cairn::os
