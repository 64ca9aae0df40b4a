#include "client/fetch.h"

#include "crypto/hash.h"

namespace cairn::client {

env::Task<Result<RestoredAttributes>> attributes_of(const volume::View& view, volume::InodeId id, volume::Inode about) {
  RestoredAttributes result{.inode = std::move(about), .xattrs = {}};
  if (result.inode.has_xattrs) {
    auto xattrs = co_await view.xattrs(id);
    if (!xattrs) co_return fail(std::move(xattrs.error()));
    result.xattrs = std::move(*xattrs);
  }
  co_return result;
}

env::Task<Status> fetch_file(env::World world, const volume::View& view, FetchedFile file,
                             const RestoredAttributes& about, Meter& meter, Fetch& fetch) {
  auto opened = co_await world.workers.run(
      [&] { return PartFile::open(world.disk, file.path, file.record_path, about.inode.size); });
  if (!opened) co_return fail(std::move(opened.error()));
  PartFile& part = **opened;
  fetch.resumed = part.complete_up_to();
  auto reader = co_await view.open_reader(file.inode, fetch.resumed);
  if (!reader) co_return fail(std::move(reader.error()));
  uint64_t at = fetch.resumed;
  for (;;) {
    auto piece = co_await (*reader)->next();
    if (!piece) {
      fetch.missing_from = at;
      co_return fail(std::move(piece.error()));
    }
    if (!*piece) break;
    auto written = co_await world.workers.run([&] { return part.write((*piece)->offset, (*piece)->bytes); });
    if (!written) co_return written;
    at = (*piece)->offset + (*piece)->bytes.size();
    meter.progress.bytes_done += (*piece)->bytes.size();
    meter.tick();
  }
  auto done = co_await world.workers.run([&] { return part.finish(about); });
  co_return done;
}

std::string record_path_of(const Core& core, volume::InodeId inode, const volume::Inode& about,
                           std::string_view where) {
  Bytes text = to_bytes(core.identity().pool.view());
  append_be64(text, inode);
  append_be64(text, about.version);
  append_be64(text, about.size);
  append_be64(text, static_cast<uint64_t>(about.mtime));
  append(text, as_bytes(where));
  return core.home().file("gets/" + crypto::sha256(text).hex());
}

}  // namespace cairn::client
