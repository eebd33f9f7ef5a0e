"""What Prometheus sees of the real server, before, during and after requests."""

import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import loopback
from real_server import BUILD, MODEL, ROOT

GENERATE = 'grpc_service="longhaul.v1.InferenceService",grpc_method="Generate",grpc_type="server_stream"'


class Scrape:
    """One text of /metrics: value of a family, by some of a series' labels."""

    def __init__(self, text):
        self.text = text
        self.series = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.series[name] = float(value)

    def __call__(self, family, **labels):
        """The sum of all series of a family with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            value for name, value in self.series.items()
            if name.split("{")[0] == family and all(re.search(r"[{,]" + re.escape(want), name) for want in wanted)
        )


class Monitored:
    """A server with metrics, and a client of it."""

    def __init__(self, running, stubs):
        self.running = running
        self.pb, rpc = stubs
        self.port = int(re.search(r"metrics on .* \(port (\d+)\)", running.log.read_text()).group(1))
        self.channel = loopback.channel(running.target)
        self.stub = rpc.InferenceServiceStub(self.channel)

    def ask(self, path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer, body

    def scrape(self):
        answer, body = self.ask("/metrics")
        assert answer.status == 200
        return Scrape(body)

    def scrape_when(self, condition):
        """The first scrape that fulfils a condition; gauges follow between two steps."""
        for _ in range(3000):
            scrape = self.scrape()
            if condition(scrape):
                return scrape
            time.sleep(0.02)
        raise AssertionError("no scrape was as expected: " + scrape.text)

    def request(self, max_tokens, text="The capital of France is", **fields):
        stopping = self.pb.Stopping(max_tokens=max_tokens, ignore_eos="stop" not in fields, stop=fields.pop("stop", []))
        return self.pb.GenerateRequest(prompt=self.pb.Prompt(text=text), stopping=stopping, **fields)

    def code_of(self, call):
        try:
            list(call)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def timings_of(self, call):
        return [message.finished for message in call if message.HasField("finished")][0].timings


@pytest.fixture
def monitored(start_server, stubs):
    opened = []

    def start(*flags):
        made = Monitored(start_server("--kv-cache-memory", "64MiB", "--metrics-listen", "127.0.0.1:0", *flags), stubs)
        opened.append(made)
        made.running.wait_until_serving(made.stub, made.pb)
        return made

    yield start
    for made in opened:
        made.channel.close()
        assert made.running.stop() == 0, made.running.log.read_text()


def test_promtool_accepts_what_is_served(monitored):
    made = monitored()
    made.code_of(made.stub.Generate(made.request(3)))
    text = made.scrape().text
    check = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
    assert check.returncode == 0 and not check.stderr, check.stdout + check.stderr


def test_the_readme_lists_every_metric(monitored):
    served = set(re.findall(r"^# TYPE (\w+)", monitored().scrape().text, re.MULTILINE))
    text = (ROOT / "server" / "README.md").read_text()
    text = text[text.index("## Metrics"):text.index("## Where memory ends")]
    listed = {name for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+\*?)`", cell)}
    assert "process_*" in listed
    assert listed - {"process_*"} == {name for name in served if not name.startswith("process_")}


def test_head_and_health_and_nothing_else(monitored):
    made = monitored()
    for path in ("/metrics", "/healthz"):
        answer, body = made.ask(path)
        head, nothing = made.ask(path, "HEAD")
        assert answer.status == head.status == 200 and body and nothing == ""
        assert head.getheader("Content-Type") == answer.getheader("Content-Type")
    for path in ("/", "/metrics/x", "/favicon.ico"):
        assert made.ask(path)[0].status == 404


def test_every_end_of_a_request_is_counted_once(monitored):
    made = monitored()
    pb = made.pb
    before = made.scrape()
    assert before("longhaul_requests_total") == before("longhaul_generation_tokens_total") == 0
    assert before("longhaul_server_state", state="ready") == 1

    timings = [made.timings_of(made.stub.Generate(made.request(10))) for _ in range(3)]
    yarn = pb.PositionMode(yarn=pb.Yarn(factor=2))
    made.timings_of(made.stub.Generate(made.request(4, position=yarn)))
    fitted = made.timings_of(made.stub.Generate(made.request(8, position=pb.PositionMode(trained_length=8))))
    assert made.code_of(made.stub.Generate(made.request(50, stop=["Paris"]))) == "OK"
    timings.append(made.timings_of(made.stub.Score(pb.ScoreRequest(prompt=pb.Prompt(text="One two three four")))))
    assert made.code_of(made.stub.Generate(made.request(2500), timeout=0.4)) == "DEADLINE_EXCEEDED"
    call = made.stub.Generate(made.request(2500))
    next(message for message in call if message.HasField("chunk"))
    call.cancel()
    too_long = pb.PositionMode(none={}, trained_length=64)
    assert made.code_of(made.stub.Generate(made.request(100, position=too_long))) == "INVALID_ARGUMENT"
    assert made.code_of(made.stub.Generate(made.request(1_000_000))) == "INVALID_ARGUMENT"
    assert made.code_of(made.stub.Generate(made.request(5, text=""))) == "INVALID_ARGUMENT"

    after = made.scrape_when(lambda scrape: scrape("longhaul_kv_cache_blocks", state="held") == 0)
    requests = "longhaul_requests_total"
    assert after(requests, method="Generate", position_mode="none", finish_reason="length") == 3
    assert after(requests, method="Generate", position_mode="yarn", finish_reason="length") == 1
    assert after(requests, method="Generate", position_mode="rerope", finish_reason="length") == 1
    assert after(requests, method="Generate", finish_reason="stop") == 1
    assert after(requests, method="Generate", finish_reason="deadline") == 1
    assert after(requests, method="Generate", finish_reason="cancelled") == 1
    assert after(requests, method="Score", finish_reason="length") == 1
    assert after(requests) == after("longhaul_request_duration_seconds_count") == 9
    assert after(requests, decoding="nbce") == 0
    assert after("longhaul_admission_rejections_total", reason="too_long") == 1
    assert after("longhaul_admission_rejections_total", reason="no_blocks") == 1
    assert after("longhaul_admission_rejections_total") == 2
    assert after("longhaul_deadline_expired_total", where="running") == 1
    assert after("longhaul_position_refits_total", position_mode="rerope") == 1

    assert after("longhaul_request_duration_seconds_count", position_mode="rerope") == 1
    assert after("longhaul_time_to_first_token_seconds_sum", position_mode="rerope") == pytest.approx(
        fitted.first_token, abs=1e-6)
    assert after("longhaul_request_decode_time_seconds_sum", position_mode="rerope") == pytest.approx(
        fitted.decode, abs=1e-6)
    for part in ("queue", "prefill", "decode"):
        total = sum(getattr(timing, part) for timing in timings)
        assert after(f"longhaul_request_{part}_time_seconds_sum", position_mode="none") >= total - 1e-6
    assert after("longhaul_request_duration_seconds_sum", position_mode="none", finish_reason="length") == pytest.approx(
        sum(timing.queue + timing.prefill + timing.decode for timing in timings), abs=1e-6)
    tokens = after("longhaul_generation_tokens_total")
    assert tokens == after("longhaul_request_generation_tokens_sum")
    assert tokens == after("longhaul_time_to_first_token_seconds_count") + after(
        "longhaul_inter_token_latency_seconds_count")
    # The last token of a text that is scored need not be computed.
    assert after("longhaul_prompt_tokens_total", source="computed") == after("longhaul_request_prompt_tokens_sum") - 1
    assert after("longhaul_prompt_tokens_total", source="cached") == 0
    steps = [after("longhaul_step_seconds_count", phase=phase) for phase in ("schedule", "forward", "sample", "emit")]
    assert min(steps) == max(steps) > 0
    assert abs(after("longhaul_last_step_timestamp_seconds") - time.time()) < 60

    assert after("grpc_server_handled_total", grpc_method="Generate", grpc_code="InvalidArgument") == 3
    assert after("grpc_server_handled_total", grpc_method="Generate", grpc_code="OK") == 6
    assert after("grpc_server_started_total", grpc_method="Generate") == 11
    assert after("grpc_server_handling_seconds_count", grpc_method="Generate") == 11


def test_what_runs_and_waits_is_seen_while_it_does(monitored):
    made = monitored("--max-queue", "1")
    # Each takes more than half of the cache.
    running = made.stub.Generate(made.request(800, "The capital of France is " * 340))
    next(message for message in running if message.HasField("chunk"))
    waiting = made.stub.Generate(made.request(800, "One, two, three, four, " * 240))
    during = made.scrape_when(
        lambda scrape: scrape("longhaul_requests_running") == 1 and scrape("longhaul_requests_waiting") == 1)
    assert during("longhaul_rows_running") == 1
    assert 0.5 < during("longhaul_kv_cache_usage_ratio") <= 1
    held = during("longhaul_kv_cache_blocks", state="held")
    assert held + during("longhaul_kv_cache_blocks", state="free") == during("longhaul_kv_cache_blocks") > held > 0
    assert f'num_gpu_blocks="{during("longhaul_kv_cache_blocks"):.0f}"' in during.text
    assert made.code_of(made.stub.Generate(made.request(1))) == "RESOURCE_EXHAUSTED"
    for call in (waiting, running):
        call.cancel()
    after = made.scrape_when(lambda scrape: scrape("longhaul_requests_total", finish_reason="cancelled") == 2
                             and scrape("longhaul_kv_cache_usage_ratio") == 0)
    assert after("longhaul_requests_running") == after("longhaul_requests_waiting") == 0
    assert after("longhaul_admission_rejections_total", reason="queue_full") == 1
    made.scrape_when(
        lambda scrape: scrape("grpc_server_handled_total", grpc_method="Generate", grpc_code="Canceled") == 2)


def test_health_reflection_and_unknown_methods_are_counted_without_new_labels(monitored):
    made = monitored()
    health_pb2_grpc.HealthStub(made.channel).Check(health_pb2.HealthCheckRequest())
    ProtoReflectionDescriptorDatabase(made.channel).get_services()
    for name in ("/no.such.Service/Method", "/longhaul.v1.InferenceService/NoSuchMethod"):
        with pytest.raises(grpc.RpcError):
            made.channel.unary_unary(name)(b"")
    scrape = made.scrape()
    assert scrape("grpc_server_handled_total", grpc_service="grpc.health.v1.Health", grpc_code="OK") == 1
    assert scrape("grpc_server_started_total", grpc_method="ServerReflectionInfo") == 1
    assert scrape("grpc_server_handled_total", grpc_service="unknown", grpc_code="Unimplemented") == 2
    assert "no.such" not in scrape.text and "NoSuchMethod" not in scrape.text


def test_a_server_that_drains_says_so_and_keeps_its_figures(monitored):
    made = monitored("--drain-timeout", "60s")
    call = made.stub.Generate(made.request(400))
    while not next(call).HasField("chunk"):
        pass
    made.running.process.send_signal(signal.SIGTERM)
    draining = made.scrape_when(lambda scrape: scrape("longhaul_server_state", state="draining") == 1)
    assert draining("longhaul_server_state", state="ready") == 0
    assert made.ask("/healthz")[0].status == 503
    assert made.code_of(made.stub.Generate(made.request(1))) == "UNAVAILABLE"
    refused = made.scrape_when(lambda scrape: scrape("longhaul_generation_tokens_total") > 0)
    assert refused("longhaul_admission_rejections_total", reason="draining") == 1
    assert made.code_of(call) == "OK"
    assert made.running.process.wait(60) == 0


def refusal_of(*flags, **environment):
    process = subprocess.run([BUILD / "server" / "longhaul-server", "--model", MODEL, "--listen", "127.0.0.1:0", *flags],
                             env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    return process.returncode, process.stderr


def test_an_address_that_cannot_be_used_ends_the_server():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, message = refusal_of("--metrics-listen", address)
        assert code == 1 and "--metrics-listen" in message and address in message
        code, message = refusal_of(LONGHAUL_METRICS_LISTEN=address)
        assert code == 1 and "--metrics-listen" in message
    for wrong in ("nonsense", "127.0.0.1", "127.0.0.1:99999", "unix:/tmp/x", "127.0.0.1:80,443s", ":9464"):
        code, message = refusal_of("--metrics-listen", wrong)
        assert code == 2 and "--metrics-listen" in message, (wrong, message)


def test_scraping_costs_little_and_disturbs_nobody(monitored):
    made = monitored()
    stop = threading.Event()

    def scrape_on():
        while not stop.is_set():
            made.scrape()

    scraper = threading.Thread(target=scrape_on)
    scraper.start()
    try:
        assert made.code_of(made.stub.Generate(made.request(100))) == "OK"
    finally:
        stop.set()
        scraper.join()
    assert made.scrape()("longhaul_generation_tokens_total") == 100

    scrapes = 100
    begin = made.scrape()("process_cpu_seconds_total")
    for _ in range(scrapes):
        made.ask("/metrics")
    cpu = made.scrape()("process_cpu_seconds_total") - begin
    print(f"a scrape over HTTP costs the server {1000 * cpu / scrapes:.2f} ms of CPU ({scrapes} scrapes)")


def test_questions_over_documents_are_told_apart(monitored):
    made = monitored()
    pb = made.pb
    documents = [pb.Document(text="The bridge was opened in 1911."), pb.Document(text="The mill burned down in 1874.")]
    contexts = pb.Contexts(documents=pb.Documents(documents=documents))
    assert made.code_of(made.stub.Generate(made.request(5, "When did the mill burn?", contexts=contexts))) == "OK"
    scrape = made.scrape_when(lambda scrape: any(
        line.startswith("longhaul_request_contexts_sum") and line.endswith(" 2") for line in scrape.text.splitlines()))
    counted = [line for line in scrape.text.splitlines() if line.startswith("longhaul_time_to_first_token_seconds_count")]
    assert any('decoding="nbce"' in line and line.endswith(" 1") for line in counted), counted
