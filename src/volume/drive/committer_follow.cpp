// Following a head that somebody else has moved: our edits upon it, and what others must forget.

#include "volume/drive/committer.h"

namespace cairn::volume {

// What one step from head to head brings.
struct Committer::Following {
  HeadPtr from, to;
  std::vector<Change> changes;
  std::set<std::pair<InodeId, Change::Kind>> known;  // of content and attributes, in `changes`
  std::vector<InodeId> removed;                      // inodes
  EditMap edits;                                     // ours upon `to`
  Figures figures;
  std::vector<std::pair<InodeId, EditMap>> orphans;  // open here and gone there

  void add(Change::Kind kind, InodeId inode) {
    if (known.emplace(inode, kind).second) changes.push_back({.kind = kind, .inode = inode, .name = {}});
  }
  void note(const std::string& key, const std::optional<std::string>& before, const std::optional<std::string>& after) {
    const auto parsed = parse_inode_key(key);
    if (!parsed || before == after) return;
    switch (parsed->kind) {
      case ItemKind::entry:
        changes.push_back({.kind = Change::Kind::entry, .inode = parsed->inode, .name = std::string(parsed->name)});
        break;
      case ItemKind::extent:
        add(Change::Kind::content, parsed->inode);
        break;
      case ItemKind::xattr:
        add(Change::Kind::attributes, parsed->inode);
        break;
      case ItemKind::inode: {
        if (!after) removed.push_back(parsed->inode);
        add(Change::Kind::attributes, parsed->inode);
        const auto old = before ? decode_inode(*before) : fail(Code::not_found);
        const auto now = after ? decode_inode(*after) : fail(Code::not_found);
        if (old && now && (old->version != now->version || old->size != now->size))
          add(Change::Kind::content, parsed->inode);
        break;
      }
    }
  }
};

env::Task<Status> Committer::follow() {
  Following following{.from = pending_.base(),
                      .to = host_.current(),
                      .changes = {},
                      .known = {},
                      .removed = {},
                      .edits = {},
                      .figures = {},
                      .orphans = {}};
  // The roots stand still: only our own edits have to, and only for the merge.
  auto walked = co_await host_.tree().diff(following.from->root, following.to->root,
                                           [&](std::vector<Difference> differences) -> env::Task<Status> {
                                             for (const Difference& one : differences)
                                               following.note(one.key, one.before, one.after);
                                             co_return Status{};
                                           });
  if (!walked) co_return walked;
  auto status = co_await files_.exclusively([&]() -> env::Task<Status> {
    auto rebased = co_await rebase(following);
    co_return rebased;
  });
  if (!status) co_return status;
  for (const auto& [inode, kind] : following.known) {
    if (kind == Change::Kind::content && files_.content_changed) files_.content_changed(inode);
  }
  if (on_change_ && !following.changes.empty()) on_change_(std::move(following.changes));
  co_return Status{};
}

// Reads only: it may be broken off.
env::Task<Result<bool>> Committer::merge(Following& following) {
  EditMap& edits = following.edits;
  Figures& figures = following.figures;
  figures = pending_.figures();
  if (pending_.has_active()) {
    auto merged = co_await host_.merge_upon(following.from, following.to, &pending_.active());
    if (!merged) co_return fail(std::move(merged.error()));
    edits = std::move(merged->edits);
    figures.files += merged->files;
    figures.bytes += merged->bytes;
    for (const std::string& name : merged->conflict_names) {
      (void)name;
      ++counters_.conflicts;
    }
    for (const auto& [key, value] : pending_.active()) {
      const auto at = edits.find(key);
      if (at == edits.end()) {
        following.note(key, value, std::nullopt);
      } else if (at->second != value) {
        following.note(key, value, at->second);
      }
    }
    for (const auto& [key, value] : edits) {
      if (!pending_.active().contains(key)) following.note(key, std::nullopt, value);
    }
  }
  // What is open here and gone there lives on until it is closed.
  const std::vector<InodeId> removed = following.removed;
  for (const InodeId inode : removed) {
    const auto kept = edits.find(inode_key(inode));
    if (!files_.is_open(inode) || pending_.is_orphan(inode) || (kept != edits.end() && kept->second)) continue;
    const KeyRange range = range_of(inode);
    auto items = co_await pending_.items()->scan(range.first, range.last, SIZE_MAX);
    if (!items) co_return fail(std::move(items.error()));
    EditMap all;
    for (Item& item : *items) all.emplace(std::move(item.key), std::move(item.value));
    if (all.contains(inode_key(inode))) following.orphans.emplace_back(inode, std::move(all));
  }
  co_return true;
}

// While no operation that changes anything is under way.
env::Task<Status> Committer::rebase(Following& following) {
  if (pending_.base() != following.from) co_return Status{};  // it is another base now: again
  // Operations wait for this: not for ever, when the pool is gone just now.
  const Time deadline = world_.clock.now() + options_.timeout;
  auto merged = co_await env::with_deadline<bool>(world_.executor, world_.clock, deadline, merge(following));
  if (!merged) co_return fail(std::move(merged.error()));
  CAIRN_CO_TRY(co_await journal_.rebase(following.to, pending_.active(), following.edits, pending_.generation(),
                                        following.figures));
  for (auto& [inode, items] : following.orphans) files_.keep_open(inode, std::move(items));
  pending_.rebase(following.to, std::move(following.edits), following.figures);
  if (!pending_.has_active()) active_since_.reset();
  co_return Status{};
}

}  // namespace cairn::volume
