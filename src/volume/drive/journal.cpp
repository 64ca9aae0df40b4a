#include "volume/drive/journal.h"

namespace cairn::volume {

namespace {

constexpr uint64_t kVersion = 1;
constexpr std::string_view kVersionKey = "V", kIdKey = "I", kBaseKey = "B", kCandidateKey = "C", kFinishedKey = "N";
// A store that holds some tens of MiB for a few seconds: the buffer takes a batch without a compaction.
constexpr env::MetaStoreOptions kStoreOptions{.cache_size = 1 * kMiB, .write_buffer_size = 8 * kMiB};

std::string number(uint64_t value) {
  std::string text(8, '\0');
  write_le(reinterpret_cast<uint8_t*>(text.data()), value);
  return text;
}
std::string edit_entry(const std::string& key) {
  return "E" + key;
}
std::string figures_entry(uint64_t generation) {
  Bytes key = to_bytes("G");
  append_be64(key, generation);
  return to_string(key);
}

// Takes numbers and bytes off the front of a value.
class Reader {
 public:
  explicit Reader(std::string_view value) : left_(value) {}
  uint64_t u64() { return read_le<uint64_t>(reinterpret_cast<const uint8_t*>(bytes(8).data())); }
  std::string_view bytes(size_t count) {
    static constexpr char kZeros[64] = {};
    if (left_.size() < count) {
      fine_ = false;
      return {kZeros, count};
    }
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  std::string_view rest() const { return left_; }
  bool fine() const { return fine_; }

 private:
  std::string_view left_;
  bool fine_ = true;
};

std::string edit_value(uint64_t generation, const std::optional<std::string>& value) {
  std::string text = number(generation);
  text.push_back(value ? '\1' : '\0');
  if (value) text += *value;
  return text;
}
std::string figures_value(Figures figures) {
  return number(static_cast<uint64_t>(figures.files)) + number(static_cast<uint64_t>(figures.bytes));
}

std::string head_value(const Head& head) {
  const RegisterState& state = head.state;
  return number(state.sequence) + to_string(state.hash.view()) + to_string(state.writer.view()) +
         number(static_cast<uint64_t>(state.written)) + to_string(state.content);
}
Result<RegisterState> parse_head(std::string_view value) {
  Reader reader(value);
  RegisterState state;
  state.sequence = reader.u64();
  const std::string_view hash = reader.bytes(Hash::kSize), writer = reader.bytes(NodeId::kSize);
  state.written = static_cast<WallTime>(reader.u64());
  if (!reader.fine()) return fail(Code::corrupt, "the journal's head");
  std::memcpy(state.hash.bytes.data(), hash.data(), hash.size());
  std::memcpy(state.writer.bytes.data(), writer.data(), writer.size());
  state.content = to_bytes(reader.rest());
  return state;
}

}  // namespace

Journal::Journal(env::World world, std::unique_ptr<env::MetaStore> store)
    : world_(world), store_(std::move(store)), sync_ended_(world.executor), group_(world.executor) {}

Journal::~Journal() = default;

env::Task<Result<std::unique_ptr<Journal>>> Journal::open(env::World world, std::string folder,
                                                          const content::VolumeKeys& keys) {
  auto store = co_await world.workers.run([&] { return world.meta_stores.open(folder, kStoreOptions); });
  if (!store) co_return fail(std::move(store.error()), "journal");
  std::unique_ptr<Journal> journal(new Journal(world, std::move(*store)));
  auto status = co_await journal->load(keys);
  if (!status) co_return fail(std::move(status.error()), "journal");
  co_return journal;
}

env::Task<Result<std::optional<RegisterState>>> Journal::last_head(env::World world, std::string folder) {
  auto value = co_await world.workers.run([&]() -> Result<std::optional<std::string>> {
    auto there = world.disk.exists(folder);
    if (!there) return fail(std::move(there.error()));
    if (!*there) return std::nullopt;
    auto store = world.meta_stores.open(folder, kStoreOptions);
    if (!store) return fail(std::move(store.error()));
    return (*store)->get(kBaseKey);
  });
  if (!value) co_return fail(std::move(value.error()), "journal");
  if (!*value) co_return std::nullopt;
  auto state = parse_head(**value);
  if (!state) co_return fail(std::move(state.error()));
  co_return std::optional(std::move(*state));
}

env::Task<Status> Journal::load(const content::VolumeKeys& keys) {
  auto status = co_await world_.workers.run([&]() -> Status {
    auto version = store_->get(kVersionKey);
    if (!version) return fail(std::move(version.error()));
    if (!*version) {
      world_.random.fill(id_);
      env::WriteBatch batch;
      batch.put(kVersionKey, number(kVersion));
      batch.put(kIdKey, as_text(id_));
      return store_->write(batch, true);
    }
    if (**version != number(kVersion)) return fail(Code::unsupported, "a journal of another version");
    for (const std::string_view key : {kIdKey, kBaseKey, kCandidateKey}) {
      auto value = store_->get(key);
      if (!value) return fail(std::move(value.error()));
      if (!*value && key != kIdKey) continue;
      if (key == kIdKey) {
        if (!*value || (*value)->size() != id_.size()) return fail(Code::corrupt, "the journal's ID");
        std::memcpy(id_.data(), (*value)->data(), id_.size());
        continue;
      }
      std::string_view text = **value;
      if (key == kCandidateKey) {
        Reader reader(text);
        content_.sealed_generation = reader.u64();
        if (!reader.fine()) return fail(Code::corrupt, "the journal's candidate");
        text = reader.rest();
      }
      auto state = parse_head(text);
      if (!state) return fail(std::move(state.error()));
      auto head = open_head(std::move(*state), keys);
      if (!head) return fail(std::move(head.error()));
      (key == kBaseKey ? content_.base : content_.candidate) = std::move(*head);
    }
    auto finished = store_->get(kFinishedKey);
    if (!finished) return fail(std::move(finished.error()));
    // A number that was used once is in a tree: it never comes again.
    if (*finished) content_.next_generation = Reader(**finished).u64() + 1;
    content_.next_generation = std::max(content_.next_generation, content_.sealed_generation + 1);
    const auto cursor = store_->cursor();
    for (cursor->seek("E"); cursor->valid() && cursor->key().starts_with('E'); cursor->next()) {
      Reader reader(cursor->value());
      const uint64_t generation = reader.u64();
      const char kind = reader.bytes(1)[0];
      if (!reader.fine() || kind > 1) return fail(Code::corrupt, "an edit in the journal");
      const std::string key(cursor->key().substr(1));
      std::optional<std::string> value;
      if (kind == 1) value = std::string(reader.rest());
      const auto parsed = parse_inode_key(key);
      if (value && parsed && parsed->kind == ItemKind::extent) {
        const auto extent = decode_extent(parsed->offset, *value);
        if (!extent) return fail(extent.error());
        if (const auto place = staged_place(*extent))
          content_.last_segment = std::max(content_.last_segment, place->segment);
      }
      content_.next_generation = std::max(content_.next_generation, generation + 1);
      (generation <= content_.sealed_generation ? content_.sealed : content_.active).emplace(key, std::move(value));
    }
    CAIRN_TRY(cursor->status());
    for (cursor->seek("G"); cursor->valid() && cursor->key().starts_with('G'); cursor->next()) {
      Reader reader(cursor->value());
      if (cursor->key().size() != 9) return fail(Code::corrupt, "figures in the journal");
      const uint64_t generation = read_be64(reinterpret_cast<const uint8_t*>(cursor->key().data()) + 1);
      const Figures figures{static_cast<int64_t>(reader.u64()), static_cast<int64_t>(reader.u64())};
      if (!reader.fine()) return fail(Code::corrupt, "figures in the journal");
      figures_[generation] = figures;
      Figures& sum = generation <= content_.sealed_generation ? content_.sealed_figures : content_.active_figures;
      sum.files += figures.files;
      sum.bytes += figures.bytes;
      content_.next_generation = std::max(content_.next_generation, generation + 1);
    }
    return cursor->status();
  });
  co_return status;
}

Status Journal::record(uint64_t generation, const EditMap& edits, Figures figures) {
  if (failed_) {
    start();  // it may work now
    return fail(*failed_);
  }
  env::WriteBatch batch;
  for (const auto& [key, value] : edits) batch.put(edit_entry(key), edit_value(generation, value));
  Figures sum = figures_[generation];
  if (figures.files != 0 || figures.bytes != 0) {
    sum.files += figures.files;
    sum.bytes += figures.bytes;
    batch.put(figures_entry(generation), figures_value(sum));
  }
  if (queue_.empty() && !writing_) {
    CAIRN_TRY(store_->write(batch, false));
    ++recorded_;
  } else {
    queue_.push_back({.batch = std::move(batch), .sync = false, .stays = true, .done = {}});
    start();
    ++recorded_;
  }
  figures_[generation] = sum;
  return {};
}

env::OneShot<Status> Journal::queue(env::WriteBatch batch, bool sync, bool stays) {
  const env::OneShot<Status> done(world_.executor);
  queue_.push_back({.batch = std::move(batch), .sync = sync, .stays = stays, .done = done});
  start();
  return done;
}

env::Task<Status> Journal::wait(env::OneShot<Status> done) {
  auto status = co_await done;
  co_return status;
}

void Journal::start() {
  if (writing_) return;
  writing_ = true;
  group_.spawn(write_queue());
}

env::Task<void> Journal::write_queue() {
  while (!queue_.empty()) {
    // All that waits goes in one write; it is durable when one of it has to be.
    std::deque<Write> taken = std::exchange(queue_, {});
    auto status = co_await world_.workers.run([&]() -> Status {
      env::WriteBatch all;
      bool sync = false;
      for (const Write& write : taken) {
        for (const auto& entry : write.batch.entries()) {
          if (entry.value) {
            all.put(entry.key, *entry.value);
          } else {
            all.remove(entry.key);
          }
        }
        sync = sync || write.sync;
      }
      return store_->write(all, sync);
    });
    for (Write& write : taken) {
      if (write.done) write.done->set(status);
    }
    if (status) {
      failed_.reset();
      continue;
    }
    world_.log.warning("journal_write_failed", "error={}", to_string(status.error()));
    std::erase_if(taken, [](const Write& write) { return !write.stays; });
    if (taken.empty()) continue;
    failed_ = status.error();
    while (!taken.empty()) {
      taken.back().done.reset();
      queue_.push_front(std::move(taken.back()));
      taken.pop_back();
    }
    break;
  }
  writing_ = false;
}

env::Task<Status> Journal::sync(Staging& staging) {
  const uint64_t wanted = ++sync_asked_;
  while (sync_done_ < wanted) {
    if (syncing_) {
      co_await sync_ended_.wait();
      continue;
    }
    struct Turn {  // passed on also when the frame is destroyed
      Journal& owner;
      explicit Turn(Journal& journal) : owner(journal) { owner.syncing_ = true; }
      ~Turn() {
        owner.syncing_ = false;
        owner.sync_ended_.notify_all();
      }
    } turn(*this);
    const uint64_t asked = sync_asked_;
    if (!synced() || !queue_.empty()) {
      const uint64_t recorded = recorded_;
      // Bytes before what names them.
      CAIRN_CO_TRY(co_await staging.sync());
      CAIRN_CO_TRY(co_await wait(queue({}, true, false)));
      durable_ = recorded;
    }
    sync_done_ = asked;
  }
  co_return Status{};
}

env::Task<Status> Journal::candidate(uint64_t generation, HeadPtr head) {
  env::WriteBatch batch;
  batch.put(kCandidateKey, number(generation) + head_value(*head));
  return wait(queue(std::move(batch), true, false));
}

env::Task<Status> Journal::finish(uint64_t generation, HeadPtr base, const EditMap& edits, const EditMap& newer) {
  env::WriteBatch batch;
  for (const auto& [key, value] : edits) {
    if (!newer.contains(key)) batch.remove(edit_entry(key));
  }
  while (!figures_.empty() && figures_.begin()->first <= generation) {
    batch.remove(figures_entry(figures_.begin()->first));
    figures_.erase(figures_.begin());
  }
  batch.remove(kCandidateKey);
  batch.put(kFinishedKey, number(generation));
  batch.put(kBaseKey, head_value(*base));
  return wait(queue(std::move(batch), true, true));
}

env::Task<Status> Journal::rebase(HeadPtr base, const EditMap& before, const EditMap& after, uint64_t generation,
                                  Figures figures) {
  env::WriteBatch batch;
  for (const auto& [key, value] : before) {
    if (!after.contains(key)) batch.remove(edit_entry(key));
  }
  for (const auto& [key, value] : after) {
    const auto old = before.find(key);
    if (old == before.end() || old->second != value) batch.put(edit_entry(key), edit_value(generation, value));
  }
  for (const auto& [of, sum] : figures_) batch.remove(figures_entry(of));
  const bool counts = figures.files != 0 || figures.bytes != 0;
  if (counts) batch.put(figures_entry(generation), figures_value(figures));
  batch.remove(kCandidateKey);
  batch.put(kBaseKey, head_value(*base));
  CAIRN_CO_TRY(co_await wait(queue(std::move(batch), false, false)));
  figures_.clear();
  if (counts) figures_[generation] = figures;
  co_return Status{};
}

}  // namespace cairn::volume
