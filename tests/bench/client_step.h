#pragma once
// One piece of a client's work in a process of its own, so that its CPU time and its peak of memory are its own: cold,
// as a command that a person types.

#include <string>

#include "cairn/client.h"

namespace cairn::bench {

struct ClientWork {
  std::string home;
  std::string kind;            // put, get, put-noise (a stream of `length` bytes), read (offset, length; to nowhere)
  std::string source, target;  // paths; of put-noise only target, of read only source
  uint64_t offset = 0, length = UINT64_MAX;
};

struct ClientFigures {
  TransferReport report;
  double cpu = 0;     // seconds
  uint64_t peak = 0;  // bytes of memory
};

// Runs this very program as `cairn-bench client ...` and waits for it.
Result<ClientFigures> run_client(const ClientWork& work);
// In that process: does the work and prints its figures. The exit code.
int client_main(const ClientWork& work);

// VmHWM of /proc/PID/status, in bytes.
uint64_t peak_memory(const std::string& pid);

}  // namespace cairn::bench
