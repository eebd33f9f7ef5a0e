"""Draws what `longhaul evaluate` measured; see `python -m longhaul_plots --help`."""
