#include <fmt/format.h>

#include "content/limits.h"
#include "content/pack.h"
#include "proto/pack.pb.h"
#include "wire/message.h"

namespace cairn::content {

namespace {

constexpr uint32_t kVersion = 1;
constexpr std::string_view kDomain = "cairn/v1/pack";

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Code::corrupt, fmt::format("pack header: {}", what));
}

Result<PackHeader> parse_body(const wire::PackHeader& message) {
  if (message.version() != kVersion) return fail(Code::unsupported, "pack header: version");
  if (message.code() != wire::CODE_ISA_L_CAUCHY) return fail(Code::unsupported, "pack header: code");
  PackHeader header;
  const auto volume = VolumeId::from(message.volume());
  const auto writer = NodeId::from(message.writer());
  if (!volume || !writer) return corrupt("an identifier of wrong length");
  header.volume = *volume;
  header.writer = *writer;
  const uint32_t k = message.k();
  const uint32_t m = message.m();
  if (k < 1 || k > kMaxSlots || m > kMaxSlots - k) return corrupt("k and m out of bounds");
  const uint32_t length = message.shard_length();
  if (length < 1 || length > kMaxShardSize) return corrupt("shard length out of bounds");
  header.geometry = {.k = k, .m = m, .shard_length = length};
  if (static_cast<uint32_t>(message.roots_size()) != k + m) return corrupt("wrong number of roots");
  header.roots.reserve(k + m);
  for (const std::string& raw : message.roots()) {
    const auto root = Hash::from(raw);
    if (!root) return corrupt("a root of wrong length");
    header.roots.push_back(*root);
  }
  if (message.nonce().size() != std::tuple_size_v<PackHeader::Nonce>) return corrupt("nonce of wrong length");
  header.head_sequence = message.head_sequence();
  return header;
}

}  // namespace

Result<PackHeader> PackHeader::parse(ByteView signed_message) {
  auto header = read(signed_message);
  if (header && !crypto::verify(header->writer_key, kDomain, header->body, header->signature)) {
    return corrupt("bad signature");
  }
  return header;
}

Result<PackHeader> PackHeader::read(ByteView signed_message) {
  if (signed_message.size() > kMaxPackHeaderSize) return corrupt("too long");
  auto envelope = wire::decode<wire::Signed>(signed_message);
  if (!envelope) return corrupt("not a signed message");
  auto body = wire::decode<wire::PackHeader>(envelope->body());
  if (!body) return corrupt("the body is no pack header");
  auto header = parse_body(*body);
  if (!header) return header;
  header->body = to_bytes(envelope->body());
  header->signature = to_bytes(envelope->signature());
  header->writer_key = to_bytes(envelope->public_key());
  if (id_cast<NodeId>(crypto::sha256(header->writer_key)) != header->writer) return corrupt("signed by another key");
  header->id = id_cast<PackId>(crypto::sha256(header->body));
  return header;
}

Bytes PackHeader::serialize() const {
  wire::Signed envelope;
  envelope.set_body(body.data(), body.size());
  envelope.set_signature(signature.data(), signature.size());
  envelope.set_public_key(writer_key.data(), writer_key.size());
  return wire::encode(envelope);
}

PackHeader PackHeader::sign(const VolumeId& volume, PackGeometry geometry, std::vector<Hash> roots,
                            uint64_t head_sequence, const Nonce& nonce, const crypto::PrivateKey& writer) {
  CAIRN_ASSERT(geometry.k >= 1 && geometry.k <= kMaxSlots && geometry.m <= kMaxSlots - geometry.k);
  CAIRN_ASSERT(geometry.shard_length >= 1 && geometry.shard_length <= kMaxShardSize);
  CAIRN_ASSERT(roots.size() == geometry.k + geometry.m);
  PackHeader header;
  header.volume = volume;
  header.writer = id_cast<NodeId>(crypto::sha256(writer.public_key()));
  header.geometry = geometry;
  header.roots = std::move(roots);
  header.head_sequence = head_sequence;
  header.writer_key = writer.public_key();

  wire::PackHeader message;
  message.set_version(kVersion);
  message.set_volume(volume.raw());
  message.set_code(wire::CODE_ISA_L_CAUCHY);
  message.set_k(geometry.k);
  message.set_m(geometry.m);
  message.set_shard_length(geometry.shard_length);
  for (const Hash& root : header.roots) message.add_roots(root.raw());
  message.set_head_sequence(head_sequence);
  message.set_nonce(nonce.data(), nonce.size());
  message.set_writer(header.writer.raw());
  header.body = wire::encode(message);

  const crypto::Signature signature = writer.sign(kDomain, header.body);
  header.signature.assign(signature.begin(), signature.end());
  header.id = id_cast<PackId>(crypto::sha256(header.body));
  return header;
}

}  // namespace cairn::content
