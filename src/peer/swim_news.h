#pragma once
// NewsQueue: what is passed on to others, piece by piece, on whatever message goes out next. Pure.

#include <map>
#include <string>
#include <vector>

#include "base/ids.h"

namespace cairn::peer {

class NewsQueue {
 public:
  // `subject`: newer news of the same subject replace older ones. `from`: who told it (zero: this node), and so knows.
  void add(std::string subject, std::string encoded, const NodeId& from);
  void drop(const std::string& subject);
  // All that this node told.
  void drop_from(const NodeId& node);
  // What fits in a message to this node, what was sent least first. Each piece is sent `limit` times in all.
  std::vector<std::string> take(const NodeId& to, size_t limit, size_t bytes);
  bool empty() const { return order_.empty(); }
  size_t size() const { return order_.size(); }

 private:
  struct Item {
    std::string subject, encoded;
    NodeId from;
  };
  using Place = std::pair<size_t, uint64_t>;  // times sent; younger first
  std::map<Place, Item> order_;
  std::map<std::string, Place> places_;  // by subject
  uint64_t next_ = UINT64_MAX;
};

}  // namespace cairn::peer
