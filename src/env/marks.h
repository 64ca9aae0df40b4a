#pragma once
// Marks in a MetaStore: "closed cleanly", "complete". A mark is taken away by who relies on it, so that a crash after
// that does not leave it standing.

#include "env/meta_store.h"

namespace cairn::env {

// Whether it was there; durably gone when this returns.
inline Result<bool> take_mark(MetaStore& store, std::string_view key) {
  auto mark = store.get(key);
  if (!mark) return fail(std::move(mark.error()));
  if (!*mark) return false;
  WriteBatch batch;
  batch.remove(key);
  CAIRN_TRY(store.write(batch, true));
  return true;
}

inline Status set_mark(MetaStore& store, std::string_view key) {
  WriteBatch batch;
  batch.put(key, "1");
  return store.write(batch, true);
}

}  // namespace cairn::env
