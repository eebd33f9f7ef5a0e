"""Compares position_modes.py with Hugging Face transformers; run once, by hand (README.md holds the figures).

    pip install torch transformers gguf numpy
    python tests/oracle/check_positions_against_transformers.py MODEL.gguf

First frequencies and attention factors, then the published tables of two models, then whole forward passes.
"""

import sys

import numpy as np
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import forward
import position_modes as modes
from check_against_transformers import twin
from make_position_goldens import TABLE, TEXT

TOKENS = 2000
TRAINED = 512  # of the whole passes, as in the goldens

# --- Frequencies ---

# (rotary base, dimensions, trained length): SmolLM2-135M, stories15M, SmolLM-135M v1
GEOMETRIES = [(100000.0, 64, 8192), (100000.0, 64, 512), (10000.0, 48, 256), (10000.0, 64, 2048)]


def theirs(parameters: dict, base: float, dims: int, trained: int, length: int | None = None) -> tuple[np.ndarray, float]:
    """What transformers makes of `parameters`: frequencies and the factor of cosines and sines."""
    config = transformers.LlamaConfig(hidden_size=dims, num_attention_heads=1, max_position_embeddings=trained,
                                      rope_parameters=parameters | {"rope_theta": base})
    inv_freq, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, torch.device("cpu"), seq_len=length)
    return inv_freq.numpy().astype(np.float64), float(factor)


def compare_frequencies() -> None:
    worst: dict[str, float] = {}
    for base, dims, trained in GEOMETRIES:
        original = {"original_max_position_embeddings": trained}
        table = [1.05 * 7.5 ** ((i / (dims // 2)) ** 1.5) for i in range(dims // 2)]
        for factor in (1.5, 2.0, 6.0, 8.0, 32.0):
            n = int(factor * trained)
            yarn = {"rope_type": "yarn", "factor": factor} | original
            llama3 = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0} | original
            long = {"rope_type": "longrope", "factor": factor, "short_factor": table, "long_factor": table} | original
            pairs = {
                "linear": (theirs({"rope_type": "linear", "factor": factor}, base, dims, trained),
                           modes.linear(base, dims, factor), 1),
                "dynamic at n = factor * trained length": (
                    theirs({"rope_type": "dynamic", "factor": 1.0}, base, dims, trained, n),
                    modes.ntk(base, dims, n / trained, "bloc97"), 1),
                "yarn": (theirs(yarn, base, dims, trained), modes.yarn(base, dims, trained, factor, 1, 32, "index"),
                         modes.yarn_temperature(factor)),
                "yarn, alpha 2, beta 24": (
                    theirs(yarn | {"beta_slow": 2, "beta_fast": 24}, base, dims, trained),
                    modes.yarn(base, dims, trained, factor, 2, 24, "index"), modes.yarn_temperature(factor)),
                "llama3": (theirs(llama3, base, dims, trained), modes.llama3(base, dims, trained, factor, 1, 4), 1),
                "longrope": (theirs(long, base, dims, trained, n), modes.per_pair(base, dims, table),
                             np.sqrt(1 + np.log(factor) / np.log(trained))),
            }
            for name, ((inv_freq, scale), ours, our_scale) in pairs.items():
                difference = max(np.abs(inv_freq / ours - 1).max(), abs(scale / our_scale - 1))
                worst[name] = max(worst.get(name, 0), difference)
    for name, difference in worst.items():
        # They compute in float32.
        print(f"{name}: frequencies and factor differ by {difference:.1e} of themselves at most")
        assert difference < 1e-5, name


# --- Tables printed with 9 digits, computed apart from all this ---

SMOLLM2 = (100000.0, 64)  # trained on 8192, factor 4; pairs 0, 1, 8, 16, 20, 31
STORIES = (10000.0, 48)  # trained on 256, factor 8; pairs 0, 1, 4, 9, 16, 23
TABLES = [
    (modes.plain(*SMOLLM2), [1, 0.697830585, 0.0562341325, 0.00316227766, 0.000749894209, 1.43301257e-05]),
    (modes.linear(*SMOLLM2, 4), [0.25, 0.174457646, 0.0140585331, 0.000790569415, 0.000187473552, 3.58253143e-06]),
    (modes.ntk(*SMOLLM2, 4, "radix"), [1, 0.668244857, 0.0397635364, 0.00158113883, 0.000315291676, 3.74114364e-06]),
    (modes.ntk(*SMOLLM2, 4, "bloc97"), [1, 0.667311655, 0.0393214641, 0.00154617754, 0.000306601446, 3.58253143e-06]),
    (modes.ntk_fixed(*SMOLLM2, 4),
     [0.957603281, 0.639913468, 0.0380776929, 0.00151410373, 0.000301924344, 3.58253143e-06]),
    (modes.beta_mixed(*SMOLLM2, 4, 0.625),
     [0.85307766, 0.546159918, 0.0300280789, 0.00124318754, 0.000258399011, 3.58253143e-06]),
    (modes.beta_mixed(*SMOLLM2, 4, 0.75),
     [0.902093645, 0.586803237, 0.0329215758, 0.00133462774, 0.000272912238, 3.58253143e-06]),
    (modes.yarn(*SMOLLM2, 8192, 4, 1, 32, "index"),
     [1, 0.697830585, 0.0562341325, 0.00173925271, 0.000187473552, 3.58253143e-06]),
    (modes.yarn(*SMOLLM2, 8192, 4, 1, 32, "turns"),
     [1, 0.697830585, 0.0562341325, 0.00102949753, 0.000187473552, 3.58253143e-06]),
    (modes.llama3(*SMOLLM2, 8192, 4, 1, 4),
     [1, 0.697830585, 0.0562341325, 0.00316227766, 0.000187473552, 3.58253143e-06]),
    (modes.plain(*STORIES), [1, 0.681292069, 0.215443469, 0.0316227766, 0.00215443469, 0.000146779927]),
    (modes.linear(*STORIES, 8), [0.125, 0.0851615086, 0.0269304336, 0.00395284708, 0.000269304336, 1.83474908e-05]),
    (modes.ntk(*STORIES, 8, "radix"), [1, 0.624747582, 0.152341538, 0.014499107, 0.000538608673, 2.00080806e-05]),
    (modes.ntk(*STORIES, 8, "bloc97"), [1, 0.62239852, 0.150063201, 0.01401577, 0.000507103748, 1.83474908e-05]),
    (modes.ntk_fixed(*STORIES, 8), [0.917004043, 0.572896059, 0.139697806, 0.0132957397, 0.00049390633, 1.83474908e-05]),
    (modes.beta_mixed(*STORIES, 8, 0.625),
     [0.751782304, 0.438774345, 0.0987470402, 0.00949477577, 0.000403029054, 1.83474908e-05]),
    (modes.yarn(*STORIES, 256, 8, 1, 32, "index"),
     [1, 0.621679013, 0.140038255, 0.00671984003, 0.000269304336, 1.83474908e-05]),
    (modes.yarn(*STORIES, 256, 8, 1, 32, "turns"),
     [1, 0.599724796, 0.0742286985, 0.00421029152, 0.000269304336, 1.83474908e-05]),
    (modes.llama3(*STORIES, 256, 8, 1, 4),
     [1, 0.681292069, 0.215443469, 0.00661310632, 0.000269304336, 1.83474908e-05]),
]


def compare_tables() -> None:
    pairs = {32: [0, 1, 8, 16, 20, 31], 24: [0, 1, 4, 9, 16, 23]}
    worst = max(np.abs(ours[pairs[len(ours)]] / np.array(printed) - 1).max() for ours, printed in TABLES)
    temperatures = [(modes.yarn_temperature(4), 1.13862944), (modes.yarn_temperature(8), 1.20794415)]
    worst = max([worst] + [abs(ours / printed - 1) for ours, printed in temperatures])
    print(f"{len(TABLES)} printed tables: differ by {worst:.1e} of themselves at most")
    assert worst < 5e-9

    def distance(rotation: modes.TwoRegimes, p: int, j: int) -> float:
        queries, keys = rotation.far_positions(np.array([p, j]))
        return float(queries[0] - keys[1]) if p - j >= rotation.window else p - j

    leaky = modes.LeakyRerope(np.ones(1), 2048, 8)
    extend = modes.SelfExtend(np.ones(1), 1024, 8)
    for apart, printed in [(2047, 2047), (2048, 2048), (2056, 2049), (8191, 2815.875), (32767, 5887.875)]:
        assert distance(leaky, 40000, 40000 - apart) == printed, apart
    for apart, printed in [(1023, 1023), (1024, 1024), (1032, 1025), (16000, 2896)]:
        assert distance(extend, 20000, 20000 - apart) == printed, apart
    print("the printed distances of Leaky ReRoPE and Self-Extend: equal")


# --- Whole passes ---


def compare_passes(model: forward.Model) -> None:
    original = {"original_max_position_embeddings": TRAINED}
    cases = [
        ({"kind": "linear", "factor": 6}, {"rope_type": "linear", "factor": 6.0}),
        # At the length of the pass; shorter ones would have another base.
        ({"kind": "ntk", "factor": TOKENS / TRAINED, "variant": "bloc97"}, {"rope_type": "dynamic", "factor": 1.0}),
        ({"kind": "yarn", "factor": 6, "alpha": 1, "beta": 32, "ramp": "index"},
         {"rope_type": "yarn", "factor": 6.0} | original),
        ({"kind": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4},
         {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0} | original),
        ({"kind": "per_pair", "factors": TABLE, "query_scale": 1.25},
         {"rope_type": "longrope", "factor": 8.0, "short_factor": TABLE, "long_factor": TABLE,
          "attention_factor": 1.25**0.5} | original),
    ]
    ids = TEXT["ids"][:TOKENS]
    for mode, parameters in cases:
        mode = mode | {"trained_length": TRAINED}
        other = twin(model, parameters, TRAINED)
        with torch.no_grad():
            reference = other(torch.tensor([ids])).logits[0].numpy()
        ours = forward.forward(model, ids, rotation=modes.rotation_of(model, mode))
        nll = np.abs(forward.negative_log_likelihoods(ours, ids) - forward.negative_log_likelihoods(reference, ids))
        logits = np.abs(ours - reference)
        print(f"{mode['kind']} ({TOKENS} tokens): nll mean {nll.mean():.1e} max {nll.max():.1e}, "
              f"logits mean {logits.mean():.1e} max {logits.max():.1e}", flush=True)


def main() -> None:
    transformers.logging.set_verbosity_error()  # it wants a longer maximum than the trained length, and needs none
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    compare_tables()
    compare_frequencies()
    compare_passes(forward.load(sys.argv[1]))


if __name__ == "__main__":
    main()
