"""Requests that are sent slowly or not to their end, within the windows that the server grants."""

import contextlib
import select
import socket
import time

from frames import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, HEALTH, LARGEST_FRAME, PING, PREFACE, RST_STREAM,
                    SERVICE, SETTINGS, WINDOW_UPDATE, frame, message, request_fields, split)

INITIAL_WINDOW = 4  # a setting


class Upload:
    """A message of which `rest` is to be sent. `ended`: when the server ended its stream, `answer`: what it sent."""

    def __init__(self, stream, data, window):
        self.stream, self.window, self.rest = stream, window, memoryview(data)
        self.ended, self.answer = None, b""


class UploadConnection:
    """Sends the same beginning of a message on so many streams."""

    def __init__(self, target, source):
        host, port = target.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0))
        self.window = self.initial = 65535
        self.uploads, self.received, self.sent, self.closed = {}, b"", 0, False
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def start(self, method, data, count):
        block = request_fields(SERVICE + method)
        for stream in range(1, 2 * count, 2):
            self.socket.sendall(frame(HEADERS, END_HEADERS, stream, block))
            self.uploads[stream] = Upload(stream, data, self.initial)

    def open(self):
        return [upload for upload in self.uploads.values() if upload.ended is None]

    def step(self, seconds):
        """Reads what comes within `seconds` and sends what the windows hold."""
        if not self.open():
            return
        readable, _, _ = select.select([self.socket], [], [], seconds)
        try:
            if readable:
                self.look_at(self.socket.recv(1 << 20))
            for upload in self.open():
                self.send(upload)
        except OSError:
            self.end_all()

    def end_all(self):
        for upload in self.open():
            upload.ended = time.monotonic()

    def send(self, upload):
        while upload.rest and min(upload.window, self.window) > 0:
            piece = upload.rest[:min(upload.window, self.window, LARGEST_FRAME)]
            self.socket.sendall(frame(DATA, 0, upload.stream, bytes(piece)))
            upload.rest = upload.rest[len(piece):]
            upload.window -= len(piece)
            self.window -= len(piece)
            self.sent += len(piece)

    def look_at(self, data):
        if not data:
            self.end_all()
        self.received += data
        while len(self.received) >= 9 and len(self.received) >= (
                size := 9 + int.from_bytes(self.received[:3], "big")):
            self.take(self.received[3], self.received[4], int.from_bytes(self.received[5:9], "big"),
                      self.received[9:size])
            self.received = self.received[size:]

    def take(self, kind, flags, stream, payload):
        upload = self.uploads.get(stream)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                if int.from_bytes(payload[at:at + 2], "big") == INITIAL_WINDOW:
                    initial = int.from_bytes(payload[at + 2:at + 6], "big")
                    for each in self.uploads.values():
                        each.window += initial - self.initial
                    self.initial = initial
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE and upload:
            upload.window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.end_all()
        elif upload and kind in (DATA, HEADERS, RST_STREAM):
            upload.answer += payload if kind == DATA else b""
            if kind == RST_STREAM or flags & END_STREAM:
                upload.ended = time.monotonic()


class KeepingConnection(UploadConnection):
    """Sends little of a message that never becomes complete, or of `further` messages of a call, and much around each
    piece of it: DATA of a stream that is gone, or `served` calls. A server may keep it all for the little."""

    AROUND = 48 << 10  # bytes between two pieces
    PIECE = 24  # bytes: gRPC copies what is shorter

    def __init__(self, target, source, further, served):
        super().__init__(target, source)
        self.further, self.served, self.next, self.kept = further, served, 1, None
        gone = self.opened(SERVICE + "Generate")
        self.gone = gone.stream
        self.socket.sendall(frame(RST_STREAM, 0, gone.stream, (8).to_bytes(4, "big")))
        gone.ended = time.monotonic()

    def opened(self, path):
        stream, self.next = self.next, self.next + 2
        self.socket.sendall(frame(HEADERS, END_HEADERS, stream, request_fields(path)))
        self.uploads[stream] = Upload(stream, b"", self.initial)
        return self.uploads[stream]

    def begin(self):
        self.kept = self.opened(HEALTH + "Watch" if self.further else SERVICE + "Generate")
        self.put(self.kept, message(b"") if self.further else b"\0" + (4 << 20).to_bytes(4, "big"))

    def put(self, upload, data, flags=0):
        self.socket.sendall(frame(DATA, flags, upload.stream, data))
        upload.window -= len(data)
        self.window -= len(data)
        self.sent += len(data)

    def step(self, seconds):
        """Sends a piece and what is around it, as far as the windows hold them."""
        if self.closed:
            return
        readable, _, _ = select.select([self.socket], [], [], seconds)
        try:
            if readable:
                self.look_at(self.socket.recv(1 << 20))
            if self.kept is None or self.kept.ended:
                self.begin()
            if self.window < self.AROUND + self.PIECE or self.kept.window < self.PIECE:
                return
            self.put(self.kept, message(b"y" * (self.PIECE - 5)) if self.further else b"y" * self.PIECE)
            around = self.opened(SERVICE + "Tokenize") if self.served else self.uploads[self.gone]
            *parts, last = split(message(b"\xff" * (self.AROUND - 5)))
            for piece in parts:
                self.put(around, piece)
            self.put(around, last, END_STREAM if self.served else 0)
        except OSError:
            self.closed = True


@contextlib.contextmanager
def begun(target, source, method, data, connections=1, streams=1):
    """Connections that have started the same upload on so many streams each."""
    with contextlib.ExitStack() as opened:
        made = [UploadConnection(target, source) for _ in range(connections)]
        for connection in made:
            opened.enter_context(contextlib.closing(connection.socket))
            connection.start(method, data, streams)
        yield made


def run(connections, seconds):
    """Until all uploads have ended, at most so long. Those that have not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(connection.open() for connection in connections):
        for connection in connections:
            connection.step(0.02)
    return [upload for connection in connections for upload in connection.open()]
