#include "volume/data_writer.h"

#include "content/chunk.h"
#include "volume/limits.h"

namespace cairn::volume {

namespace {

// As many packs as fit, but two, so that one is filled while another is sent; one of the largest codes.
uint64_t share_of_memory(uint64_t memory, const content::PackGeometry& geometry) {
  const uint64_t pack = uint64_t{geometry.k + geometry.m} * kMaxShardSize;
  if (2 * pack > kMostPackMemory) return memory;
  return std::min(pack, memory / 2);
}

}  // namespace

DataWriter::DataWriter(env::World world, PackIo& packs, content::VolumeKeys keys, crypto::PrivateKey writer,
                       int compression_level, uint64_t pack_memory)
    : world_(world),
      io_(packs),
      keys_(std::move(keys)),
      writer_(std::move(writer)),
      compression_level_(compression_level),
      pack_memory_(pack_memory),
      memory_(world.executor, pack_memory),
      changed_(world.executor),
      group_(world.executor) {}

DataWriter::~DataWriter() = default;

bool DataWriter::work_for_a_filler() const {
  return !queue_.empty() && (flushing_ > 0 || queued_bytes_ >= kSealJobBytes);
}

void DataWriter::start_fillers() {
  // A second one only when there is enough for both: few small packs are better than many.
  const size_t most = std::clamp<size_t>(world_.workers.threads(), 1, kMostFillers);
  while (!error_ && fillers_ < most &&
         (fillers_ == 0 ? work_for_a_filler() : queued_bytes_ >= (fillers_ + 1) * kSealJobBytes)) {
    ++fillers_;
    group_.spawn(fill());
  }
  changed_.notify_all();
}

env::Task<Status> DataWriter::add(ChunkId id, Buffer plain) {
  while (queued_bytes_ >= kSealQueueBytes && !error_) co_await changed_.wait();
  if (error_) co_return fail(*error_);
  bytes_added_ += plain.size();
  queued_bytes_ += plain.size();
  queue_.push_back({id, std::move(plain)});
  start_fillers();
  co_return Status{};
}

env::Task<void> DataWriter::fill() {
  // Memory for the pack first: what is sealed waits for what is sent, never the other way round.
  const content::PackGeometry geometry = io_.geometry_now();
  Filling filling;
  filling.memory = co_await memory_.acquire(share_of_memory(pack_memory_, geometry));
  filling.builder = std::make_unique<content::PackBuilder>(geometry.k, geometry.m);
  bool full = false;
  while (!full) {
    while (!work_for_a_filler()) {
      if (flushing_ > 0 || error_) break;
      co_await changed_.wait();
    }
    if (queue_.empty() || error_) break;
    std::vector<Chunk> job;
    for (uint64_t bytes = 0; bytes < kSealJobBytes && !queue_.empty();) {
      bytes += queue_.front().plain.size();
      job.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    ++busy_;
    const size_t sealed = co_await world_.workers.run([&] {
      size_t done = 0;
      for (; done < job.size(); ++done) {
        const auto ticket = filling.builder->add(keys_, job[done].id, content::ChunkType::data, job[done].plain,
                                                 compression_level_, world_.random);
        if (!ticket) break;
        filling.chunks.push_back({job[done].id, *ticket});
        filling.plain_bytes += job[done].plain.size();
      }
      return done;
    });
    --busy_;
    for (size_t i = 0; i < sealed; ++i) queued_bytes_ -= job[i].plain.size();
    full = sealed < job.size();
    while (job.size() > sealed) {  // did not fit: first in the next pack
      queue_.push_front(std::move(job.back()));
      job.pop_back();
    }
    changed_.notify_all();
  }
  --fillers_;
  if (!filling.chunks.empty()) {
    ++sending_;
    group_.spawn(send(std::move(filling)));
  }
  start_fillers();
}

env::Task<void> DataWriter::send(Filling filling) {
  auto encoded = std::make_shared<Encoded>();
  auto pack = co_await world_.workers.run(
      [&] { return filling.builder->finish(keys_.volume, head_sequence_, writer_, world_.random); });
  if (!pack) {  // only a broken invariant of the builder ends here
    error_ = std::move(pack.error());
    --sending_;
    changed_.notify_all();
    co_return;
  }
  encoded->pack = std::move(*pack);
  encoded->chunks.reserve(filling.chunks.size());
  for (const Placed& chunk : filling.chunks)
    encoded->chunks.emplace_back(chunk.id, filling.builder->place(chunk.ticket));
  encoded->plain_bytes = filling.plain_bytes;
  encoded->memory = std::move(filling.memory);
  filling.builder.reset();
  co_await send_encoded(std::move(encoded));
}

env::Task<void> DataWriter::send_encoded(std::shared_ptr<Encoded> encoded) {
  auto sent = co_await io_.write(encoded->pack);  // shares the shards' memory
  --sending_;
  if (sent) {
    for (const auto& [chunk, place] : encoded->chunks) {
      places_.insert_or_assign(chunk, ChunkPlace{sent->id, place.offset, place.length});
      ++chunks_placed_;
      sealed_bytes_placed_ += place.length;
    }
    packs_.push_back(std::move(*sent));
    bytes_placed_ += encoded->plain_bytes;
    ++packs_written_;
  } else {
    error_ = std::move(sent.error());
    failed_.push_back(std::move(encoded));
  }
  changed_.notify_all();
}

env::Task<Status> DataWriter::flush() {
  error_.reset();
  for (auto& encoded : std::exchange(failed_, {})) {
    ++sending_;
    group_.spawn(send_encoded(std::move(encoded)));
  }
  ++flushing_;
  struct Done {
    size_t& flushing;
    ~Done() { --flushing; }
  } done{flushing_};
  start_fillers();
  while ((!queue_.empty() || fillers_ > 0 || sending_ > 0) && !(error_ && sending_ == 0 && busy_ == 0)) {
    co_await changed_.wait();
  }
  if (error_) co_return fail(*error_);
  co_return Status{};
}

std::optional<ChunkPlace> DataWriter::find(const ChunkId& chunk) const {
  const auto place = places_.find(chunk);
  if (place == places_.end()) return std::nullopt;
  return place->second;
}

void DataWriter::forget(size_t count, bool chunks) {
  packs_.erase(packs_.begin(), packs_.begin() + static_cast<ptrdiff_t>(count));
  if (chunks) places_.clear();
}

}  // namespace cairn::volume
