#include "os/meta_store.h"

#include <fcntl.h>
#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/env.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

#include "os/disk.h"
#include "os/limits.h"
#include "os/posix.h"

namespace cairn::os {

namespace {

leveldb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}
std::string_view view(const leveldb::Slice& text) {
  return {text.data(), text.size()};
}

Status translate(const leveldb::Status& status) {
  if (status.ok()) return {};
  const std::string text = status.ToString();
  if (status.IsCorruption()) return fail(Code::corrupt, text);
  if (status.IsNotFound()) return fail(Code::not_found, text);
  // LevelDB keeps only the words of an errno.
  for (const int full : {ENOSPC, EDQUOT}) {
    if (text.find(std::strerror(full)) != std::string::npos) return fail(Code::no_space, text);
  }
  return fail(Code::io, text);
}

leveldb::Status from_errno(const std::string& path) {
  const int number = errno;
  const std::string words = std::strerror(number);
  return number == ENOENT ? leveldb::Status::NotFound(path, words) : leveldb::Status::IOError(path, words);
}

// LevelDB maps tables into memory, where pages that were read once count as the process's own.
class ReadTable final : public leveldb::RandomAccessFile {
 public:
  ReadTable(Descriptor descriptor, std::string path) : descriptor_(std::move(descriptor)), path_(std::move(path)) {}
  leveldb::Status Read(uint64_t offset, size_t count, leveldb::Slice* result, char* scratch) const override {
    size_t done = 0;
    while (done < count) {
      const ssize_t got = retry_interrupted(
          [&] { return ::pread(descriptor_.get(), scratch + done, count - done, static_cast<off_t>(offset + done)); });
      if (got < 0) return from_errno(path_);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    *result = leveldb::Slice(scratch, done);
    return leveldb::Status::OK();
  }

 private:
  Descriptor descriptor_;
  std::string path_;
};

// LevelDB begins a new log when its buffer is full and syncs only that one from then on: what a synced write promises
// for the writes before it holds only when the old log is durable too.
class WholeLog final : public leveldb::WritableFile {
 public:
  explicit WholeLog(leveldb::WritableFile* file) : file_(file) {}
  ~WholeLog() override {
    if (!synced_) (void)file_->Sync();
  }
  leveldb::Status Append(const leveldb::Slice& data) override {
    synced_ = false;
    return file_->Append(data);
  }
  leveldb::Status Close() override {
    const leveldb::Status synced = synced_ ? leveldb::Status::OK() : Sync();
    const leveldb::Status closed = file_->Close();
    return synced.ok() ? closed : synced;
  }
  leveldb::Status Flush() override { return file_->Flush(); }
  leveldb::Status Sync() override {
    const leveldb::Status status = file_->Sync();
    synced_ = synced_ || status.ok();
    return status;
  }

 private:
  std::unique_ptr<leveldb::WritableFile> file_;
  bool synced_ = true;
};

class NoLog final : public leveldb::Logger {
 public:
  void Logv(const char*, std::va_list) override {}
};

// One per store: remembers whether it was the lock that failed, which LevelDB's Status does not tell.
class StoreEnv final : public leveldb::EnvWrapper {
 public:
  StoreEnv() : leveldb::EnvWrapper(leveldb::Env::Default()) {}
  leveldb::Status NewRandomAccessFile(const std::string& path, leveldb::RandomAccessFile** result) override {
    *result = nullptr;
    Descriptor descriptor(retry_interrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
    if (!descriptor) return from_errno(path);
    *result = new ReadTable(std::move(descriptor), path);
    return leveldb::Status::OK();
  }
  leveldb::Status NewWritableFile(const std::string& path, leveldb::WritableFile** result) override {
    const leveldb::Status status = leveldb::EnvWrapper::NewWritableFile(path, result);
    if (status.ok() && path.ends_with(".log")) *result = new WholeLog(*result);
    return status;
  }
  leveldb::Status LockFile(const std::string& path, leveldb::FileLock** lock) override {
    const leveldb::Status status = leveldb::EnvWrapper::LockFile(path, lock);
    lock_failed = !status.ok() && ::access(path.c_str(), R_OK | W_OK) == 0;
    return status;
  }
  bool lock_failed = false;
};

class LevelCursor final : public env::Cursor {
 public:
  explicit LevelCursor(leveldb::Iterator* iterator) : iterator_(iterator) {}
  void seek(std::string_view first) override { iterator_->Seek(slice(first)); }
  bool valid() const override { return iterator_->Valid(); }
  void next() override { iterator_->Next(); }
  std::string_view key() const override { return view(iterator_->key()); }
  std::string_view value() const override { return view(iterator_->value()); }
  Status status() const override { return translate(iterator_->status()); }

 private:
  std::unique_ptr<leveldb::Iterator> iterator_;
};

class LevelStore final : public env::MetaStore {
 public:
  static Result<std::unique_ptr<env::MetaStore>> open(const std::string& path, const env::MetaStoreOptions& wanted) {
    auto store = std::unique_ptr<LevelStore>(new LevelStore(wanted.cache_size));
    leveldb::Options options;
    options.create_if_missing = true;
    options.paranoid_checks = true;
    options.env = &store->env_;
    options.info_log = &store->log_;
    options.block_cache = store->cache_.get();
    options.filter_policy = store->filter_.get();
    options.write_buffer_size = wanted.write_buffer_size;
    options.max_file_size = kTableSize;
    options.max_open_files = kMaxOpenTables;
    options.compression = leveldb::kNoCompression;
    leveldb::DB* db = nullptr;
    const leveldb::Status status = leveldb::DB::Open(options, path, &db);
    if (!status.ok()) {
      if (store->env_.lock_failed) return fail(Code::overloaded, printable(path) + " is open in another process");
      return fail(std::move(translate(status).error()));
    }
    store->db_.reset(db);
    return store;
  }

  Result<std::optional<std::string>> get(std::string_view key) override {
    std::string value;
    const leveldb::Status status = db_->Get(reading(), slice(key), &value);
    if (status.IsNotFound()) return std::nullopt;
    CAIRN_TRY(translate(status));
    return value;
  }

  Status write(const env::WriteBatch& batch, bool sync) override {
    leveldb::WriteBatch changes;
    for (const auto& entry : batch.entries()) {
      if (entry.value) {
        changes.Put(slice(entry.key), slice(*entry.value));
      } else {
        changes.Delete(slice(entry.key));
      }
    }
    leveldb::WriteOptions options;
    options.sync = sync;
    return translate(db_->Write(options, &changes));
  }

  std::unique_ptr<env::Cursor> cursor() override {
    leveldb::ReadOptions options = reading();
    options.fill_cache = false;  // a walk over everything must not push out what look-ups use
    return std::make_unique<LevelCursor>(db_->NewIterator(options));
  }

 private:
  explicit LevelStore(size_t cache_size)
      : cache_(leveldb::NewLRUCache(cache_size)), filter_(leveldb::NewBloomFilterPolicy(kFilterBitsPerKey)) {}
  static leveldb::ReadOptions reading() {
    leveldb::ReadOptions options;
    options.verify_checksums = true;
    return options;
  }

  StoreEnv env_;
  NoLog log_;
  std::unique_ptr<leveldb::Cache> cache_;
  std::unique_ptr<const leveldb::FilterPolicy> filter_;
  std::unique_ptr<leveldb::DB> db_;  // last: it uses all of the above
};

}  // namespace

Result<std::unique_ptr<env::MetaStore>> LevelStores::open(const std::string& path, env::MetaStoreOptions options) {
  // With parents, and durable: LevelDB syncs only the folder itself.
  CAIRN_TRY(PosixDisk(root_).make_dirs(path));
  return LevelStore::open(path.starts_with('/') || root_.empty() ? path : root_ + "/" + path, options);
}

}  // namespace cairn::os
