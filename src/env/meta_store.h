#pragma once
// MetaStore: an ordered key-value store on the local disk (LevelDB). Calls block: make them from Workers, but for what
// is known to be small. Thread-safe.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cairn::env {

// Applied all or nothing, also across a crash.
class WriteBatch {
 public:
  struct Entry {
    std::string key;
    std::optional<std::string> value;  // none: delete
  };
  void put(std::string_view key, std::string_view value) { entries_.push_back({std::string(key), std::string(value)}); }
  void remove(std::string_view key) { entries_.push_back({std::string(key), std::nullopt}); }
  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }

 private:
  std::vector<Entry> entries_;
};

// Walks in the order of keys over the store as it was when the cursor was made.
class Cursor {
 public:
  virtual ~Cursor() = default;
  virtual void seek(std::string_view first) = 0;  // to the first key >= first
  virtual bool valid() const = 0;                 // false at the end or after an error
  virtual void next() = 0;
  virtual std::string_view key() const = 0;  // until next()
  virtual std::string_view value() const = 0;
  virtual Status status() const = 0;
};

class MetaStore {
 public:
  virtual ~MetaStore() = default;
  virtual Result<std::optional<std::string>> get(std::string_view key) = 0;
  // sync: durable, with all written before it, when it returns. Otherwise a crash may lose it, but never a part of it,
  // and never an earlier one while a later one is kept.
  virtual Status write(const WriteBatch& batch, bool sync) = 0;
  virtual std::unique_ptr<Cursor> cursor() = 0;
};

struct MetaStoreOptions {
  size_t cache_size = 4U << 20;         // bytes of block cache
  size_t write_buffer_size = 4U << 20;  // bytes
};

class MetaStores {
 public:
  virtual ~MetaStores() = default;
  // Makes the folder when it is not there. Code::overloaded when another process has it open.
  virtual Result<std::unique_ptr<MetaStore>> open(const std::string& path, MetaStoreOptions options = {}) = 0;
};

}  // namespace cairn::env
