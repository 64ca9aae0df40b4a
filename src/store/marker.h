#pragma once
// The marker file `cairn-store`: proves that the store's disk is mounted, and carries the store's identity. A copy
// beside it stands in when it is damaged: it alone would take the whole store with it.

#include "env/disk.h"
#include "env/random.h"
#include "store/record.h"

namespace cairn::store {

struct Marker {
  StoreId id;
  Stamp stamp{};

  static std::string path_in(const std::string& folder) { return folder + "/cairn-store"; }
  static std::string copy_in(const std::string& folder) { return folder + "/cairn-store.copy"; }
  static Marker make(env::SecureRandom& random);
  std::string text() const;
  // Code::corrupt, Code::unsupported (made by a later version).
  static Result<Marker> parse(std::string_view text);
  // From the file or, where that is damaged, from its copy. Code::io "is the disk not mounted?" when it is not there.
  static Result<Marker> load(env::Disk& disk, const std::string& folder);
  // Writes the file and its copy where they are not this.
  Status keep(env::Disk& disk, const std::string& folder) const;
  // Ok while this very marker stands in the folder. Code::io otherwise.
  Status check(env::Disk& disk, const std::string& folder) const;

  bool operator==(const Marker&) const = default;
};

}  // namespace cairn::store
