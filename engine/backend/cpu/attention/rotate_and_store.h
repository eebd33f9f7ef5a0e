#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/attention/kv_cache.h"

namespace longhaul::cpu {

// Cosines and sines of one rotation, [pairs] each; null: no turn.
struct Turn {
  const float* cosines = nullptr;
  const float* sines = nullptr;
};

// What a token's position does to its queries and keys (see PlanAngles). Dimensions from 2 * pairs on do not turn.
struct TokenTurns {
  int64_t pairs = 0;
  float query_scale = 1;  // multiplies the turned queries
  Turn query;             // with a far regime: for near keys
  Turn stored_key;
  Turn far_query;  // with a far regime
};

// Turns a token's queries and keys, and writes the keys and values, rounded to the cache's type, to slot `slot` of
// `page`. qkv (n_heads + 2 n_kv_heads) * head_dim, of which the queries are overwritten with what AttendTile reads;
// far_queries [n_heads, head_dim] gets the far ones, null without a far regime.
void RotateAndStore(const HeadShape& shape, const TokenTurns& turns, float* qkv, float* far_queries, std::byte* page,
                    int64_t slot);

// The near keys of a block out of its stored keys: each turned further, and rounded to the cache's type again. angles:
// cosines, then sines, [pairs, kBlockTokens]. All slots are written, whatever the empty ones hold.
void MakeNearKeys(const HeadShape& shape, int64_t pairs, const float* angles, const std::byte* page,
                  std::byte* near_keys);

}  // namespace longhaul::cpu
