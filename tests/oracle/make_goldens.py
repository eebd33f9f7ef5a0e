"""Writes tests/oracle/goldens from prompts.json: what the engine must compute on the default model.

    python tests/oracle/make_goldens.py MODEL.gguf

Numbers are rounded to 7 significant digits; another BLAS moves them in the last.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np

import forward

HERE = pathlib.Path(__file__).parent
POSITIONS = 8  # whose largest logits are kept, evenly spread, the last token included
LARGEST = 64
CONTINUATION = 64  # tokens
SMALL_MARGIN = 0.02  # below it, roundings may choose another token
AGREED = 32  # no margin is small before this token of a continuation


def rounded(value: float, digits: int = 7) -> float:
    return float(f"{value:.{digits}g}")


def checked_nll(logits: np.ndarray, ids: list[int]) -> list[float]:
    """Negative log-likelihoods in float64, and that a plain float32 softmax agrees."""
    nll = forward.negative_log_likelihoods(logits, ids)
    plain = -np.log(forward.softmax(logits[: len(nll)])[np.arange(len(nll)), ids[1:]])
    assert np.abs(plain - nll).max() < 1e-3, "the two softmaxes disagree"
    return [rounded(x) for x in nll]


def largest_logits(logits: np.ndarray, row: int, count: int = LARGEST) -> dict:
    order = np.lexsort((np.arange(logits.shape[1]), -logits[row]))[:count]
    return {
        "position": row,
        "log_sum_exp": rounded(forward.log_sum_exp(logits[row])),
        "ids": [int(i) for i in order],
        "values": [rounded(logits[row, i]) for i in order],
    }


def continuation(model: forward.Model, prompt: list[int]) -> tuple[list[int], list[float]]:
    """Greedy tokens and the margin of each over the second best, to the first small margin, itself included."""
    tokens: list[int] = []
    margins: list[float] = []
    while len(tokens) < CONTINUATION and (not margins or margins[-1] >= SMALL_MARGIN):
        logits = forward.forward(model, prompt + tokens, rows=slice(-1, None))[0]
        second, first = np.sort(logits)[-2:]
        tokens.append(int(np.argmax(logits)))
        margins.append(rounded(first - second))
    return tokens, margins


def write(name: str, golden: dict) -> None:
    # A line per field: numbers side by side stay readable in a diff.
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    (HERE / "goldens" / f"{name}.json").write_text("{\n" + lines + "\n}\n")


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    model = forward.load(str(path))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    prompts = json.loads((HERE / "prompts.json").read_text())
    for name, prompt in prompts["texts"].items():
        ids = prompt["ids"]
        logits = forward.forward(model, ids)
        nll = checked_nll(logits, ids)
        rows = [(i + 1) * len(ids) // POSITIONS - 1 for i in range(POSITIONS)]
        write(name, {"model_sha256": sha256, "source": prompt["source"], "ids": ids, "nll": nll,
                     "mean_nll": rounded(np.mean(nll)), "logits": [largest_logits(logits, row) for row in rows]})
        print(f"{name}: {len(ids)} tokens, mean nll {np.mean(nll):.5f}", flush=True)
    greedy = []
    for prompt in prompts["greedy"]:
        tokens, margins = continuation(model, prompt["ids"])
        agreed = len(tokens) - (margins[-1] < SMALL_MARGIN)
        print(f"greedy, {prompt['text'][:40]!r}: {agreed} tokens agreed on, least margin {min(margins):.4f}", flush=True)
        assert agreed >= AGREED, "choose another prompt"
        greedy.append({"text": prompt["text"], "ids": prompt["ids"], "tokens": tokens, "margins": margins})
    write("greedy", {"model_sha256": sha256, "small_margin": SMALL_MARGIN, "continuations": greedy})


if __name__ == "__main__":
    main()
