"""What an attack must not touch: memory, descriptors and threads of the server, its health, an ordinary client."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import grpc
import loopback
from grpc_health.v1 import health_pb2, health_pb2_grpc

ATTACKS = pathlib.Path(__file__).parent / "attacks.py"
ATTACKER = "127.0.0.2"  # limits of an address are the attacker's own

MEMORY = 256  # MB that an attack may cost while it lasts
HEALTH = 1.0  # seconds within which health answers meanwhile, on the port of the requests
OWN_PORT_HEALTH = 0.5  # and on a port of its own
LONG = 5  # seconds: an attack of so long lets the ordinary client be answered
# gRPC keeps some threads of its pools.
THREADS = 8


class TooLate(AssertionError):
    """Health answered too late. A machine that stood still for so long is not the server's fault, twice it would be."""


class Vitals:
    """Of a process, in MB and numbers."""

    def __init__(self, pid):
        self.proc = pathlib.Path("/proc") / str(pid)

    def status(self, name):
        return int(re.search(rf"^{name}:\s+(\d+)", (self.proc / "status").read_text(), re.MULTILINE).group(1))

    def resident(self):
        return self.status("VmRSS") * 1024 / 1e6

    def peak(self):
        """The largest resident size since forget_peak."""
        return self.status("VmHWM") * 1024 / 1e6

    def forget_peak(self):
        (self.proc / "clear_refs").write_text("5")

    def descriptors(self):
        return len(os.listdir(self.proc / "fd"))

    def threads(self):
        return self.status("Threads")

    def stopped(self):
        """Whether every thread has been stopped by a signal, which is on its way for a while."""
        return all(stat.read_text().rsplit(") ")[-1][0] == "T" for stat in self.proc.glob("task/*/stat"))


class Background:
    """Does something again and again in a thread, a few milliseconds apart, until it is stopped."""

    def __init__(self):
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        self.once()
        while not self.stopped.wait(0.01):
            self.once()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


class HealthProber(Background):
    """Asks for a server's health on a connection of its own: the slowest answer, and what was not SERVING."""

    def __init__(self, target):
        super().__init__()
        self.channel = loopback.channel(target, ("grpc.use_local_subchannel_pool", 1))
        self.stub = health_pb2_grpc.HealthStub(self.channel)
        self.slowest, self.answers, self.failures = 0.0, 0, []
        self.ask()  # connects
        self.slowest = 0.0

    def once(self):
        self.ask()

    def ask(self):
        begin = time.monotonic()
        try:
            answer = self.stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
            if answer.status != health_pb2.HealthCheckResponse.SERVING:
                self.failures.append(answer)
        except grpc.RpcError as error:
            self.failures.append(error)
        self.slowest = max(self.slowest, time.monotonic() - begin)
        self.answers += 1

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self.channel.close()


class OrdinaryClient(Background):
    """Asks for a few tokens, which must be the same each time. A server that is busy may ask it to come again later."""

    def __init__(self, target, stubs):
        super().__init__()
        self.pb, rpc = stubs
        self.channel = loopback.channel(target, ("grpc.use_local_subchannel_pool", 1))
        self.stub = rpc.InferenceServiceStub(self.channel)
        self.answers, self.failures = 0, []
        self.expected = self.ask()

    def ask(self):
        request = self.pb.GenerateRequest(prompt=self.pb.Prompt(text="The capital of France is"),
                                          stopping=self.pb.Stopping(max_tokens=4))
        return "".join(part.chunk.text for part in self.stub.Generate(request, timeout=10, metadata=[
            ("x-client-id", "ordinary")]))

    def once(self):
        try:
            answer = self.ask()
            if answer != self.expected:
                self.failures.append(answer)
            self.answers += 1
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                self.failures.append(error)

    def __exit__(self, *exception):
        super().__exit__(*exception)
        try:
            assert self.ask() == self.expected
        finally:
            self.channel.close()


def until(condition, seconds, words):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, words() if callable(words) else words
        time.sleep(0.02)


def health_target(running):
    """Where a server serves health alone; none where it does not."""
    own_port = re.search(r"health on .* \(port (\d+)\)", running.log.read_text())
    return f"127.0.0.1:{own_port.group(1)}" if own_port else None


class Victim:
    """A server that is attacked. Makes it ready, and remembers how it was when nobody had attacked it."""

    def __init__(self, running, stubs):
        self.running, self.stubs, self.target = running, stubs, running.target
        self.vitals = Vitals(running.process.pid)
        pb, rpc = stubs
        with loopback.channel(self.target) as channel:
            stub = rpc.InferenceServiceStub(channel)
            model = running.wait_until_serving(stub, pb)
            # What a full step works with is touched now, so that no attack is told to have cost it.
            text = pb.Prompt(token_ids=pb.TokenIds(ids=[504] * min(600, model.cache_tokens)))
            list(stub.Score(pb.ScoreRequest(prompt=text, top_logprobs=1)))
        self.health_target = health_target(running)
        self.ask()
        self.idle = self.vitals.resident()

    def ask(self):
        """Asks once, from another address than the attacker's; it must be answered at once."""
        with OrdinaryClient(self.target, self.stubs):
            pass

    @contextlib.contextmanager
    def stub(self):
        """InferenceService on a connection of its own."""
        with loopback.channel(self.target, ("grpc.use_local_subchannel_pool", 1)) as channel:
            yield self.stubs[1].InferenceServiceStub(channel)

    @contextlib.contextmanager
    def watched(self, memory=MEMORY, health=HEALTH):
        """Asserts that what happens inside costs what it may, and that others are served meanwhile and afterwards."""
        descriptors, threads = self.vitals.descriptors(), self.vitals.threads()
        client = OrdinaryClient(self.target, self.stubs)
        probers = {HealthProber(self.target): health}
        if self.health_target:
            probers[HealthProber(self.health_target)] = OWN_PORT_HEALTH
        self.vitals.forget_peak()
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            for each in (client, *probers):
                stack.enter_context(each)
            yield
            # What was over in no time may have held up the first answer.
            if time.monotonic() - begin > LONG:
                assert client.answers > 0, "the ordinary client was not answered meanwhile"
            until(lambda: client.answers > 0 or client.failures, 30, "the ordinary client is not answered")
            assert self.running.process.poll() is None, self.running.log.read_text()[-2000:]
            cost, answers = self.vitals.peak() - self.idle, client.answers
        problems = [f"cost {cost:.0f} MB"] * (cost > memory)
        problems += [f"the ordinary client was told {client.failures[:3]}"] * (client.failures != [])
        problems += [f"health was told {prober.failures[:3]}" for prober in probers if prober.failures]
        late = [f"{prober.slowest:.2f} s" for prober, most in probers.items() if prober.slowest > most]
        print(f"cost {cost:.0f} MB, {answers} ordinary answers, health within "
              + " and ".join(f"{1000 * prober.slowest:.0f} ms of {prober.answers}" for prober in probers))
        assert not problems, problems
        if late:
            raise TooLate(f"health within {late}")
        until(lambda: self.vitals.descriptors() <= descriptors, 10,
              lambda: f"{self.vitals.descriptors()} descriptors, {descriptors} before")
        assert self.vitals.threads() <= threads + THREADS

    def attack(self, name, *flags, target=None):
        """Runs an attack as a program, on the port of the requests if no other is given; its report."""
        done = subprocess.run([sys.executable, ATTACKS, name, target or self.target, "--from", ATTACKER,
                               *map(str, flags)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        print(name, *flags, report)
        return report
