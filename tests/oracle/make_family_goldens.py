"""Writes tests/oracle/goldens/family_*.json: what the engine must compute on a small random model of each family.

    build/release/tests/oracle/write_family_models FOLDER
    python tests/oracle/make_family_goldens.py FOLDER [FAMILY...]

Prints by how much each differs from float64, and how sure the model is: what attends to one key alone tests little.
"""

import pathlib
import sys

import numpy as np

import forward
import make_goldens

TOKENS = 120
POSITIONS = [0, 1, 59, 99, 119]
LARGEST = 16


def main() -> None:
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.gguf")):
        if sys.argv[2:] and path.stem not in sys.argv[2:]:
            continue
        model = forward.load(str(path))
        ids = np.random.default_rng(1).integers(0, len(model.pieces), TOKENS).tolist()
        logits = forward.forward(model, ids)
        nll = make_goldens.checked_nll(logits, ids)
        exact = forward.negative_log_likelihoods(forward.forward(model, ids, dtype=np.float64), ids)
        make_goldens.write(f"family_{path.stem}", {
            "ids": ids, "nll": nll,
            "logits": [make_goldens.largest_logits(logits, row, LARGEST) for row in POSITIONS]})
        print(f"{path.stem}: mean nll {np.mean(nll):.3f}, from float64 {np.abs(np.array(nll) - exact).max():.1e} at most")


if __name__ == "__main__":
    main()
