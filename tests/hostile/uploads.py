"""Requests that are sent slowly or not to their end, within the windows that the server grants."""

import contextlib
import select
import socket
import time

from frames import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, LARGEST_FRAME, PING, PREFACE, RST_STREAM,
                    SERVICE, SETTINGS, WINDOW_UPDATE, frame, request_fields)

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
        self.uploads, self.received, self.sent = {}, b"", 0
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
