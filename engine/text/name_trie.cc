#include "engine/text/name_trie.h"

namespace longhaul {

void NameTrie::Add(std::string_view name, TokenId id) {
  begins_[static_cast<unsigned char>(name[0])] = true;
  uint32_t node = 0;
  for (const char byte : name) {
    const auto [child, is_new] = child_.emplace(Edge(node, byte), static_cast<uint32_t>(ids_.size()));
    if (is_new) ids_.push_back(-1);
    node = child->second;
  }
  ids_[node] = id;
}

NameTrie::Found NameTrie::Longest(std::string_view text) const {
  Found longest;
  if (text.empty() || !begins_[static_cast<unsigned char>(text[0])]) return longest;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto child = child_.find(Edge(node, text[i]));
    if (child == child_.end()) break;
    node = child->second;
    if (ids_[node] >= 0) longest = {ids_[node], i + 1};
  }
  return longest;
}

}  // namespace longhaul
