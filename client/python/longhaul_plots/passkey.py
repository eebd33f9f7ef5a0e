"""Passkey retrieval: a map of depth over context length for each mode."""

import math

from matplotlib.figure import Figure

from longhaul_plots.result import Result


def draw(result: Result) -> Figure:
    positions, lengths = result.positions, result.lengths
    depths = sorted({cell.depth for cell in result.cells})
    columns = min(4, len(positions))
    rows = math.ceil(len(positions) / columns)
    size = (1.6 + columns * (1.0 + 0.75 * len(lengths)), 1.2 + rows * (1.0 + 0.42 * len(depths)))
    figure = Figure(figsize=(max(size[0], 5.5), max(size[1], 3.0)), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    image = None
    for axes, position in zip(panels, positions):
        grid = [[math.nan] * len(lengths) for _ in depths]
        for cell in result.of(position):
            x, y = lengths.index(cell.length), depths.index(cell.depth)
            grid[y][x] = 100 * cell.mean
            axes.text(x, y, f"{100 * cell.mean:.0f}", ha="center", va="center", fontsize=8,
                      color="black" if cell.mean > 0.6 else "white")
        image = axes.imshow(grid, vmin=0, vmax=100, cmap="viridis", aspect="auto")
        axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], fontsize=8,
                        rotation=0 if len(lengths) < 5 else 45)
        axes.set_yticks(range(len(depths)), [f"{depth} %" for depth in depths], fontsize=8)
        axes.set_title(position, fontsize=9)
        inside = sum(length <= result.trained_length for length in lengths)
        if 0 < inside < len(lengths):
            axes.axvline(inside - 0.5, color="red", linestyle="--", linewidth=1.2)
    for axes in panels[len(positions):]:
        axes.set_visible(False)
    figure.colorbar(image, ax=figure.axes, label="keys found (%)", shrink=0.8)
    figure.suptitle(f"{result.subtitle}\npasskey, {result.samples} keys a cell", fontsize=10)
    figure.supxlabel(f"context length (tokens); dashed: trained length {result.trained_length:,}", fontsize=9)
    figure.supylabel("depth of the key", fontsize=9)
    return figure
