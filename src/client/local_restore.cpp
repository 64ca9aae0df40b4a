#include "client/local_restore.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>

#include "client/local_files.h"
#include "content/chunk.h"
#include "os/files.h"

namespace cairn::client {

namespace {

os::FileType type_to(volume::FileType type) {
  switch (type) {
    case volume::FileType::directory:
      return os::FileType::folder;
    case volume::FileType::symlink:
      return os::FileType::symlink;
    case volume::FileType::fifo:
      return os::FileType::fifo;
    case volume::FileType::socket:
      return os::FileType::socket;
    case volume::FileType::character_device:
      return os::FileType::character_device;
    case volume::FileType::block_device:
      return os::FileType::block_device;
    case volume::FileType::file:
      break;
  }
  return os::FileType::regular;
}

os::Attributes attributes_of(const RestoredAttributes& about) {
  os::Attributes attributes{.mode = about.inode.mode,
                            .owner = std::pair(about.inode.uid, about.inode.gid),
                            .extended = {},
                            .modified = about.inode.mtime,
                            .accessed = std::nullopt};
  for (const volume::Xattr& xattr : about.xattrs) attributes.extended.push_back({xattr.name, xattr.value});
  return attributes;
}

Status checked(const Result<os::Refused>& done) {
  if (!done) return fail(done.error());
  return {};
}

// What is there under the name, nothing when it is free.
Result<std::optional<os::FileInfo>> look(const os::Place& place) {
  auto info = place.folder.info(place.name);
  if (info) return std::optional(*info);
  if (info.error().code == Code::not_found) return std::optional<os::FileInfo>();
  return fail(info.error());
}

// Frees the name, unless a folder has it.
Status clear(const os::Place& place) {
  auto there = look(place);
  if (!there) return fail(std::move(there.error()));
  if (!*there) return {};
  if ((*there)->type == os::FileType::folder) return fail(Code::exists, "a folder of that name is in the way");
  return place.folder.remove(place.name);
}

}  // namespace

Result<bool> is_directory(const std::string& path) {
  auto folder = os::Folder::open(path);
  if (folder) return true;
  auto place = os::open_parent(path);
  if (!place)
    return place.error().code == Code::not_found ? Result<bool>(false) : Result<bool>(fail(std::move(place.error())));
  return false;
}

Result<bool> make_folder(const std::string& path) {
  auto place = os::open_parent(path);
  if (!place && place.error().code == Code::not_found) {  // the folders above the destination
    std::string parent = path;
    while (parent.size() > 1 && parent.ends_with('/')) parent.pop_back();
    const size_t slash = parent.rfind('/');
    if (slash == std::string::npos || slash == 0) return fail(std::move(place.error()));
    auto above = make_folder(parent.substr(0, slash));
    if (!above) return above;
    place = os::open_parent(path);
  }
  if (!place) return fail(std::move(place.error()));
  auto there = look(*place);
  if (!there) return fail(std::move(there.error()));
  if (*there && (*there)->type == os::FileType::folder) return false;
  if (*there) {
    if (os::Folder::open(path)) return false;  // a link to a folder that somebody placed there
    return fail(Code::exists, "something that is no folder is in the way");
  }
  CAIRN_TRY(place->folder.make_folder(place->name));
  return true;
}

Status restore_attributes(const std::string& path, const RestoredAttributes& about) {
  auto folder = os::Folder::open(path);
  if (!folder) return fail(std::move(folder.error()));
  return checked(folder->apply(attributes_of(about)));
}

void restore_flags(const std::string& path, uint32_t flags) {
  auto place = os::open_parent(path);
  if (place) place->folder.set_flags(place->name, flags);
}

void make_changeable(const std::string& path) {
  auto place = os::open_parent(path);
  if (!place) return;
  const uint32_t flags = place->folder.flags(place->name);
  constexpr uint32_t kInTheWay = os::kImmutableFlag | os::kAppendOnlyFlag;
  if ((flags & kInTheWay) != 0) place->folder.set_flags(place->name, flags & ~kInTheWay);
}

Status make_hard_link(const std::string& existing, const std::string& path) {
  auto from = os::open_parent(existing);
  if (!from) return fail(std::move(from.error()));
  auto to = os::open_parent(path);
  if (!to) return fail(std::move(to.error()));
  auto old = look(*from);
  if (!old) return fail(std::move(old.error()));
  auto there = look(*to);
  if (!there) return fail(std::move(there.error()));
  if (*old && *there && (*old)->device == (*there)->device && (*old)->inode == (*there)->inode) return {};
  CAIRN_TRY(clear(*to));
  return to->folder.make_link(to->name, from->folder, from->name);
}

Result<bool> restore_special(const std::string& path, const RestoredAttributes& about) {
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  auto there = look(*place);
  if (!there) return fail(std::move(there.error()));
  const os::FileType type = type_to(about.inode.type);
  if (*there && (*there)->type == type && (*there)->modified == about.inode.mtime) {
    if (type != os::FileType::symlink) return false;
    auto target = place->folder.read_link(place->name);
    if (target && *target == about.inode.inline_data) return false;
  }
  CAIRN_TRY(clear(*place));
  if (type == os::FileType::symlink) {
    CAIRN_TRY(place->folder.make_symlink(place->name, about.inode.inline_data));
  } else {
    CAIRN_TRY(place->folder.make_special(place->name, type, gnu_dev_major(about.inode.rdev),
                                         gnu_dev_minor(about.inode.rdev)));
  }
  CAIRN_TRY(checked(place->folder.apply(place->name, attributes_of(about))));
  return true;
}

Result<bool> same_file_there(const std::string& path, const RestoredAttributes& about) {
  auto place = os::open_parent(path);
  if (!place)
    return place.error().code == Code::not_found ? Result<bool>(false) : Result<bool>(fail(std::move(place.error())));
  auto there = look(*place);
  if (!there) return fail(std::move(there.error()));
  return *there && (*there)->type == os::FileType::regular && (*there)->size == about.inode.size &&
         (*there)->modified == about.inode.mtime;
}

Result<std::optional<LocalState>> local_state(const std::string& path) {
  auto place = os::open_parent(path);
  if (!place && place.error().code == Code::not_found) return std::optional<LocalState>();
  if (!place) return fail(std::move(place.error()));
  auto there = look(*place);
  if (!there) return fail(std::move(there.error()));
  if (!*there) return std::optional<LocalState>();
  return std::optional(
      LocalState{.type = type_from((*there)->type), .size = (*there)->size, .mtime = (*there)->modified});
}

Status restore_metadata(const std::string& path, const RestoredAttributes& about) {
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  return checked(place->folder.apply(place->name, attributes_of(about)));
}

Result<std::vector<std::string>> names_in(const std::string& path) {
  auto folder = os::Folder::open(path);
  if (!folder) return fail(std::move(folder.error()));
  std::vector<std::string> names;
  for (;;) {
    auto entry = folder->next();
    if (!entry) return fail(std::move(entry.error()));
    if (!*entry) return names;
    names.push_back(std::move((*entry)->name));
  }
}

namespace {

Status remove_below(const os::Folder& parent, const std::string& name, size_t depth) {
  if (depth > volume::kMaxPathDepth) return fail(Code::too_large, "folders are nested too deeply");
  auto info = parent.info(name);
  if (!info) return fail(std::move(info.error()));
  if (info->type != os::FileType::folder) return parent.remove(name);
  auto folder = parent.open_folder(name);
  if (!folder) return fail(std::move(folder.error()));
  std::vector<std::string> names;  // first: what is removed may not be stepped over
  for (;;) {
    auto entry = folder->next();
    if (!entry) return fail(std::move(entry.error()));
    if (!*entry) break;
    names.push_back(std::move((*entry)->name));
  }
  for (const std::string& child : names) CAIRN_TRY(remove_below(*folder, child, depth + 1));
  return parent.remove_folder(name);
}

bool all_zero(ByteView bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

}  // namespace

Status remove_all(const std::string& path) {
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  return remove_below(place->folder, place->name, 0);
}

Result<bool> has_content(const std::string& path, const ExpectedContent& expected, const content::VolumeKeys& keys) {
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  auto file = place->folder.open_file(place->name);
  if (!file) return fail(std::move(file.error()));
  auto info = file->info();
  if (!info) return fail(std::move(info.error()));
  if (info->size != expected.size) return false;
  Bytes block;
  const auto read = [&](uint64_t offset, size_t length) -> Result<bool> {
    block.resize(length);
    auto got = file->read_at(offset, block);
    if (!got) return fail(std::move(got.error()));
    return *got == length;
  };
  if (expected.extents.empty() && expected.size <= kInlineFileSize) {
    auto all = read(0, expected.size);
    if (!all || !*all) return all;
    const size_t given = expected.inline_data.size();
    return as_text(ByteView(block).first(given)) == expected.inline_data && all_zero(ByteView(block).subspan(given));
  }
  uint64_t at = 0;
  for (size_t i = 0; i <= expected.extents.size(); ++i) {
    const uint64_t upto = i < expected.extents.size() ? expected.extents[i].offset : expected.size;
    while (at < upto) {  // a hole: zeros, or a hole here too
      auto data = file->next_data(at);
      if (!data) return fail(std::move(data.error()));
      if (!*data || (*data)->offset >= upto) break;
      at = std::max(at, (*data)->offset);
      const size_t length = std::min<uint64_t>({kMiB, upto - at, (*data)->offset + (*data)->length - at});
      auto all = read(at, length);
      if (!all || !*all) return all;
      if (!all_zero(block)) return false;
      at += length;
    }
    if (i == expected.extents.size()) break;
    const volume::Extent& extent = expected.extents[i];
    if (extent.chunk_offset != 0) return false;  // a part of a chunk has no name
    auto all = read(extent.offset, extent.length);
    if (!all || !*all) return all;
    if (content::hashed_chunk_id(keys, content::ChunkType::data, block) != extent.chunk) return false;
    at = extent.end();
  }
  return true;
}

Status restore_small_file(const std::string& path, ByteView content, const RestoredAttributes& about) {
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  auto file = place->folder.make_file(place->name, false);
  if (!file) return fail(std::move(file.error()));
  Status done = file->write_at(0, content);
  if (done) done = file->truncate(about.inode.size);
  if (done) done = checked(file->commit(attributes_of(about)));
  if (!done) {
    if (auto gone = file->discard(); !gone) return fail(std::move(gone.error()));
  }
  return done;
}

struct PartFile::Open {
  os::Place place;
  os::TargetFile file;
};

PartFile::PartFile(env::Disk& disk, std::unique_ptr<Open> open, PartRecord record, uint64_t size, uint64_t synced)
    : disk_(disk), open_(std::move(open)), record_(std::move(record)), size_(size), synced_(synced), reached_(synced) {}

PartFile::~PartFile() {
  // Not finished: what was synced stays for the next run, if that is to find it again; else nothing stays.
  if (open_ && synced_ == 0) (void)open_->file.discard();
}

Result<std::unique_ptr<PartFile>> PartFile::open(env::Disk& disk, const std::string& path, PartRecord record,
                                                 uint64_t size) {
  uint64_t synced = 0;
  bool recorded = false;
  if (size >= kResumableFile) {
    if (auto text = env::read_file(disk, record.path, 256); text) {
      recorded = true;
      const std::string_view words = as_text(*text);
      if (words.starts_with(record.key + " ")) {
        std::from_chars(words.data() + record.key.size() + 1, words.data() + words.size(), synced);
      }
    }
  }
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  const bool resume = synced > 0;
  auto file = place->folder.make_file(place->name, resume);
  if (!file) return fail(std::move(file.error()));
  if (resume) {
    auto info = file->info();
    if (!info) return fail(std::move(info.error()));
    if (info->size < synced || size < synced) synced = 0;  // somebody took it away
    CAIRN_TRY(file->truncate(synced));                     // also the room that was made for more
  }
  if (recorded && synced == 0) {
    CAIRN_TRY(disk.remove(record.path));
    CAIRN_TRY(disk.sync_dir(record.path.substr(0, record.path.rfind('/'))));
  }
  auto open = std::make_unique<Open>(std::move(*place), std::move(*file));
  return std::unique_ptr<PartFile>(new PartFile(disk, std::move(open), std::move(record), size, synced));
}

bool PartFile::take_on(uint64_t offset, uint64_t end) {
  if (size_ >= kResumableFile && (offset != reached_ || (end > allocated_ && room_ahead_))) return false;
  reached_ = end;
  return true;
}

// Room that turns out to be a hole, or more than the disk has, is given back; where the file system cannot do that
// (vfat), none is made.
Status PartFile::make_room(uint64_t offset, uint64_t end) {
  const os::TargetFile& file = open_->file;
  const uint64_t skipped = std::exchange(reached_, end);
  if (offset > skipped) {
    room_ahead_ = false;  // nobody knows where the next hole is
    if (allocated_ > skipped) CAIRN_TRY(file.punch_hole(skipped, std::min(offset, allocated_) - skipped));
  }
  if (end <= allocated_ || !room_ahead_) return {};
  const uint64_t upto = std::min(size_, offset + kRoomStep);
  if (file.punch_hole(offset, upto - offset) && file.allocate(offset, upto - offset)) {
    allocated_ = upto;
  } else {
    room_ahead_ = false;
    (void)file.punch_hole(offset, upto - offset);  // it may have got a part; the writes will tell what is wrong
  }
  return {};
}

Status PartFile::write(uint64_t offset, ByteView bytes) const {
  // What is as large as this is synced on the way: it goes to the disk at once, and pushes nothing out of memory.
  const bool large = size_ >= kResumableFile;
  return large ? open_->file.write_past_cache(offset, bytes) : open_->file.write_at(offset, bytes);
}

Status PartFile::keep(uint64_t offset) {
  CAIRN_TRY(open_->file.sync());
  CAIRN_TRY(env::write_file(disk_, record_.path, as_bytes(fmt::format("{} {}", record_.key, offset))));
  synced_ = offset;
  return {};
}

Status PartFile::finish(const RestoredAttributes& about) {
  if (reached_ < allocated_) CAIRN_TRY(open_->file.punch_hole(reached_, allocated_ - reached_));
  CAIRN_TRY(open_->file.truncate(size_));
  CAIRN_TRY(checked(open_->file.commit(attributes_of(about))));
  open_.reset();
  if (auto gone = disk_.remove(record_.path); !gone && gone.error().code != Code::not_found) return gone;
  return {};
}

}  // namespace cairn::client
