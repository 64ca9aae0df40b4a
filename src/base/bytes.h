#pragma once
// Bytes, views (cairn/buffer.h has them and the shared Buffer); hex and base64.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cairn/buffer.h"

namespace cairn {

using Bytes = std::vector<uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView view) {
  return {view.begin(), view.end()};
}
inline Bytes to_bytes(std::string_view text) {
  return to_bytes(as_bytes(text));
}
inline std::string to_string(ByteView view) {
  return std::string(as_text(view));
}
inline void append(Bytes& out, ByteView more) {
  out.insert(out.end(), more.begin(), more.end());
}
inline bool equal(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

std::string to_hex(ByteView bytes);
Result<Bytes> from_hex(std::string_view text);
// RFC 4648, with padding.
std::string to_base64(ByteView bytes);
Result<Bytes> from_base64(std::string_view text);

// Fixed-width numbers. be_*: big-endian, for keys that must sort; le_*: everything else on disk and on the wire.
void append_be64(Bytes& out, uint64_t value);
uint64_t read_be64(const uint8_t* from);
void append_be32(Bytes& out, uint32_t value);
uint32_t read_be32(const uint8_t* from);
template <class T>
T read_le(const uint8_t* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<T>(from[i]) << (8 * i));
  return value;
}
template <class T>
void write_le(uint8_t* to, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}
template <class T>
void append_le(Bytes& out, T value) {
  out.resize(out.size() + sizeof(T));
  write_le<T>(out.data() + out.size() - sizeof(T), value);
}

}  // namespace cairn
