// The contract suite over the simulated env, from several seeds.

#include "env/contract_clock.h"
#include "env/contract_disk.h"
#include "env/contract_meta_store.h"
#include "env/contract_network.h"
#include "env/contract_workers.h"
#include "sim/identity.h"
#include "sim/world.h"

namespace cairn::sim {
namespace {

namespace contract = env::contract;

class SimBench final : public contract::Bench {
 public:
  explicit SimBench(uint64_t seed) : sim_(seed) {
    for (int i = 0; i < 2; ++i) give_identity(sim_.add_node());
    sim_.node(0).set_drift(100);
    sim_.node(1).set_drift(-70);
  }
  env::World world(size_t node) override { return sim_.node(node).world(); }
  NodeId id(size_t node) override { return sim_.node(node).id(); }
  std::string host(size_t node) override { return sim_.node(node).host(); }
  void run(env::Task<void> task) override { sim_.run(std::move(task)); }
  bool power_cycle() override {
    sim_.node(0).crash();
    sim_.node(0).restart();
    return true;
  }

 private:
  SimWorld sim_;
};

contract::MakeBench bench_of(uint64_t seed) {
  return [seed] { return std::make_unique<SimBench>(seed); };
}

}  // namespace

TEST_CASE("the simulated clock keeps the contract") {
  contract::check_clock(bench_of(1));
}
TEST_CASE("the simulated workers keep the contract") {
  contract::check_workers(bench_of(2));
}
TEST_CASE("the simulated disk keeps the contract") {
  const uint64_t seed = GENERATE(range(0, 8));
  contract::check_disk(bench_of(seed));
}
TEST_CASE("the simulated meta store keeps the contract") {
  const uint64_t seed = GENERATE(range(0, 8));
  contract::check_meta_store(bench_of(seed));
}
TEST_CASE("the simulated network keeps the contract") {
  const uint64_t seed = GENERATE(range(0, 3));
  contract::check_network(bench_of(seed));
}

}  // namespace cairn::sim
