"""Writes goldens/nbce.json: NBCE over eight documents on the default model, greedy, as its author's script does it.

    python tests/oracle/make_nbce_goldens.py MODEL.gguf      # gguf, numpy, tokenizers, jinja2; 80 s on one core

The steps are those of bojone/NBCE's test.py (commit 2362c6c), with the largest logit instead of a draw at tau = 0.01. All
in float32; every row is read anew at every step. Each step is given its margins: where they are small, another order of
summation may decide otherwise.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
from gguf import GGUFReader
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.models import BPE

import forward
from make_goldens import rounded, write
from make_tokenizer_goldens import PRE_TOKENIZERS

BETA, ETA, TOP_P = 0.25, 0.1, 0.95
STEPS = 32

QUESTION = "What is said about the bridge and about the market of Alder?"
DOCUMENTS = {
    "bridge": "The stone bridge of Alder was built by the engineer Martha Quill. It was opened on 4 May 1894, and the "
              "whole town walked across it.",
    "market": "On Thursdays there is a market in Alder. Farmers sell apples, honey and sheep's cheese from seven in the "
              "morning until noon.",
    "school": "The school of Alder has six classes. Its teacher, Mr. Fenn, also plays the organ in the chapel.",
    "river": "The river Luth rises in the northern hills. It is too shallow for boats, and in dry summers children wade "
             "through it.",
    "mill": "The old mill burned down in 1921. Only its wheel is left, and swallows nest in it every spring.",
    "railway": "A railway to Alder was planned three times. It was never built, because the hills are too steep.",
    "inn": "The Three Herons is the only inn. It has nine rooms, and its landlady, Mrs. Oake, bakes the bread herself.",
    "library": "The library was given to the town by a sea captain. It holds four thousand books, most of them about "
               "whales.",
}


class Text:
    """The tokenizer and the chat template of a GGUF."""

    def __init__(self, path: str):
        fields = GGUFReader(path).fields
        tokens = fields["tokenizer.ggml.tokens"].contents()
        merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
        self.pieces = Tokenizer(BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
        self.pieces.pre_tokenizer = PRE_TOKENIZERS["smollm"][0]
        self.pieces.decoder = ByteLevel()
        kinds = fields["tokenizer.ggml.token_type"].contents()
        self.pieces.add_special_tokens([AddedToken(token, normalized=False, special=True)
                                        for token, kind in zip(tokens, kinds) if kind == 3])
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self.template = environment.from_string(fields["tokenizer.chat_template"].contents())
        self.end = fields["tokenizer.ggml.eos_token_id"].contents()

    def ids(self, text: str) -> list[int]:
        return self.pieces.encode(text, add_special_tokens=False).ids

    def row(self, document: str, question: str) -> list[int]:
        """One turn of the user: the document, a blank line, the question; each piece tokenized by itself."""
        whole = self.template.render(messages=[{"role": "user", "content": "DOCUMENT\n\nQUESTION"}],
                                     add_generation_prompt=True)
        before, rest = whole.split("DOCUMENT")
        between, after = rest.split("QUESTION")
        return sum((self.ids(piece) for piece in (before, document, between, question, after)), [])


def top_p(log_probabilities: np.ndarray) -> np.ndarray:
    """A row with its tail at -inf, as the TopPLogitsWarper of transformers leaves it."""
    order = np.argsort(log_probabilities, kind="stable")
    cumulative = forward.softmax(log_probabilities[order]).cumsum()
    remove = cumulative <= np.float32(1 - TOP_P)
    remove[-1] = False
    kept = log_probabilities.copy()
    kept[order[remove]] = -np.inf
    return kept


def step(logits: np.ndarray, previous: int | None) -> dict:
    """One step over logits [rows, vocabulary] in float32; row 0 has no document."""
    rows = np.stack([top_p(row - np.float32(forward.log_sum_exp(row))) for row in logits])
    entropies = -(np.exp(rows) * rows.clip(-100, 0)).sum(axis=-1)
    adjusted = entropies.copy()
    if previous is not None:
        adjusted[previous] -= np.float32(ETA)
    k = int(adjusted[1:].argmin()) + 1
    with np.errstate(invalid="ignore"):  # -inf less -inf, which the next line leaves out
        merged = np.float32(1 + BETA) * rows[k] - np.float32(BETA) * rows[0]
    merged = np.where(rows[0] > -100, merged, rows[k])
    least, next_least = np.sort(adjusted[1:])[:2]
    second, first = np.sort(merged)[-2:]
    return {
        "chosen": k,
        "token": int(merged.argmax()),
        "entropies": [rounded(x, 6) for x in entropies],
        "choice_margin": rounded(next_least - least, 4),
        "token_margin": rounded(min(first - second, 100), 4),  # one token alone may be left
    }


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    model, text = forward.load(str(path)), Text(str(path))
    rows = [text.row(document, QUESTION) for document in ["", *DOCUMENTS.values()]]
    print([len(row) for row in rows])
    steps: list[dict] = []
    while len(steps) < STEPS:
        said = [done["token"] for done in steps]
        logits = np.stack([forward.forward(model, row + said, rows=slice(-1, None))[0] for row in rows])
        steps.append(step(logits, steps[-1]["chosen"] if steps else None))
        print(len(steps), repr(text.pieces.decode(said + [steps[-1]["token"]])), steps[-1], flush=True)
        assert steps[-1]["token"] != text.end, "choose a question that is answered at more length"
    names = list(DOCUMENTS)
    fields = {key: [done[key] for done in steps] for key in steps[0]}
    write("nbce", {
        "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "beta": BETA, "eta": ETA, "top_p": TOP_P,
        "question": QUESTION, "ids": names, "documents": [DOCUMENTS[name] for name in names], "rows": rows,
        "answer": text.pieces.decode(fields["token"]), **fields})


if __name__ == "__main__":
    main()
