"""How much sooner a second question over the same documents is answered. By hand, in a minute or two.

    python3 tests/bench/documents_bench.py [--build build/release] [--model M.gguf] [--documents 32] [--rounds 3]

A question of 20 tokens over 32 documents of 1,000 tokens (wanted: the second one's first token at least 15x sooner) and of
200 (wanted: 4x). Each round asks over documents that are new to the server's cache, then again with another question.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile

from serving_bench import ROOT, Bench, within


def first_tokens(bench, documents, tokens, seed):
    """Seconds to the first token of the first and of the second question, by the server's own clock."""
    # The same pool in both; the questions are the requests' own prompts.
    run = bench.load("--concurrency", 1, "--requests", 2, "--prompts", 20, "--output-tokens", 1, "--nbce-share", 1,
                     "--documents", documents, "--document-pool", documents, "--document-tokens", tokens, "--seed", seed,
                     "--drain", "10m")
    latency = run["latency"]["time_to_first_token"]
    return latency["max"], latency["min"]


def main():
    cache = os.environ.get("LONGHAUL_CACHE") or str(pathlib.Path.home() / ".cache" / "longhaul")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--model", default=f"{cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.build, args.model, ["--kv-cache-memory", "3GiB"], folder)
        try:
            for tokens, wanted in ((1000, 15), (200, 4)):
                pairs = [first_tokens(bench, args.documents, tokens, 1000 * tokens + i) for i in range(args.rounds)]
                first, second = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
                kept.append(within(f"{args.documents} documents of {tokens} tokens, first token of the second question",
                                   f"{second:.3f}", f"s, of the first {first:.2f} s",
                                   statistics.median(a / b for a, b in pairs), least=wanted))
        finally:
            bench.server.terminate()
            bench.server.wait()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
