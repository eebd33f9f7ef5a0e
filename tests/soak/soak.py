"""The real server under clients that are killed, cancelled and stalled at random, with far too small a cache.

    python3 tests/soak/soak.py [--seconds 600] [--seed N] [--build build/release] [--model M.gguf]

Needs the Python packages of tests/requirements.txt. tests/soak/README.md says what is done and held.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import cases
import loopback

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("LONGHAUL_CACHE")
                     or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "longhaul")

# Holds some 540 tokens; the clients ask for several thousand at a time. Small steps, so that longer texts are taken away
# while they are being read.
SMALL = ("--kv-cache-memory", "12MiB", "--max-batch-tokens", "64", "--step-target", "1ms", "--max-queue", "32",
         "--max-client-requests", "8", "--stream-stall-timeout", "2s", "--keepalive-time", "3s")
# Where answers are taken that nothing can have changed.
ALONE = ("--kv-cache-memory", "64MiB", "--prefix-cache", "off")

CLIENTS = 4  # processes of several streams each
QUIET_WITHIN = 30  # seconds after which nothing may be left of clients that have gone
END_WITHIN = 200  # seconds that a client may take to read to their end the streams that it has
# gRPC adds threads to these where all are busy at once, now and then for hours, and keeps some. A leak is no one or two.
GRPC_POOLS = ("grpc_global_tim", "default-execut", "resolver-execut", "event_engine")
POOL_MARGIN = 2
LOADS_THAT_GROW = 3  # so many in a row are a leak
SHORT = 180  # seconds; a shorter run makes too few requests for a leak of each to come to the whole margin


def memory_margin(seconds):
    return (8 if seconds < SHORT else 16) << 20


class Failed(Exception):
    pass


def check(holds, words):
    if not holds:
        raise Failed(words)


class Server:
    def __init__(self, build, model, folder, flags):
        self.log, port = folder / "log", folder / "port"
        folder.mkdir()
        self.process = subprocess.Popen([build / "server" / "longhaul-server", "--model", model, "--listen",
                                         "127.0.0.1:0", "--port-file", port, "--metrics-listen", "127.0.0.1:0", *flags],
                                        stderr=self.log.open("w"))
        self.proc = pathlib.Path("/proc") / str(self.process.pid)
        try:
            self.wait(port.exists, 60, "the server did not open its port")
            self.target = f"127.0.0.1:{port.read_text().strip()}"
            self.wait(lambda: self.scrape()["longhaul_server_state ready"] == 1, 60, "the server does not serve")
        except BaseException:
            self.kill()
            raise

    def wait(self, condition, seconds, words):
        end = time.monotonic() + seconds
        while not condition():
            self.check_alive()
            check(time.monotonic() < end, words() if callable(words) else words)
            time.sleep(0.1)

    def check_alive(self):
        check(self.process.poll() is None,
              f"the server ended by itself with {self.process.returncode}: {self.log.read_text()[-1000:]}")

    def scrape(self):
        """The sum of each family of /metrics, and each series by itself."""
        port = int(re.search(r"metrics on .* \(port (\d+)\)", self.log.read_text()).group(1))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/metrics")
        values = collections.Counter()
        for line in connection.getresponse().read().decode().splitlines():
            if line[0] != "#" and "_bucket" not in line:
                series, value = line.rsplit(" ", 1)
                values[series.split("{")[0]] += float(value)
                for label in re.findall(r'(?:state|reason)="\w+"', series):
                    values[series.split("{")[0] + " " + label.split('"')[1]] += float(value)
        connection.close()
        return values

    def held(self):
        """What of the machine the process holds."""
        rss = int(re.search(r"VmRSS:\s+(\d+)", (self.proc / "status").read_text()).group(1)) * 1024
        names = [(task / "comm").read_text() for task in (self.proc / "task").iterdir()]
        of_grpc = sum(name.startswith(GRPC_POOLS) for name in names)
        return {"threads": len(names) - of_grpc, "pool threads": of_grpc, "fds": len(os.listdir(self.proc / "fd")),
                "rss": rss}

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        check(self.process.wait(60) == 0, f"the server exited with {self.process.returncode} after SIGTERM")
        errors = re.findall(r"^\S+ error .*", self.log.read_text(), re.MULTILINE)
        check(not errors, f"the server's log has {errors[:3]}")


def answer_of(channel, pb, case):
    answer = cases.Answer()
    call = channel.unary_stream(cases.SERVICE + case.method, None, case.response(pb).FromString)
    try:
        for message in call(case.message, timeout=100):
            answer.add(message)
    except Exception as error:  # the module of gRPC's own exists only after make_stubs
        raise Failed(f"{case.name} without load: {error}") from error
    return answer


class Client:
    """A client process, and how it is meant to end."""

    def __init__(self, command, folder, number, environment):
        self.output, self.errors = folder / f"client-{number}.out", folder / f"client-{number}.err"
        self.process = subprocess.Popen(command, stdout=self.output.open("w"), stderr=self.errors.open("w"),
                                        env=environment)
        self.killed = self.was_stopped = False
        self.stopped_until = None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.killed = True
        self.signal(signal.SIGKILL)
        self.process.wait()

    def lines(self):
        for line in self.output.read_text().splitlines():
            if line.endswith("}"):
                yield json.loads(line)


class Load:
    """All clients: starts them, does to them what is to be done, and reads what they saw."""

    def __init__(self, args, server, folder, cases_file, stubs, random_):
        self.args, self.server, self.folder, self.cases_file, self.random = args, server, folder, cases_file, random_
        self.environment = {**os.environ, "PYTHONPATH": str(stubs)}
        self.number, self.clients, self.gone, self.flooder, self.bench = 0, [], [], None, None
        self.done, self.worst = collections.Counter(), collections.Counter()
        self.first_faults = ["kill", "stop"]  # for certain, however short the run is

    def run(self, seconds):
        """So many seconds of load, then the end of it."""
        self.flooder = self.start_client("floods")
        begin = time.monotonic()
        next_fault, next_sample = begin + 3, begin
        while (now := time.monotonic()) < begin + seconds:
            self.server.check_alive()
            while len(self.clients) < CLIENTS:
                self.clients.append(self.start_client("asks"))
            self.keep_bench()
            self.wake(now)
            if now >= next_fault:
                self.fault(now)
                next_fault = now + self.random.uniform(1, 4)
            if now >= next_sample:
                self.sample()
                next_sample = now + 1
            self.look_for_the_dead()
            time.sleep(0.1)
        self.end()

    def start_client(self, what):
        self.number += 1
        return Client([sys.executable, HERE / "client.py", self.cases_file, self.server.target,
                       str(self.random.getrandbits(32)), what], self.folder, self.number, self.environment)

    def keep_bench(self):
        """longhaul-bench beside the others, one after the other; some are killed."""
        if self.bench is not None and self.bench.process.poll() is None:
            return
        if self.bench is not None:
            self.finish_bench()
        self.number += 1
        self.bench_file = self.folder / f"bench-{self.number}.json"
        self.bench = Client(
            [self.args.build / "client" / "longhaul-bench", "--target", self.server.target, "--json", self.bench_file,
             "--quiet", "--warmup", "0s", "--duration", "8s", "--drain", "60s", "--concurrency", "4", "--client-ids", "2",
             "--connections", "2", "--prompts", "lengths:uniform:min=4,max=60", "--output-tokens",
             "uniform:min=16,max=240", "--cancel-share", "0.4", "--shared-prefix", "0.5", "--shared-prefix-tokens", "48",
             "--positions", "none@0.5,rerope:window=64@0.5", "--seed", str(self.random.getrandbits(31))],
            self.folder, self.number, self.environment)

    def finish_bench(self):
        if self.bench.killed or self.bench.process.returncode == -signal.SIGINT:  # stopped before it had begun
            return
        errors = self.bench.errors.read_text()
        check(self.bench_file.exists(), f"longhaul-bench exited with {self.bench.process.returncode}: {errors}")
        (run,) = json.loads(self.bench_file.read_text())["runs"]
        requests = run["requests"]
        check(requests["wrong_length"] == 0, f"longhaul-bench: answers of a wrong length: {requests}")
        check(set(requests["errors"]) <= {"RESOURCE_EXHAUSTED"}, f"longhaul-bench: {requests}")
        self.done["bench runs"] += 1
        for how in ("answered", "cancelled", "failed"):
            self.done[f"bench requests {how}"] += requests[how]

    def fault(self, now):
        client = self.random.choice(self.clients)
        what = self.random.choices(("kill", "stop", "bench"), (5, 3, 1))[0]
        if self.first_faults:
            what = self.first_faults.pop()
        if what == "bench":
            self.done["longhaul-bench killed"] += 1
            self.bench.kill()
        elif what == "kill":
            self.done["clients killed" + (" while stopped" if client.stopped_until else "")] += 1
            self.retire(client)
            client.kill()
        elif not client.stopped_until:
            self.done["clients stopped"] += 1
            client.was_stopped, client.stopped_until = True, now + self.random.uniform(2, 8)
            client.signal(signal.SIGSTOP)

    def wake(self, now):
        for client in self.clients:
            if client.stopped_until and client.stopped_until <= now:
                client.signal(signal.SIGCONT)
                client.stopped_until = None

    def retire(self, client):
        self.clients.remove(client)
        self.gone.append(client)

    def look_for_the_dead(self):
        for client in [*self.clients, self.flooder]:
            check(client.process.poll() is None, f"a client died: {client.errors.read_text()[-2000:]}")

    def sample(self):
        values = self.server.scrape()
        for name, value in {"running": values["longhaul_requests_running"], "waiting": values["longhaul_requests_waiting"],
                            "blocks": values["longhaul_kv_cache_blocks held"], **self.server.held()}.items():
            self.worst[name] = max(self.worst[name], value)

    def end(self):
        """Half of the clients are killed in the middle, the others read their streams to the end."""
        self.wake(float("inf"))
        for i, client in enumerate(list(self.clients)):
            self.retire(client)
            client.kill() if i % 2 else client.signal(signal.SIGTERM)
        self.flooder.signal(signal.SIGTERM)
        self.gone.append(self.flooder)
        self.bench.signal(signal.SIGINT)
        for client in [*self.gone, self.bench]:
            try:
                client.process.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                raise Failed(f"streams did not end within {END_WITHIN} s") from None
        self.finish_bench()
        self.bench = None

    def kill_all(self):
        for client in [*self.clients, *self.gone, self.flooder, self.bench]:
            if client is not None and client.process.poll() is None:
                client.kill()

    def outcomes(self):
        """How many streams of each kind ended how, and what was wrong with those that were not as alone."""
        ended, wrong = collections.defaultdict(collections.Counter), []
        for client in self.gone:
            code = client.process.returncode
            check(client.killed or code in (0, -signal.SIGTERM),
                  f"a client exited with {code}: {client.errors.read_text()[-2000:]}")
            for line in client.lines():
                ended[line["how"]][line["ended"]] += 1
                # Who was stopped has stalled, and may have been given up as silent.
                excused = client.was_stopped and line["ended"] in ("ABORTED", "UNAVAILABLE")
                wrong += [words for words in (line["wrong"], None if excused else line["unasked"]) if words]
        return ended, wrong


def wait_until_quiet(server, baseline=None):
    """Waits until nothing is left of the clients; returns what the process holds then."""
    def left():
        values, held = server.scrape(), server.held()
        found = {"requests running": values["longhaul_requests_running"],
                 "requests waiting": values["longhaul_requests_waiting"],
                 "blocks held": values["longhaul_kv_cache_blocks held"]}
        if baseline:
            for name, margin in (("threads", 0), ("pool threads", POOL_MARGIN), ("fds", 0)):
                found[f"{name} more than after the warm-up"] = max(0, held[name] - baseline[name] - margin)
        return {name: int(value) for name, value in found.items() if value}

    server.wait(lambda: not left(), QUIET_WITHIN,
                lambda: f"{QUIET_WITHIN} s after the last client there are still {left()}")
    return server.held()


def lacks(values, outcomes, done):
    """What has not happened yet; a soak in which little went wrong, or all was refused, proves little. Empty: nothing."""
    for name in ("longhaul_preemptions_total", "longhaul_prefix_cache_hits_total", "longhaul_prefix_cache_evictions_total",
                 "longhaul_stream_stalls_total", "longhaul_deadline_expired_total",
                 "longhaul_admission_rejections_total queue_full", "longhaul_admission_rejections_total quota"):
        if values[name] == 0:
            return f"{name} is 0: the load was not what it is meant to be"
    for how, ended in (("read", "OK"), ("flood", "OK"), ("cancel", "CANCELLED"), ("operator", "CANCELLED"),
                       ("deadline", "DEADLINE_EXCEEDED"), ("stall", "ABORTED")):
        if outcomes[how][ended] == 0:
            return f"no stream of kind '{how}' ended with {ended}"
    for what in ("bench requests answered", "bench requests cancelled", "clients killed", "clients stopped"):
        if done[what] == 0:
            return f"0 {what}"
    return ""


def report(load, values, outcomes, baseline, end):
    for how, counts in sorted(outcomes.items()):
        print(f"{how:>10}: " + ", ".join(f"{n} {ended}" for ended, n in counts.most_common()))
    print("faults: " + ", ".join(f"{n} {what}" for what, n in sorted(load.done.items())))
    print(f"preemptions {values['longhaul_preemptions_total']:.0f}, tokens found in the cache "
          f"{values['longhaul_prefix_cache_hits_total']:.0f} of {values['longhaul_prefix_cache_queries_total']:.0f}, "
          f"evictions {values['longhaul_prefix_cache_evictions_total']:.0f}, "
          f"stalls {values['longhaul_stream_stalls_total']:.0f}, "
          f"tokens made {values['longhaul_generation_tokens_total']:.0f}, "
          f"refused: queue full {values['longhaul_admission_rejections_total queue_full']:.0f}, "
          f"client limit {values['longhaul_admission_rejections_total quota']:.0f}")
    print(f"at most: {load.worst['running']:.0f} running, {load.worst['waiting']:.0f} waiting, {load.worst['blocks']:.0f} "
          f"blocks of {values['longhaul_kv_cache_blocks']:.0f}, {load.worst['threads']} + {load.worst['pool threads']} "
          f"threads (own + of gRPC's pools), {load.worst['fds']} fds, RSS {load.worst['rss'] / 2**20:.1f} MiB")
    for name, held in (("after the warm-up", baseline), ("at the end", end)):
        print(f"quiet {name}: {held['threads']} + {held['pool threads']} threads, {held['fds']} fds, "
              f"RSS {held['rss'] / 2**20:.1f} MiB")


def soak(args, folder):
    dice = random.Random(args.seed)
    stubs = folder / "stubs"
    stubs.mkdir()
    cases.make_stubs(stubs)
    import grpc
    from longhaul.v1 import inference_pb2 as pb

    alone = Server(args.build, args.model, folder / "alone", ALONE)
    servers, load = [alone], None
    try:
        with loopback.channel(alone.target) as channel:
            grpc.channel_ready_future(channel).result(60)
            groups = cases.conversations(pb, dice, lambda case: answer_of(channel, pb, case))
        alone.stop()
        cases.save(groups, folder / "cases.json")
        print(f"seed {args.seed}: {sum(map(len, groups))} requests answered alone; now {args.seconds} s of load", flush=True)

        server = Server(args.build, args.model, folder / "soaked", SMALL)
        servers.append(server)
        load = Load(args, server, folder, folder / "cases.json", stubs, dice)
        warmup = min(60, args.seconds / 3)
        load.run(warmup)
        baseline = wait_until_quiet(server)
        load.run(args.seconds - warmup)
        (outcomes, wrong), values = load.outcomes(), server.scrape()
        for longer in (2, 4):  # on a busy machine less happens in the same time
            if not lacks(values, outcomes, load.done):
                break
            load.run(longer * args.seconds)
            (outcomes, wrong), values = load.outcomes(), server.scrape()
        try:
            rss = [baseline["rss"], wait_until_quiet(server, baseline)["rss"]]
            # What a short warm-up did not touch grows once; a leak grows with each load.
            while rss[-1] > rss[-2] + memory_margin(args.seconds) and len(rss) <= LOADS_THAT_GROW:
                load.run(args.seconds - warmup)
                (outcomes, wrong), values = load.outcomes(), server.scrape()
                rss.append(wait_until_quiet(server, baseline)["rss"])
        finally:
            report(load, values, outcomes, baseline, server.held())
        check(not wrong, f"{len(wrong)} streams were not as alone: " + "; ".join(wrong[:3]))
        missing = lacks(values, outcomes, load.done)
        check(not missing, missing)
        check(rss[-1] <= rss[-2] + memory_margin(args.seconds),
              f"memory grew by each of {len(rss) - 1} loads: {', '.join(f'{held / 2**20:.1f}' for held in rss)} MiB")
        with loopback.channel(server.target) as channel:
            for case in (case for group in groups for case in group):
                wrong = answer_of(channel, pb, case).differs_from(case.answer, complete=True)
                check(wrong is None, f"after the load, {case.name}: {wrong}")
        server.stop()
    finally:
        if load is not None:
            load.kill_all()
        for server in servers:
            server.kill()
    print("all requests answered once more, as alone")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="of load, warm-up included")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--build", type=pathlib.Path, default=cases.ROOT / "build" / "release")
    parser.add_argument("--model", type=pathlib.Path, default=CACHE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            soak(args, pathlib.Path(folder))
        except Failed as failure:
            print(f"soak (seed {args.seed}): FAILED: {failure}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
