"""longhaul-bench against the real server, with little load."""

import json
import os
import signal
import subprocess
import time

import pytest

from real_server import BUILD

PROGRAM = BUILD / "client" / "longhaul-bench"


def run(target, *flags, timeout=120):
    words = [PROGRAM, "--target", target, *map(str, flags)]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, "LONGHAUL_CACHE": "/nonexistent"})


def load(target, file, *flags, code=0):
    done = run(target, "--json", file, *flags)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(file.read_text()), done.stdout


def check_percentiles(latency, count):
    assert latency["count"] == count
    values = [latency[name] for name in ("min", "p50", "p90", "p95", "p99", "p99.9", "max")]
    assert values == sorted(values) and values[0] > 0, latency
    assert sum(n for _, n in latency["buckets_ns"]) == count


def test_open_loop_measures_every_request(stub, server, tmp_path):
    data, text = load(server.target, tmp_path / "out.json", "--rate", 10, "--arrivals", "constant", "--duration", "2s",
                      "--warmup", "500ms", "--prompts", "lengths:uniform:min=8,max=24", "--output-tokens", 6,
                      "--slo", "ttft_p99=60s,itl_max=60s,error_rate=0%")
    assert data["format"] == "longhaul-bench-1" and data["server"]["vocabulary_size"] == 49152
    assert data["server"]["compute_type"] and data["server"]["version"]
    (measured,) = data["runs"]
    assert measured["load"]["rate"] == 10 and measured["load"]["arrivals"] == "constant"
    assert measured["requests"] == {"measured": 20, "answered": 20, "cancelled": 0, "failed": 0, "wrong_length": 0,
                                    "errors": {}, "messages": {}}
    for name, count in (("time_to_first_token", 20), ("end_to_end", 20), ("time_per_output_token", 20)):
        check_percentiles(measured["latency"][name], count)
    assert 0 < measured["latency"]["inter_token_latency"]["count"] <= 100
    for name in ("first_token", "prefill", "decode"):
        check_percentiles(measured["server_latency"][name], 20)
    # The server cannot have taken longer than its client saw.
    seen, told = measured["latency"]["time_to_first_token"], measured["server_latency"]["first_token"]
    assert told["max"] <= seen["max"] * 1.001
    assert measured["goodput"]["requests"] == 20
    assert [objective["kept"] for objective in measured["objectives"]] == [True, True, True]
    assert measured["throughput"]["prompt_tokens"] >= 20 * 8
    for words in ("server      longhaul", "time to first token", "p99", "kept        ttft_p99", "goodput"):
        assert words in text


def test_closed_loop_with_modes_cancellations_and_a_shared_prefix(stub, server, tmp_path):
    data, text = load(server.target, tmp_path / "out.json", "--concurrency", 3, "--requests", 24, "--warmup", "0s",
                      "--prompts", 40, "--output-tokens", 8, "--positions", "none@0.5,rerope:window=64@0.5",
                      "--cancel-share", 0.4, "--shared-prefix", 0.5, "--shared-prefix-tokens", 16, "--seed", 3)
    (measured,) = data["runs"]
    requests = measured["requests"]
    assert measured["load"]["concurrency"] == 3
    assert requests["measured"] == 24 and requests["failed"] == 0 and requests["wrong_length"] == 0
    assert requests["cancelled"] > 0 and requests["answered"] + requests["cancelled"] == 24
    assert set(measured["by_position"]) == {"none", "rerope:window=64"}
    assert sum(part["requests"]["measured"] for part in measured["by_position"].values()) == 24
    assert "rerope:window=64: " in text


def test_a_missed_objective_is_exit_code_7(stub, server, tmp_path):
    data, text = load(server.target, tmp_path / "out.json", "--concurrency", 1, "--requests", 2, "--warmup", "0s",
                      "--prompts", 8, "--output-tokens", 2, "--slo", "ttft_p50=1us", code=7)
    assert data["runs"][0]["objectives"][0]["kept"] is False and data["runs"][0]["goodput"]["requests"] == 0
    assert "MISSED      ttft_p50" in text


def test_a_trace_is_replayed(stub, server, tmp_path):
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"timestamp": 1000, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}\n'
                     '{"at": 1.4, "prompt_tokens": 20, "output_tokens": 5, "position": "yarn:factor=2"}\n')
    data, _ = load(server.target, tmp_path / "out.json", "--trace", trace, "--trace-speed", 2)
    (measured,) = data["runs"]
    assert measured["requests"]["answered"] == 2 and measured["throughput"]["prompt_tokens"] == 620
    assert measured["latency"]["inter_token_latency"]["count"] <= 2 + 4
    assert measured["seconds"] < 60


def test_a_sweep_is_written_run_by_run_and_the_plot_says_what_it_needs(stub, server, tmp_path):
    plot = tmp_path / "sweep.svg"
    done = run(server.target, "--sweep", "5,10", "--duration", "1s", "--warmup", "0s", "--prompts", 8,
               "--output-tokens", 2, "--plot", plot)
    assert done.returncode == 3 and "install_python_client.sh" in done.stderr, done.stderr  # no Python at LONGHAUL_CACHE
    data = json.loads((tmp_path / "sweep.json").read_text())
    assert [measured["load"]["rate"] for measured in data["runs"]] == [5, 10]
    seeds = {measured["load"]["seed"] for measured in data["runs"]}
    assert len(seeds) == 2, "a run's prompts must not be in the cache already"


def test_requests_that_all_fail_are_an_error(stub, server, tmp_path):
    data, _ = load(server.target, tmp_path / "out.json", "--concurrency", 1, "--requests", 3, "--warmup", "0s",
                   "--prompts", 10000, "--positions", "none", code=2)
    assert data["runs"][0]["requests"]["errors"] == {"INVALID_ARGUMENT": 3}
    assert data["runs"][0]["requests"]["messages"]["INVALID_ARGUMENT"]


def test_ctrl_c_reports_what_was_measured(stub, server, tmp_path):
    file = tmp_path / "out.json"
    process = subprocess.Popen([PROGRAM, "--target", server.target, "--rate", "10", "--warmup", "0s", "--prompts", "8",
                                "--output-tokens", "2", "--json", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "time to first token" in text and "stopped before its end" in text
    measured = json.loads(file.read_text())["runs"][0]
    assert measured["requests"]["failed"] == 0 and measured["seconds"] < 30


@pytest.mark.parametrize("flags,words", [
    ((), "exactly one of --rate"),
    (("--rate", 1, "--concurrency", 1), "exactly one of --rate"),
    (("--rate", 1, "--duration", 5), "'5' is no time"),
    (("--rate", 1, "--prompts", "lengths:normal:mean=3"), "--prompts: 'normal' is no distribution"),
    (("--rate", 1, "--output-tokens", 0), "--output-tokens: '0' is no number of tokens"),
    (("--rate", 1, "--slo", "ttft_p99=5"), "--slo: '5' is no time"),
    (("--rate", 1, "--positions", "sideways"), "--positions: "),
    (("--rate", 1, "--shared-prefix", 0.5), "--shared-prefix-tokens"),
    (("--rate", 1, "--arrivals", "ramp"), "--ramp-to: "),
    (("--rate", 1, "--plot", "x.svg"), "--plot: draws a --sweep"),
    (("--sweep", "1,2", "--plot", "x.pdf"), "must end with .svg or .png"),
    (("--trace", "/nonexistent"), "cannot read --trace /nonexistent"),
])
def test_wrong_flags_are_named(flags, words):
    done = run("127.0.0.1:1", *flags)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_no_server_is_exit_code_4():
    assert run("127.0.0.1:1", "--rate", 1).returncode == 4


def test_questions_over_documents(stub, server, tmp_path):
    data, text = load(server.target, tmp_path / "out.json", "--concurrency", 2, "--requests", 8, "--warmup", "0s",
                      "--prompts", 5, "--output-tokens", 12, "--nbce-share", 0.5, "--documents", "uniform:min=2,max=5",
                      "--document-tokens", 40, "--document-pool", 6, "--seed", 1)
    (measured,) = data["runs"]
    # Answers that may not end have their length also where the end is all that the documents would say.
    assert measured["requests"]["answered"] == 8 and measured["requests"]["wrong_length"] == 0
    assert measured["load"]["nbce_share"] == 0.5 and measured["load"]["document_pool"] == 6
    assert "50 % ask over uniform:min=2,max=5 documents of 40 tokens, of 6" in text
