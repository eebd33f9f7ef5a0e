"""The file of `longhaul-bench`, as far as it is drawn."""

import dataclasses
import json

from longhaul_plots.result import ResultError

QUANTILES = ["p50", "p90", "p99"]
LATENCIES = {"time_to_first_token": "ttft", "inter_token_latency": "itl", "end_to_end": "e2e"}


@dataclasses.dataclass(frozen=True)
class Run:
    """One load: a rate (requests/s) or a number of concurrent requests."""

    load: float
    requests: int
    failed: int
    requests_per_second: float
    tokens_per_second: float
    goodput: float | None
    latency: dict[str, dict[str, float]]  # metric -> p50 ... -> seconds; without those that nothing was measured of
    warnings: list[str]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What is drawn of a file."""

    server: str
    load: str
    closed: bool
    objectives: dict[str, float]  # "ttft_p99" -> seconds
    runs: list[Run]

    @staticmethod
    def read(path: str) -> "Sweep":
        """Reads `path`; ResultError when it is no result of longhaul-bench or is empty."""
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if not isinstance(data, dict) or data.get("format") != "longhaul-bench-1":
            raise ResultError(f"{path} is no result of longhaul-bench")
        if not data["runs"]:
            raise ResultError(f"{path} holds no run yet")
        first, server = data["runs"][0]["load"], data["server"]
        closed = "concurrency" in first
        if not closed and "rate" not in first:
            raise ResultError(f"{path} replays a trace: there is no rate to draw over")
        runs = [
            Run(run["load"]["concurrency" if closed else "rate"], run["requests"]["measured"],
                run["requests"]["failed"], run["throughput"]["requests_per_second"],
                run["throughput"]["tokens_per_second"], (run.get("goodput") or {}).get("requests_per_second"),
                {metric: {name: run["latency"][metric][name] for name in QUANTILES} for metric in LATENCIES
                 if run["latency"][metric]["count"]},
                run["client"]["warnings"])
            for run in data["runs"]
        ]
        objectives = {objective["name"]: objective["bound"] for objective in data["runs"][0]["objectives"]}
        return Sweep(f"{server.get('name', '')}, {server.get('backend', '')} {server.get('instruction_set', '')}, "
                     f"products {server.get('compute_type', '')}, KV cache {server.get('kv_cache_type', '')}",
                     f"{first['arrivals']}, prompts {first['prompts']}, answers {first['output_tokens']} tokens", closed,
                     objectives, sorted(runs, key=lambda run: run.load))
