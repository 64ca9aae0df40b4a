#pragma once
// Trace: an order-sensitive hash over all that happens in a simulation, and a readable log of it when asked for.
// The same seed gives the same hash.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/units.h"

namespace cairn::sim {

class Trace {
 public:
  void mix(uint64_t word) {
    hash_ = (hash_ ^ word) * 0x9e3779b97f4a7c15ULL;
    hash_ ^= hash_ >> 29;
  }
  void mix(std::string_view text) {
    mix(text.size());
    for (const char c : text) mix(static_cast<uint64_t>(static_cast<unsigned char>(c)));
  }
  // An event with a name; mixed always, written only when somebody reads.
  void event(Time now, std::string_view who, std::string_view what) {
    mix(static_cast<uint64_t>(now.since_start.count()));
    mix(who);
    mix(what);
    if (reader_) reader_(now, who, what);
  }
  bool read() const { return static_cast<bool>(reader_); }
  using Reader = std::function<void(Time now, std::string_view who, std::string_view what)>;
  void set_reader(Reader reader) { reader_ = std::move(reader); }
  uint64_t hash() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325ULL;
  Reader reader_;
};

}  // namespace cairn::sim
