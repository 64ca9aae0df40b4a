#include "client/local_files.h"

#include <grp.h>
#include <pwd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <climits>

#include "os/files.h"

namespace cairn::client {

volume::FileType type_from(os::FileType type) {
  switch (type) {
    case os::FileType::folder:
      return volume::FileType::directory;
    case os::FileType::symlink:
      return volume::FileType::symlink;
    case os::FileType::fifo:
      return volume::FileType::fifo;
    case os::FileType::socket:
      return volume::FileType::socket;
    case os::FileType::character_device:
      return volume::FileType::character_device;
    case os::FileType::block_device:
      return volume::FileType::block_device;
    case os::FileType::regular:
    case os::FileType::unknown:
      break;
  }
  return volume::FileType::file;
}

uint64_t device_number(const os::FileInfo& info) {
  return gnu_dev_makedev(info.device_major, info.device_minor);
}

const std::string& OwnerNames::user(uint32_t id) {
  auto [at, is_new] = users_.try_emplace(id);
  if (is_new) {
    passwd entry{};
    passwd* found = nullptr;
    char buffer[4096];
    if (getpwuid_r(id, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) at->second = found->pw_name;
  }
  return at->second;
}

const std::string& OwnerNames::group(uint32_t id) {
  auto [at, is_new] = groups_.try_emplace(id);
  if (is_new) {
    ::group entry{};
    ::group* found = nullptr;
    char buffer[4096];
    if (getgrgid_r(id, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) at->second = found->gr_name;
  }
  return at->second;
}

namespace {

WalkEvent failure(std::string path, Error error) {
  WalkEvent event{.kind = WalkEvent::Kind::failed, .entry = {}, .error = std::move(error)};
  event.entry.path = std::move(path);
  return event;
}

std::string below(const std::string& path, const std::string& name) {
  return path.ends_with('/') ? path + name : path + "/" + name;
}

}  // namespace

struct TreeWalk::Level {
  os::Folder folder;
  LocalEntry entry;
};

struct TreeWalk::Names : OwnerNames {};

TreeWalk::TreeWalk(std::string root, std::string name)
    : root_(std::move(root)), name_(std::move(name)), names_(std::make_unique<Names>()) {}
TreeWalk::~TreeWalk() = default;

// Looks at one entry of `parent`; a folder is entered, a small file is read.
void TreeWalk::visit(const void* parent_folder, const std::string& own_name, const std::string& path,
                     const std::string& shown_name, std::vector<WalkEvent>& events) {
  const auto& parent = *static_cast<const os::Folder*>(parent_folder);
  auto info = parent.info(own_name);
  if (!info) {
    events.push_back(failure(path, std::move(info.error())));
    return;
  }
  LocalEntry entry{.path = path, .name = shown_name};
  take_over(*info, entry);
  if (info->born != 0) entry.btime = info->born;
  entry.owner = names_->user(entry.uid);
  entry.group = names_->group(entry.gid);
  if (info->type == os::FileType::symlink) {
    auto target = parent.read_link(own_name);
    if (!target) {
      events.push_back(failure(path, std::move(target.error())));
      return;
    }
    entry.target = std::move(*target);
  }
  if (info->type == os::FileType::folder) {
    auto folder = parent.open_folder(own_name);
    if (!folder) {
      events.push_back(failure(path, std::move(folder.error())));
      return;
    }
    auto extended = folder->extended();
    if (extended) {
      for (auto& attribute : *extended) entry.xattrs.push_back({std::move(attribute.name), std::move(attribute.value)});
    } else if (extended.error().code != Code::unsupported) {
      events.push_back(failure(path, std::move(extended.error())));
    }
    events.push_back({.kind = WalkEvent::Kind::enter, .entry = entry});
    stack_.push_back(std::make_unique<Level>(std::move(*folder), std::move(entry)));
    return;
  }
  auto extended = parent.extended(own_name);
  if (extended) {
    for (auto& attribute : *extended) entry.xattrs.push_back({std::move(attribute.name), std::move(attribute.value)});
  } else if (extended.error().code != Code::unsupported) {
    events.push_back(failure(path, std::move(extended.error())));
  }
  if (info->type == os::FileType::regular && info->size <= kSmallFile && info->allocated >= info->size &&
      info->size > 0) {
    auto file = parent.open_file(own_name);
    if (!file) {
      events.push_back(failure(path, std::move(file.error())));
      return;
    }
    Bytes content(info->size);
    auto got = file->read_at(0, content);
    if (got && *got == content.size()) {
      loaded_ += content.size();
      entry.content = std::move(content);
    }  // else it changes just now: it is read, and that noticed, as larger files are
  } else if (info->type == os::FileType::regular && info->size == 0) {
    entry.content = Bytes{};
  }
  events.push_back({.kind = WalkEvent::Kind::entry, .entry = std::move(entry)});
}

std::vector<WalkEvent> TreeWalk::next() {
  std::vector<WalkEvent> events;
  loaded_ = 0;
  if (!started_) {
    started_ = true;
    auto place = os::open_parent(root_);
    if (!place) {
      events.push_back(failure(root_, std::move(place.error())));
      return events;
    }
    visit(&place->folder, place->name, root_, name_, events);
  }
  while (!stack_.empty() && events.size() < kWalkBatch && loaded_ < kWalkBatchBytes) {
    Level& level = *stack_.back();
    auto entry = level.folder.next();
    if (!entry) events.push_back(failure(level.entry.path, std::move(entry.error())));
    if (!entry || !*entry) {
      WalkEvent leave{.kind = WalkEvent::Kind::leave, .entry = std::move(level.entry)};
      stack_.pop_back();
      events.push_back(std::move(leave));
      continue;
    }
    const std::string name = std::move((*entry)->name);
    visit(&level.folder, name, below(level.entry.path, name), name, events);
  }
  return events;
}

namespace {

void add_size(const os::Folder& parent, const std::string& name, TreeSize& total, size_t depth) {
  auto info = parent.info(name);
  if (!info) return;
  if (info->type != os::FileType::folder) {
    ++total.files;
    if (info->type == os::FileType::regular) total.bytes += info->size;
    return;
  }
  if (depth > volume::kMaxPathDepth) return;
  auto folder = parent.open_folder(name);
  if (!folder) return;
  for (;;) {
    auto entry = folder->next();
    if (!entry || !*entry) return;
    add_size(*folder, (*entry)->name, total, depth + 1);
  }
}

}  // namespace

TreeSize tree_size(const std::string& root) {
  TreeSize total;
  auto place = os::open_parent(root);
  if (place) add_size(place->folder, place->name, total, 0);
  return total;
}

Result<volume::FileType> type_of(const std::string& path) {
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  auto info = place->folder.info(place->name);
  if (!info) return fail(std::move(info.error()));
  return type_from(info->type);
}

std::string base_name_of(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.pop_back();
  std::string name = trimmed.substr(trimmed.rfind('/') + 1);  // npos + 1 is 0
  if (name != "." && name != ".." && !name.empty()) return name;
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return "";
  name = resolved;
  return name.substr(name.rfind('/') + 1);
}

struct LocalReader::Open {
  os::SourceFile file;
};

LocalReader::LocalReader(std::unique_ptr<Open> open) : open_(std::move(open)) {}
LocalReader::~LocalReader() = default;

Result<std::unique_ptr<LocalReader>> LocalReader::open(const std::string& path) {
  auto place = os::open_parent(path);
  if (!place) return fail(std::move(place.error()));
  auto file = place->folder.open_file(place->name);
  if (!file) return fail(std::move(file.error()));
  file->will_read_once();
  return std::unique_ptr<LocalReader>(new LocalReader(std::make_unique<Open>(std::move(*file))));
}

Result<std::optional<LocalReader::Piece>> LocalReader::read(uint64_t offset, size_t most) {
  auto run = open_->file.next_data(offset);
  if (!run) return fail(std::move(run.error()));
  if (!*run) {  // a hole up to the end, or the end
    auto info = open_->file.info();
    if (!info) return fail(std::move(info.error()));
    if (info->size <= offset) return std::optional<Piece>();
    return std::optional<Piece>(Piece{.offset = offset, .bytes = {}, .hole = info->size - offset});
  }
  if ((*run)->offset > offset)
    return std::optional<Piece>(Piece{.offset = offset, .bytes = {}, .hole = (*run)->offset - offset});
  const uint64_t left = (*run)->offset + (*run)->length - offset;
  Buffer bytes(std::min<uint64_t>(most, left));
  auto got = open_->file.read_at(offset, bytes.span());
  if (!got) return fail(std::move(got.error()));
  if (*got == 0) return std::optional<Piece>();
  return std::optional<Piece>(Piece{.offset = offset, .bytes = bytes.slice(0, *got), .hole = 0});
}

Result<LocalReader::Stamp> LocalReader::stamp() const {
  auto info = open_->file.info();
  if (!info) return fail(std::move(info.error()));
  return Stamp{.size = info->size, .mtime = info->modified, .ctime = info->changed};
}

}  // namespace cairn::client
