"""The pictures of `longhaul evaluate` and `longhaul-bench`, drawn from made-up results."""

import json
import os
import subprocess

import pytest

from real_server import CACHE

PYTHON = CACHE / "client-venv" / "bin" / "python"
MODES = ["none", "ntk", "ntk-fixed", "beta-mixed", "yarn", "rerope", "leaky-rerope", "self-extend", "linear"]
LENGTHS = [4096, 8192, 16384, 24576]


def result(task, summary, **identity):
    return {
        "format": "longhaul-evaluation-1",
        "identity": {"task": task, "trained_length": 8192, **identity},
        "model": {"name": "Made-up model", "compute_type": "bf16", "kv_cache_type": "f16"},
        "summary": summary,
        "refused": [],
        "cells": [],
    }


def tail_loss():
    def loss(number, mode, length):
        if mode == "none" and length > 8192:
            return 6.5 + length / 8192
        return 3.0 - 0.00001 * length + 0.02 * number + (0.4 if mode == "linear" else 0)

    cells = [
        dict(position=mode, length=length, n=1 if length == 24576 else 3, mean=loss(number, mode, length),
             standard_error=None if length == 24576 else 0.05, difference=loss(number, mode, length) - 2.918,
             difference_standard_error=None if length == 24576 else 0.008)
        for number, mode in enumerate(MODES) for length in LENGTHS
        if length < 24576 or mode in ("none", "rerope", "yarn")
    ]
    return result("tail-loss", cells, score_tokens=2048)


def repeated():
    cells = [dict(position=mode, length=length, n=3, standard_error=0.01, first_copy=0.41,
                  mean=0.05 if mode == "none" and length > 8192 else 0.95 - 0.03 * number)
             for number, mode in enumerate(MODES) for length in LENGTHS]
    return result("repeated", cells, period=2048)


def passkey():
    cells = [dict(position=mode, length=length, depth=depth, n=5,
                  mean=0.0 if mode == "none" and length > 8192 else (depth + number) % 6 / 5)
             for number, mode in enumerate(MODES) for length in LENGTHS for depth in (0, 25, 50, 75, 100)]
    return result("passkey", cells, seed=0)


def documents():
    cells = [dict(position=mode, length=length, n=20 if length == 64 else 50, mean=0.9 - 0.01 * length,
                  standard_error=0.05, cited=0.8 if mode.startswith("nbce") else None)
             for mode, lengths in (("none", (0, 1, 4, 16, 64)), ("auto", (64,)), ("nbce", (1, 4, 16, 64)),
                                   ("nbce:beta=0", (16,)), ("nbce:pooling=mean", (16,)))
             for length in lengths]
    return result("documents", cells, seed=0)


def sweep(load="rate", failed=0):
    def run(number, value):
        latency = {"count": 50, **{name: 0.01 * factor * 2 ** number for name, factor in
                                   (("p50", 1), ("p90", 2), ("p99", 5))}}
        nothing = {"count": 0}  # every request failed before its second token
        return {
            "load": {"arrivals": "poisson", load: value, "prompts": "lognormal:mean=800", "output_tokens": "64"},
            "requests": {"measured": 50, "failed": failed * number},
            "throughput": {"requests_per_second": value * 0.9, "tokens_per_second": value * 60.0},
            "goodput": {"requests_per_second": value * 0.5},
            "latency": {"time_to_first_token": latency, "end_to_end": latency,
                        "inter_token_latency": nothing if number == 3 else latency},
            "client": {"warnings": ["this client could not keep the rate"] if number == 3 else []},
            "objectives": [{"name": "ttft_p99", "bound": 0.2}, {"name": "error_rate", "bound": 0.01}],
        }

    return {"format": "longhaul-bench-1", "server": {"name": "Made-up model", "backend": "cpu"},
            "runs": [run(number, 2 ** number) for number in range(4)]}


def draw(task, file, *outputs):
    if not PYTHON.exists():
        pytest.fail("deploy/install_python_client.sh was not run")
    flags = [word for output in outputs for word in ("--output", str(output))]
    # What a notebook sets in its environment is not meant for these pictures.
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    return subprocess.run([PYTHON, "-I", "-m", "longhaul_plots", task, str(file), *flags], capture_output=True,
                          text=True, env=environment)


@pytest.mark.parametrize("task,data", [("tail-loss", tail_loss()), ("repeated", repeated()), ("passkey", passkey()),
                                       ("documents", documents()),
                                       ("sweep", sweep(failed=2)), ("sweep", sweep("concurrency"))])
def test_draws_png_and_svg(tmp_path, task, data):
    file, png, svg = tmp_path / "result.json", tmp_path / "p.png", tmp_path / "p.svg"
    file.write_text(json.dumps(data))
    done = draw(task, file, png, svg)
    assert done.returncode == 0, done.stderr
    assert png.read_bytes().startswith(b"\x89PNG\r\n") and png.stat().st_size > 10000
    assert "<svg" in svg.read_text()


def test_says_what_is_wrong_with_a_file(tmp_path):
    file = tmp_path / "result.json"
    file.write_text(json.dumps(tail_loss()))
    wrong_task = draw("repeated", file, tmp_path / "p.png")
    assert wrong_task.returncode == 1 and "holds a result of task tail-loss" in wrong_task.stderr
    file.write_text(json.dumps(result("tail-loss", [], score_tokens=8)))
    assert "no measurement yet" in draw("tail-loss", file, tmp_path / "p.png").stderr
    file.write_text("{}")
    assert "no result" in draw("tail-loss", file, tmp_path / "p.png").stderr
    file.write_text("[]")
    assert "no result of longhaul-bench" in draw("sweep", file, tmp_path / "p.png").stderr
    file.write_text(json.dumps({**sweep(), "runs": []}))
    assert "no run yet" in draw("sweep", file, tmp_path / "p.png").stderr
    file.write_text(json.dumps(sweep("trace_speed")))
    assert "no rate to draw over" in draw("sweep", file, tmp_path / "p.png").stderr
    file.write_text("not JSON")
    assert draw("tail-loss", file, tmp_path / "p.png").returncode == 1
