#include "peer/swim_news.h"

#include "peer/limits.h"

namespace cairn::peer {

void NewsQueue::drop(const std::string& subject) {
  const auto found = places_.find(subject);
  if (found == places_.end()) return;
  order_.erase(found->second);
  places_.erase(found);
}

void NewsQueue::drop_from(const NodeId& node) {
  for (auto next = order_.begin(); next != order_.end();) {
    if (next->second.from != node) {
      ++next;
      continue;
    }
    places_.erase(next->second.subject);
    next = order_.erase(next);
  }
}

void NewsQueue::add(std::string subject, std::string encoded, const NodeId& from) {
  drop(subject);
  if (order_.size() >= kMaxNewsQueue) drop(std::string(std::prev(order_.end())->second.subject));
  const Place place{0, next_--};
  places_[subject] = place;
  order_.emplace(place, Item{std::move(subject), std::move(encoded), from});
}

std::vector<std::string> NewsQueue::take(const NodeId& to, size_t limit, size_t bytes) {
  std::vector<std::string> taken;
  std::vector<std::pair<Place, Item>> again;
  size_t left = bytes;
  size_t too_large = 0;
  for (auto next = order_.begin(); next != order_.end() && taken.size() < static_cast<size_t>(kMaxNewsPerMessage);) {
    const size_t size = next->second.encoded.size() + 8;
    if (next->second.from == to || (size > left && !taken.empty())) {
      // Smaller ones behind it may still fit, but a long queue is not searched for them.
      if (size > left && ++too_large > kSkippedNews) break;
      ++next;
      continue;
    }
    left -= std::min(size, left);
    taken.push_back(next->second.encoded);
    const Place place{next->first.first + 1, next->first.second};
    if (place.first < limit) {
      again.emplace_back(place, std::move(next->second));
    } else {
      places_.erase(next->second.subject);
    }
    next = order_.erase(next);
    if (left == 0) break;
  }
  for (auto& [place, item] : again) {
    places_[item.subject] = place;
    order_.emplace(place, std::move(item));
  }
  return taken;
}

}  // namespace cairn::peer
