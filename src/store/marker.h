#pragma once
// The marker file `cairn-store`: proves that the store's disk is mounted, and carries the store's identity.

#include "env/disk.h"
#include "env/random.h"
#include "store/record.h"

namespace cairn::store {

struct Marker {
  StoreId id;
  Stamp stamp{};

  static std::string path_in(const std::string& folder) { return folder + "/cairn-store"; }
  static Marker make(env::SecureRandom& random);
  std::string text() const;
  // Code::corrupt, Code::unsupported (made by a later version).
  static Result<Marker> parse(std::string_view text);
  // Code::io "is the disk not mounted?" when it is not there.
  static Result<Marker> load(env::Disk& disk, const std::string& folder);
  // Ok while this very marker stands in the folder. Code::io otherwise.
  Status check(env::Disk& disk, const std::string& folder) const;

  bool operator==(const Marker&) const = default;
};

}  // namespace cairn::store
