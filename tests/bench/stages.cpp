#include "bench/stages.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/crc32c.h"
#include "bench/tls_stage.h"
#include "content/chunk.h"
#include "content/chunker.h"
#include "content/merkle.h"
#include "env/random.h"
#include "erasure/code.h"
#include "os/disk.h"
#include "os/random.h"

namespace cairn::bench {

namespace {

// A backup's chunks: the average in the middle of the range that the design names.
constexpr content::CdcSizes kBackupSizes = {
    .min = 16 * kKiB, .average = 96 * kKiB, .max = 1 * kMiB, .normalisation = 1};

constexpr size_t kRun = 2 * kMiB;  // what get asks of a holder at once: volume/limits.h
constexpr size_t kStores = 6;      // of the benchmark of the pool

// A folder that goes with all in it.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& parent) {
    const auto base = parent.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(parent);
    path_ = (base / "cairn-bench-XXXXXX").string();
    CAIRN_ASSERT(::mkdtemp(path_.data()) != nullptr);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Bench {
 public:
  explicit Bench(const StageOptions& options)
      : rounds_(options.quick ? 1 : 5), data_(options.quick ? 8 * kMiB : 64 * kMiB) {
    report_.options = options;
    env::Prng(1).fill(data_);
    stored_ = static_cast<double>(options.k + options.m) / options.k;
  }

  StageReport run() {
    content_stages();
    erasure_stages();
    shard_stages();
    tls_stages();
    disk_stages();
    return std::move(report_);
  }

 private:
  void add(std::string name, Rate rate, Weights weights) {
    report_.stages.push_back({.name = std::move(name), .rate = rate, .weights = weights});
  }

  // Calls on each piece of the data.
  template <class Function>
  Rate over_pieces(size_t piece, Function function) {
    return measure(data_.size(), rounds_, [&] {
      for (size_t at = 0; at < data_.size(); at += piece) function(ByteView(data_).subspan(at, piece));
    });
  }

  void content_stages() {
    const auto keys = content::VolumeKeys::derive({}, {});
    const auto chunker = content::make_keyed_chunker(keys.cdc, kBackupSizes);
    const Rate chunk = measure(data_.size(), rounds_, [&] {
      for (ByteView rest = data_; !rest.empty();) {
        const auto cut = chunker->find_cut(rest, 0);
        rest = rest.subspan(cut ? *cut : rest.size());
      }
    });
    add("chunk (keyed FastCDC)", chunk, {.backup = 1});
    const Rate hash = over_pieces(
        kExtentSize, [&](ByteView plain) { content::hashed_chunk_id(keys, content::ChunkType::data, plain); });
    add("hash (chunk ID, HMAC-SHA256)", hash, {.backup = 1});

    // As in a pack and in a file: results one after the other, where the caches have forgotten what lay there.
    os::OsRandom random;
    constexpr size_t kSealed = kExtentSize + content::kSealOverhead;
    Buffer sealed(data_.size() / kExtentSize * kSealed);
    const ChunkId id;
    size_t next = 0;
    const auto slot = [&](Buffer& in, size_t size) {
      next = next + size > in.size() ? 0 : next;
      return in.span().subspan(std::exchange(next, next + size), size);
    };
    const Rate seal = over_pieces(kExtentSize, [&](ByteView plain) {
      content::seal_chunk_into(keys, id, content::ChunkType::data, plain, 1, random, slot(sealed, kSealed));
    });
    add("seal (zstd 1 that gives up, AES-256-GCM)", seal, {.put = 1, .backup = 1});
    Buffer opened(data_.size());
    size_t from = 0;
    next = 0;
    const Rate open = over_pieces(kExtentSize, [&](ByteView) {
      from = from + kSealed > sealed.size() ? 0 : from;
      CAIRN_ASSERT(content::open_chunk_into(keys, id, content::ChunkType::data,
                                            sealed.view().subspan(std::exchange(from, from + kSealed), kSealed),
                                            slot(opened, kExtentSize)));
    });
    add("open", open, {.get = 1});
  }

  void erasure_stages() {
    const auto [k, m] = std::pair(report_.options.k, report_.options.m);
    if (m == 0) return;
    const auto code = erasure::Code::get(k, m);
    CAIRN_ASSERT(code);
    const size_t length = std::min<size_t>(kMaxShardSize, data_.size() / k);
    std::vector<ByteView> lanes;
    for (uint32_t i = 0; i < k; ++i) lanes.push_back(ByteView(data_).subspan(i * length, length));
    std::vector<Bytes> parity(m, Bytes(length));
    const std::vector<MutableByteView> places(parity.begin(), parity.end());
    const std::string name = fmt::format("({},{})", k, m);
    add("erasure encode " + name, measure(k * length, rounds_, [&] { CAIRN_ASSERT(code->encode(lanes, places)); }),
        {.put = 1, .backup = 1});
    // The worst that a read meets: as many data shards lost as there is parity; here one is rebuilt.
    std::vector<erasure::Code::Present> present;
    for (uint32_t slot = 1; slot <= k; ++slot) present.push_back({slot, slot < k ? lanes[slot] : ByteView(parity[0])});
    Bytes rebuilt(length);
    const Rate decode = measure(k * length, rounds_, [&] { CAIRN_ASSERT(code->decode(present, 0, rebuilt)); });
    add("erasure decode " + name + ", one lost", decode, {});
  }

  void shard_stages() {
    uint32_t crc = 0;
    const Rate check = over_pieces(kMaxShardSize, [&](ByteView shard) { crc ^= crc32c(shard); });
    Hash all;
    const Rate tree = over_pieces(kMaxShardSize, [&](ByteView shard) {
      const Hash root = content::MerkleTree::over(shard).root();
      for (size_t i = 0; i < Hash::kSize; ++i) all.bytes[i] ^= root.bytes[i];
    });
    add("writer: CRC-32C of shards", check, {.put = stored_, .backup = stored_});
    add("writer: Merkle trees of shards", tree, {.put = stored_, .backup = stored_});
    add("holder: CRC-32C on receipt", check, {.put = stored_, .backup = stored_});
    add("holder: Merkle tree, checked", tree, {.put = stored_, .backup = stored_});
    add("holder: CRC-32C of what is read", check, {.get = 1});
  }

  void tls_stages() {
    const uint64_t bytes = report_.options.quick ? 16 * kMiB : 512 * kMiB;
    const auto add_both = [&](const std::string& what, const TlsFigures& figures, Weights weights) {
      const double wall = static_cast<double>(figures.bytes) / figures.seconds;
      add("TLS send, " + what, {.per_cpu_second = figures.send_rate(), .per_wall_second = wall}, weights);
      add("TLS receive, " + what, {.per_cpu_second = figures.receive_rate(), .per_wall_second = wall}, weights);
    };
    const TlsFigures shards = measure_tls(bytes, kMaxShardSize);
    add_both("4 MiB messages", shards, {.put = stored_, .backup = stored_});
    const TlsFigures runs = measure_tls(bytes, kRun);
    add_both("2 MiB messages", runs, {.get = 1});
    const TlsFigures extents = measure_tls(bytes, kExtentSize);
    add_both("128 KiB messages", extents, {});
    report_.round_trips_per_second = extents.round_trips_per_second;
    report_.handshakes_per_second = extents.handshakes_per_second;
  }

  // Under the conditions of the pool: the files of six stores in turn, bytes that come from memory which the caches
  // have forgotten, and no page cache where the program goes past it. What the kernel's own threads do for a sync
  // counts neither here nor in the pool.
  void disk_stages() {
    const ScratchFolder folder(report_.options.folder);
    os::PosixDisk disk(folder.path());
    Buffer memory = Buffer::copy_of(data_);
    std::vector<std::unique_ptr<env::File>> stores;
    for (size_t i = 0; i < kStores; ++i) {
      auto file = disk.open(fmt::format("segment{}", i), env::OpenMode::create);
      CAIRN_ASSERT(file);
      stores.push_back(std::move(*file));
    }
    Buffer around(kAlignedBuffer);  // what stands before and behind a shard in its segment
    const Rate append = measure(data_.size(), rounds_, [&] {
      std::vector<uint64_t> ends(kStores);
      for (const auto& file : stores) CAIRN_ASSERT(file->truncate(0) && file->allocate(0, data_.size()));
      for (size_t at = 0, i = 0; at < data_.size(); at += kMaxShardSize, i = (i + 1) % kStores) {
        const ByteView edge = around.view().first(kPageAlignment);
        const std::array<ByteView, 3> parts = {edge, memory.view().subspan(at, kMaxShardSize), edge};
        CAIRN_ASSERT(stores[i]->write_past_cache(ends[i], parts) && stores[i]->sync());
        ends[i] += kMaxShardSize + 2 * edge.size();
      }
    });
    add("disk append of 4 MiB + fdatasync each", append, {.put = stored_, .backup = stored_});
    const size_t shards = data_.size() / kMaxShardSize;
    const size_t filled = std::min(kStores, shards);
    const size_t each = shards / filled * kMaxShardSize;
    const Rate read = measure(each * filled, rounds_, [&] {
      for (size_t at = 0; at < each; at += kRun) {
        for (size_t i = 0; i < filled; ++i) {
          // Whole leaves: a run begins and ends within one.
          const MutableByteView into =
              memory.span().subspan(i * each + at, std::min<size_t>(kRun + kLeafSize, each - at));
          const auto got = stores[i]->read_past_cache(at, into);
          CAIRN_ASSERT(got && *got == into.size());
        }
      }
    });
    add("disk read of 2 MiB", read, {.get = 1});
    auto target = disk.open("target", env::OpenMode::create);
    CAIRN_ASSERT(target);
    const Rate write = measure(data_.size(), rounds_, [&] {
      CAIRN_ASSERT((*target)->truncate(0));
      for (size_t at = 0; at < data_.size(); at += kRun) {
        const ByteView piece = memory.view().subspan(at, kRun);
        CAIRN_ASSERT((*target)->write_past_cache(at, {&piece, 1}));
      }
      CAIRN_ASSERT((*target)->sync());  // as get does after so much
    });
    add("client: write of the target", write, {.get = 1});
    for (size_t at = 0; at < data_.size(); at += kMaxShardSize) {
      CAIRN_ASSERT((*target)->write_at(at, memory.view().subspan(at, kMaxShardSize)));
    }
    // In the page cache, as the benchmark of the pool has it there.
    const Rate source = measure(data_.size(), rounds_, [&] {
      for (size_t at = 0; at < data_.size(); at += kMaxShardSize) {
        CAIRN_ASSERT((*target)->read_at(at, memory.span().subspan(at, kMaxShardSize)));
      }
    });
    add("client: read of the source (cached)", source, {.put = 1, .backup = 1});
  }

  int rounds_;
  Bytes data_;         // random
  double stored_ = 0;  // bytes in shards per user byte
  StageReport report_;
};

constexpr double kGigabyte = 1e9;

}  // namespace

Weights StageReport::cpu_seconds_per_byte() const {
  Weights sum;
  for (const Stage& stage : stages) {
    sum.put += stage.weights.put / stage.rate.per_cpu_second;
    sum.backup += stage.weights.backup / stage.rate.per_cpu_second;
    sum.get += stage.weights.get / stage.rate.per_cpu_second;
  }
  return sum;
}

StageReport measure_stages(const StageOptions& options) {
  return Bench(options).run();
}

std::string to_text(const StageReport& report) {
  std::string text = fmt::format("{:<42} {:>9} {:>9}   CPU-s per user GB, code ({},{})\n", "stage alone", "GB/CPU-s",
                                 "GB/s", report.options.k, report.options.m);
  text += fmt::format("{:<42} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "", "", "", "put", "backup", "get");
  const auto cost = [](double weight, const Rate& rate) {
    return weight == 0 ? std::string("-") : fmt::format("{:.3f}", weight / rate.per_cpu_second * kGigabyte);
  };
  for (const auto& [name, rate, weights] : report.stages) {
    text += fmt::format("{:<42} {:>9.2f} {:>9.2f} {:>9} {:>9} {:>9}\n", name, rate.per_cpu_second / kGigabyte,
                        rate.per_wall_second / kGigabyte, cost(weights.put, rate), cost(weights.backup, rate),
                        cost(weights.get, rate));
  }
  const Weights sum = report.cpu_seconds_per_byte();
  text += fmt::format("{:<62} {:>9.3f} {:>9.3f} {:>9.3f}\n", "sum, CPU-s per user GB", sum.put * kGigabyte,
                      sum.backup * kGigabyte, sum.get * kGigabyte);
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const auto limit = [&](double cpu) { return cores / cpu / 1e6; };
  text += fmt::format("{:<62} {:>9.0f} {:>9.0f} {:>9.0f}\n",
                      fmt::format("the limit that this implies with all {} cores, MB/s", cores), limit(sum.put),
                      limit(sum.backup), limit(sum.get));
  text += fmt::format("TLS: {:.0f} round trips/s one at a time, {:.0f} handshakes/s\n", report.round_trips_per_second,
                      report.handshakes_per_second);
  return text;
}

std::string to_json(const StageReport& report) {
  nlohmann::json json;
  json["k"] = report.options.k;
  json["m"] = report.options.m;
  json["cores"] = std::max(1U, std::thread::hardware_concurrency());
  const auto weights_json = [](const Weights& weights) {
    return nlohmann::json{{"put", weights.put}, {"backup", weights.backup}, {"get", weights.get}};
  };
  for (const auto& [name, rate, weights] : report.stages) {
    json["stages"].push_back({{"name", name},
                              {"bytes_per_cpu_second", rate.per_cpu_second},
                              {"bytes_per_second", rate.per_wall_second},
                              {"input_bytes_per_user_byte", weights_json(weights)}});
  }
  json["cpu_seconds_per_byte"] = weights_json(report.cpu_seconds_per_byte());
  json["tls_round_trips_per_second"] = report.round_trips_per_second;
  json["tls_handshakes_per_second"] = report.handshakes_per_second;
  return json.dump(2) + "\n";
}

}  // namespace cairn::bench
