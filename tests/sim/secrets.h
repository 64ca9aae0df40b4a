#pragma once
// Secrets: finds bytes that must never leave a client: plaintext and keys.

#include <bitset>
#include <map>

#include "base/bytes.h"

namespace cairn::sim {

class Secrets {
 public:
  // At least 8 bytes.
  void add(std::string name, ByteView bytes) {
    CAIRN_ASSERT(bytes.size() >= 8);
    longest_ = std::max(longest_, bytes.size());
    begins_.set(read_le<uint16_t>(bytes.data()));
    needles_.emplace_back(std::move(name), to_bytes(bytes));
  }
  // The name of the first secret in there.
  const std::string* find(ByteView bytes) const {
    for (size_t i = 0; i + 8 <= bytes.size(); ++i) {
      if (!begins_.test(read_le<uint16_t>(bytes.data() + i))) continue;
      for (const auto& [name, needle] : needles_) {
        if (bytes.size() - i >= needle.size() && equal(bytes.subspan(i, needle.size()), needle)) return &name;
      }
    }
    return nullptr;
  }
  // The same for a run that continues from one call with this key to the next.
  const std::string* find(std::pair<uint32_t, uint32_t> run, ByteView bytes) {
    Bytes& tail = tails_[run];
    Bytes border = tail;
    append(border, bytes.first(std::min(bytes.size(), longest_)));
    const std::string* found = find(ByteView(border));
    if (found == nullptr) found = find(bytes);
    append(tail, bytes.subspan(bytes.size() - std::min(bytes.size(), longest_)));
    if (tail.size() > longest_) tail.erase(tail.begin(), tail.end() - static_cast<ptrdiff_t>(longest_));
    return found;
  }

 private:
  std::vector<std::pair<std::string, Bytes>> needles_;
  std::bitset<65536> begins_;
  std::map<std::pair<uint32_t, uint32_t>, Bytes> tails_;
  size_t longest_ = 0;
};

}  // namespace cairn::sim
