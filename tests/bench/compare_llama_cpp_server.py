"""Longhaul's server beside llama.cpp's own HTTP server under the same load, on one machine, in one run.

    CMAKE_ARGS=-DGGML_NATIVE=ON pip install --no-binary llama-cpp-python 'llama-cpp-python[server]==0.3.36'  (own venv)
    python tests/bench/compare_llama_cpp_server.py --peer-python PEER_VENV/bin/python [--rounds 3] [--threads 2]

Run it with the tests' Python environment (tests/requirements.txt). Both serve the same GGUF with the same number of
threads, both are loaded all the time, and they take turns: first one, then the other, in every round. The client is the
same for both, a thread for each stream in this process, so that what it costs falls on both: text prompts of 128 to 512
tokens (counted by Longhaul's tokenizer, different in every round and for every stream, so that no cache helps), greedy,
64 output tokens, ends of sequence forbidden, streamed: gRPC here, the OpenAI completions endpoint with server-sent
events there. A closed loop: each stream sends its next request when one has ended.

The peer is started in two documented settings, and the better one (by tokens/s of each concurrency) counts:
  plain       --interrupt_requests false
  flash_attn  --interrupt_requests false --flash_attn true
(--interrupt_requests true, its default, ends a running answer when the next request comes: nothing would be finished.)
"""

import argparse
import dataclasses
import http.client
import json
import os
import pathlib
import random
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

OUTPUT_TOKENS = 64
SETTINGS = {"plain": ["--interrupt_requests", "false"],
            "flash_attn": ["--interrupt_requests", "false", "--flash_attn", "true"]}
WORDS = ("harbour lantern gravel ladder winter kettle orchard signal ribbon copper meadow pencil thunder basket "
         "anchor velvet canyon mirror saddle timber").split()


@dataclasses.dataclass
class Answer:
    first: float  # seconds from the send until the first token
    tokens: int


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
            assert self.process.poll() is None, "longhaul-server ended"
            time.sleep(0.02)
        channel = loopback.channel(f"127.0.0.1:{port.read_text().strip()}")
        self.stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for _ in range(500):
            try:
                self.end_tokens = list(self.stub.GetModel(self.pb.GetModelRequest()).end_tokens)
                return
            except grpc.RpcError:
                time.sleep(0.02)
        raise AssertionError("longhaul-server does not serve")

    def count(self, text):
        return len(self.stub.Tokenize(self.pb.TokenizeRequest(prompt=self.pb.Prompt(text=text))).ids)

    def ask(self, text):
        request = self.pb.GenerateRequest(
            prompt=self.pb.Prompt(text=text), output=self.pb.Output(token_ids=True),
            stopping=self.pb.Stopping(max_tokens=OUTPUT_TOKENS, ignore_eos=True))
        begin, first, tokens = time.perf_counter(), None, 0
        for message in self.stub.Generate(request):
            tokens += len(message.chunk.token_ids)
            if first is None and tokens:
                first = time.perf_counter() - begin
        return Answer(first, tokens)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Peer:
    """llama_cpp.server, over HTTP."""

    def __init__(self, python, model, threads, end_tokens, flags):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Room for a prompt and its answer; nothing that was read is kept for a later prompt that begins alike.
        self.process = subprocess.Popen(
            [python, "-m", "llama_cpp.server", "--model", model, "--host", "127.0.0.1", "--port", str(self.port),
             "--n_ctx", "2048", "--n_threads", str(threads), "--n_threads_batch", str(threads), "--verbose", "false",
             *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.bias = {str(token): -100.0 for token in end_tokens}
        for _ in range(1200):
            assert self.process.poll() is None, "llama_cpp.server ended"
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/v1/models")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("llama_cpp.server does not serve")

    def ask(self, text):
        body = json.dumps({"prompt": text, "max_tokens": OUTPUT_TOKENS, "temperature": 0.0, "stream": True,
                           "logit_bias": self.bias})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        begin, first, reason = time.perf_counter(), None, None
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        while line := response.readline():
            if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                continue
            choice = json.loads(line[6:])["choices"][0]
            if choice["text"] and first is None:
                first = time.perf_counter() - begin
            reason = choice["finish_reason"] or reason
        connection.close()
        # Chunks are texts, not tokens; an answer that ran to its length has exactly as many as were asked for.
        assert reason == "length", f"llama_cpp.server ended an answer by {reason}"
        return Answer(first, OUTPUT_TOKENS)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def make_prompt(server, number):
    """A text of about 128 to 512 tokens that no other number begins with."""
    draw = random.Random(number)
    wanted = draw.randint(128, 512)
    words = [str(number)] + [draw.choice(WORDS) for _ in range(wanted)]
    per_word = server.count(" ".join(words)) / len(words)
    return " ".join(words[:max(1, round(wanted / per_word))])


def load(side, prompts, concurrency):
    """Sends `prompts` over `concurrency` streams; (tokens a second, times to the first token)."""
    waiting, answers, failures, lock = list(prompts), [], [], threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting or failures:
                    return
                prompt = waiting.pop()
            try:
                answer = side.ask(prompt)
            except Exception as error:  # a thread's exception would be lost
                with lock:
                    failures.append(error)
                return
            with lock:
                answers.append(answer)

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    if failures:
        raise failures[0]
    return sum(answer.tokens for answer in answers) / seconds, [answer.first for answer in answers]


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-percent * len(ordered) // 100) - 1))]


def main():
    cache = os.environ.get("LONGHAUL_CACHE") or str(pathlib.Path.home() / ".cache" / "longhaul")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="python of a venv that has llama-cpp-python[server]")
    parser.add_argument("--server", default=ROOT / "build" / "release" / "server" / "longhaul-server")
    parser.add_argument("--model", default=f"{cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--requests-per-stream", type=int, default=2)
    parser.add_argument("flags", nargs="*", help="further flags of longhaul-server, after --")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        sides = {}
        try:
            ours = sides["longhaul"] = Longhaul(args.server, args.model, args.threads, folder, args.flags)
            for name, flags in SETTINGS.items():
                sides[f"llama.cpp {name}"] = Peer(args.peer_python, args.model, args.threads, ours.end_tokens, flags)
            for side in sides.values():
                side.ask(make_prompt(ours, 0))  # warm-up
            number, figures = 1, {}
            for concurrency in args.concurrency:
                for _ in range(args.rounds):
                    for name, side in sides.items():
                        count = concurrency * args.requests_per_stream
                        prompts = [make_prompt(ours, number + i) for i in range(count)]
                        number += count
                        rate, firsts = load(side, prompts, concurrency)
                        rates, all_firsts = figures.setdefault((concurrency, name), ([], []))
                        rates.append(rate)
                        all_firsts.extend(firsts)
                        print(f"{concurrency:3} streams  {name:22} {rate:8.1f} tokens/s", file=sys.stderr)
        finally:
            for side in sides.values():
                side.stop()

    print(f"{args.threads} threads, {args.rounds} interleaved rounds; tokens/s: median of rounds; first token: all requests")
    print(f"{'':14}{'':22}{'tokens/s':>12}{'first p50':>14}{'first p99':>14}")
    behind = False
    for concurrency in args.concurrency:
        row = {}
        for name in sides:
            rates, firsts = figures[concurrency, name]
            row[name] = (statistics.median(rates), percentile(firsts, 50), percentile(firsts, 99))
            print(f"{concurrency:3} streams   {name:22}{row[name][0]:12.1f}{1000 * row[name][1]:11.0f} ms"
                  f"{1000 * row[name][2]:11.0f} ms")
        mine = row.pop("longhaul")
        best = max(row, key=lambda name: row[name][0])
        ratios = (mine[0] / row[best][0], row[best][1] / mine[1], row[best][2] / mine[2])
        behind |= min(ratios) <= 1
        print(f"{concurrency:3} streams   ahead of {best} by: tokens/s {ratios[0]:.2f}x, first token p50 {ratios[1]:.2f}x, "
              f"p99 {ratios[2]:.2f}x")
    print("behind in something" if behind else "ahead on all")
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
