#include "engine/scheduling/waiting_queue.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace longhaul {

void WaitingQueue::Arrive(const Group& group) {
  if (candidates_.capacity() <= clients_.size()) candidates_.reserve(2 * clients_.size() + 1);
  if (ranked_.capacity() <= clients_.size()) ranked_.reserve(2 * clients_.size() + 1);
  const auto [entry, is_new] = clients_.try_emplace(group.client);
  Client& client = entry->second;
  ++client.n_groups;
  if (!is_new || clients_.size() == 1) return;
  client.charged = std::numeric_limits<int64_t>::max();
  for (const auto& [name, other] : clients_) client.charged = std::min(client.charged, other.charged);
}

void WaitingQueue::Depart(const Group& group) {
  const auto found = clients_.find(group.client);
  if (--found->second.n_groups == 0) clients_.erase(found);
}

void WaitingQueue::Add(Group& group) {
  clients_.at(group.client).groups.emplace(KeyOf(group), &group);
  ++size_;
}

void WaitingQueue::Remove(Group& group) {
  size_ -= static_cast<int64_t>(clients_.at(group.client).groups.erase(KeyOf(group)));
}

const std::vector<Group*>& WaitingQueue::Ranked(double now) {
  candidates_.clear();
  for (const auto& [name, client] : clients_) {
    if (client.groups.empty()) continue;
    Group* const group = client.groups.begin()->second;
    const double waited = now - std::max(group->queued_since, client.last_served);
    candidates_.push_back(
        {group->priority + static_cast<int64_t>(std::floor(std::max(0.0, waited) / kAgeing)), client.charged, group});
  }
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& x, const Candidate& y) {
    return std::tuple(-x.level, x.charged, x.group->order) < std::tuple(-y.level, y.charged, y.group->order);
  });
  ranked_.clear();
  for (const Candidate& candidate : candidates_) ranked_.push_back(candidate.group);
  return ranked_;
}

}  // namespace longhaul
