#include "client/local_source.h"

#include <algorithm>

#include "backup/limits.h"
#include "client/local_files.h"
#include "os/files.h"

namespace cairn::client {

namespace {

// https://bford.info/cachedir/
constexpr std::string_view kCacheTag = "CACHEDIR.TAG";
constexpr std::string_view kCacheHeader = "Signature: 8a477f597d28d172789f06886806bc55";

std::string below(const std::string& path, const std::string& name) {
  return path.ends_with('/') ? path + name : path + "/" + name;
}

// LocalReader under the interface of the backup room.
class OpenFile final : public backup::SourceFile {
 public:
  explicit OpenFile(std::unique_ptr<LocalReader> reader) : reader_(std::move(reader)) {}
  Result<std::optional<Piece>> read(uint64_t offset, size_t most) override {
    auto piece = reader_->read(offset, most);
    if (!piece) return fail(std::move(piece.error()));
    if (!*piece) return std::optional<Piece>();
    return std::optional(
        Piece{.offset = (*piece)->offset, .bytes = std::move((*piece)->bytes), .hole = (*piece)->hole});
  }
  Result<bool> changed_since(const backup::SourceEntry& entry) override {
    auto now = reader_->stamp();
    if (!now) return fail(std::move(now.error()));
    return now->size != entry.size || now->mtime != entry.mtime || now->ctime != entry.ctime;
  }

 private:
  std::unique_ptr<LocalReader> reader_;
};

class LocalSource final : public backup::Source {
 public:
  LocalSource(const backup::Targets& targets, ScanRules rules) : targets_(targets), rules_(std::move(rules)) {}

  std::vector<backup::ScanEvent> next() override {
    std::vector<backup::ScanEvent> events;
    if (!started_) {
      started_ = true;
      begin(events);
    }
    while (!stack_.empty() && events.size() < backup::kScanBatch) {
      Level& level = *stack_.back();
      if (level.at == level.names.size()) {
        stack_.pop_back();
        if (!stack_.empty()) events.push_back({.kind = backup::ScanEvent::Kind::leave, .entry = {}});
        continue;
      }
      const std::string& name = level.names[level.at++];
      const backup::TargetNode* target = nullptr;
      if (level.target != nullptr) target = level.target->below.at(name).get();
      visit(level, name, target, events);
    }
    return events;
  }

  void complete(std::span<backup::Detail> details) override {
    std::optional<os::Folder> folder;  // of the one before: neighbours are mostly in one
    std::string folder_path;
    OwnerNames names;
    for (backup::Detail& detail : details) {
      const std::string& path = detail.entry.path;
      const size_t slash = path.rfind('/');
      const std::string parent = slash == 0 ? "/" : path.substr(0, slash);
      if (!folder || folder_path != parent) {
        auto opened = os::Folder::open(parent);
        if (!opened) {
          detail.error = std::move(opened.error());
          folder.reset();
          continue;
        }
        folder.emplace(std::move(*opened));
        folder_path = parent;
      }
      detail.owner = names.user(detail.entry.uid);
      detail.group = names.group(detail.entry.gid);
      if (auto done = read_detail(*folder, path.substr(slash + 1), detail); !done) detail.error = done.error();
    }
  }

  Result<std::unique_ptr<backup::SourceFile>> open(const std::string& path) override {
    auto reader = LocalReader::open(path);
    if (!reader) return fail(std::move(reader.error()));
    return std::make_unique<OpenFile>(std::move(*reader));
  }

 private:
  struct Level {
    std::optional<os::Folder> folder;            // none: above the first target, where places are opened one by one
    std::string path;                            // on the machine
    const backup::TargetNode* target = nullptr;  // only what leads to targets is looked at
    std::optional<uint64_t> device;              // below a target
    std::vector<std::string> names;              // sorted
    size_t at = 0;
  };

  static Status read_detail(const os::Folder& folder, const std::string& name, backup::Detail& detail) {
    const backup::SourceEntry& entry = detail.entry;
    // The root of the file system has no name of its own.
    auto extended = name.empty() ? folder.extended() : folder.extended(name);
    if (extended) {
      for (auto& attribute : *extended)
        detail.xattrs.push_back({std::move(attribute.name), std::move(attribute.value)});
    } else if (extended.error().code != Code::unsupported) {
      return fail(std::move(extended.error()));
    }
    const bool in_one_go = entry.type == volume::FileType::file && entry.size <= backup::kSmallFile && !entry.holes;
    if (entry.type == volume::FileType::directory || (entry.type == volume::FileType::file && !in_one_go))
      detail.flags = name.empty() ? folder.flags() : folder.flags(name);
    if (entry.type == volume::FileType::symlink) {
      auto target = folder.read_link(name);
      if (!target) return fail(std::move(target.error()));
      detail.target = std::move(*target);
    }
    if (!in_one_go) return {};
    auto file = folder.open_file(name);
    if (!file) return fail(std::move(file.error()));
    detail.flags = file->flags();
    Bytes content(entry.size);
    auto got = file->read_at(0, content);
    if (!got) return fail(std::move(got.error()));
    content.resize(*got);
    auto now = file->info();
    if (!now) return fail(std::move(now.error()));
    detail.changed = now->size != entry.size || now->modified != entry.mtime || now->changed != entry.ctime;
    detail.content = std::move(content);
    return {};
  }

  static backup::ScanEvent failure(std::string path, Error error) {
    backup::ScanEvent event{.kind = backup::ScanEvent::Kind::failed, .entry = {}, .error = std::move(error)};
    event.entry.path = std::move(path);
    return event;
  }

  void begin(std::vector<backup::ScanEvent>& events) {
    const backup::TargetNode& root = targets_.root();
    auto level = std::make_unique<Level>();
    level->path = root.local;
    if (root.whole) {
      auto folder = os::Folder::open(root.local);
      auto info = folder ? folder->info() : Result<os::FileInfo>(fail(Error(folder.error())));
      if (!info) {
        events.push_back(failure(root.local, std::move(info.error())));
        return;
      }
      level->folder.emplace(std::move(*folder));
      level->device = info->device;
      if (auto listed = list(*level); !listed) {
        events.push_back(failure(root.local, std::move(listed.error())));
        return;
      }
    } else {
      level->target = &root;
      for (const auto& [name, target] : root.below) level->names.push_back(name);
    }
    stack_.push_back(std::move(level));
  }

  bool excluded(const std::string& path) const {
    return (!rules_.excludes.empty() && rules_.excludes.match(path)) ||
           (!rules_.iexcludes.empty() && rules_.iexcludes.match(path));
  }

  void visit(const Level& level, const std::string& name, const backup::TargetNode* target,
             std::vector<backup::ScanEvent>& events) {
    const std::string path = target != nullptr ? target->local : below(level.path, name);
    const bool on_the_way = target != nullptr && !target->whole;  // only named because of what is below it
    if (!on_the_way && excluded(path)) return;
    std::optional<os::Place> place;
    if (!level.folder) {
      auto opened = os::open_parent(path);
      if (!opened) {
        events.push_back(failure(path, std::move(opened.error())));
        return;
      }
      place.emplace(std::move(*opened));
    }
    const os::Folder& parent = place ? place->folder : *level.folder;
    const std::string& own_name = place ? place->name : name;
    auto info = parent.info(own_name);
    if (!info) {
      events.push_back(failure(path, std::move(info.error())));
      return;
    }
    if (rules_.one_file_system && level.device && info->device != *level.device) return;
    if (rules_.larger_than && info->type == os::FileType::regular && info->size > *rules_.larger_than) return;
    backup::ScanEvent event;
    event.entry = {.path = path, .name = name, .holes = info->allocated < info->size, .btime = info->born};
    take_over(*info, event.entry);
    if (info->type != os::FileType::folder) {
      if (on_the_way) {
        events.push_back(failure(path, {Code::bad_input, "is no folder"}));
        return;
      }
      events.push_back(std::move(event));
      return;
    }
    auto next = std::make_unique<Level>();
    next->path = path;
    if (on_the_way) {
      next->target = target;
      for (const auto& [child, ignored] : target->below) next->names.push_back(child);
    } else {
      next->device = level.device ? level.device : std::optional(info->device);
      auto folder = parent.open_folder(own_name);
      if (!folder) {
        events.push_back(failure(path, std::move(folder.error())));
        return;
      }
      next->folder.emplace(std::move(*folder));
      if (auto listed = list(*next); !listed) {
        events.push_back(failure(path, std::move(listed.error())));
        return;
      }
    }
    event.kind = backup::ScanEvent::Kind::enter;
    event.on_the_way = on_the_way;
    events.push_back(std::move(event));
    stack_.push_back(std::move(next));
  }

  Status list(Level& level) const {
    for (;;) {
      auto entry = level.folder->next();
      if (!entry) return fail(std::move(entry.error()));
      if (!*entry) break;
      level.names.push_back(std::move((*entry)->name));
    }
    std::ranges::sort(level.names);
    const auto holds = [&](std::string_view name, std::string_view header) {
      if (!std::ranges::binary_search(level.names, name)) return false;
      if (header.empty()) return true;
      auto file = level.folder->open_file(std::string(name));
      Bytes start(header.size());
      if (!file) return false;
      auto got = file->read_at(0, start);
      return got && *got == start.size() && as_text(start) == header;
    };
    if (rules_.exclude_caches && holds(kCacheTag, kCacheHeader)) level.names = {std::string(kCacheTag)};
    for (const ScanRules::Mark& mark : rules_.if_present) {
      if (holds(mark.name, mark.header)) level.names = {mark.name};
    }
    return {};
  }

  const backup::Targets& targets_;
  ScanRules rules_;
  bool started_ = false;
  std::vector<std::unique_ptr<Level>> stack_;
};

}  // namespace

Result<ScanRules::Mark> parse_mark(const std::string& text) {
  const size_t colon = text.find(':');
  ScanRules::Mark mark{.name = text.substr(0, colon),
                       .header = colon == std::string::npos ? std::string() : text.substr(colon + 1)};
  if (mark.name.empty() || mark.name.find('/') != std::string::npos)
    return fail(Code::bad_input, "'" + text + "' is no file name (use NAME or NAME:HEADER)");
  return mark;
}

std::unique_ptr<backup::Source> make_local_source(const backup::Targets& targets, ScanRules rules) {
  return std::make_unique<LocalSource>(targets, std::move(rules));
}

}  // namespace cairn::client
