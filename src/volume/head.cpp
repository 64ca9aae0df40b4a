#include "volume/head.h"

#include <charconv>

#include "crypto/aead.h"
#include "proto/volume.pb.h"
#include "volume/pack_ref.h"
#include "wire/message.h"

namespace cairn::volume {

namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kPrefix = 1 + crypto::kNonceSize;
constexpr std::string_view kMarkFirstLine = "cairn high-water mark 1\n";
constexpr std::string_view kMarkEra = "forced ";

Bytes associated_data(const content::VolumeKeys& keys) {
  Bytes data = to_bytes("cairn/v1/head");
  append(data, keys.volume.view());
  return data;
}

}  // namespace

Bytes seal_head(const Head& head, const content::VolumeKeys& keys, env::SecureRandom& random) {
  wire::Head message;
  message.set_volume(keys.volume.raw());
  if (head.root) to_message(*head.root, *message.mutable_root());
  for (const pool::PackRef& pack : head.tree_packs) to_message(pack, *message.add_tree_packs());
  message.set_files(head.files);
  message.set_bytes(head.bytes);
  const Bytes plain = wire::encode(message);

  Bytes sealed(kPrefix + plain.size() + crypto::kTagSize);
  sealed[0] = kVersion;
  crypto::Nonce nonce;
  random.fill(nonce);
  std::copy(nonce.begin(), nonce.end(), sealed.begin() + 1);
  crypto::aead_seal(keys.meta, nonce, associated_data(keys), plain, MutableByteView(sealed).subspan(kPrefix));
  return sealed;
}

Result<HeadPtr> open_head(RegisterState state, const content::VolumeKeys& keys) {
  auto head = std::make_shared<Head>();
  const ByteView sealed = state.content;
  if (state.sequence == 0) {
    head->state = std::move(state);
    return head;
  }
  if (sealed.size() < kPrefix + crypto::kTagSize) return fail(Code::corrupt, "head is too short");
  if (sealed[0] != kVersion) return fail(Code::unsupported, "head of an unknown version");
  crypto::Nonce nonce;
  std::copy_n(sealed.begin() + 1, nonce.size(), nonce.begin());
  Bytes plain(sealed.size() - kPrefix - crypto::kTagSize);
  CAIRN_TRY(crypto::aead_open(keys.meta, nonce, associated_data(keys), sealed.subspan(kPrefix), plain));
  auto message = wire::decode<wire::Head>(ByteView(plain));
  if (!message) return fail(message.error());
  if (message->volume() != keys.volume.raw()) return fail(Code::corrupt, "head of another volume");
  if (message->has_root()) {
    auto root = from_message(message->root());
    if (!root) return fail(root.error());
    head->root = std::move(*root);
  }
  for (const wire::PackRef& pack : message->tree_packs()) {
    auto ref = from_message(pack);
    if (!ref) return fail(ref.error());
    head->tree_packs.push_back(std::move(*ref));
  }
  head->files = message->files();
  head->bytes = message->bytes();
  head->state = std::move(state);
  return head;
}

env::Task<Status> HighWaterMark::load() {
  if (path_.empty()) co_return Status{};
  const auto bytes = co_await world_.workers.run([&] { return env::read_file(world_.disk, path_, 4 * kKiB); });
  if (!bytes && bytes.error().code == Code::not_found) co_return Status{};
  if (!bytes) co_return fail(bytes.error(), path_);
  std::string_view text = as_text(*bytes);
  const Error bad{Code::corrupt, path_ + " is not a high-water mark"};
  if (!text.starts_with(kMarkFirstLine)) co_return fail(bad);
  text.remove_prefix(kMarkFirstLine.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sequence_);
  if (error != std::errc() || end == text.data() + text.size() || *end != ' ') co_return fail(bad);
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  if (text.size() > 2 * Hash::kSize + 1 && text.ends_with('\n')) {  // a third line: of a register that was forced
    std::string_view line = text.substr(2 * Hash::kSize + 1);
    if (!line.starts_with(kMarkEra)) co_return fail(bad);
    line.remove_prefix(kMarkEra.size());
    const auto [last, wrong] = std::from_chars(line.data(), line.data() + line.size(), era_);
    if (wrong != std::errc() || last + 1 != line.data() + line.size()) co_return fail(bad);
    text = text.substr(0, 2 * Hash::kSize + 1);
  }
  if (text.size() != 2 * Hash::kSize + 1 || text.back() != '\n') co_return fail(bad);
  auto hash = Hash::from_hex_text(text.substr(0, 2 * Hash::kSize));
  if (!hash) co_return fail(bad);
  hash_ = *hash;
  co_return Status{};
}

Status HighWaterMark::check(const RegisterState& state) const {
  if (state.era() > era_) return {};
  if (state.era() == era_ &&
      (state.sequence > sequence_ || (state.sequence == sequence_ && (sequence_ == 0 || state.hash == hash_))))
    return {};
  std::string keepers;
  for (const NodeId& keeper : state.config.keepers) keepers += (keepers.empty() ? "" : ", ") + keeper.short_hex();
  return fail(
      Code::corrupt,
      fmt::format("the keepers ({}) gave head {} ({}), but head {} ({}) was seen here before: an older state of the "
                  "volume is not taken for the present one",
                  keepers, state.sequence, state.hash.short_hex(), sequence_, hash_.short_hex()));
}

env::Task<Status> HighWaterMark::raise(const RegisterState& state) {
  if (std::pair(state.era(), state.sequence) <= std::pair(era_, sequence_)) co_return Status{};
  era_ = state.era();
  sequence_ = state.sequence;
  hash_ = state.hash;
  if (path_.empty()) co_return Status{};
  std::string text = std::string(kMarkFirstLine) + std::to_string(sequence_) + " " + hash_.hex() + "\n";
  if (era_ != 0) text += std::string(kMarkEra) + std::to_string(era_) + "\n";
  auto status = co_await world_.workers.run([&] { return env::write_file(world_.disk, path_, as_bytes(text)); });
  co_return status;
}

}  // namespace cairn::volume
