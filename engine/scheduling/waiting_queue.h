#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/scheduling/group.h"

namespace longhaul {

// Orders the groups that wait for admission. Of each client only the first group competes (largest priority, then
// earliest). Among those the largest priority goes first, which grows by one for each kAgeing seconds that the client
// has not been served; then the client with the fewest row-tokens computed, so that none starves the others; then the
// earliest. Owns no group. One thread.
class WaitingQueue {
 public:
  static constexpr double kAgeing = 10;  // seconds

  // Arrive and Add may throw std::bad_alloc; then nothing has changed.

  // A client's request arrives, and is over: between the two the client is known.
  void Arrive(const Group& group);
  void Depart(const Group& group);

  // Adds a group that waits since `group.queued_since`. REQUIRES: it has arrived.
  void Add(Group& group);
  // Removes a group, if it waits.
  void Remove(Group& group);

  // The groups that compete, best first. Valid until the next call; takes no memory.
  const std::vector<Group*>& Ranked(double now);

  // Notes that a group of the client was admitted at `now`, seconds.
  void Served(const std::string& client, double now) { clients_.at(client).last_served = now; }
  // Notes that so many row-tokens of the client were computed.
  void Charge(const std::string& client, int64_t row_tokens) { clients_.at(client).charged += row_tokens; }

  int64_t size() const { return size_; }

 private:
  struct Client {
    std::map<std::pair<int64_t, uint64_t>, Group*> groups;  // by (-priority, order)
    int64_t n_groups = 0;                                   // that have arrived and not departed
    double last_served = 0;
    int64_t charged = 0;  // row-tokens; a new client starts with the minimum of the others
  };

  struct Candidate {
    int64_t level;    // of priority, ageing included
    int64_t charged;  // of its client
    Group* group;
  };

  static std::pair<int64_t, uint64_t> KeyOf(const Group& group) { return {-int64_t{group.priority}, group.order}; }

  std::map<std::string, Client> clients_;
  // Used by Ranked; reserved for a group of each client.
  std::vector<Candidate> candidates_;
  std::vector<Group*> ranked_;
  int64_t size_ = 0;
};

}  // namespace longhaul
