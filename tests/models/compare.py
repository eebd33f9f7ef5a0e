"""A server of a real model, asked by the command line, against the independent forward pass of tests/oracle.

    python compare.py HOST:PORT MODEL.gguf TEXT [CHECK...]     (tests/models/run.sh installs what it needs and calls it)

The server computes and caches in f32. CHECKs: plain (600 and 2,000 tokens), greedy, positions; by default all. Prints the rows of README.md's table; exits
with 1 where a bound is exceeded.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from gguf import GGUFReader

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "oracle"))

import forward  # noqa: E402
import hf_tokenizer  # noqa: E402
import position_modes  # noqa: E402

BUILD = pathlib.Path(os.environ.get("LONGHAUL_BUILD", ROOT / "build" / "release"))
MEAN, MAX = 1e-4, 5e-3  # nats a token
SMALL_MARGIN = 0.02  # of logits: below it, the order of a sum may choose another token
AGREED = 32  # greedy tokens
PROMPTS = ["def fibonacci(n):\n", "The three laws of thermodynamics are", "Once upon a time, in a village by the sea,"]
BEYOND = 4400  # tokens
# Told a quarter of the text's length, so that most of it is beyond.
POSITIONS = [{"kind": "rerope", "window": 300, "trained_length": 1100},
             {"kind": "leaky_rerope", "window": 300, "step": 8, "trained_length": 1100},
             {"kind": "yarn", "factor": 4, "alpha": 1, "beta": 32, "ramp": "index", "trained_length": 1100}]
SCORED = 512  # the last tokens, of a text with a position mode


class Comparison:
    def __init__(self, target: str, path: pathlib.Path, text: str):
        self.target, self.text, self.failed = target, text, False
        reader = GGUFReader(path)
        self.tokenizer = hf_tokenizer.load(reader, reader.get_field("tokenizer.ggml.pre").contents())
        self.model = forward.load(str(path))

    def ask(self, command: str, text: str, *flags: str) -> list[dict]:
        """The messages that a command of the command line prints."""
        result = subprocess.run(
            [BUILD / "client" / "longhaul", command, "--json", "--target", self.target, "--prompt-file", "-", "--keep-newline",
             *flags], input=text.encode(), stdout=subprocess.PIPE, check=True)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def first_tokens(self, n: int) -> tuple[str, list[int]]:
        """A text of n tokens, and their ids: by the other tokenizer."""
        encoding = self.tokenizer.encode(self.text[: 8 * n], add_special_tokens=False)
        text = self.text[: encoding.offsets[n - 1][1]]
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        assert [int(i) for i in self.ask("tokenize", text)[0]["ids"]] == ids
        return text, ids

    def row(self, what: str, right: bool, *figures: str) -> None:
        self.failed = self.failed or not right
        print("|", " | ".join([what, *figures, "" if right else "**exceeded**"]), "|", flush=True)

    def likelihoods(self, what: str, text: str, ids: list[int], first_scored: int, mode: dict | None = None) -> None:
        """Of the tokens from `first_scored` on."""
        rotation = position_modes.rotation_of(self.model, mode) if mode else None
        logits = forward.forward(self.model, ids, rows=slice(first_scored - 1, None), rotation=rotation)
        golden = forward.negative_log_likelihoods(logits, ids[first_scored - 1 :])
        position = ["--position", position_modes.text_of(mode)] if mode else []
        messages = self.ask("score", text, "--last-tokens", str(len(ids) - first_scored), *position)
        ours = -np.concatenate([message["scores"]["logprobs"] for message in messages if "scores" in message])
        difference = np.abs(ours - golden)
        self.row(what, len(ours) == len(golden) and difference.mean() <= MEAN and difference.max() <= MAX,
                 str(len(ids)), f"{golden.mean():.3f}", f"{difference.mean():.1e}", f"{difference.max():.1e}")

    def plain(self) -> None:
        for n in (600, 2000):
            text, ids = self.first_tokens(n)
            self.likelihoods("plain", text, ids, 1)

    def positions(self) -> None:
        text, ids = self.first_tokens(BEYOND)
        for mode in POSITIONS:
            self.likelihoods(f"`{position_modes.text_of(mode)}`", text, ids, BEYOND - SCORED, mode)

    def greedy(self) -> None:
        for prompt in PROMPTS:
            messages = self.ask("generate", prompt, "--temperature", "0", "--max-tokens", "48", "--ignore-eos",
                                "--token-ids")
            ours = [int(i) for message in messages if "chunk" in message for i in message["chunk"].get("token_ids", [])]
            ids = self.tokenizer.encode(prompt, add_special_tokens=False).ids
            # One pass: the logits of our own tokens, each of which must be the best one.
            logits = forward.forward(self.model, ids + ours[:-1], rows=slice(len(ids) - 1, None))
            second, first = np.sort(logits, axis=-1)[:, -2:].T
            agreed = 0
            while agreed < len(ours) and first[agreed] - second[agreed] >= SMALL_MARGIN and logits[agreed].argmax() == ours[agreed]:
                agreed += 1
            small = agreed < len(ours) and first[agreed] - second[agreed] < SMALL_MARGIN
            self.row(f"greedy, {prompt[:20]!r}", agreed >= AGREED or small, str(len(ids)),
                     f"{agreed} tokens agree" + (", then a small margin" if small else ""), "", "")


def main() -> None:
    target, path = sys.argv[1], pathlib.Path(sys.argv[2])
    comparison = Comparison(target, path, pathlib.Path(sys.argv[3]).read_text())
    print(f"\n{path.name}\n\n| what | tokens | mean loss | mean | max | |\n|---|---|---|---|---|---|", flush=True)
    for check in sys.argv[4:] or ["plain", "greedy", "positions"]:
        getattr(comparison, check)()
    sys.exit(comparison.failed)


if __name__ == "__main__":
    main()
