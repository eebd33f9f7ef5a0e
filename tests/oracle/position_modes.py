"""Every position mode as its authors published it, in plain NumPy on top of forward.py: no tiles, no cache, no ring.

A mode is a dictionary, {"kind": "rerope", "window": 128, "trained_length": 512, "log_n": 0}: the fields of the wire's
messages, every number given. A mode with two regimes computes both score matrices whole and picks by distance, as the
patches of its authors do. Angles are in float64.
"""

from __future__ import annotations

import math

import numpy as np

import forward
from forward import Array

# --- Frequencies: radians per position of every pair, [dims / 2]; dims counts the dimensions of a head that turn ---


def plain(base: float, dims: int) -> Array:
    return base ** (-np.arange(0, dims, 2, dtype=np.float64) / dims)


def linear(base: float, dims: int, factor: float) -> Array:
    """Position interpolation (kaiokendev; arXiv 2306.15595)."""
    return plain(base, dims) / factor


def ntk(base: float, dims: int, factor: float, variant: str) -> Array:
    """NTK-aware scaling. Hugging Face's "dynamic" at n tokens is bloc97 with factor n / trained length."""
    if variant == "bloc97":  # r/LocalLLaMA 14lz7j5
        return plain(base * factor ** (dims / (dims - 2)), dims)
    if variant == "radix":  # kexue.fm 9675: a number of one more digit in a larger radix
        return plain(base * factor, dims)
    raise ValueError(variant)


def ntk_fixed(base: float, dims: int, factor: float) -> Array:
    """kexue.fm 9706, equation 5: digit m = 1, 2, ... in a radix that is larger by factor^(2 / dims), modulus included."""
    m = np.arange(1, dims // 2 + 1)
    return plain(base, dims) / factor ** (2 * m / dims)


def beta_mixed(base: float, dims: int, factor: float, b: float) -> Array:
    """kexue.fm 9706, as ntk_patch.py of github.com/bojone/rerope writes it."""
    a = math.log(factor) / (dims / 2) ** b
    m = np.arange(1, dims // 2 + 1, dtype=np.float64)
    return plain(base, dims) * np.exp(-a * m**b)


def yarn(base: float, dims: int, trained: int, factor: float, alpha: float, beta: float, ramp: str) -> Array:
    """arXiv 2309.00071; its temperature is yarn_temperature."""
    theta = plain(base, dims)
    if ramp == "index":  # the authors' code: from the pair that makes `beta` turns to the one that makes `alpha`

        def pair_of(turns: float) -> float:
            return dims * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

        low, high = max(math.floor(pair_of(beta)), 0), min(math.ceil(pair_of(alpha)), dims - 1)
        if low == high:
            high += 0.001
        interpolated = np.clip((np.arange(dims // 2) - low) / (high - low), 0, 1)
    elif ramp == "turns":  # their paper, section 3.2
        turns = trained * theta / (2 * math.pi)
        interpolated = 1 - np.clip((turns - alpha) / (beta - alpha), 0, 1)
    else:
        raise ValueError(ramp)
    return theta / factor * interpolated + theta * (1 - interpolated)


def yarn_temperature(factor: float) -> float:
    """Multiplies the cosines and sines of queries and of keys."""
    return 0.1 * math.log(factor) + 1


def llama3(base: float, dims: int, trained: int, factor: float, low_freq_factor: float, high_freq_factor: float) -> Array:
    """Llama 3.1's reference code, `apply_scaling`."""
    frequencies = []
    for theta in plain(base, dims):
        wavelength = 2 * math.pi / theta
        if wavelength < trained / high_freq_factor:
            frequencies.append(theta)
        elif wavelength > trained / low_freq_factor:
            frequencies.append(theta / factor)
        else:
            smooth = (trained / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor)
            frequencies.append((1 - smooth) * theta / factor + smooth * theta)
    return np.array(frequencies)


def per_pair(base: float, dims: int, factors: list[float]) -> Array:
    """LongRoPE (arXiv 2402.13753): a table that somebody searched."""
    return plain(base, dims) / np.array(factors)


# --- What becomes of a score ---


class Scaled(forward.Rotation):
    """Cosines and sines of queries and of keys are multiplied by `scale`, a score thus by its square."""

    def __init__(self, inv_freq: Array, scale: float):
        super().__init__(inv_freq)
        self.scale = scale

    def stored_keys(self, keys: Array, positions: Array) -> Array:
        return forward.rotate(keys, np.outer(positions, self.inv_freq), self.scale)

    def scores(self, queries: Array, stored_keys: Array, positions: Array) -> Array:
        return forward.rotate(queries, np.outer(positions, self.inv_freq), self.scale) @ stored_keys.T


class TwoRegimes(forward.Rotation):
    """From distance `window` on, queries and keys turn as if they stood elsewhere. Keys are kept as they are."""

    def __init__(self, inv_freq: Array, window: int):
        super().__init__(inv_freq)
        self.window = window

    def far_positions(self, positions: Array) -> tuple[Array, Array]:
        """Where queries and keys at `positions` seem to stand."""
        raise NotImplementedError

    def stored_keys(self, keys: Array, positions: Array) -> Array:
        return keys

    def scores(self, queries: Array, stored_keys: Array, positions: Array) -> Array:
        def matrix(of_queries: Array, of_keys: Array) -> Array:
            turned_queries = forward.rotate(queries, np.outer(of_queries, self.inv_freq))
            return turned_queries @ forward.rotate(stored_keys, np.outer(of_keys, self.inv_freq)).T

        distance = positions[:, None] - positions[None, :]
        return np.where(distance < self.window, matrix(positions, positions), matrix(*self.far_positions(positions)))


class Rerope(TwoRegimes):
    """kexue.fm 9708, rerope_patch.py of github.com/bojone/rerope."""

    def far_positions(self, positions: Array) -> tuple[Array, Array]:
        return positions * 0 + self.window, positions * 0


class LeakyRerope(TwoRegimes):
    """kexue.fm 9708, leaky_rerope_patch.py: positions of a table that is `step` times slower, queries moved on in it."""

    def __init__(self, inv_freq: Array, window: int, step: int):
        super().__init__(inv_freq, window)
        self.step = step

    def far_positions(self, positions: Array) -> tuple[Array, Array]:
        offset = self.window * (self.step - 1)
        return (positions + offset) / self.step, positions / self.step


class SelfExtend(TwoRegimes):
    """arXiv 2401.01325 as its code has it (github.com/datamllab/LongLM): a true division in the shift, not a floor."""

    def __init__(self, inv_freq: Array, window: int, group: int):
        super().__init__(inv_freq, window)
        self.group = group

    def far_positions(self, positions: Array) -> tuple[Array, Array]:
        grouped = positions // self.group
        return grouped + self.window - self.window / self.group, grouped


class LogN(forward.Rotation):
    """On top of any: the query at position p is multiplied by max(1, ln(p + 1) / ln(trained length)) (kexue.fm 9706)."""

    def __init__(self, inner: forward.Rotation, trained_length: int):
        super().__init__(inner.inv_freq)
        self.inner, self.trained_length = inner, trained_length

    def stored_keys(self, keys: Array, positions: Array) -> Array:
        return self.inner.stored_keys(keys, positions)

    def scores(self, queries: Array, stored_keys: Array, positions: Array) -> Array:
        scale = np.maximum(1, np.log(positions + 1) / math.log(self.trained_length)).astype(queries.dtype)
        return self.inner.scores(queries * scale[:, None], stored_keys, positions)


# --- From a mode ---


def rotation_of(model: forward.Model, mode: dict) -> forward.Rotation:
    if "rope_freqs.weight" in model.weights:
        raise ValueError("the formulas above are for a plain table of frequencies")
    base, dims = model.rotary_base, model.head_dim
    trained = mode.get("trained_length") or model.trained_length
    one_regime = {
        "none": lambda: (plain(base, dims), 1),
        "linear": lambda: (linear(base, dims, mode["factor"]), 1),
        "ntk": lambda: (ntk(base, dims, mode["factor"], mode["variant"]), 1),
        "ntk_fixed": lambda: (ntk_fixed(base, dims, mode["factor"]), 1),
        "beta_mixed": lambda: (beta_mixed(base, dims, mode["factor"], mode["b"]), 1),
        "yarn": lambda: (yarn(base, dims, trained, mode["factor"], mode["alpha"], mode["beta"], mode["ramp"]),
                         yarn_temperature(mode["factor"])),
        "llama3": lambda: (llama3(base, dims, trained, mode["factor"], mode["low_freq_factor"],
                                  mode["high_freq_factor"]), 1),
        # LongRoPE scales cosines and sines, the mode's query_scale the score.
        "per_pair": lambda: (per_pair(base, dims, mode["factors"]), math.sqrt(mode["query_scale"])),
    }
    two_regimes = {
        "rerope": lambda: Rerope(plain(base, dims), mode["window"]),
        "leaky_rerope": lambda: LeakyRerope(plain(base, dims), mode["window"], mode["step"]),
        "self_extend": lambda: SelfExtend(plain(base, dims), mode["window"], mode["group"]),
    }
    kind = mode["kind"]
    rotation = two_regimes[kind]() if kind in two_regimes else Scaled(*one_regime[kind]())
    return LogN(rotation, mode["log_n"] or trained) if "log_n" in mode else rotation


def text_of(mode: dict) -> str:
    """The mode as it is written on Longhaul's command line: "rerope:window=128,trained-length=512,log-n=0"."""

    def written(value) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return "/".join(map(str, value)) if isinstance(value, list) else str(value)

    fields = ",".join(f"{name.replace('_', '-')}={written(value)}" for name, value in mode.items() if name != "kind")
    return mode["kind"].replace("_", "-") + (":" + fields if fields else "")
