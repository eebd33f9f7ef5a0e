"""Inputs that are wrong at every layer, from one seed: --inputs 100000 sends as many."""

import collections
import multiprocessing.pool
import socket

import hpack
from corpus import UNANSWERED, Corpus, valid_requests
from frames import DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM
from vitals import ATTACKER

SEED = 13
SENDERS = 4
PATIENCE = 20  # seconds


class Conversation:
    """Sends an input and hears the server out: `ended` says how. What it need not answer, it is left to think over."""

    def __init__(self, target, kind, data, source):
        host, port = target.rsplit(":", 1)
        self.received, self.ended, self.status = b"", None, None
        self.hpack = hpack.Decoder()
        with socket.create_connection((host, int(port)), timeout=PATIENCE, source_address=(source, 0)) as connection:
            try:
                connection.sendall(data)
                if kind in UNANSWERED:
                    connection.shutdown(socket.SHUT_WR)
                while self.ended is None:
                    self.look_at(connection.recv(65536))
            except TimeoutError:
                self.ended = "silence"
            except OSError:  # at whichever call it is seen that the server had enough
                self.ended = "reset"

    def look_at(self, data):
        self.received += data
        while len(self.received) >= 9 and len(self.received) >= (size := 9 + int.from_bytes(self.received[:3], "big")):
            kind, flags, stream = self.received[3], self.received[4], int.from_bytes(self.received[5:9], "big")
            if kind == HEADERS:
                self.status = dict(self.hpack.decode(self.received[9:size], raw=True)).get(b"grpc-status")
            if kind == GOAWAY or kind == RST_STREAM and stream == 1:
                self.ended = "refused"
            if kind in (HEADERS, DATA) and flags & END_STREAM and stream == 1:
                self.ended = f"status {(self.status or b'none').decode()}"
            self.received = self.received[size:]
        if not data:
            self.ended = self.ended or "closed"


def test_malformed_inputs(victim, stubs, admin_stubs, request):
    attacked = victim()
    inputs = Corpus(SEED, valid_requests(stubs[0], admin_stubs[0])).inputs(request.config.getoption("--inputs"))
    ends, silent = collections.Counter(), []

    def send(made):
        number, (kind, data) = made
        # An address has not ports enough for as many connections as a minute takes.
        source = f"{ATTACKER.rsplit('.', 1)[0]}.{2 + number // 1000 % 100}"
        return kind, data, Conversation(attacked.target, kind, data, source).ended

    with attacked.watched(), multiprocessing.pool.ThreadPool(SENDERS) as senders:
        for kind, data, end in senders.imap_unordered(send, enumerate(inputs)):
            ends[kind, end] += 1
            if end == "silence":
                silent.append((kind, data[:2000]))
    print("\n".join(f"{kind}: {count} {end}" for (kind, end), count in sorted(ends.items())))
    assert not silent, (len(silent), silent[:3])
