#include "env/disk.h"

namespace cairn::env {

Result<Bytes> read_file(Disk& disk, const std::string& path, uint64_t max_size) {
  auto file = disk.open(path, OpenMode::read);
  if (!file) return fail(file.error());
  auto size = (*file)->size();
  if (!size) return fail(size.error());
  if (*size > max_size) return fail(Code::too_large, path);
  Bytes bytes(*size);
  auto got = (*file)->read_at(0, bytes);
  if (!got) return fail(got.error());
  bytes.resize(*got);
  return bytes;
}

Status write_file(Disk& disk, const std::string& path, ByteView bytes) {
  const std::string temporary = path + ".tmp";
  const size_t slash = path.rfind('/');
  {
    auto file = disk.open(temporary, OpenMode::create);
    if (!file) return fail(file.error());
    CAIRN_TRY((*file)->truncate(0));
    CAIRN_TRY((*file)->write_at(0, bytes));
    CAIRN_TRY((*file)->sync());
  }
  CAIRN_TRY(disk.rename(temporary, path));
  return disk.sync_dir(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

}  // namespace cairn::env
