#pragma once

#include <cstdint>
#include <iterator>
#include <memory>

#include "engine/scheduling/group.h"
#include "tests/engine/cache/geometry.h"

namespace longhaul {

// Draws with the same parameters always.
class FixedDraw final : public DrawSource {
 public:
  BatchDraw NextDraw(const Group& group, int64_t n_ahead, Batch&) const override {
    BatchDraw draw;
    draw.spec = spec_;
    draw.index = static_cast<uint64_t>(std::ssize(group.rows[0].tokens) - group.rows[0].prompt_tokens + n_ahead);
    return draw;
  }

 private:
  std::shared_ptr<const SamplerSpec> spec_ = std::make_shared<const SamplerSpec>();
};

}  // namespace longhaul
