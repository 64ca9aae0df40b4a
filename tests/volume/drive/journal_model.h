#pragma once
// What a drive must show after a crash: one of the states since the last fsync.

#include "volume/drive/machine.h"

namespace cairn::test {

using Tree = std::map<std::string, std::string>;  // path -> content, "/" for a directory

// The states that one drive's operations lead through: of names that no other machine changes.
class JournalModel {
 public:
  // An operation begins; `change` says what it makes of the tree.
  void begin(const std::function<void(Tree&)>& change) {
    Tree next = states_.back();
    change(next);
    states_.push_back(std::move(next));
  }
  // It was acknowledged; what was not may be there or not.
  void acknowledged() { done_ = states_.size() - 1; }
  // It was refused: nothing has changed.
  void refused() { states_.pop_back(); }
  void fsync_begins() { fsync_from_ = done_; }
  void fsynced() { synced_ = fsync_from_; }
  const Tree& now() const { return states_.back(); }

  // Whether `tree` is what may be left; afterwards that is the one state there is.
  // For a test that fails: what there is, and the states that would have done.
  std::string describe(const Tree& tree) const {
    const auto line = [](const Tree& one) {
      std::string text;
      for (const auto& [path, content] : one)
        text += fmt::format("{}:{}:{:x} ", path, content.size(), std::hash<std::string>{}(content) & 0xffff);
      return text + "\n";
    };
    std::string text = "found " + line(tree);
    for (size_t i = synced_; i < states_.size(); ++i) text += fmt::format("{} ", i) + line(states_[i]);
    return text;
  }
  bool settle(const Tree& tree, bool power) {
    for (size_t i = states_.size(); i-- > synced_;) {
      if (!matches(states_[i], tree, power)) continue;
      states_ = {tree};
      done_ = synced_ = fsync_from_ = 0;
      return true;
    }
    return false;
  }

 private:
  bool matches(const Tree& wanted, const Tree& got, bool torn) const {
    if (!torn || wanted == got) return wanted == got;
    if (wanted.size() != got.size()) return false;
    const Tree& synced = states_[synced_];
    for (const auto& [path, content] : wanted) {
      const auto at = got.find(path);
      if (at == got.end() || at->second.size() != content.size()) return false;
      if (at->second == content) continue;
      for (size_t i = 0; i < content.size(); ++i) {
        if (at->second[i] == content[i]) continue;
        // Bytes that a power loss took: none that were synced.
        if (at->second[i] != '\0' || was_synced(synced, path, i, content)) return false;
      }
    }
    return true;
  }
  // Whether the byte is what was synced: with its neighbours, since random bytes may be equal by chance.
  static bool was_synced(const Tree& synced, const std::string& path, size_t at, const std::string& wanted) {
    constexpr size_t kAround = 8;
    const auto file = synced.find(path);
    if (file == synced.end()) return false;
    const size_t first = at - std::min(at, kAround), last = std::min(at + kAround, wanted.size());
    if (file->second.size() < last) return false;
    return file->second.compare(first, last - first, wanted, first, last - first) == 0;
  }

  std::vector<Tree> states_ = {{}};
  size_t done_ = 0, synced_ = 0, fsync_from_ = 0;
};

}  // namespace cairn::test
