#include "store/marker.h"

#include "base/crc32c.h"

namespace cairn::store {

namespace {

constexpr std::string_view kFirstWord = "cairn-store ";
constexpr std::string_view kVersion = "1";

// Takes one "name value\n" off the front.
std::optional<std::string_view> take_line(std::string_view& text, std::string_view name) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos || !text.starts_with(name)) return std::nullopt;
  const std::string_view value = text.substr(name.size(), end - name.size());
  text.remove_prefix(end + 1);
  return value;
}

}  // namespace

Marker Marker::make(env::SecureRandom& random) {
  Marker marker;
  marker.id = random.id<StoreId>();
  random.fill(marker.stamp);
  return marker;
}

std::string Marker::text() const {
  std::string body = fmt::format("{}{}\nid {}\nstamp {}\n", kFirstWord, kVersion, id.hex(), to_hex(stamp));
  body += fmt::format("sum {:08x}\n", crc32c(as_bytes(body)));
  return body;
}

Result<Marker> Marker::parse(std::string_view text) {
  std::string_view rest = text;
  const auto version = take_line(rest, kFirstWord);
  if (!version) return fail(Code::corrupt, "not a store's marker file");
  if (*version != kVersion) return fail(Code::unsupported, "the store was made by another version of Cairn");
  const auto id = take_line(rest, "id ");
  const auto stamp = take_line(rest, "stamp ");
  const std::string_view summed = text.substr(0, text.size() - rest.size());
  const auto sum = take_line(rest, "sum ");
  if (!id || !stamp || !sum || !rest.empty() || *sum != fmt::format("{:08x}", crc32c(as_bytes(summed)))) {
    return fail(Code::corrupt, "the store's marker file is damaged");
  }
  Marker marker;
  auto parsed = StoreId::from_hex_text(*id);
  if (!parsed) return fail(Code::corrupt, "the store's marker file is damaged");
  marker.id = *parsed;
  auto raw = from_hex(*stamp);
  if (!raw || raw->size() != marker.stamp.size()) return fail(Code::corrupt, "the store's marker file is damaged");
  std::copy(raw->begin(), raw->end(), marker.stamp.begin());
  return marker;
}

Result<Marker> Marker::load(env::Disk& disk, const std::string& folder) {
  auto text = env::read_file(disk, path_in(folder), kBlockSize);
  if (!text && text.error().code == Code::not_found) {
    return fail(Code::io, folder + " has no cairn-store file: is the disk not mounted?");
  }
  if (!text && text.error().code != Code::corrupt && text.error().code != Code::too_large) {
    return fail(std::move(text.error()), "store marker");
  }
  auto marker = text ? parse(as_text(*text)) : Result<Marker>(fail(std::move(text.error())));
  if (marker) return marker;
  if (auto copy = env::read_file(disk, copy_in(folder), kBlockSize)) {
    if (auto second = parse(as_text(*copy))) return second;
  }
  return fail(std::move(marker.error()), folder);
}

Status Marker::keep(env::Disk& disk, const std::string& folder) const {
  for (const std::string& path : {path_in(folder), copy_in(folder)}) {
    auto there = env::read_file(disk, path, kBlockSize);
    if (there && as_text(*there) == text()) continue;
    CAIRN_TRY(env::write_file(disk, path, as_bytes(text())));
  }
  return {};
}

Status Marker::check(env::Disk& disk, const std::string& folder) const {
  auto found = load(disk, folder);
  if (!found) return fail(Code::io, std::move(found.error().context));
  if (*found != *this) return fail(Code::io, folder + " is another store now");
  return {};
}

}  // namespace cairn::store
