#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace longhaul {

// Which rotation a layer applies to its queries and keys.
enum class LayerRotation {
  kRequest,   // the plan of the row: what a position mode changes
  kConstant,  // ModelConfig::constant_rotation, whatever the request asks for
  kNone,      // none
};

// How queries and keys are normalised before the rotation.
enum class QkNorm {
  kNone,
  kPerHead,   // each head by itself, weights [head_dim]
  kAllHeads,  // all heads together, weights [n_heads * head_dim], [n_kv_heads * head_dim]
};

// The activation of the gated feed-forward, `act` below.
enum class Gate {
  kSilu,  // x / (1 + exp(-x))
  kGelu,  // x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
};

// "request", "constant", "none" / "none", "per head", "all heads" / "silu", "gelu".
std::string_view Name(LayerRotation rotation);
std::string_view Name(QkNorm norm);
std::string_view Name(Gate gate);

// Where a part of a layer (attention or feed-forward) is normalised.
struct NormPlaces {
  bool before = true;  // its input
  bool after = false;  // its output, before it is added to the residual stream
};

// Which linear maps of a layer add a vector.
struct Biases {
  bool query_key_value = false;
  bool attention_output = false;
  bool feed_forward = false;  // gate, up and down
};

// How a layer of a decoder-only transformer computes; the defaults are the llama family's. Of a row x of the residual
// stream at position p, RMSNorm as n, each with weights of its own, and W the layer's matrices:
//
//   a       = n(x)                                               attention_norm.before; else x
//   q, k, v = W_q a + b_q, W_k a + b_k, W_v a + b_v              biases.query_key_value
//   q, k    = turn(n(q), p), turn(n(k), p)                       qk_norm, rotation
//   s_j     = cap(attention_scale q . k_j), p - window < j <= p  attention_softcap, window
//   x       = x + n(W_o (softmax(s) v) + b_o)                    biases.attention_output, attention_norm.after
//   f       = n(x)                                               feed_forward_norm.before; else x
//   x       = x + n(W_down (act(W_gate f + b_g) * (W_up f + b_u)) + b_d)
//                                                                gate, biases.feed_forward, feed_forward_norm.after
//
// where cap(s) = c tanh(s / c). Transformer::Forward computes it as far as Backend has the operations, and
// Transformer::Create refuses the rest by name.
struct LayerConfig {
  int64_t window = 0;  // tokens that a query sees, its own among them; 0: the whole text
  LayerRotation rotation = LayerRotation::kRequest;
  QkNorm qk_norm = QkNorm::kNone;
  std::optional<float> attention_scale;  // none: 1 / sqrt(head_dim)
  float attention_softcap = 0;           // c; 0: none
  NormPlaces attention_norm, feed_forward_norm;
  Biases biases;
  Gate gate = Gate::kSilu;
};

}  // namespace longhaul
