"""What streaming a token costs in CPU time, read from the server's threads while longhaul-bench loads it. By hand.

    python3 tests/bench/streaming_bench.py [--build build/release] [--model M.gguf] [--streams 32] [--connections 1 32] [--rounds 3]

For each number of TCP connections:
- of the engine's thread for handing tokens over, after a step and up to the writers' wake-up (wanted: at most 1
  microsecond a token),
- of all threads but the engine's and the backend's (wanted: at most 20 microseconds a token), by the threads' names,
- the rest of the engine's thread and the workers, which is the model.
CPU time, not wall-clock: what else runs on the machine makes steps longer but not these.
"""

import argparse
import collections
import os
import pathlib
import statistics
import sys
import tempfile

from serving_bench import ROOT, Bench, loopback

MODEL_THREADS = ("engine", "cpu worker")


def cpu_by_thread(pid):
    """Seconds of CPU by the names of the threads; threads that have ended are missing."""
    seconds = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            seconds[(task / "comm").read_text().strip()] += int((task / "schedstat").read_text().split()[0]) * 1e-9
        except OSError:
            pass  # it has ended between
    return seconds


def process_cpu(pid):
    """Seconds of CPU of all threads, ended ones too."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metrics(port):
    text = loopback.read(f"http://127.0.0.1:{port}/metrics")
    values = collections.Counter()
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            values[series.split("{")[0]] += float(value)
    return values


def measure(bench, port, streams, connections, tokens):
    """Microseconds a token: handing over, and the threads by name."""
    pid = bench.server.pid
    bench.load("--concurrency", streams, "--connections", connections, "--requests", streams, "--prompts", 16,
               "--output-tokens", 2)
    before, whole, counted = cpu_by_thread(pid), process_cpu(pid), metrics(port)
    bench.load("--concurrency", streams, "--connections", connections, "--requests", streams, "--prompts", 16,
               "--output-tokens", tokens)
    after, whole_after, counted_after = cpu_by_thread(pid), process_cpu(pid), metrics(port)
    n = streams * tokens
    threads = {name: 1e6 * (after[name] - before[name]) / n for name in after}
    # What is missing from the sum over the threads was used by threads that have ended.
    ended = 1e6 * (whole_after - whole) / n - sum(threads.values())
    threads["ended threads"] = max(0.0, ended)
    emit = 1e6 * (counted_after["longhaul_emit_cpu_seconds_total"] - counted["longhaul_emit_cpu_seconds_total"]) / n
    return emit, threads


def main():
    cache = os.environ.get("LONGHAUL_CACHE") or str(pathlib.Path.home() / ".cache" / "longhaul")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--model", default=f"{cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--tokens", type=int, default=128, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    kept = True
    with tempfile.TemporaryDirectory() as folder:
        port = Bench.free_port()
        bench = Bench(args.build, args.model, ["--kv-cache-memory", "1GiB", "--metrics-listen", f"127.0.0.1:{port}"],
                      folder)
        try:
            for connections in args.connections:
                rounds = [measure(bench, port, args.streams, connections, args.tokens) for _ in range(args.rounds)]
                emit = statistics.median(emit for emit, _ in rounds)
                names = sorted({name for _, threads in rounds for name in threads})
                threads = {name: statistics.median(threads.get(name, 0) for _, threads in rounds) for name in names}
                others = statistics.median(sum(us for name, us in threads.items() if name not in MODEL_THREADS)
                                           for _, threads in rounds)
                print(f"{args.streams} streams over {connections} connections, microseconds of CPU a token "
                      f"(medians of {args.rounds} rounds)")
                print(f"  engine's thread, handing over: {emit:.2f} (at most 1: {'yes' if emit <= 1 else 'NO'})")
                print(f"  outside the engine: {others:.1f} (at most 20: {'yes' if others <= 20 else 'NO'})")
                for name in sorted(threads, key=threads.get, reverse=True):
                    if threads[name] >= 0.05:
                        print(f"    {name:16} {threads[name]:9.2f}{'  (the model)' if name in MODEL_THREADS else ''}")
                kept &= emit <= 1 and others <= 20
        finally:
            bench.server.terminate()
            bench.server.wait()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
