#pragma once
// Contract of env::MetaStore (src/env/meta_store.h).

#include "env/contract.h"

namespace cairn::env::contract {

namespace meta_detail {
inline std::unique_ptr<MetaStore> open(Bench& bench, const std::string& path) {
  auto store = bench.world(0).meta_stores.open(path);
  REQUIRE(store);
  return std::move(*store);
}
inline std::optional<std::string> get(MetaStore& store, std::string_view key) {
  auto value = store.get(key);
  REQUIRE(value);
  return *value;
}
inline Status put(MetaStore& store, std::string_view key, std::string_view value, bool sync) {
  WriteBatch batch;
  batch.put(key, value);
  return store.write(batch, sync);
}
inline std::vector<std::string> keys(MetaStore& store, std::string_view from) {
  std::vector<std::string> found;
  auto cursor = store.cursor();
  for (cursor->seek(from); cursor->valid(); cursor->next()) found.emplace_back(cursor->key());
  REQUIRE(cursor->status());
  return found;
}
}  // namespace meta_detail

inline void check_meta_store(const MakeBench& make) {
  using meta_detail::get;
  using meta_detail::keys;
  using meta_detail::put;
  const auto bench = make();
  auto store = meta_detail::open(*bench, "meta/one");

  SECTION("values are kept under keys of any bytes") {
    const std::string odd("\0\xff key\n\0", 9);
    REQUIRE(put(*store, odd, std::string("\0\1\2", 3), false));
    REQUIRE(put(*store, "", "empty key", false));
    REQUIRE(put(*store, "empty", "", true));
    CHECK(get(*store, odd) == std::string("\0\1\2", 3));
    CHECK(get(*store, "") == "empty key");
    CHECK(get(*store, "empty") == "");
    CHECK(get(*store, "none") == std::nullopt);
  }

  SECTION("a batch is applied in its order") {
    WriteBatch batch;
    CHECK(batch.empty());
    batch.put("a", "1");
    batch.remove("a");
    batch.put("b", "1");
    batch.put("b", "2");
    batch.remove("never there");
    REQUIRE(store->write(batch, true));
    CHECK(get(*store, "a") == std::nullopt);
    CHECK(get(*store, "b") == "2");
  }

  SECTION("a cursor walks in the order of unsigned bytes") {
    for (const char* key : {"b", "a", "\xff", "ab", "B", "b\x01"}) REQUIRE(put(*store, key, key, false));
    CHECK(keys(*store, "") == std::vector<std::string>{"B", "a", "ab", "b", "b\x01", "\xff"});
    CHECK(keys(*store, "aa") == std::vector<std::string>{"ab", "b", "b\x01", "\xff"});
    CHECK(keys(*store, "\xff\xff").empty());
  }

  SECTION("a cursor sees the store as it was") {
    for (int i = 0; i < 100; ++i) REQUIRE(put(*store, fmt::format("k{:03}", i), "old", false));
    auto cursor = store->cursor();
    CHECK_FALSE(cursor->valid());
    REQUIRE(put(*store, "k050", "new", false));
    REQUIRE(put(*store, "k050x", "new", false));
    WriteBatch removal;
    removal.remove("k051");
    REQUIRE(store->write(removal, true));
    size_t seen = 0;
    for (cursor->seek("k"); cursor->valid(); cursor->next(), ++seen) CHECK(cursor->value() == "old");
    CHECK(seen == 100);
    CHECK(keys(*store, "").size() == 100);
    CHECK(get(*store, "k050") == "new");
  }

  SECTION("one at a time has it open") {
    CHECK(bench->world(0).meta_stores.open("meta/one").error().code == Code::overloaded);
    auto other = meta_detail::open(*bench, "meta/two");
    REQUIRE(put(*other, "a", "other", true));
    CHECK(get(*store, "a") == std::nullopt);
    store.reset();
    store = meta_detail::open(*bench, "meta/one");
  }

  SECTION("all is there after closing and opening again") {
    REQUIRE(put(*store, "synced", "1", true));
    REQUIRE(put(*store, "not synced", "2", false));
    store.reset();
    store = meta_detail::open(*bench, "meta/one");
    CHECK(get(*store, "synced") == "1");
    CHECK(get(*store, "not synced") == "2");
  }

  SECTION("a loss of power takes only the youngest batches, whole, and none up to the last synced one") {
    const auto write = [&](int number, bool sync) {
      WriteBatch batch;
      for (const char* part : {"x", "y", "z"}) batch.put(fmt::format("{:03}{}", number, part), "v");
      batch.put("last", std::to_string(number));
      REQUIRE(store->write(batch, sync));
    };
    for (int i = 0; i < 40; ++i) write(i, i == 19);
    store.reset();
    bench->power_cycle();
    store = meta_detail::open(*bench, "meta/one");
    const int last = std::stoi(get(*store, "last").value_or("-1"));
    CHECK(last >= 19);
    CHECK(last < 40);
    for (int i = 0; i < 40; ++i) {
      for (const char* part : {"x", "y", "z"}) {
        CHECK(get(*store, fmt::format("{:03}{}", i, part)).has_value() == (i <= last));
      }
    }
  }

  SECTION("a cursor may outlive many writes") {
    for (int i = 0; i < 10; ++i) REQUIRE(put(*store, std::to_string(i), "0", false));
    auto cursor = store->cursor();
    cursor->seek("");
    for (int round = 0; round < 200; ++round) {
      WriteBatch batch;
      for (int i = 0; i < 10; ++i) batch.put(std::to_string(i), std::to_string(round));
      REQUIRE(store->write(batch, false));
    }
    size_t seen = 0;
    for (; cursor->valid(); cursor->next(), ++seen) CHECK(cursor->value() == "0");
    CHECK(seen == 10);
  }
}

}  // namespace cairn::env::contract
