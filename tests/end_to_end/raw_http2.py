"""gRPC calls over a bare HTTP/2 connection: what a well-behaved client library would never send."""

import socket

import h2.config
import h2.connection
import h2.events

SERVICE = "/longhaul.v1.InferenceService/"


class RawClient:
    """One connection. Headers go out as they are given."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False,
                                           header_encoding=None)
        self.http2 = h2.connection.H2Connection(config)
        self.received = b""
        self.http2.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.http2.data_to_send())

    def frame(self):
        """The next frame but GOAWAY, after which h2 would read no more though streams go on."""
        while True:
            size = int.from_bytes(self.received[:3], "big") + 9
            if len(self.received) >= max(size, 9):
                frame, self.received = self.received[:size], self.received[size:]
                if frame[3] != 7:
                    return frame
                continue
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            self.received += data

    def start(self, method, message, headers=()):
        """Sends a call; returns its stream."""
        stream = self.http2.get_next_available_stream_id()
        self.http2.send_headers(stream, [
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", (SERVICE + method).encode()),
            (b":authority", b"test"), (b"te", b"trailers"), (b"content-type", b"application/grpc"), *headers])
        self.http2.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        self.flush()
        return stream

    def headers_of(self, stream):
        """All headers and trailers of a call once it has ended."""
        seen = {}
        while True:
            for event in self.http2.receive_data(self.frame()):
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    seen.update({bytes(name).decode(): bytes(value) for name, value in event.headers})
                if isinstance(event, h2.events.DataReceived):
                    self.http2.acknowledge_received_data(event.flow_controlled_length, stream)
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return seen
            try:
                self.flush()
            except (BrokenPipeError, ConnectionResetError):
                pass  # a server that has sent its last and closed: the rest lies in the receive buffer

    def call(self, method, message, headers=()):
        return self.headers_of(self.start(method, message, headers))

    def close(self):
        self.socket.close()
