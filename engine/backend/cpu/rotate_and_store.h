#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/kv_cache.h"

namespace longhaul::cpu {

// Turns a token's queries and keys, multiplies the queries by `query_scale`, and writes the keys and values, rounded to
// the cache's type, to slot `slot` of `page`. qkv (n_heads + 2 n_kv_heads) * head_dim, of which the queries are
// overwritten with what AttendTile reads. Dimensions from 2 * pairs on do not turn.
void RotateAndStore(const HeadShape& shape, const float* cosines, const float* sines, int64_t pairs, float query_scale,
                    float* qkv, std::byte* page, int64_t slot);

}  // namespace longhaul::cpu
