"""Draws what `longhaul evaluate` and `longhaul-bench` measured; see `python -m longhaul_plots --help`."""
