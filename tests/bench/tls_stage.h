#pragma once
// The TLS stage alone: two nodes, each with a thread of its own, over 127.0.0.1 with the production network.

#include <cstddef>
#include <cstdint>

namespace cairn::bench {

struct TlsFigures {
  uint64_t bytes = 0;              // of plaintext, one way
  double seconds = 0;              // from the first byte to the last
  double send_cpu_seconds = 0;     // of the sending thread, system time with it; on loopback the kernel charges most of
  double receive_cpu_seconds = 0;  // the way through the network to the sender
  double round_trips_per_second = 0;  // 64-byte request and answer, one at a time, both threads
  double handshakes_per_second = 0;   // connect, mutual authentication, close; both threads
  double send_rate() const { return static_cast<double>(bytes) / send_cpu_seconds; }        // bytes per CPU second
  double receive_rate() const { return static_cast<double>(bytes) / receive_cpu_seconds; }  // bytes per CPU second
};

// Sends `bytes` in messages of `message` bytes each (a 24-byte header and the rest, as frames have); ends the process
// when the network fails.
TlsFigures measure_tls(uint64_t bytes, size_t message);

}  // namespace cairn::bench
