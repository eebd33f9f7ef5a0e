#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/base/token.h"
#include "engine/cache/block_pool.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// Identifies a prefix of whole blocks: a hash of 128 bits, chained over scope, plan and tokens. Equal prefixes have
// equal keys and values, because these depend on nothing else.
struct PrefixHash {
  uint64_t a = 0, b = 0;
  bool operator==(const PrefixHash&) const = default;
};

// Maps a chained prefix hash to the block that holds the last tokens of the prefix, so that a cached prefix is not
// computed again. Full blocks only, never across scopes or plans; a hit is compared token by token. One thread.
class PrefixCache {
 public:
  // `pool` is not owned and outlives it. Sets its on_evict: evicted blocks leave the cache.
  explicit PrefixCache(BlockPool& pool);

  // The hash of no tokens. `scope`: rows of different scopes share nothing; 0: one scope for all.
  static PrefixHash Empty(uint64_t scope, const Fingerprint& plan);

  // Finds the longest cached prefix of `tokens`, at most `max_blocks` blocks, and holds each block for the caller.
  // `hash`: of no tokens (Empty); becomes that of what was found.
  std::vector<BlockId> Take(std::span<const TokenId> tokens, int64_t max_blocks, PrefixHash& hash);
  // How many blocks Take would find; holds none.
  int64_t Peek(std::span<const TokenId> tokens, int64_t max_blocks, PrefixHash hash) const;

  // Adds a full block that the caller holds. `tokens`: all tokens of the block. `hash`: of the prefix before it;
  // becomes that of the prefix with it. Where the prefix is cached already, in another block, that one stays.
  void Publish(BlockId block, std::span<const TokenId> tokens, PrefixHash& hash);

  // Blocks that were evicted so far.
  int64_t evictions() const { return evictions_; }
  // Cached blocks, held ones included.
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
  // By block; valid for the blocks that known_ names.
  std::vector<Entry> entries_;
  std::vector<TokenId> tokens_;  // [blocks, block_tokens_]
  int64_t evictions_ = 0;
};

}  // namespace longhaul
