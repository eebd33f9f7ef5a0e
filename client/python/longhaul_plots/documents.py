"""Questions over documents: right answers and citations against their number, and what the parameters of NBCE change."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from longhaul_plots.result import Cell, Result

NAMES = {"nbce": "nbce, a row each", "none": "one prompt, plain", "auto": "one prompt, server's default mode"}
STYLES = {"auto": "--"}  # within the trained length it is the plain mode, whose line must stay visible
COLORS = {"nbce": "tab:blue", "none": "black", "auto": "tab:orange"}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _draw_numbers(axes: Axes, result: Result, positions: list[str]) -> None:
    """Over the number of documents, at even distances."""
    lengths = [length for length in result.lengths if length > 0]
    for position in positions:
        cells = [cell for cell in result.of(position) if cell.length > 0]
        places, color = [lengths.index(cell.length) for cell in cells], COLORS.get(position)
        line = axes.errorbar(places, [100 * cell.mean for cell in cells],
                             yerr=[100 * (cell.standard_error or 0) for cell in cells], color=color, marker="o",
                             markersize=5, linewidth=1.4, linestyle=STYLES.get(position, "-"), capsize=2,
                             label=NAMES.get(position, position))
        for place, cell in zip(places, cells):
            if cell.n < result.samples:
                axes.plot(place, 100 * cell.mean, marker="o", markersize=5, color=line[0].get_color(),
                          markerfacecolor="white", zorder=5)
        if any(cell.cited is not None for cell in cells):
            axes.plot(places, [_percent(cell.cited) for cell in cells], color=color, marker="x", linestyle=":",
                      label=f"{position}: right citation")
    for length, name, style in ((1, "right document alone", "--"), (0, "no document", ":")):
        for cell in result.of("none"):
            if cell.length == length:
                axes.axhline(100 * cell.mean, color="gray", linewidth=1, linestyle=style, label=name)
    axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    axes.set_xlabel("documents")
    axes.set_ylabel("questions (%)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)


def _draw_settings(axes: Axes, cells: list[Cell], length: int) -> None:
    rows = range(len(cells))
    axes.barh(rows, [100 * cell.mean for cell in cells], xerr=[100 * (cell.standard_error or 0) for cell in cells],
              color="tab:blue", alpha=0.6, height=0.6, capsize=2, label="right answers")
    axes.plot([_percent(cell.cited) for cell in cells], rows, "kx", label="right citations")
    axes.set_yticks(rows, [cell.position.removeprefix("nbce:").replace("nbce", "default") for cell in cells],
                    fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 105)
    axes.set_xlabel(f"questions (%), {length} documents")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)


def draw(result: Result) -> Figure:
    settings = [position for position in result.positions if position.startswith("nbce:")]
    swept = [cell.length for position in settings for cell in result.of(position)]
    figure = Figure(figsize=(12.5 if settings else 7.5, 5.2), layout="constrained")
    panels = figure.subplots(1, 2 if settings else 1, squeeze=False)[0]
    _draw_numbers(panels[0], result, [position for position in result.positions if position not in settings])
    panels[0].set_ylim(-3, 103)
    if settings:
        length = max(set(swept), key=swept.count)
        cells = [cell for cell in result.cells if cell.position.startswith("nbce") and cell.length == length]
        _draw_settings(panels[1], cells, length)
    figure.suptitle(f"{result.subtitle}; {result.samples} questions", fontsize=11)
    if any(cell.n < result.samples for cell in result.cells):
        figure.supxlabel(f"Hollow: fewer than {result.samples} questions.", fontsize=8, x=0.01, ha="left")
    return figure
