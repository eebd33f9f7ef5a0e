"""Draws what `longhaul evaluate` and `longhaul-bench` measured; see `python -m longhaul_plots --help`."""

import os

# Files are drawn, whatever the environment says about windows and notebooks; matplotlib reads this when it is imported.
os.environ["MPLBACKEND"] = "Agg"
