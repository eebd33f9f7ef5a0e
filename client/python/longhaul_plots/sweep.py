"""Latency and throughput over the load."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from longhaul_plots.load import LATENCIES, QUANTILES, Sweep

TITLES = {"time_to_first_token": "time to first token", "inter_token_latency": "inter-token latency",
          "end_to_end": "end to end"}
COLORS = {"p50": "tab:blue", "p90": "tab:orange", "p99": "tab:red"}


def _seconds(value: float, _: int) -> str:
    return f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms"


def _load_axis(axes: Axes, sweep: Sweep) -> None:
    loads = [run.load for run in sweep.runs]
    if min(loads) > 0 and max(loads) / min(loads) >= 4:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(loads))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda load, _: f"{load:g}"))
    axes.set_xlabel("concurrent requests" if sweep.closed else "offered load (requests/s)")
    axes.grid(alpha=0.3)


def _draw_latency(axes: Axes, sweep: Sweep, metric: str) -> None:
    runs = [run for run in sweep.runs if metric in run.latency]
    for name in QUANTILES:
        axes.plot([run.load for run in runs], [run.latency[metric][name] for run in runs], color=COLORS[name],
                  marker="o", markersize=4, linewidth=1.4, label=name)
        bound = sweep.objectives.get(f"{LATENCIES[metric]}_{name}")
        if bound is not None:
            axes.axhline(bound, color=COLORS[name], linestyle="--", linewidth=1, label=f"objective, {name}")
    if runs:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_seconds))
        axes.yaxis.set_minor_formatter(FuncFormatter(_seconds))
        axes.tick_params(axis="y", which="both", labelsize=7)
    axes.set_title(TITLES[metric], fontsize=10)
    axes.legend(fontsize=8)
    _load_axis(axes, sweep)


def _draw_throughput(axes: Axes, sweep: Sweep) -> None:
    loads = [run.load for run in sweep.runs]
    axes.plot(loads, [run.tokens_per_second for run in sweep.runs], color="black", marker="s", markersize=4,
              linewidth=1.4, label="tokens/s")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("tokens/s")
    beside = axes.twinx()
    beside.plot(loads, [run.requests_per_second for run in sweep.runs], color="tab:green", marker="^", markersize=4,
                linewidth=1.4, label="requests/s answered")
    if any(run.goodput is not None for run in sweep.runs):
        beside.plot(loads, [run.goodput for run in sweep.runs], color="tab:purple", marker="v", markersize=4,
                    linewidth=1.4, linestyle=":", label="requests/s within the objectives")
    beside.set_ylim(bottom=0)
    beside.set_ylabel("requests/s")
    handles = [line for part in (axes, beside) for line in part.get_lines()]
    axes.legend(handles, [line.get_label() for line in handles], fontsize=8, loc="lower right")
    axes.set_title("throughput", fontsize=10)
    _load_axis(axes, sweep)


def draw(sweep: Sweep) -> Figure:
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    panels = list(figure.subplots(2, 2).flat)
    for axes, metric in zip(panels, LATENCIES):
        _draw_latency(axes, sweep, metric)
    _draw_throughput(panels[3], sweep)
    figure.suptitle(f"{sweep.server}\n{sweep.load}", fontsize=11)
    notes = [f"{run.load:g}: {run.failed} of {run.requests} requests failed" for run in sweep.runs if run.failed]
    notes += [f"{run.load:g}: {warning}" for run in sweep.runs for warning in run.warnings]
    if notes:
        text = "\n".join(textwrap.fill(note, 150) for note in notes[:6])
        figure.supxlabel(text, fontsize=8, x=0.01, ha="left")
    return figure
