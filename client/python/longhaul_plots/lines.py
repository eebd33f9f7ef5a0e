"""Lines over the context length, one for each mode."""

from collections.abc import Callable, Iterable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from longhaul_plots.result import Cell, Result

MARKERS = "osD^vP*X<>ph"
COLORS = ["black", *matplotlib.colormaps["tab10"].colors[:7], *matplotlib.colormaps["tab10"].colors[8:]]
# Neighbouring modes stand so far apart, in octaves: their error bars must not hide each other.
SPREAD = 0.02

# A cell's height and its standard error (None: one sample); None: the cell is not drawn.
Value = Callable[[Cell], tuple[float, float | None] | None]


def draw_lines(axes: Axes, result: Result, value: Value) -> None:
    """A line for each mode; hollow and dotted where a cell has fewer samples than the others."""
    n = len(result.positions)
    for number, position in enumerate(result.positions):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        shift = 2 ** (SPREAD * (number - (n - 1) / 2))
        cells = [(cell, drawn) for cell in result.of(position) if (drawn := value(cell)) is not None]
        for (left, a), (right, b) in zip(cells, cells[1:]):
            whole = min(left.n, right.n) == result.samples
            axes.plot([left.length * shift, right.length * shift], [a[0], b[0]], color=color, linewidth=1.4,
                      linestyle="-" if whole else ":")
        for cell, (height, error) in cells:
            axes.errorbar(cell.length * shift, height, yerr=error, color=color, marker=marker, markersize=5,
                          linestyle="none", capsize=2, elinewidth=0.9,
                          markerfacecolor=color if cell.n == result.samples else "white")
        axes.plot([], [], color=color, marker=marker, markersize=5, label=position)


def draw_length_axis(axes: Axes, result: Result) -> None:
    """Powers of two at even distances, a tick at each length, the trained length dashed."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(result.lengths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    axes.set_xlim(min(result.lengths) / 1.25, max(result.lengths) * 1.25)
    axes.set_xlabel("context length (tokens)")
    axes.axvline(result.trained_length, color="gray", linestyle="--", linewidth=1,
                 label=f"trained length {result.trained_length:,}")
    axes.grid(axis="y", alpha=0.3)


def cut_above(axes: Axes, drawn: Iterable[tuple[float, float | None]]) -> float | None:
    """Cuts the axis where a third of the heights at most would flatten all others: at the gap that is widest beside the
    range below it, if it is wider than that range. The cut, or None."""
    bars = sorted((height, error or 0.0) for height, error in drawn)
    heights = [height for height, _ in bars]
    low, found = heights[0], None
    widest = 1.0
    for below, above in list(zip(heights, heights[1:]))[len(heights) * 2 // 3 - 1:]:
        spread = max(below - low, 0.25)
        if (above - below) / spread > widest:
            widest, found = (above - below) / spread, below
    if found is None:
        return None
    bottom = min(height - error for height, error in bars if height <= found)
    top = max(height + error for height, error in bars if height <= found)
    margin = 0.07 * max(top - bottom, 0.05)
    axes.set_ylim(bottom - margin, top + margin)
    return top + margin


def notes_of(result: Result, off_axis: list[str]) -> str:
    """What a reader must know beside the lines."""
    notes = []
    if off_axis:
        notes.append("The axes are cut; off them: " + ", ".join(off_axis))
    if any(cell.n < result.samples for cell in result.cells):
        notes.append(f"Hollow: fewer than {result.samples} spans")
    return ".\n".join(notes) + ("." if notes else "")
