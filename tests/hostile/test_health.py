"""The health port: answers whatever happens to the other one, says what the server does, and is bounded by itself."""

import contextlib
import os
import queue
import shutil
import signal
import socket
import threading
import time

import grpc
import loopback
import pytest
from frames import DATA, END_HEADERS, END_STREAM, HEADERS, HEALTH, PREFACE, SETTINGS, frame, message, request_fields
from grpc_health.v1 import health_pb2, health_pb2_grpc
from real_server import MODEL
from vitals import OWN_PORT_HEALTH, HealthProber, health_target, until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
INFERENCE = "longhaul.v1.InferenceService"


@contextlib.contextmanager
def health(target):
    with loopback.channel(target, ("grpc.use_local_subchannel_pool", 1)) as channel:
        yield health_pb2_grpc.HealthStub(channel)


def check(stub, service=""):
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


class Watcher:
    """What Watch tells, in order."""

    def __init__(self, stub, service=""):
        self.call = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        self.told = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with contextlib.suppress(grpc.RpcError):
            for response in self.call:
                self.told.put(response.status)

    def next(self):
        return self.told.get(timeout=10)


def test_services_and_other_methods(victim):
    with health(victim().health_target) as stub:
        assert check(stub) == check(stub, INFERENCE) == SERVING
        with pytest.raises(grpc.RpcError) as error:
            check(stub, "longhaul.v1.Nothing")
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert Watcher(stub).next() == Watcher(stub, INFERENCE).next() == SERVING
        assert Watcher(stub, "longhaul.v1.Nothing").next() == SERVICE_UNKNOWN
        with pytest.raises(grpc.RpcError) as error:
            check(stub, "x" * 2000)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(("method", "message", "code"), [
    (f"/{INFERENCE}/GetModel", b"", grpc.StatusCode.UNIMPLEMENTED),
    ("/grpc.health.v1.Health/List", b"", grpc.StatusCode.UNIMPLEMENTED),
    ("/grpc.health.v1.Health/Check", b"\x0a\xff", grpc.StatusCode.INVALID_ARGUMENT),
    ("/grpc.health.v1.Health/Check", b"\x0a\x01\xff", grpc.StatusCode.NOT_FOUND),
])
def test_what_is_refused(victim, method, message, code):
    with loopback.channel(victim().health_target) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(method)(message, timeout=10)
    assert error.value.code() == code


def test_a_drain_is_told_to_who_watches(victim):
    draining = victim("--drain-timeout", "20s")
    pb, _ = draining.stubs
    with health(draining.health_target) as stub, draining.stub() as inference:
        watcher = Watcher(stub)
        assert watcher.next() == SERVING
        answer = inference.Generate(pb.GenerateRequest(
            prompt=pb.Prompt(text="One, two,"), stopping=pb.Stopping(max_tokens=400, ignore_eos=True)))
        assert next(answer).HasField("started")
        draining.running.process.send_signal(signal.SIGTERM)
        assert watcher.next() == NOT_SERVING
        assert check(stub) == NOT_SERVING
        assert list(answer)[-1].finished.usage.completion_tokens == 400
    assert draining.running.process.wait(30) == 0


def test_health_while_the_engine_keeps_every_core_busy(victim):
    busy = victim()
    pb, _ = busy.stubs
    request = pb.GenerateRequest(prompt=pb.Prompt(text="One, two,"), samples=4,
                                 stopping=pb.Stopping(max_tokens=60, ignore_eos=True))
    with busy.watched(), busy.stub() as inference:
        answers = [inference.Generate(request) for _ in range(4)]
        assert all(list(answer)[-1].HasField("finished") for answer in answers)


def test_a_server_that_loads_is_not_serving(start_server, tmp_path):
    model = shutil.copy(MODEL, tmp_path / "model.gguf")
    os.truncate(model, 1 << 36)  # zeros that take no space, but long to read
    loading = start_server("--health-listen", "127.0.0.1:0", model=model)
    with health(health_target(loading)) as stub:
        assert check(stub) == check(stub, INFERENCE) == NOT_SERVING
        assert Watcher(stub).next() == NOT_SERVING


@pytest.mark.parametrize("name", ["all", "open_health_streams"])
def test_attacks_on_the_health_port_itself(victim, name):
    attacked = victim()
    with attacked.watched():
        attacked.attack(name, "--again", "--connections", 20, "--seconds", 2, target=attacked.health_target)


def test_half_open_connections_to_the_health_port(victim):
    attacked = victim()
    host, port = attacked.health_target.rsplit(":", 1)
    with attacked.watched(), contextlib.ExitStack() as opened:
        for _ in range(300):
            opened.enter_context(contextlib.closing(socket.create_connection((host, int(port)))))
        begin = time.monotonic()
        with HealthProber(attacked.health_target):
            assert time.monotonic() - begin < OWN_PORT_HEALTH


def test_a_burst_of_probes_is_answered(victim):
    """More clients than the port keeps, who have asked before any of them is taken."""
    attacked = victim()
    host, port = attacked.health_target.rsplit(":", 1)
    asked = PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, request_fields(HEALTH + "Check")) + frame(
        DATA, END_STREAM, 1, message(b""))
    with contextlib.ExitStack() as opened:
        os.kill(attacked.running.process.pid, signal.SIGSTOP)
        try:
            until(attacked.vitals.stopped, 30, "the server runs on")
            probes = [opened.enter_context(contextlib.closing(socket.create_connection((host, int(port)), timeout=10)))
                      for _ in range(100)]
            for probe in probes:
                probe.sendall(asked)
        finally:
            os.kill(attacked.running.process.pid, signal.SIGCONT)
        for number, probe in enumerate(probes):
            answer = b""
            while message(b"\x08\x01") not in answer:
                received = probe.recv(4096)
                assert received, f"probe {number} was closed before it was answered"
                answer += received
