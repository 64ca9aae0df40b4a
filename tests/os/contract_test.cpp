// The contract suite of src/env over the real implementations.

#include "env/contract_clock.h"
#include "env/contract_disk.h"
#include "env/contract_meta_store.h"
#include "env/contract_network.h"
#include "env/contract_workers.h"
#include "os/real_bench.h"

namespace cairn::os {

namespace {
std::unique_ptr<env::contract::Bench> make() {
  return std::make_unique<RealBench>();
}
}  // namespace

TEST_CASE("the event loop keeps the contract of executor and clock") {
  env::contract::check_clock(make);
}
TEST_CASE("the worker pool keeps the contract") {
  env::contract::check_workers(make);
}
TEST_CASE("the POSIX disk keeps the contract") {
  env::contract::check_disk(make);
}
TEST_CASE("the LevelDB store keeps the contract") {
  env::contract::check_meta_store(make);
}
TEST_CASE("the TLS network keeps the contract") {
  env::contract::check_network(make);
}

}  // namespace cairn::os
