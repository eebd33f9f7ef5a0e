#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/position/plan_angles.h"

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
  int n_regimes = 1;
  Turn queries[kMaxRegimes];  // of each regime
  Turn stored_key;
};

// Turns a token's queries and keys, and writes the keys and values, rounded to the cache's type, to slot `slot` of
// `page`. qkv (n_heads + 2 n_kv_heads) * head_dim, of which the queries are overwritten with what AttendTile reads for
// regime 0; far_queries: those of regime 1 [n_heads, head_dim], and `far_stride` floats after them those of regime 2.
void RotateAndStore(const HeadShape& shape, const TokenTurns& turns, float* qkv, float* far_queries, int64_t far_stride,
                    std::byte* page, int64_t slot);

// The near keys of a block out of its stored keys: each turned further, and rounded to the cache's type again. angles:
// cosines, then sines, [pairs, kBlockTokens]. All slots are written, whatever the empty ones hold.
void MakeNearKeys(const HeadShape& shape, int64_t pairs, const float* angles, const std::byte* page,
                  std::byte* near_keys);

}  // namespace longhaul::cpu
