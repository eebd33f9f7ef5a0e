#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

namespace longhaul {

// A priority queue of (rank, place), lowest first, for many places and few ranks: a list of places for each rank and a
// heap of the ranks. (A heap of all places would touch memory all over for each of them.)
class RankQueue {
 public:
  struct Entry {
    int32_t rank, place;
  };

  bool empty() const { return ranks_.empty(); }

  void Push(int32_t rank, int32_t place) {
    Bucket& bucket = buckets_[rank];
    if (bucket.places.empty()) {
      ranks_.push_back(rank);
      std::push_heap(ranks_.begin(), ranks_.end(), std::greater<>());
    } else if (place < bucket.places.back()) {
      bucket.sorted = false;
    }
    bucket.places.push_back(place);
  }

  // REQUIRES: not empty.
  Entry Pop() {
    const int32_t rank = ranks_.front();
    Bucket& bucket = buckets_[rank];
    if (!bucket.sorted) {
      std::sort(bucket.places.begin() + static_cast<std::ptrdiff_t>(bucket.taken), bucket.places.end());
      bucket.sorted = true;
    }
    const int32_t place = bucket.places[bucket.taken++];
    if (bucket.taken == bucket.places.size()) {
      buckets_.erase(rank);
      std::pop_heap(ranks_.begin(), ranks_.end(), std::greater<>());
      ranks_.pop_back();
    }
    return {rank, place};
  }

 private:
  struct Bucket {
    std::vector<int32_t> places;
    size_t taken = 0;  // of `places`, from the front
    bool sorted = true;
  };
  std::unordered_map<int32_t, Bucket> buckets_;  // by rank
  std::vector<int32_t> ranks_;                   // a heap; each rank of buckets_ once
};

}  // namespace longhaul
