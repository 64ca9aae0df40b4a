#include "client/fetch.h"

#include <list>

#include "crypto/hash.h"

namespace cairn::client {

namespace {
// Enough to keep a disk busy; each holds a piece of up to 2 MiB.
constexpr size_t kWritesAtOnce = 3;
}  // namespace

env::Task<Result<RestoredAttributes>> attributes_of(const volume::View& view, volume::InodeId id, volume::Inode about) {
  RestoredAttributes result{.inode = std::move(about), .xattrs = {}};
  if (result.inode.has_xattrs) {
    auto xattrs = co_await view.xattrs(id);
    if (!xattrs) co_return fail(std::move(xattrs.error()));
    result.xattrs = std::move(*xattrs);
  }
  co_return result;
}

// The writes of one file. While one waits for the disk the next ones are with it already: kWritesAtOnce of all files,
// but each may have one.
class Fetcher::Writes {
 public:
  Writes(Fetcher& owner, PartFile& part) : owner_(owner), part_(part), group_(owner.world_.executor) {}
  Writes(const Writes&) = delete;
  Writes& operator=(const Writes&) = delete;
  ~Writes() {
    owner_.writes_ -= under_way_;
    owner_.write_ended_.notify_all();
  }

  // In the order of offsets. Begins it as soon as it may. Errors: of those before it.
  env::Task<Status> add(volume::FileReader::Piece piece) {
    while (under_way_ > 0 && owner_.writes_ >= kWritesAtOnce) co_await owner_.write_ended_.wait();
    if (!status_) co_return status_;
    const uint64_t end = piece.offset + piece.bytes.size();
    if (!part_.take_on(piece.offset, end)) {
      auto made = co_await owner_.world_.workers.run([&] { return part_.make_room(piece.offset, end); });
      if (!made) co_return made;
    }
    count(1);
    pending_.push_back({.end = end, .written = false});
    group_.spawn(write(*this, std::move(piece), pending_.back()));
    co_return Status{};
  }
  // Until all are done.
  env::Task<Status> finish() {
    co_await group_.join();
    co_return status_;
  }

 private:
  struct Pending {
    uint64_t end;
    bool written;
  };

  static env::Task<void> write(Writes& self, volume::FileReader::Piece piece, Pending& pending) {
    env::Workers& workers = self.owner_.world_.workers;
    auto done = co_await workers.run([&] { return self.part_.write(piece.offset, piece.bytes); });
    if (done) {
      pending.written = true;
      done = co_await self.keep();
    }
    if (!done && self.status_) self.status_ = std::move(done);
    self.count(-1);
  }

  // What is there without a gap is noted for a later run from time to time, while others are being written.
  env::Task<Status> keep() {
    while (!pending_.empty() && pending_.front().written) {
      whole_ = pending_.front().end;
      pending_.pop_front();
    }
    if (keeping_ || !part_.is_due(whole_)) co_return Status{};
    keeping_ = true;
    auto kept = co_await owner_.world_.workers.run([this, upto = whole_] { return part_.keep(upto); });
    keeping_ = false;
    co_return kept;
  }

  void count(ptrdiff_t change) {
    under_way_ += static_cast<size_t>(change);
    owner_.writes_ += static_cast<size_t>(change);
    if (change < 0) owner_.write_ended_.notify_all();
  }

  Fetcher& owner_;
  PartFile& part_;
  size_t under_way_ = 0;
  std::list<Pending> pending_;  // in order; what its tasks refer to stays in place
  uint64_t whole_ = 0;          // everything before it is written
  bool keeping_ = false;
  Status status_;
  env::TaskGroup group_;  // last: its tasks use the others
};

env::Task<Status> Fetcher::fetch(FetchedFile file, const RestoredAttributes& about, Fetch& fetch) {
  auto opened = co_await world_.workers.run(
      [&] { return PartFile::open(world_.disk, file.path, file.record, about.inode.size); });
  if (!opened) co_return fail(std::move(opened.error()));
  PartFile& part = **opened;
  fetch.resumed = part.complete_up_to();
  auto reader = co_await view_.open_reader(file.inode, fetch.resumed);
  if (!reader) co_return fail(std::move(reader.error()));
  Writes writes(*this, part);
  uint64_t at = fetch.resumed;
  for (;;) {
    auto piece = co_await (*reader)->next();
    if (!piece) {
      fetch.missing_from = at;
      static_cast<void>(co_await writes.finish());  // what is under way counts for a later run
      co_return fail(std::move(piece.error()));
    }
    if (!*piece) break;
    const uint64_t size = (*piece)->bytes.size();
    at = (*piece)->offset + size;
    auto begun = co_await writes.add(std::move(**piece));
    if (!begun) {
      static_cast<void>(co_await writes.finish());
      co_return begun;
    }
    meter_.progress.bytes_done += size;
    meter_.tick();
  }
  auto written = co_await writes.finish();
  if (!written) co_return written;
  auto done = co_await world_.workers.run([&] { return part.finish(about); });
  co_return done;
}

PartRecord part_record(const Core& core, volume::InodeId inode, const volume::Inode& about, std::string_view path) {
  Bytes version = to_bytes(core.identity().pool.view());
  append_be64(version, inode);
  append_be64(version, about.version);
  append_be64(version, about.size);
  append_be64(version, static_cast<uint64_t>(about.mtime));
  return {.path = core.home().file("gets/" + crypto::sha256(as_bytes(path)).hex()),
          .key = crypto::sha256(version).hex()};
}

}  // namespace cairn::client
