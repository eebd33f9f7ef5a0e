#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/base/token.h"
#include "engine/cache/block_pool.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// The identity of a beginning of a text, cut at a border of blocks: a hash chained over (scope, plan, the tokens of its
// blocks). Equal ones stand for equal keys and values, because a token's keys and values depend on nothing else.
struct PrefixHash {
  uint64_t a = 0, b = 0;
  bool operator==(const PrefixHash&) const = default;
};

// Maps a chained prefix hash to the block that holds its last tokens, so that a beginning that was read before is not
// computed again. Only full blocks; never across scopes or plans; compared token by token on a hit. One thread.
class PrefixCache {
 public:
  // `pool` is not owned and outlives it; what it evicts is forgotten here.
  explicit PrefixCache(BlockPool& pool);

  // The beginning of no tokens. `scope`: who may share: the identity of the client, 0 for all.
  static PrefixHash Empty(uint64_t scope, const Fingerprint& plan);

  // Finds the leading blocks of `tokens`, at most `max_blocks`, and holds each for the caller. `hash`: of no tokens;
  // becomes that of what was found.
  std::vector<BlockId> Take(std::span<const TokenId> tokens, int64_t max_blocks, PrefixHash& hash);
  // How many Take would find; holds nothing.
  int64_t Peek(std::span<const TokenId> tokens, int64_t max_blocks, PrefixHash hash) const;

  // Offers a full block that the caller holds. tokens: all of its. `hash`: of the beginning before it; becomes
  // that of the beginning with it. If another block holds the same, that one stays the known one.
  void Publish(BlockId block, std::span<const TokenId> tokens, PrefixHash& hash);

  // Blocks that were forgotten for want of room.
  int64_t evictions() const { return evictions_; }
  // Blocks whose content is known, held ones included.
  int64_t size() const { return static_cast<int64_t>(known_.size()); }

 private:
  struct Entry {
    PrefixHash before, with;
  };
  struct HashOf {
    size_t operator()(const PrefixHash& hash) const { return static_cast<size_t>(hash.a); }
  };

  static PrefixHash Next(const PrefixHash& hash, std::span<const TokenId> tokens);
  // The block that holds `tokens` behind `before`; -1: none.
  BlockId Find(const PrefixHash& before, const PrefixHash& with, std::span<const TokenId> tokens) const;
  // The leading `max_blocks` blocks of `tokens`, or as many as it fills.
  int64_t FullBlocks(std::span<const TokenId> tokens, int64_t max_blocks) const;
  std::span<const TokenId> TokensOf(std::span<const TokenId> tokens, int64_t block) const {
    return tokens.subspan(static_cast<size_t>(block) * block_tokens_, block_tokens_);
  }
  void Forget(BlockId block);

  BlockPool& pool_;
  const size_t block_tokens_;
  std::unordered_map<PrefixHash, BlockId, HashOf> known_;
  // Of each block; its own only where known_ says so.
  std::vector<Entry> entries_;
  std::vector<TokenId> tokens_;  // [blocks, block_tokens_]
  int64_t evictions_ = 0;
};

}  // namespace longhaul
