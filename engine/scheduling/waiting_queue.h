#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/scheduling/group.h"

namespace longhaul {

// Who is next. Of each client only the first group competes (largest priority, then earliest); among those the largest
// priority goes first, where a client that is not served gains one every kAgeing seconds; then the client that has had
// the fewest row-tokens computed, so that a greedy one cannot starve another; then the earliest. Owns no group. One
// thread.
class WaitingQueue {
 public:
  static constexpr double kAgeing = 10;  // seconds

  // What takes memory may throw std::bad_alloc; then nothing has changed.

  // A client's request arrives, and is over: between the two the client is known.
  void Arrive(const Group& group);
  void Depart(const Group& group);

  // Waits from now on, since `group.queued_since`. REQUIRES: it has arrived.
  void Add(Group& group);
  // Does not wait any more, if it did.
  void Remove(Group& group);

  // The groups that compete, the next one first. Valid until the next call; takes no memory.
  const std::vector<Group*>& Ranked(double now);

  // A group of the client was admitted.
  void Served(const std::string& client, double now) { clients_.at(client).last_served = now; }
  // Row-tokens of the client were computed.
  void Charge(const std::string& client, int64_t row_tokens) { clients_.at(client).charged += row_tokens; }

  int64_t size() const { return size_; }

 private:
  struct Client {
    std::map<std::pair<int64_t, uint64_t>, Group*> groups;  // by (-priority, order)
    int64_t n_groups = 0;                                   // that have arrived and not departed
    double last_served = 0;
    int64_t charged = 0;  // row-tokens; who comes new begins level with the least of the others
  };

  struct Candidate {
    int64_t level;    // of priority, ageing included
    int64_t charged;  // of its client
    Group* group;
  };

  static std::pair<int64_t, uint64_t> KeyOf(const Group& group) { return {-int64_t{group.priority}, group.order}; }

  std::map<std::string, Client> clients_;
  // Of Ranked: there is room for a group of each client.
  std::vector<Candidate> candidates_;
  std::vector<Group*> ranked_;
  int64_t size_ = 0;
};

}  // namespace longhaul
