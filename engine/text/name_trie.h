#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/token.h"

namespace longhaul {

// A trie of token names, to find the longest one at a place of a text.
class NameTrie {
 public:
  // REQUIRES: `name` is not empty.
  void Add(std::string_view name, TokenId id);

  struct Found {
    TokenId id = -1;  // -1: none
    size_t length = 0;
  };
  // The longest name that `text` begins with.
  Found Longest(std::string_view text) const;

  bool empty() const { return ids_.size() == 1; }

 private:
  static uint64_t Edge(uint32_t node, char byte) {
    return static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(byte);
  }

  std::unordered_map<uint64_t, uint32_t> child_;  // by Edge
  std::vector<TokenId> ids_ = {-1};               // [nodes]; -1: no name ends here
  bool begins_[256] = {};                         // whether a name begins with this byte
};

}  // namespace longhaul
