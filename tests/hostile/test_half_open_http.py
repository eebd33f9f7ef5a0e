"""Prometheus and whoever asks /healthz are answered beside a thousand connections that ask nothing, or never to the end.

As a program: test_half_open_http.py PORT FORM [SECONDS], an attack that goes on until it is killed. It says "standing"
first; then each connection that the server closes is followed by another one after so many seconds, 0.001 by default.
"""

import contextlib
import http.client
import pathlib
import re
import resource
import selectors
import socket
import subprocess
import sys
import time

import pytest

CONNECTIONS = 1000
BEGIN = {
    "silent": b"",
    "half-open": b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
    "slow": b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ",
    "unread": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
}


def attack(port, form, pause):
    """Keeps its connections open. A slow one sends a byte a second."""
    selector = selectors.DefaultSelector()
    connections = set()

    def begin():
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setblocking(False)
        connections.add(connection)
        with contextlib.suppress(OSError):
            connection.send(BEGIN[form])
        if form != "unread":  # else the next byte finds out
            selector.register(connection, selectors.EVENT_READ)

    def another(connection):
        connections.remove(connection)
        if form != "unread":
            selector.unregister(connection)
        connection.close()
        time.sleep(pause)
        begin()

    for _ in range(CONNECTIONS):
        begin()
    print("standing", flush=True)
    next_byte = time.monotonic() + 1
    while True:
        for key, _ in selector.select(max(0, next_byte - time.monotonic())):
            another(key.fileobj)
        if time.monotonic() < next_byte:
            continue
        next_byte += 1
        for connection in list(connections) if form in ("slow", "unread") else ():
            try:
                connection.send(b"x")
            except BlockingIOError:
                pass
            except OSError:
                another(connection)


class Endpoint:
    def __init__(self, server):
        self.pid = server.process.pid
        self.port = int(re.search(r"metrics on .* \(port (\d+)\)", server.log.read_text()).group(1))

    def ask(self, path):
        """The status, the body and the seconds that they took."""
        begin = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, time.monotonic() - begin

    def check(self, times):
        """Asks for everything so many times; the longest that it took."""
        longest = 0
        for _ in range(times):
            status, body, seconds = self.ask("/healthz")
            assert (status, body) == (200, "ready\n")
            longest = max(longest, seconds)
            status, body, seconds = self.ask("/metrics")
            assert status == 200 and "\nlonghaul_server_state" in body and body.endswith("\n")
            longest = max(longest, seconds)
        return longest

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.pid}/fd").iterdir()))

    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def resident(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text()).group(1)) / 1024


@pytest.fixture(scope="module")
def running(tmp_path_factory, stubs):
    import loopback
    from real_server import Server

    pb, rpc = stubs
    server = Server(tmp_path_factory.mktemp("http"), "--kv-cache-memory", "64MiB", "--metrics-listen", "127.0.0.1:0")
    try:
        with loopback.channel(server.target) as channel:
            server.wait_until_serving(rpc.InferenceServiceStub(channel), pb)
        yield server
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("form", BEGIN)
def test_a_thousand_connections_that_never_ask_to_the_end(running, form):
    endpoint = Endpoint(running)
    endpoint.check(3)
    before, memory = endpoint.descriptors(), endpoint.resident()
    attacker = subprocess.Popen([sys.executable, __file__, str(endpoint.port), form], stdout=subprocess.PIPE)
    try:
        attacker.stdout.readline()
        longest = endpoint.check(20)
        most, grown = endpoint.descriptors() - before, endpoint.resident() - memory
        assert attacker.poll() is None
    finally:
        attacker.kill()
        attacker.wait()
        attacker.stdout.close()
    print(f"{form}: {1000 * longest:.0f} ms at most, {most} descriptors, {grown:.0f} MiB more")
    # Those that ask to the end are answered first, which is work.
    assert longest < (5 if form == "unread" else 1)
    assert most < 600
    assert grown < 100
    deadline = time.monotonic() + 15
    while endpoint.descriptors() > before:
        assert time.monotonic() < deadline, "descriptors that do not come back"
        time.sleep(0.1)


def test_no_descriptor_left(running):
    """One was kept back: it is answered, and waiting for descriptors costs nothing."""
    endpoint = Endpoint(running)
    endpoint.check(1)
    before = resource.prlimit(endpoint.pid, resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in pathlib.Path(f"/proc/{endpoint.pid}/fd").iterdir())
    resource.prlimit(endpoint.pid, resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    try:
        begin, used = time.monotonic(), endpoint.processor_seconds()
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port)))
                assert endpoint.check(1) < 5
            time.sleep(1)
        assert endpoint.processor_seconds() - used < (time.monotonic() - begin) / 2
    finally:
        resource.prlimit(endpoint.pid, resource.RLIMIT_NOFILE, before)
    assert endpoint.check(3) < 1


if __name__ == "__main__":
    attack(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.001)
