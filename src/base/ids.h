#pragma once
// Strong identifiers: 32 bytes each, of types that do not mix.

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"

namespace cairn {

template <class Tag>
struct Id {
  static constexpr size_t kSize = 32;
  std::array<uint8_t, kSize> bytes{};

  static Result<Id> from(ByteView view) {
    if (view.size() != kSize) return fail(Code::bad_input, "an identifier is 32 bytes");
    Id id;
    std::memcpy(id.bytes.data(), view.data(), kSize);
    return id;
  }
  static Result<Id> from(std::string_view raw) { return from(as_bytes(raw)); }
  static Result<Id> from_hex_text(std::string_view text) {
    auto raw = from_hex(text);
    if (!raw) return fail(raw.error());
    return from(ByteView(*raw));
  }

  ByteView view() const { return bytes; }
  std::string raw() const { return to_string(view()); }  // for protobuf's bytes fields
  std::string hex() const { return to_hex(view()); }
  std::string short_hex() const { return to_hex(view().first(4)); }  // 8 digits, for people
  bool is_zero() const { return *this == Id{}; }
  auto operator<=>(const Id&) const = default;
};

using Hash = Id<struct HashTag>;              // a SHA-256 value
using PoolId = Id<struct PoolIdTag>;          // SHA-256 of the genesis record
using MemberId = Id<struct MemberIdTag>;      // SHA-256 of the member's public key (SPKI, DER)
using NodeId = Id<struct NodeIdTag>;          // SHA-256 of the device's public key (SPKI, DER)
using StoreId = Id<struct StoreIdTag>;        // random, in the store's marker file
using VolumeId = Id<struct VolumeIdTag>;      // SHA-256 of the volume's founding record
using ChunkId = Id<struct ChunkIdTag>;        // keyed hash of type and plaintext, or random
using PackId = Id<struct PackIdTag>;          // SHA-256 of the pack header's signed bytes
using RegisterId = Id<struct RegisterIdTag>;  // names a compare-and-swap register at the keepers

// A shard's name: slot i of a pack.
struct ShardId {
  PackId pack;
  uint8_t slot = 0;
  auto operator<=>(const ShardId&) const = default;
};

template <class To, class From>
To id_cast(const From& from) {
  To to;
  to.bytes = from.bytes;
  return to;
}

}  // namespace cairn

template <class Tag>
struct std::hash<cairn::Id<Tag>> {
  size_t operator()(const cairn::Id<Tag>& id) const noexcept {
    size_t value;
    std::memcpy(&value, id.bytes.data(), sizeof value);  // IDs are hashes or random already
    return value;
  }
};
template <>
struct std::hash<cairn::ShardId> {
  size_t operator()(const cairn::ShardId& id) const noexcept {
    return std::hash<cairn::PackId>{}(id.pack) * 31 + id.slot;
  }
};
