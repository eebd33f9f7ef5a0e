"""Loss against context length, and the paired difference to truncation at the trained length."""

import textwrap

from matplotlib.figure import Figure

from longhaul_plots.lines import cut_above, draw_length_axis, draw_lines, notes_of
from longhaul_plots.result import Cell, Result


def _loss(cell: Cell) -> tuple[float, float | None]:
    return cell.mean, cell.standard_error


def _difference(cell: Cell) -> tuple[float, float | None] | None:
    return None if cell.difference is None else (cell.difference, cell.difference_standard_error)


def draw(result: Result) -> Figure:
    has_difference = any(cell.difference is not None for cell in result.cells)
    figure = Figure(figsize=(12.5 if has_difference else 8, 5.2), layout="constrained")
    panels = figure.subplots(1, 2 if has_difference else 1, squeeze=False)[0]
    draw_lines(panels[0], result, _loss)
    panels[0].set_ylabel(f"nat per token, last {result.score_tokens:,} tokens")
    panels[0].set_title("tail loss (standard error over spans)", fontsize=10)
    cut = cut_above(panels[0], [_loss(cell) for cell in result.cells])
    off_axis = [f"{cell.position} {cell.mean:.2f} at {cell.length:,}"
                for cell in result.cells if cut is not None and cell.mean > cut]
    if has_difference:
        draw_lines(panels[1], result, _difference)
        panels[1].axhline(0, color="gray", linewidth=0.8)
        panels[1].set_ylabel("difference in nat per token")
        panels[1].set_title(f"difference to none at {result.trained_length:,}, paired by span", fontsize=10)
        cut_above(panels[1], [value for cell in result.cells if (value := _difference(cell)) is not None])
    for axes in panels:
        draw_length_axis(axes, result)
    figure.suptitle(f"{result.subtitle}; {result.samples} span{'s' if result.samples > 1 else ''}", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=9)
    notes = notes_of(result, off_axis)
    if notes:
        width = 150 if has_difference else 95
        text = "\n".join(textwrap.fill(line, width) for line in notes.splitlines())
        figure.supxlabel(text, fontsize=8, x=0.01, ha="left")
    return figure
