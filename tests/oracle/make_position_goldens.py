"""Writes goldens/position_*.json: what every position mode must compute on the default model.

    python tests/oracle/make_position_goldens.py MODEL.gguf [CASE...]     # all cases: about 10 minutes on one core

The trained length is made small (512), so that 1,300 tokens are far beyond it; two cases go beyond the model's
own, through its first layers alone: all layers take positions alike.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
import time

import numpy as np

import forward
import position_modes
from make_goldens import largest_logits, rounded, write

TEXT = json.loads((pathlib.Path(__file__).parent / "goldens" / "position_text.json").read_text())
DIGITS = 6  # of a likelihood
LARGEST = 16  # logits, at two positions
SHORT = 1300  # tokens: past two borders of a range of keys
LONG = len(TEXT["ids"])
LONG_SCORED = 512  # the last tokens, whose likelihoods are kept of a long case
LONG_LAYERS = 6

# A smooth table: from 1.05 for the fastest pair to 7.875 for the slowest.
TABLE = [round(1.05 * 7.5 ** ((i / 31) ** 1.5), 4) for i in range(32)]

# Windows, steps and factors are no powers of two or multiples of a block throughout, so that edges fall inside of tiles.
SHORT_CASES = {
    "linear": {"kind": "linear", "factor": 6},
    "ntk_bloc97": {"kind": "ntk", "factor": 8, "variant": "bloc97"},
    "ntk_radix": {"kind": "ntk", "factor": 8, "variant": "radix"},
    "ntk_fixed": {"kind": "ntk_fixed", "factor": 6},
    "beta_mixed": {"kind": "beta_mixed", "factor": 6, "b": 0.625},
    "beta_mixed_preset": {"kind": "beta_mixed", "factor": 12, "b": 0.75, "log_n": 0},
    "yarn_index": {"kind": "yarn", "factor": 6, "alpha": 1, "beta": 32, "ramp": "index"},
    "yarn_turns": {"kind": "yarn", "factor": 8, "alpha": 2, "beta": 24, "ramp": "turns"},
    "llama3": {"kind": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4},
    "per_pair": {"kind": "per_pair", "factors": TABLE, "query_scale": 1.25},
    "rerope": {"kind": "rerope", "window": 128},
    "rerope_log_n": {"kind": "rerope", "window": 100, "log_n": 0},
    "leaky_rerope": {"kind": "leaky_rerope", "window": 128, "step": 16},
    "leaky_rerope_log_n": {"kind": "leaky_rerope", "window": 100, "step": 8, "log_n": 400},
    "self_extend": {"kind": "self_extend", "group": 8, "window": 100},
    "log_n": {"kind": "none", "log_n": 0, "allow_beyond_reach": True},
}
LONG_CASES = {
    "long_yarn": {"kind": "yarn", "factor": 2, "alpha": 1, "beta": 32, "ramp": "index"},
    "long_rerope": {"kind": "rerope", "window": 2048},
}


def golden(model: forward.Model, mode: dict, n_tokens: int, first_scored: int, n_layers: int) -> dict:
    """Likelihoods of the tokens from `first_scored` on, logits in the middle and at the end of what is scored."""
    ids = TEXT["ids"][:n_tokens]
    model = dataclasses.replace(model, n_layers=n_layers)
    first = first_scored - 1  # whose logits are of the first scored token
    logits = forward.forward(model, ids, rows=slice(first, None), rotation=position_modes.rotation_of(model, mode))
    nll = forward.negative_log_likelihoods(logits, ids[first:])
    largest = [largest_logits(logits, row, LARGEST) for row in (len(logits) // 2, len(logits) - 1)]
    for at in largest:
        at["position"] += first
    return {"text": position_modes.text_of(mode), "mode": mode, "n_tokens": n_tokens, "n_layers": n_layers,
            "first_scored": first_scored,
            "nll": [rounded(x, DIGITS) for x in nll], "mean_nll": rounded(np.mean(nll)), "logits": largest}


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    model = forward.load(str(path))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    cases = {name: (mode | {"trained_length": 512}, SHORT, 1, model.n_layers) for name, mode in SHORT_CASES.items()}
    cases |= {name: (mode, LONG, LONG - LONG_SCORED, LONG_LAYERS) for name, mode in LONG_CASES.items()}
    for name in sys.argv[2:] or cases:
        start = time.monotonic()
        result = golden(model, *cases[name])
        write(f"position_{name}", {"model_sha256": sha256} | result)
        print(f"{name}: {result['text']}: mean nll {result['mean_nll']:.5f}, {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
