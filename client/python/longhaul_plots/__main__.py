"""python -m longhaul_plots tail-loss result.json --output result.svg --output result.png"""

import argparse
import sys

from longhaul_plots import documents, passkey, repeated, sweep, tail_loss
from longhaul_plots.load import Sweep
from longhaul_plots.result import Result, ResultError

DRAW = {"tail-loss": tail_loss.draw, "repeated": repeated.draw, "passkey": passkey.draw, "documents": documents.draw}
SWEEP = "sweep"


def main() -> int:
    parser = argparse.ArgumentParser(prog="longhaul_plots", description=__doc__)
    parser.add_argument("task", choices=[*DRAW, SWEEP])
    parser.add_argument("result", help="the JSON file of longhaul evaluate or longhaul-bench")
    parser.add_argument("--output", action="append", required=True,
                        help="a picture, .svg or .png; may be given several times")
    arguments = parser.parse_args()
    try:
        if arguments.task == SWEEP:
            figure = sweep.draw(Sweep.read(arguments.result))
        else:
            figure = DRAW[arguments.task](Result.read(arguments.result, arguments.task))
        for output in arguments.output:
            figure.savefig(output, dpi=150)
    except (ResultError, OSError, ValueError) as error:
        print(f"longhaul_plots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
