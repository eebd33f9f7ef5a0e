"""What batching is worth and what a long prompt costs the others, seen by longhaul-bench. By hand, in minutes.

    python3 tests/bench/serving_bench.py [--build build/release] [--model M.gguf] [--long-prompt 16000] [--rounds 3] [-- SERVER_FLAGS]

1. Throughput of 1 and of 16 streams (wanted: 16 streams at least 3x of one).
2. p99 inter-token latency of 8 running streams, without and while long prompts are read, always one of them (wanted: at
   most 3x), the time to first token of such a prompt alone and beside them (wanted: at most 3x), and the tokens of it
   that a step reads at its beginning, in its middle and at its end.
Every prompt is new to the server's cache.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import loopback  # noqa: E402  lies there


class Bench:
    def __init__(self, build, model, flags, folder):
        self.folder, self.program, self.number = pathlib.Path(folder), build / "client" / "longhaul-bench", 0
        port = self.folder / "port"
        self.server = subprocess.Popen([build / "server" / "longhaul-server", "--model", model, "--listen",
                                        "127.0.0.1:0", "--port-file", port, "--log-level", "warning", *flags])
        while not port.exists():
            assert self.server.poll() is None, "longhaul-server ended"
            time.sleep(0.05)
        self.target = f"127.0.0.1:{port.read_text().strip()}"
        while subprocess.run([build / "client" / "longhaul", "info", "--target", self.target],
                             capture_output=True).returncode != 0:
            time.sleep(0.05)

    @staticmethod
    def free_port():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return free.getsockname()[1]

    def start(self, *flags):
        """A load that runs; finish() gives its run."""
        self.number += 1
        file = self.folder / f"{self.number}.json"
        process = subprocess.Popen([self.program, "--target", self.target, "--json", file, "--quiet", "--warmup", "0s",
                                    *map(str, flags)], stdout=subprocess.DEVNULL)
        return process, file

    @staticmethod
    def finish(started):
        process, file = started
        assert process.wait() == 0, "longhaul-bench failed; its words stand above"
        (run,) = json.loads(file.read_text())["runs"]
        assert run["requests"]["failed"] == 0, run["requests"]
        return run

    def load(self, *flags):
        return self.finish(self.start(*flags))


class ChunkSizes:
    """Watches how many tokens of a long prompt a step reads, by how many were read before."""

    def __init__(self, bench, metrics_url, prompt_tokens):
        self.bench, self.url, self.prompt_tokens = bench, metrics_url, prompt_tokens
        self.seen, self.stopped = [], threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def watch(self):
        while not self.stopped.wait(0.25):
            listed = subprocess.run([self.bench.program.parent / "longhaul", "ps", "--json", "--target",
                                     self.bench.target], capture_output=True, text=True)
            metrics = loopback.read(self.url)
            steps = next(int(line.split()[-1]) for line in metrics.splitlines()
                         if line.startswith("longhaul_step_rows_count") and 'kind="prefill"' in line)
            if listed.returncode != 0:
                continue
            for request in json.loads(listed.stdout)["requests"]:
                if request["prompt_tokens"] == self.prompt_tokens:
                    self.seen.append((request["id"], request["tokens_read"], steps))

    def at(self, depth):
        """The mean over the 1,000 tokens around a depth; none where nothing was seen there."""
        tokens = steps = 0
        for (name, read, step), (next_name, next_read, next_step) in zip(self.seen, self.seen[1:]):
            if name == next_name and read < next_read and abs((read + next_read) / 2 - depth) < 500:
                tokens, steps = tokens + next_read - read, steps + next_step - step
        return tokens / steps if steps else None


def within(name, value, unit, ratio, least=None, most=None):
    kept = ratio >= least if least else ratio <= most
    bound = f"at least {least}" if least else f"at most {most}"
    print(f"{name}: {value} {unit}, ratio {ratio:.2f} ({bound}: {'yes' if kept else 'NO'})")
    return kept


def main():
    cache = os.environ.get("LONGHAUL_CACHE") or str(pathlib.Path.home() / ".cache" / "longhaul")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--model", default=f"{cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long-prompt", type=int, default=16000)
    parser.add_argument("flags", nargs="*", help="further flags of longhaul-server, after --")
    args = parser.parse_args()

    kept = []
    with tempfile.TemporaryDirectory() as folder:
        metrics = f"127.0.0.1:{Bench.free_port()}"
        bench = Bench(args.build, args.model,
                      [*(args.flags or ["--kv-cache-memory", "1GiB"]), "--metrics-listen", metrics], folder)
        try:
            bench.load("--concurrency", 1, "--requests", 2, "--prompts", 64, "--output-tokens", 32)
            rounds = [{streams: bench.load("--concurrency", streams, "--requests", 3 * streams, "--prompts", 16,
                                           "--output-tokens", 128)["throughput"]["tokens_per_second"]
                       for streams in (1, 16)} for _ in range(args.rounds)]
            one, sixteen = (statistics.median(rates[streams] for rates in rounds) for streams in (1, 16))
            print(f"throughput of 1 stream: {one:.1f} tokens/s (medians of {args.rounds} interleaved rounds)")
            kept.append(within("throughput of 16 streams", f"{sixteen:.1f}", "tokens/s",
                               statistics.median(rates[16] / rates[1] for rates in rounds), least=3))

            long_prompts = ("--concurrency", 1, "--prompts", args.long_prompt, "--output-tokens", 2, "--drain", "10m",
                            "--positions", "rerope")
            running = ("--concurrency", 8, "--prompts", 16, "--output-tokens", 128, "--drain", "10m")
            alone = bench.load(*long_prompts, "--requests", 1)["latency"]["time_to_first_token"]["max"]
            quiet = bench.load(*running, "--duration", f"{max(10, round(alone))}s")["latency"]["inter_token_latency"]
            # One long prompt after the other as long as the streams are measured: percentiles over a time in which none
            # is read would hide what one costs; and long enough to see the end of one.
            seconds = f"{max(10, round(3 * alone))}s"
            with ChunkSizes(bench, f"http://{metrics}/metrics", args.long_prompt) as chunks:
                both = bench.start(*long_prompts, "--duration", seconds)
                busy = bench.load(*running, "--duration", seconds)["latency"]["inter_token_latency"]
            sizes = {depth: chunks.at(depth) for depth in (500, args.long_prompt // 2, args.long_prompt - 500)}
            print("tokens of the long prompt in a step:",
                  ", ".join(f"{size:.0f} at {depth}" for depth, size in sizes.items() if size))
            beside = bench.finish(both)["latency"]["time_to_first_token"]["p50"]
            print(f"8 streams alone: p99 inter-token latency {1000 * quiet['p99']:.1f} ms, max {1000 * quiet['max']:.1f} ms")
            kept.append(within(f"8 streams beside prompts of {args.long_prompt} tokens", f"{1000 * busy['p99']:.1f}",
                               f"ms, max {1000 * busy['max']:.1f} ms", busy["p99"] / quiet["p99"], most=3))
            print(f"first token of such a prompt alone: {alone:.2f} s")
            kept.append(within("beside 8 streams (median)", f"{beside:.2f}", "s", beside / alone, most=3))
        finally:
            bench.server.terminate()
            bench.server.wait()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
