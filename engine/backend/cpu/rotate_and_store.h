#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/kv_cache.h"

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
  Turn query;             // for near keys
  Turn stored_key;        // without a far regime: as query
  // With a far regime:
  Turn far_query, near_key;
};

// Where the keys and values of a token go: slot `slot` of a page and, with a far regime, of near keys.
struct TokenPlace {
  std::byte* page = nullptr;
  std::byte* near_keys = nullptr;  // null: no far regime
  int64_t slot = 0;
};

// Turns a token's queries and keys, and writes the keys and values, rounded to the cache's type, to their place; near
// keys are made of the rounded ones. qkv (n_heads + 2 n_kv_heads) * head_dim, of which the queries are overwritten with
// what AttendTile reads; far_queries [n_heads, head_dim] gets the far ones (with a far regime).
void RotateAndStore(const HeadShape& shape, const TokenTurns& turns, const TokenPlace& place, float* qkv,
                    float* far_queries);

// Makes a token's near keys anew, of its stored keys: the same bits as RotateAndStore.
void RestoreNearKeys(const HeadShape& shape, int64_t pairs, const Turn& near_key, const TokenPlace& place);

}  // namespace longhaul::cpu
