"""Next-token accuracy on repeated text against context length."""

from matplotlib.figure import Figure

from longhaul_plots.lines import draw_length_axis, draw_lines, notes_of
from longhaul_plots.result import Cell, Result


def _percent(cell: Cell) -> tuple[float, float | None]:
    return 100 * cell.mean, None if cell.standard_error is None else 100 * cell.standard_error


def draw(result: Result) -> Figure:
    figure = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.subplots()
    draw_lines(axes, result, _percent)
    first = [cell.first_copy for cell in result.cells if cell.first_copy is not None]
    if first:
        axes.axhline(100 * sum(first) / len(first), color="gray", linestyle=":", linewidth=1.2,
                     label="first copy, mean of all")
    axes.set_ylim(0, 103)
    axes.set_ylabel("right next tokens from the second copy on (%)")
    draw_length_axis(axes, result)
    axes.set_title(f"{result.subtitle}\na passage of {result.period:,} tokens, repeated", fontsize=11)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=9)
    if notes := notes_of(result, []):
        figure.supxlabel(notes, fontsize=8, x=0.01, ha="left")
    return figure
