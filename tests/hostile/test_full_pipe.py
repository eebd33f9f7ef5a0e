"""A standard error that nobody reads, that its reader left, or that was closed: the server answers and ends as ever."""

import contextlib
import fcntl
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import grpc
import loopback
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from real_server import BUILD, MODEL

NOT_UTF8 = b"\x0a\x03\x0a\x01\xff"  # prompt.text of a GenerateRequest


class FullPipe:
    """Takes not a byte until it is drained."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        flags = fcntl.fcntl(self.writer, fcntl.F_GETFL)
        fcntl.fcntl(self.writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        for size in (65536, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(self.writer, b"." * size)
        fcntl.fcntl(self.writer, fcntl.F_SETFL, flags)  # the server's end is the same

    def drain(self):
        """Reads from now on. The text so far is in `text`; the thread ends when the last writer has gone."""
        os.close(self.writer)
        self.text = ""

        def read():
            with open(self.reader, errors="replace") as reader:
                for line in reader:
                    self.text += line.lstrip(".")

        thread = threading.Thread(target=read)
        thread.start()
        return thread


class Server:
    """A server whose standard error is what the test says."""

    def __init__(self, folder, stubs, stderr, *flags, environment=None, preexec_fn=None):
        port_file = folder / "port"
        self.process = subprocess.Popen(
            [BUILD / "server" / "longhaul-server", "--model", MODEL, "--listen", "127.0.0.1:0", "--port-file", port_file,
             "--kv-cache-memory", "64MiB", *flags],
            stderr=stderr, env=os.environ | (environment or {}), preexec_fn=preexec_fn)
        try:
            deadline = time.monotonic() + 60
            while not port_file.exists():
                assert self.process.poll() is None and time.monotonic() < deadline, "the server did not open its port"
                time.sleep(0.02)
            self.channel = loopback.channel(f"127.0.0.1:{port_file.read_text()}")
            self.pb, rpc = stubs
            self.stub = rpc.InferenceServiceStub(self.channel)
            self.health = health_pb2_grpc.HealthStub(self.channel)
            while self.health.Check(health_pb2.HealthCheckRequest(), timeout=10).status != 1:
                assert time.monotonic() < deadline, "the server does not serve"
                time.sleep(0.02)
        except BaseException:
            self.process.kill()
            raise

    def send_nonsense(self, n):
        call = self.channel.unary_stream("/longhaul.v1.InferenceService/Generate")
        for _ in range(n):
            with pytest.raises(grpc.RpcError) as error:
                list(call(NOT_UTF8, timeout=10))
            assert error.value.code() != grpc.StatusCode.DEADLINE_EXCEEDED

    def request(self, max_tokens):
        return self.pb.GenerateRequest(prompt=self.pb.Prompt(text="One, two,"),
                                       stopping=self.pb.Stopping(max_tokens=max_tokens, ignore_eos=True))

    def answers(self):
        assert self.health.Check(health_pb2.HealthCheckRequest(), timeout=1).status == 1
        assert any(message.HasField("finished") for message in self.stub.Generate(self.request(2), timeout=10))

    def stop(self, timeout=10):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@pytest.fixture
def start(tmp_path, stubs):
    with contextlib.ExitStack() as stack:
        def made(stderr, *flags, **options):
            server = Server(tmp_path, stubs, stderr, *flags, **options)
            stack.callback(server.process.wait)
            stack.callback(server.process.kill)
            stack.enter_context(server.channel)
            return server

        yield made


@pytest.fixture
def full_pipe():
    return FullPipe()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def lines_dropped(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return int(re.search(r"^longhaul_log_lines_dropped_total{.*} (\d+)$", text, re.MULTILINE).group(1))


def test_nobody_waits_for_a_pipe_that_nobody_reads(start, full_pipe, admin_stubs):
    server = start(full_pipe.writer, "--log-level", "debug")
    running = server.stub.Generate(server.request(2500), metadata=[("x-request-id", "to be cancelled")])
    next(running)
    nonsense = threading.Thread(target=server.send_nonsense, args=(200,))
    nonsense.start()
    while nonsense.is_alive():
        server.answers()
    nonsense.join()
    server.answers()
    admin_pb, admin_rpc = admin_stubs
    admin = admin_rpc.AdminServiceStub(server.channel)
    assert admin.CancelRequest(admin_pb.CancelRequestRequest(id="to be cancelled"), timeout=5).cancelled == 1
    with pytest.raises(grpc.RpcError) as error:
        list(running)
    assert error.value.code() == grpc.StatusCode.CANCELLED
    assert server.stop() == 0


def test_a_second_signal_ends_it_at_once(start, full_pipe):
    server = start(full_pipe.writer, "--log-level", "debug")
    server.send_nonsense(30)
    running = server.stub.Generate(server.request(2500))
    next(running)
    server.process.send_signal(signal.SIGTERM)
    while server.health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1:
        time.sleep(0.01)
    begin = time.monotonic()
    assert server.stop(5) == 1
    assert time.monotonic() - begin < 1


def test_an_error_of_the_start_ends_it_too(full_pipe):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = subprocess.run(
            [BUILD / "server" / "longhaul-server", "--model", MODEL, "--listen", "127.0.0.1:0", "--metrics-listen",
             f"127.0.0.1:{taken.getsockname()[1]}"], stderr=full_pipe.writer, timeout=20)
    assert process.returncode == 1
    full_pipe.drain().join()
    assert full_pipe.text == ""


def test_lines_that_were_dropped_are_counted_and_told(start, full_pipe):
    """gRPC traced by its own variables says more than may wait."""
    port = free_port()
    server = start(full_pipe.writer, "--metrics-listen", f"127.0.0.1:{port}",
                   environment={"GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "all"})
    deadline = time.monotonic() + 60
    while lines_dropped(port) == 0:
        server.answers()
        assert time.monotonic() < deadline
    reader = full_pipe.drain()
    while "lines of the log were dropped" not in full_pipe.text:
        server.answers()
        assert time.monotonic() < deadline
    assert server.stop() == 0
    reader.join()
    text = full_pipe.text
    told = [int(n) for n in re.findall(r"^\S+ warning (\d+) lines of the log were dropped", text, re.MULTILINE)]
    assert told and told[0] > 0
    assert "info gRPC, " in text and re.search(r"^\S+ info stopped$", text, re.MULTILINE)
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+ [a-z]+ ", line) for line in text.splitlines()), "one form for all"


def test_what_clients_make_libraries_say_is_throttled(start, tmp_path):
    log = tmp_path / "log"
    server = start(log.open("w"))
    begin = time.monotonic()
    server.send_nonsense(200)
    most = 10 + time.monotonic() - begin + 1
    assert server.stop() == 0
    said = [line for line in log.read_text().splitlines() if "UTF-8" in line]
    assert 10 <= len(said) <= most
    assert all(re.match(r"\S+ warning protobuf, [\w.]+:\d+: ", line) for line in said), said[0]


def test_a_level_is_the_level_of_the_libraries_too(start, tmp_path):
    log = tmp_path / "log"
    server = start(log.open("w"), "--log-level", "error")
    server.send_nonsense(20)
    assert server.stop() == 0
    assert log.read_text() == ""


def test_a_pipe_that_its_reader_left(start):
    reader, writer = os.pipe()
    os.close(reader)
    server = start(writer, "--log-level", "debug")
    server.send_nonsense(20)
    server.answers()
    assert server.stop() == 0


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_descriptors_are_no_sockets(start, closed):
    def close():
        for descriptor in closed:
            os.close(descriptor)

    server = start(None, "--log-level", "debug", preexec_fn=close)
    for descriptor in closed:
        assert pathlib.Path(f"/proc/{server.process.pid}/fd/{descriptor}").readlink() == pathlib.Path("/dev/null")
    server.send_nonsense(20)
    server.answers()
    assert server.stop() == 0
