"""The forward pass of every family in plain NumPy, on the dequantized weights of a GGUF: what the engine is compared with.

No cache, no batch, no blocking: a line of code for a line of the formula. Everything is computed in float32 (or in
float64, to see what float32 itself loses), angles in float64. `Rounding` reproduces what the engine rounds on purpose;
`Rotation` is the seam for position modes (position_modes.py). Texts that are read side by side are calls of their own.
"""

from __future__ import annotations

import dataclasses
from typing import Callable

import gguf
import numpy as np

Array = np.ndarray


@dataclasses.dataclass
class Model:
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    epsilon: float
    rotary_base: float
    trained_length: int
    weights: dict[str, Array]  # by GGUF name, float32; a matrix is [outputs, inputs], pairs are (2i, 2i + 1)
    pieces: list[str]  # the vocabulary as the file spells it

    def inv_freq(self) -> Array:
        """The model's own radians per position, [head_dim / 2], pair (2i, 2i + 1) of a q or k row as GGUF orders them."""
        theta = self.rotary_base ** (-np.arange(0, self.head_dim, 2, dtype=np.float64) / self.head_dim)
        return theta / self.weights["rope_freqs.weight"].astype(np.float64) if "rope_freqs.weight" in self.weights else theta


INTERLEAVED = ["llama"]
HALF_SPLIT = ["qwen2", "qwen3"]


def interleave(rows: Array, head_dim: int) -> Array:
    """Rows of q or k (or of their biases or norms) from pairs (i, i + d/2) to (2i, 2i + 1)."""
    return rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def load(path: str) -> Model:
    reader = gguf.GGUFReader(path)

    def field(key: str, default=None):
        found = reader.get_field(key)
        if found is None and default is None:
            raise KeyError(f"{path} has no {key}")
        return default if found is None else found.contents()

    architecture = field("general.architecture")
    if architecture not in INTERLEAVED + HALF_SPLIT:
        raise ValueError(f"architecture {architecture} is not written here")

    def key(suffix: str, default=None):
        return field(f"{architecture}.{suffix}", default)

    n_heads = key("attention.head_count")
    head_dim = key("attention.key_length", key("embedding_length") // n_heads)
    if key("rope.dimension_count", head_dim) != head_dim or key("rope.scaling.type", "none") != "none":
        raise ValueError("partial rotation and declared scaling are not written here")
    weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    weights.setdefault("output.weight", weights["token_embd.weight"])
    if architecture in HALF_SPLIT:
        for name in weights:
            if any(part in name for part in (".attn_q.", ".attn_k.", ".attn_q_norm.", ".attn_k_norm.")):
                weights[name] = interleave(weights[name], head_dim)
    return Model(
        n_layers=key("block_count"),
        n_heads=n_heads,
        n_kv_heads=key("attention.head_count_kv", n_heads),
        head_dim=head_dim,
        epsilon=key("attention.layer_norm_rms_epsilon"),
        rotary_base=key("rope.freq_base", 10000.0),
        trained_length=key("context_length"),
        weights=weights,
        pieces=field("tokenizer.ggml.tokens"),
    )


# --- Roundings: each maps an array to the nearest values of the type (ties to even), in the array's own dtype ---


def exact(x: Array) -> Array:
    return x


def to_f16(x: Array) -> Array:
    return x.astype(np.float16).astype(x.dtype)


def to_bf16(x: Array) -> Array:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32).astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class Rounding:
    products: Callable[[Array], Array] = exact  # both operands of every matrix product of a weight
    cache: Callable[[Array], Array] = exact  # keys as they are stored, and values


# --- The parts ---


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(epsilon)) * weight


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rotate(x: Array, angles: Array, scale: float = 1.0) -> Array:
    """Turns the pairs (2i, 2i + 1) of x [tokens, ..., head_dim] by angles [tokens, head_dim / 2], radians in float64.

    `scale` multiplies the cosines and sines.
    """
    angles = angles.reshape(angles.shape[0], *[1] * (x.ndim - 2), angles.shape[1])
    cos, sin = (scale * np.cos(angles)).astype(x.dtype), (scale * np.sin(angles)).astype(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


class Rotation:
    """How positions enter attention; this one is the model's own. Another mode overrides the two methods."""

    def __init__(self, inv_freq: Array):
        self.inv_freq = inv_freq

    def stored_keys(self, keys: Array, positions: Array) -> Array:
        """Keys [tokens, n_kv_heads, head_dim] as the cache holds them (before its rounding)."""
        return rotate(keys, np.outer(positions, self.inv_freq))

    def scores(self, queries: Array, stored_keys: Array, positions: Array) -> Array:
        """Dot products [tokens, tokens] of one head's queries and its stored keys, both [tokens, head_dim]."""
        return rotate(queries, np.outer(positions, self.inv_freq)) @ stored_keys.T


def attention(model: Model, rotation: Rotation, q: Array, k: Array, v: Array, cache: Callable[[Array], Array]) -> Array:
    """Causal attention of all tokens: q [tokens, n_heads * head_dim], k and v [tokens, n_kv_heads * head_dim]."""
    n, d = q.shape[0], model.head_dim
    positions = np.arange(n)
    keys = cache(rotation.stored_keys(k.reshape(n, -1, d), positions))
    values = cache(v.reshape(n, -1, d))
    queries = q.reshape(n, -1, d)
    future = positions[None, :] > positions[:, None]
    out = np.empty_like(queries)
    for head in range(model.n_heads):
        kv_head = head * model.n_kv_heads // model.n_heads
        scores = rotation.scores(queries[:, head], keys[:, kv_head], positions) / q.dtype.type(np.sqrt(d))
        scores[future] = -np.inf
        out[:, head] = softmax(scores) @ values[:, kv_head]
    return out.reshape(n, -1)


# --- The whole ---


def forward(
    model: Model,
    ids: list[int],
    rows: slice = slice(None),
    rounding: Rounding = Rounding(),
    rotation: Rotation | None = None,
    dtype: type = np.float32,
) -> Array:
    """Logits [rows, vocabulary] after the tokens that `rows` selects; logits i are those of the token after ids[i]."""
    rotation = rotation or Rotation(model.inv_freq())

    def weight(name: str) -> Array:
        return model.weights[name].astype(dtype)

    def linear(x: Array, name: str) -> Array:
        product = rounding.products(x) @ rounding.products(weight(name + ".weight")).T
        return product + weight(name + ".bias") if name + ".bias" in model.weights else product

    def head_norm(x: Array, name: str) -> Array:
        """Each head by itself, where the model does so."""
        if name not in model.weights:
            return x
        return rms_norm(x.reshape(len(x), -1, model.head_dim), weight(name), model.epsilon).reshape(x.shape)

    h = model.weights["token_embd.weight"][ids].astype(dtype)
    for layer in range(model.n_layers):
        p = f"blk.{layer}."
        x = rms_norm(h, weight(p + "attn_norm.weight"), model.epsilon)
        q, k, v = (linear(x, f"{p}attn_{part}") for part in "qkv")
        q, k = head_norm(q, p + "attn_q_norm.weight"), head_norm(k, p + "attn_k_norm.weight")
        h = h + linear(attention(model, rotation, q, k, v, rounding.cache), p + "attn_output")
        x = rms_norm(h, weight(p + "ffn_norm.weight"), model.epsilon)
        h = h + linear(silu(linear(x, p + "ffn_gate")) * linear(x, p + "ffn_up"), p + "ffn_down")
    return linear(rms_norm(h[rows], weight("output_norm.weight"), model.epsilon), "output")


def log_sum_exp(logits: Array) -> Array:
    """Over the last axis, in float64 whatever the logits are."""
    x = logits.astype(np.float64)
    largest = x.max(axis=-1, keepdims=True)
    return (largest + np.log(np.exp(x - largest).sum(axis=-1, keepdims=True)))[..., 0]


def negative_log_likelihoods(logits: Array, ids: list[int]) -> Array:
    """Of tokens 1..n-1, nats: logits [n - 1 or more, vocabulary] of the tokens before them."""
    targets = np.asarray(ids[1:])
    rows = np.arange(len(targets))
    return log_sum_exp(logits[rows]) - logits[rows, targets].astype(np.float64)
