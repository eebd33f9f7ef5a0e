#include "engine/cache/prefix_cache.h"

#include <algorithm>

#include "engine/base/mix64.h"

namespace longhaul {
namespace {

uint64_t Mix(uint64_t state, uint64_t value) {
  return Mix64(state ^ (value + 0x9e3779b97f4a7c15ULL + (state << 6) + (state >> 2)));
}

}  // namespace

PrefixCache::PrefixCache(BlockPool& pool)
    : pool_(pool),
      block_tokens_(static_cast<size_t>(pool.geometry().block_tokens)),
      entries_(static_cast<size_t>(pool.total())),
      tokens_(entries_.size() * block_tokens_) {
  pool_.SetOnEvict([this](BlockId block) { Forget(block); });
}

PrefixHash PrefixCache::Empty(uint64_t scope, const Fingerprint& plan) {
  return {Mix(Mix(scope, plan[0]), plan[1]), Mix(Mix(~scope, plan[1]), plan[0])};
}

PrefixHash PrefixCache::Next(const PrefixHash& hash, std::span<const TokenId> tokens) {
  PrefixHash next = hash;
  for (TokenId token : tokens) {
    next.a = Mix(next.a, static_cast<uint64_t>(token));
    next.b = Mix(next.b, ~static_cast<uint64_t>(token));
  }
  return next;
}

BlockId PrefixCache::Find(const PrefixHash& before, const PrefixHash& with, std::span<const TokenId> tokens) const {
  const auto found = known_.find(with);
  if (found == known_.end()) return -1;
  const Entry& entry = entries_[static_cast<size_t>(found->second)];
  const bool same = entry.before == before && std::ranges::equal(tokens, TokensOf(tokens_, found->second));
  return same ? found->second : -1;
}

int64_t PrefixCache::FullBlocks(std::span<const TokenId> tokens, int64_t max_blocks) const {
  return std::clamp<int64_t>(max_blocks, 0, static_cast<int64_t>(tokens.size() / block_tokens_));
}

std::vector<BlockId> PrefixCache::Take(std::span<const TokenId> tokens, int64_t max_blocks, PrefixHash& hash) {
  std::vector<BlockId> blocks;
  max_blocks = FullBlocks(tokens, max_blocks);
  blocks.reserve(static_cast<size_t>(max_blocks));  // allocated first: an exception must not lose held blocks
  for (int64_t b = 0; b < max_blocks; ++b) {
    const auto of_block = TokensOf(tokens, b);
    const PrefixHash with = Next(hash, of_block);
    const BlockId block = Find(hash, with, of_block);
    if (block < 0) break;
    pool_.Hold(block);
    blocks.push_back(block);
    hash = with;
  }
  return blocks;
}

int64_t PrefixCache::Peek(std::span<const TokenId> tokens, int64_t max_blocks, PrefixHash hash) const {
  max_blocks = FullBlocks(tokens, max_blocks);
  for (int64_t b = 0; b < max_blocks; ++b) {
    const auto of_block = TokensOf(tokens, b);
    const PrefixHash with = Next(hash, of_block);
    if (Find(hash, with, of_block) < 0) return b;
    hash = with;
  }
  return max_blocks;
}

void PrefixCache::Publish(BlockId block, std::span<const TokenId> tokens, PrefixHash& hash) {
  const PrefixHash with = Next(hash, tokens);
  if (known_.emplace(with, block).second) {
    Entry& entry = entries_[static_cast<size_t>(block)];
    entry.before = hash;
    entry.with = with;
    std::ranges::copy(tokens, tokens_.begin() + static_cast<int64_t>(block_tokens_) * block);
    pool_.SetCached(block);
  }
  hash = with;
}

void PrefixCache::Forget(BlockId block) {
  known_.erase(entries_[static_cast<size_t>(block)].with);
  ++evictions_;
}

}  // namespace longhaul
