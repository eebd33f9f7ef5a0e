"""HTTP/2 as bytes, right and wrong: what no client library would send. The standard library alone."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
LARGEST_FRAME = 16384  # bytes, by default
ENHANCE_YOUR_CALM = 11

SERVICE = "/longhaul.v1.InferenceService/"
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def field(name, value):
    """A header field in HPACK: a literal that enters no table."""
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def integer(value, bits, high=0):
    """HPACK's integer: the lower `bits` of the first byte, and more bytes where it is larger."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([high | value])
    value -= most
    out = bytearray([high | most])
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def request_fields(path, *more):
    """The header block of a gRPC call; `more`: pairs of bytes."""
    return b"".join(field(name, value) for name, value in [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"test"),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more])


def message(data):
    """A gRPC message before it is cut into DATA frames."""
    return b"\0" + len(data).to_bytes(4, "big") + data


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def part(number, data):
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def generate_request(text):
    """GenerateRequest of a text prompt and one token."""
    return part(1, part(1, text)) + part(3, b"\x08\x01")


def split(data, size=LARGEST_FRAME):
    return [data[at:at + size] for at in range(0, len(data), size)]
