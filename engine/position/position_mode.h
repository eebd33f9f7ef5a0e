#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

// How a request asks for its positions to be computed: the wire's twin. L is the trained length, N what prompt and
// answer come to. A factor, step or group of 0 is fitted to N when the request is admitted.
namespace longhaul {

namespace position {

// Plain while N <= L, else the server's default mode fitted to N.
struct Auto {
  int64_t expected_tokens = 0;  // N is at least this: a chat that will grow chooses once
};

// The model's own rotation.
struct None {};

// Position interpolation: every frequency divided by the factor (kaiokendev; arXiv 2306.15595).
struct Linear {
  double factor = 0;
};

// NTK-aware: the frequencies of a larger base.
struct Ntk {
  enum class Variant {
    kBloc97,  // base * factor^(d / (d - 2)): the slowest pair is divided by exactly the factor
    kRadix,   // base * factor (kexue.fm 9675)
  };
  double factor = 0;
  Variant variant = Variant::kBloc97;
};

// NTK-RoPE-fixed (kexue.fm 9706, eq. 5).
struct NtkFixed {
  double factor = 0;
};

// NTK-RoPE-mixed (kexue.fm 9706): theta_i / exp(a (i+1)^b) with a (d/2)^b = ln factor.
struct BetaMixed {
  double factor = 0;
  double b = 0.625;  // 0 (linear) to 1 (NTK-fixed)
};

// YaRN (arXiv 2309.00071), its temperature folded into the query.
struct Yarn {
  enum class Ramp {
    kIndex,  // over the pair index, as the authors' code and all that follow it
    kTurns,  // over the turns within L, as their paper
  };
  double factor = 0;
  double alpha = 1, beta = 32;  // turns below which a pair is interpolated, above which it is kept
  Ramp ramp = Ramp::kIndex;
};

// The ramp over wavelengths of Llama 3.1.
struct Llama3 {
  double factor = 0;
  double low_freq_factor = 1, high_freq_factor = 4;
};

// Every pair's own divisor, as LongRoPE's tables (arXiv 2402.13753).
struct PerPair {
  std::vector<double> factors;  // [d / 2]; empty: the table of the model file
  double query_scale = 1;
};

// Distances from `window` on all count as `window` (kexue.fm 9708).
struct Rerope {
  std::optional<int64_t> window;  // not given: L / 4
};

// Distances from `window` on grow `step` times slower (kexue.fm 9708, 9728).
struct LeakyRerope {
  std::optional<int64_t> window;  // not given: L / 4
  int64_t step = 0;
};

// Grouped positions from `window` on (arXiv 2401.01325, with the true division of the authors' code).
struct SelfExtend {
  int64_t group = 0;
  std::optional<int64_t> window;  // not given: L / 4
};

// Queries grow with their position: q *= max(1, ln(p + 1) / ln(L)) (kexue.fm 8823, 9706).
struct LogNSwitch {
  int64_t trained_length = 0;  // 0: L
};

}  // namespace position

struct PositionMode {
  std::variant<position::Auto, position::None, position::Linear, position::Ntk, position::NtkFixed, position::BetaMixed,
               position::Yarn, position::Llama3, position::PerPair, position::Rerope, position::LeakyRerope,
               position::SelfExtend>
      kind{};
  std::optional<position::LogNSwitch> log_n{};
  int64_t trained_length = 0;       // L; 0: the server's
  bool allow_beyond_reach = false;  // windows above L and texts beyond the reach are allowed
};

// What Auto becomes past L where the operator names nothing else: ReRoPE with its default window. Its plan does not
// depend on the length, so a growing chat switches once and keeps its blocks.
PositionMode DefaultLongMode();

// The mode's field name on the wire, also a metric's label: "none", "leaky_rerope".
const char* Name(const PositionMode& mode);
// That of the mode at a place of PositionMode::kind.
const char* PositionModeName(size_t index);

}  // namespace longhaul
