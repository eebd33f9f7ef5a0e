"""One client process of the soak: it asks until SIGTERM, behaves well and badly, and writes how each stream ended.

    client.py CASES TARGET SEED asks|floods      (PYTHONPATH holds the wire's modules)

A line of its output is one stream: {"how": behaviour, "ended": status, "wrong": what is not as alone, "unasked": the
words of a status that this behaviour does not explain}.
"""

import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import cases
import loopback
from longhaul.v1 import admin_pb2, admin_pb2_grpc, inference_pb2 as pb

THREADS = 4
# Longer than any stream may take that nobody ends.
LOST = 150
FLOOD = 40  # requests at once

# How many of a hundred streams go so, and with which statuses they may end beside OK and RESOURCE_EXHAUSTED.
BEHAVIOURS = {
    "read": (50, ()),
    "slow": (8, ()),
    "cancel": (16, ("CANCELLED",)),
    "operator": (8, ("CANCELLED",)),
    "deadline": (8, ("DEADLINE_EXCEEDED",)),
    "stall": (10, ("ABORTED",)),
}

stopping = threading.Event()


def tell(**line):
    # One write, so that a line is whole or missing where the process is killed.
    os.write(1, (json.dumps(line) + "\n").encode())


def overload_reason(error):
    """QUEUE_FULL and so on, of a refusal."""
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(info):
            return info.reason
    return "no reason"


def follow(call, case, how, allowed, after=lambda n: None):
    """Reads a stream to its end, with `after` called behind each message; tells and returns how it ended."""
    answer, ended, broken, unasked = cases.Answer(), "OK", None, None
    try:
        for n, message in enumerate(call):
            answer.add(message)
            after(n)
    except grpc.RpcError as error:
        ended = error.code().name
        if ended == "RESOURCE_EXHAUSTED":
            ended += " " + overload_reason(error)
        elif ended not in allowed:
            unasked = f"{case.name}, {how}: {ended}: {error.details()}"
        answer.reason = None  # it says why the stream was ended
    except ValueError as error:
        call.cancel()
        ended, broken = "broken", str(error)
    wrong = broken or answer.differs_from(case.answer, complete=ended == "OK")
    tell(how=how, ended=ended, wrong=wrong and f"{case.name}, {how}, {ended}: {wrong}", unasked=unasked)
    return ended


def start(channel, case, timeout, **metadata):
    call = channel.unary_stream(cases.SERVICE + case.method, None, case.response(pb).FromString)
    return call(case.message, timeout=timeout,
                metadata=[(f"x-{name.replace('_', '-')}", value) for name, value in metadata.items()])


class Asker:
    """Asks one case after the other."""

    def __init__(self, target, groups, seed):
        # A window of some bytes: who does not read holds the server up at once, not after 64 KiB.
        self.channel = loopback.channel(target, ("grpc.use_local_subchannel_pool", 1), ("grpc.http2.lookahead_bytes", 64),
                                        ("grpc.http2.bdp_probe", 0))
        self.operator = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.groups, self.random = groups, random.Random(seed)
        # The server holds some dozens of tokens for who does not read: only longer answers can stall.
        self.long = [[case] for group in groups for case in group if len(case.answer.ids) > 100]

    def run(self):
        while not stopping.is_set():
            how = self.random.choices(list(BEHAVIOURS), [share for share, _ in BEHAVIOURS.values()])[0]
            for case in self.random.choice(self.long if how == "stall" else self.groups):
                ended = self.stream(case, how)
                if ended.startswith("RESOURCE_EXHAUSTED"):
                    time.sleep(0.2 + self.random.random())
                if ended != "OK" or stopping.is_set():
                    break

    def stream(self, case, how):
        request_id, misbehave_at = f"{self.random.getrandbits(64):x}", self.random.randrange(12)
        call = start(self.channel, case, self.random.uniform(0.01, 2) if how == "deadline" else LOST,
                     request_id=request_id, client_id=f"client-{os.getpid()}-{threading.get_ident()}")

        def misbehave(n):
            if how == "slow":
                time.sleep(0.02)
            if n != misbehave_at:
                return
            if how == "stall":
                stopping.wait(self.random.uniform(3, 15))
            elif how == "cancel":
                call.cancel()
            elif how == "operator":
                self.operator.CancelRequest(admin_pb2.CancelRequestRequest(id=request_id), timeout=LOST)

        return follow(call, case, how, BEHAVIOURS[how][1], misbehave)


def flood(target, groups, seed):
    """Bursts in the name of one client, then of many: the one is stopped by its own limit, the many by the queue's."""
    dice = random.Random(seed)
    channel = loopback.channel(target)
    short = [case for group in groups for case in group if 0 < len(case.answer.ids) <= 4]
    while not stopping.is_set():
        for clients in (1, FLOOD):
            burst = [dice.choice(short) for _ in range(FLOOD)]
            calls = [start(channel, case, LOST, client_id=f"flood-{i % clients}") for i, case in enumerate(burst)]
            for case, call in zip(burst, calls):
                follow(call, case, "flood", ())
            stopping.wait(1 + 2 * dice.random())


def main():
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    file, target, seed, what = sys.argv[1:]
    groups = cases.load(pathlib.Path(file))
    if what == "floods":
        flood(target, groups, int(seed))
        return
    threads = [threading.Thread(target=Asker(target, groups, f"{seed}/{i}").run) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    # A signal that another thread gets is seen only when this one wakes.
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)


if __name__ == "__main__":
    main()
