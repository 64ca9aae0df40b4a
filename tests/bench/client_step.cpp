#include "bench/client_step.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/measure.h"
#include "env/random.h"

extern char** environ;

namespace cairn::bench {

namespace {

using Json = nlohmann::json;

Json json_of(const ReadFigures& reads) {
  return {reads.requests, reads.bytes, reads.holders};
}
ReadFigures reads_of(const Json& json) {
  return {.requests = json.at(0), .bytes = json.at(1), .holders = json.at(2)};
}

Result<TransferReport> work_on(Client& client, const ClientWork& work) {
  if (work.kind == "put") return client.put({work.source}, work.target, {});
  if (work.kind == "get") return client.get(work.source, work.target, {});
  if (work.kind == "read") {
    TransferOptions options;
    options.offset = work.offset;
    options.length = work.length;
    return client.get_stream(work.source, [](const void*, size_t) { return Status{}; }, options);
  }
  // One block of noise with a counter in every 4 KiB: nothing that compresses, and quick to make.
  Bytes block(4 * kMiB);
  env::Prng(7).fill(block);
  uint64_t done = 0;
  const auto read = [&](void* into, size_t size) -> Result<size_t> {
    const size_t at = done % block.size();
    const size_t some = std::min({static_cast<uint64_t>(size), work.length - done, block.size() - at});
    if (at == 0) {
      for (size_t page = 0; page < block.size(); page += 4096) {
        const uint64_t number = done + page;
        std::memcpy(block.data() + page, &number, sizeof number);
      }
    }
    std::memcpy(into, block.data() + at, some);
    done += some;
    return some;
  };
  return client.put_stream(read, work.target, {});
}

}  // namespace

uint64_t peak_memory(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * kKiB;
  }
  return 0;
}

int client_main(const ClientWork& work) {
  auto client = Client::open({.home = work.home});
  Result<TransferReport> done = client ? work_on(**client, work) : fail(std::move(client.error()));
  if (client) client->reset();
  if (!done) {
    std::fprintf(stderr, "cairn-bench: %s: %s\n", work.kind.c_str(), to_string(done.error()).c_str());
    return 1;
  }
  const Json json = {{"bytes", done->bytes},
                     {"files", done->files},
                     {"seconds", done->seconds},
                     {"packs", done->packs},
                     {"requests", done->requests},
                     {"sent", done->bytes_sent},
                     {"received", done->bytes_received},
                     {"raced", done->raced_reads},
                     {"data", json_of(done->data_reads)},
                     {"tree", json_of(done->tree_reads)},
                     {"cpu", process_cpu_seconds()},
                     {"peak", peak_memory("self")}};
  std::puts(json.dump().c_str());
  return 0;
}

Result<ClientFigures> run_client(const ClientWork& work) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  std::vector<std::string> words = {program,
                                    "client",
                                    work.home,
                                    work.kind,
                                    work.source,
                                    work.target,
                                    "--offset=" + std::to_string(work.offset),
                                    "--length=" + std::to_string(work.length)};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int pipe_ends[2];
  if (::pipe(pipe_ends) != 0) return fail(Code::io, "no pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
  ::posix_spawn_file_actions_addclose(&actions, pipe_ends[1]);
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(pipe_ends[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t got = 0; failed == 0 && (got = ::read(pipe_ends[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<size_t>(got));
  ::close(pipe_ends[0]);
  int status = 0;
  if (failed == 0) ::waitpid(pid, &status, 0);
  const Json json = Json::parse(said, nullptr, false);
  if (failed != 0 || status != 0 || json.is_discarded()) return fail(Code::io, work.kind + ": the client failed");
  ClientFigures figures;
  figures.report.bytes = json.at("bytes");
  figures.report.files = json.at("files");
  figures.report.seconds = json.at("seconds");
  figures.report.packs = json.at("packs");
  figures.report.requests = json.at("requests");
  figures.report.bytes_sent = json.at("sent");
  figures.report.bytes_received = json.at("received");
  figures.report.raced_reads = json.at("raced");
  figures.report.data_reads = reads_of(json.at("data"));
  figures.report.tree_reads = reads_of(json.at("tree"));
  figures.cpu = json.at("cpu");
  figures.peak = json.at("peak");
  return figures;
}

}  // namespace cairn::bench
