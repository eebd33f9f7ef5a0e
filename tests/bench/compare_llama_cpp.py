"""Longhaul's server beside llama.cpp on one machine, in one run: prefill, decode, memory.

    CMAKE_ARGS=-DGGML_NATIVE=ON pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36   (a venv of its own)
    python tests/bench/compare_llama_cpp.py --peer-python PEER_VENV/bin/python [--rounds 7] [--threads 2]

Run it with the tests' Python environment (tests/requirements.txt). Both read the same GGUF with the same number of threads
and take turns, one after the other, never at the same time; neither has anything cached of a prompt. Longhaul is the real
server process over gRPC on loopback, timed at the client.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import loopback  # noqa: E402  lies there

PREFILL, PROMPT, DECODE = 512, 64, 128

PEER = """
import json, resource, sys, time
import llama_cpp
model, threads = sys.argv[1], int(sys.argv[2])
llm = llama_cpp.Llama(model, n_ctx=2048, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    ids, decode = json.loads(line)
    llm.reset()
    llm._ctx.kv_cache_clear() if hasattr(llm._ctx, "kv_cache_clear") else None
    begin = time.perf_counter()
    llm.eval(ids)
    token = llm.sample(temp=0.0)
    read = time.perf_counter()
    for _ in range(decode):
        llm.eval([token])
        token = llm.sample(temp=0.0)
    end = time.perf_counter()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"read": read - begin, "decode": end - read, "rss_mb": rss / 1024}), flush=True)
"""


class Peer:
    """llama.cpp in a process of its own."""

    def __init__(self, python, model, threads):
        self.process = subprocess.Popen([python, "-c", PEER, model, str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert json.loads(self.process.stdout.readline())["ready"]

    def run(self, ids, decode):
        self.process.stdin.write(json.dumps([ids, decode]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Longhaul:
    """The server, over gRPC."""

    def __init__(self, binary, model, threads, folder, flags):
        import grpc

        out = pathlib.Path(folder)
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", f"--python_out={out}",
                        f"--grpc_python_out={out}", "longhaul/v1/inference.proto"], check=True)
        sys.path.insert(0, str(out))
        from longhaul.v1 import inference_pb2, inference_pb2_grpc

        self.pb = inference_pb2
        port = out / "port"
        self.process = subprocess.Popen([binary, "--model", model, "--threads", str(threads), "--listen", "127.0.0.1:0",
                                         "--port-file", port, "--log-level", "warning", *flags])
        while not port.exists():
            time.sleep(0.02)
        channel = loopback.channel(f"127.0.0.1:{port.read_text().strip()}")
        self.stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for _ in range(500):
            try:
                self.stub.GetModel(self.pb.GetModelRequest())
                break
            except grpc.RpcError:
                time.sleep(0.02)

    def run(self, ids, decode):
        request = self.pb.GenerateRequest(
            prompt=self.pb.Prompt(token_ids=self.pb.TokenIds(ids=ids)),
            stopping=self.pb.Stopping(max_tokens=decode + 1, ignore_eos=True), output=self.pb.Output(token_ids=True))
        begin, first, tokens = time.perf_counter(), None, 0
        for message in self.stub.Generate(request):
            if message.HasField("chunk"):
                tokens += len(message.chunk.token_ids)
                first = first or time.perf_counter()
            if message.HasField("finished"):
                timings = message.finished.timings
        end = time.perf_counter()
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert tokens == decode + 1
        return {"read": first - begin, "decode": end - first, "rss_mb": rss / 1024,
                "engine_read": timings.prefill, "engine_decode": timings.decode}

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    cache = os.environ.get("LONGHAUL_CACHE") or str(pathlib.Path.home() / ".cache" / "longhaul")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--server", default=ROOT / "build" / "release" / "server" / "longhaul-server")
    parser.add_argument("--model", default=f"{cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("flags", nargs="*", help="further flags of the server, after --")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        sides = {"longhaul": Longhaul(args.server, args.model, args.threads, folder, args.flags),
                 "llama.cpp": Peer(args.peer_python, args.model, args.threads)}
        figures = {name: {"prefill": [], "decode": [], "rss": 0, "engine": []} for name in sides}
        for round_number in range(args.rounds + 1):
            for name, side in sides.items():
                # Other ids in every round, so that no cache of prompts helps.
                ids = [1000 + (i * 37 + round_number * 101) % 20000 for i in range(PREFILL)]
                read, wrote = side.run(ids, 1), side.run(ids[:PROMPT], DECODE)
                if round_number == 0:
                    continue  # warm-up
                figures[name]["prefill"].append(PREFILL / read["read"])
                figures[name]["decode"].append(DECODE / wrote["decode"])
                figures[name]["rss"] = max(read["rss_mb"], wrote["rss_mb"])
                if "engine_decode" in wrote:
                    figures[name]["engine"].append(wrote["decode"] / wrote["engine_decode"])
        for side in sides.values():
            side.stop()

    print(f"{args.threads} threads, medians of {args.rounds} interleaved rounds")
    print(f"{'':12}{'prefill ' + str(PREFILL):>16}{'decode':>16}{'peak memory':>16}")
    for name, figure in figures.items():
        print(f"{name:12}{statistics.median(figure['prefill']):12.1f} t/s{statistics.median(figure['decode']):12.1f} t/s"
              f"{figure['rss']:13.0f} MB")
    ours, peer = figures["longhaul"], figures["llama.cpp"]
    for what in ("prefill", "decode"):
        ratios = [a / b for a, b in zip(ours[what], peer[what])]
        print(f"{what}: longhaul / llama.cpp = {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"decode as the client sees it / in the engine: {statistics.median(ours['engine']):.3f}")


if __name__ == "__main__":
    main()
