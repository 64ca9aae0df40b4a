// The account: what a phrase brings back, and what two devices do to it at once.

#include <catch2/catch.hpp>

#include "volume/account.h"
#include "volume/register_cluster.h"

namespace cairn::volume {
namespace {

AccountOptions files() {
  return {.cache_path = "account", .founding_path = "account-keepers"};
}
Account account_on(Cluster& cluster, size_t i) {
  return Account(cluster.machine(i).world(), cluster.machine(i), files());
}

TEST_CASE("a volume is made, found and listed, and its keys open") {
  Cluster cluster(21, 4);
  Account account = account_on(cluster, 0);
  auto none = cluster.run(account.list());
  REQUIRE(none);
  CHECK(none->empty());
  auto made = cluster.run(account.create_volume("photos", true));
  REQUIRE(made);
  CHECK(made->deduplicates);
  auto twice = cluster.run(account.create_volume("photos", true));
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Code::exists);
  REQUIRE(cluster.run(account.create_volume("docs", false)));
  auto all = cluster.run(account.list());
  REQUIRE(all);
  REQUIRE(all->size() == 2);
  CHECK((*all)[0].name == "docs");
  auto found = cluster.run(account.find("photos"));
  REQUIRE(found);
  CHECK(found->volume == made->volume);
  auto keys = account.open_volume_keys(*found);
  REQUIRE(keys);
  CHECK(keys->enc == account.open_volume_keys(*made)->enc);
  CHECK(keys->enc != account.open_volume_keys((*all)[0])->enc);
  auto missing = cluster.run(account.find("music"));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::not_found);
  // The head register that the entry names works.
  Register head(cluster.machine(1).world(), cluster.machine(1), found->founding);
  CHECK(cluster.run(head.read()));
}

TEST_CASE("a new device with only the phrase finds the volumes and opens their keys") {
  Cluster cluster(22, 6);
  std::optional<VolumeEntry> made;
  {
    Account account = account_on(cluster, 0);
    auto result = cluster.run(account.find_or_create("main"));
    REQUIRE(result);
    made = *result;
  }
  // Machine 0 is gone with its home; machine 5 knows the member keys and the nodes, nothing else.
  cluster.crash(0);
  Account recovered = account_on(cluster, 5);
  auto found = cluster.run(recovered.find("main"));
  REQUIRE(found);
  CHECK(found->volume == made->volume);
  CHECK(recovered.open_volume_keys(*found));
  auto again = cluster.run(recovered.find_or_create("main"));
  REQUIRE(again);
  CHECK(again->volume == made->volume);
}

TEST_CASE("a device that cannot reach all nodes founds no second account") {
  Cluster cluster(23, 4);
  Account account = account_on(cluster, 0);
  REQUIRE(cluster.run(account.create_volume("main", false)));
  // The keepers cannot be reached from machine 3, or it would know better.
  cluster.partition({3});
  Account cut_off = account_on(cluster, 3);
  auto refused = cluster.run(cut_off.find_or_create("main"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::too_few_peers);
  cluster.partition({});
  auto found = cluster.run(cut_off.find("main"));
  CHECK(found);
}

TEST_CASE("two devices add volumes at the same time and both are there") {
  for (uint64_t seed = 30; seed < 40; ++seed) {
    Cluster cluster(seed, 5);
    Account first = account_on(cluster, 0);
    Account second = account_on(cluster, 1);
    std::vector<env::Task<Result<VolumeEntry>>> both;
    both.push_back(first.create_volume("one", false));
    both.push_back(second.create_volume("two", true));
    auto made = cluster.run(env::when_all(cluster.sim.executor(), std::move(both)));
    INFO("seed " << seed);
    REQUIRE(made[0]);
    REQUIRE(made[1]);
    auto all = cluster.run(first.list());
    REQUIRE(all);
    CHECK(all->size() == 2);
  }
}

TEST_CASE("two devices that first use one volume at the same time get the same one") {
  for (uint64_t seed = 40; seed < 50; ++seed) {
    Cluster cluster(seed, 5);
    Account first = account_on(cluster, 0);
    Account second = account_on(cluster, 1);
    std::vector<env::Task<Result<VolumeEntry>>> both;
    both.push_back(first.find_or_create("main"));
    both.push_back(second.find_or_create("main"));
    auto made = cluster.run(env::when_all(cluster.sim.executor(), std::move(both)));
    INFO("seed " << seed);
    REQUIRE(made[0]);
    REQUIRE(made[1]);
    CHECK(made[0]->volume == made[1]->volume);
  }
}

TEST_CASE("a passphrase opens a volume's key, a wrong one does not") {
  Cluster cluster(24, 3);
  Account account = account_on(cluster, 0);
  REQUIRE(cluster.run(account.create_volume("shared", false)));
  auto none = cluster.run(account.add_passphrase("nothing", "secret words"));
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Code::not_found);
  const crypto::ScryptParameters quick{.log_n = 4, .r = 8, .p = 1};
  auto entry = *cluster.run(account.find("shared"));
  CHECK(account.open_volume_keys(entry, "secret words").error().code == Code::not_found);
  REQUIRE(cluster.run(account.add_passphrase("shared", "secret words", quick)));
  entry = *cluster.run(account.find("shared"));
  auto keys = account.open_volume_keys(entry, "secret words");
  REQUIRE(keys);
  CHECK(keys->enc == account.open_volume_keys(entry)->enc);
  auto wrong = account.open_volume_keys(entry, "other words");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == Code::wrong_phrase);
  // A slot belongs to its volume and its parameters.
  for (KeySlot& slot : entry.slots) slot.scrypt.log_n = slot.type == KeySlot::Type::passphrase ? 5 : slot.scrypt.log_n;
  CHECK_FALSE(account.open_volume_keys(entry, "secret words"));
  VolumeEntry other = entry;
  other.volume.bytes[0] ^= 1;
  auto foreign = account.open_volume_keys(other);
  REQUIRE_FALSE(foreign);
  CHECK(foreign.error().code == Code::wrong_phrase);
}

TEST_CASE("the last record seen is shown while the keepers are away, and only to its member") {
  Cluster cluster(25, 4);
  Account account = account_on(cluster, 0);
  CHECK(account.last_seen().error().code == Code::not_found);
  REQUIRE(cluster.run(account.create_volume("main", false)));
  for (size_t i = 1; i < 4; ++i) cluster.crash(i);
  Account later = account_on(cluster, 0);
  CHECK_FALSE(cluster.run(later.list()));
  auto seen = later.last_seen();
  REQUIRE(seen);
  REQUIRE(seen->size() == 1);
  CHECK((*seen)[0].name == "main");
  auto raw = env::read_file(cluster.machine(0).world().disk, "account");
  REQUIRE(raw);
  CHECK(to_string(ByteView(*raw)).find("main") == std::string::npos);
  raw->back() ^= 1;
  REQUIRE(env::write_file(cluster.machine(0).world().disk, "account", *raw));
  CHECK(later.last_seen().error().code == Code::wrong_phrase);
}

TEST_CASE("an account follows the pool from one keeper to three") {
  Cluster cluster(26, 4);
  cluster.set_lending(1);
  Account account = account_on(cluster, 3);
  REQUIRE(cluster.run(account.create_volume("main", false)));
  cluster.set_lending(3);
  REQUIRE(cluster.run(account.adapt_keepers()));
  cluster.crash(0);  // the first keeper
  Account elsewhere = account_on(cluster, 2);
  CHECK(cluster.run(elsewhere.find("main")));
}

}  // namespace
}  // namespace cairn::volume
