#include "base/bytes.h"

#include <cstdlib>

namespace cairn {

namespace {
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

std::shared_ptr<uint8_t[]> Buffer::allocate(size_t size) {
  if (size < kAlignedBuffer) return std::make_shared_for_overwrite<uint8_t[]>(size);
  void* memory = nullptr;
  CAIRN_ASSERT(::posix_memalign(&memory, kPageAlignment, size) == 0);
  return {static_cast<uint8_t*>(memory), [](uint8_t* bytes) { std::free(bytes); }};
}

std::string to_hex(ByteView bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(Code::bad_input, "hex text of odd length");
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]);
    const int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return fail(Code::bad_input, "not a hex digit");
    bytes.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  return bytes;
}

std::string to_base64(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < left ? bytes[i + j] : 0U);
    for (size_t j = 0; j < 4; ++j) text += j <= left ? kBase64[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

Result<Bytes> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return fail(Code::bad_input, "base64 text of odd length");
  Bytes bytes;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t group = 0;
    size_t padding = 0;
    for (size_t j = 0; j < 4; ++j) {
      const char c = text[i + j];
      if (c == '=' && i + 4 == text.size() && j >= 2) {
        ++padding;
        group <<= 6;
        continue;
      }
      const size_t digit = kBase64.find(c);
      if (digit == std::string_view::npos || padding > 0) return fail(Code::bad_input, "not base64");
      group = group << 6 | static_cast<uint32_t>(digit);
    }
    // One text for each run of bytes: the bits that the padding leaves over are zero.
    if ((group & ((1U << (8 * padding)) - 1)) != 0) return fail(Code::bad_input, "not base64");
    for (size_t j = 0; j < 3 - padding; ++j) bytes.push_back(static_cast<uint8_t>(group >> (16 - 8 * j)));
  }
  return bytes;
}

void append_be64(Bytes& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}
uint64_t read_be64(const uint8_t* from) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | from[i];
  return value;
}
void append_be32(Bytes& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
}
uint32_t read_be32(const uint8_t* from) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | from[i];
  return value;
}

}  // namespace cairn
