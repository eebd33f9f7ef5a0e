"""Malformed inputs from a seed: whole conversations on a connection of their own, broken at one layer."""

import random

from frames import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SERVICE,
                    SETTINGS, WINDOW_UPDATE, field, frame, message, request_fields, split, varint)

BEGIN = PREFACE + frame(SETTINGS, 0, 0)
SOON = (b"grpc-timeout", b"100m")  # what is not refused ends
UNANSWERED = {"frames", "conversation", "noise"}  # kinds that may be the beginning of something
ADMIN = "/longhaul.v1.AdminService/"


def valid_requests(pb, admin_pb):
    """(path, bytes) of requests that fill many fields."""
    prompt = pb.Prompt(text="The river runs past the old mill")
    ids = pb.TokenIds(ids=[504, 1, 28120, 49151])
    chat = pb.Chat(messages=[pb.Message(role="system", content="Be brief."),
                             pb.Message(role="user", content="Hello")])
    contexts = pb.Contexts(documents=pb.Documents(documents=[pb.Document(text="one", id="1"), pb.Document(text="two")]))
    sampling = pb.Sampling(temperature=0.7, top_k=40, top_p=0.9, min_p=0.01, repetition_penalty=1.1, seed=7,
                           logit_bias={5: 1.5})
    stopping = pb.Stopping(max_tokens=1, stop=["\n", "end"], stop_token_ids=[2], ignore_eos=True)
    generate = [
        pb.GenerateRequest(prompt=prompt, stopping=stopping, sampling=sampling, output=pb.Output(top_logprobs=3)),
        pb.GenerateRequest(prompt=pb.Prompt(token_ids=ids), stopping=stopping, samples=2, priority=-3,
                           position=pb.PositionMode(yarn=pb.Yarn(factor=2, alpha=1, beta=32), trained_length=64)),
        pb.GenerateRequest(prompt=pb.Prompt(chat=chat), stopping=stopping,
                           position=pb.PositionMode(rerope=pb.Rerope(window=16), log_n=pb.LogN(trained_length=9))),
        pb.GenerateRequest(prompt=prompt, stopping=stopping, contexts=contexts),
    ]
    score = [pb.ScoreRequest(prompt=prompt, top_logprobs=2, last_tokens=2),
             pb.ScoreRequest(prompt=prompt, contexts=contexts, answer=pb.Prompt(text="yes"))]
    made = {
        SERVICE + "Generate": generate,
        SERVICE + "Score": score,
        SERVICE + "Tokenize": [pb.TokenizeRequest(prompt=prompt, pieces=True),
                               pb.TokenizeRequest(prompt=pb.Prompt(chat=chat), parse_special=True)],
        SERVICE + "Detokenize": [pb.DetokenizeRequest(token_ids=ids, special=True)],
        SERVICE + "GetModel": [
            pb.GetModelRequest(position=pb.PositionMode(leaky_rerope=pb.LeakyRerope(step=4)), length=99)],
        ADMIN + "ListRequests": [admin_pb.ListRequestsRequest()],
        ADMIN + "CancelRequest": [admin_pb.CancelRequestRequest(id="nobody's")],
        "/grpc.health.v1.Health/Check": [b"\x0a\x00"],
        "/grpc.health.v1.Health/Watch": [b"\x0a\x1dlonghaul.v1.InferenceService"],
    }
    return [(path, each if isinstance(each, bytes) else each.SerializeToString())
            for path, all_of_it in made.items() for each in all_of_it]


class Corpus:
    def __init__(self, seed, requests):
        self.random = random.Random(seed)
        self.requests = requests

    def bytes(self, most):
        return self.random.randbytes(self.random.randint(0, most))

    def broken(self, data):
        """The same bytes with one to three faults."""
        data = bytearray(data)
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randint(0, len(data))
            end = min(len(data), at + self.random.randint(1, 12))
            fault = self.random.randrange(7)
            if fault == 0:
                data[at:at] = self.bytes(12)
            elif fault == 1:
                del data[at:end]
            elif fault == 2:
                data[at:at] = data[at:end] * self.random.choice([1, 2, 300])
            elif fault == 3:
                del data[at:]
            elif fault == 4:
                data[at:end] = varint(self.random.choice([0, 127, 1 << 31, (1 << 32) - 1, (1 << 63), (1 << 64) - 1]))
            elif fault == 5:
                _, other = self.random.choice(self.requests)
                data[at:] = other[at:]
            elif at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
        return bytes(data)

    def call(self, path, body, *more):
        return frame(HEADERS, END_HEADERS, 1, request_fields(path, SOON, *more)) + b"".join(
            frame(DATA, 0, 1, piece) for piece in split(body)) + frame(DATA, END_STREAM, 1)

    # Each kind of fault: the bytes of a conversation.

    def protobuf(self):
        path, data = self.random.choice(self.requests)
        return BEGIN + self.call(path, message(self.broken(data)))

    def framing(self):
        """The length and the flag before a message, and how many messages there are."""
        path, data = self.random.choice(self.requests)
        length = self.random.choice([0, 1, len(data) - 1, len(data) + 1, 1 << 24, (1 << 31) - 1, (1 << 32) - 1])
        flag = self.random.choice([0, 1, 2, 255])
        encoding = [(b"grpc-encoding", self.random.choice([b"gzip", b"deflate", b"identity", b"snappy", b""]))]
        body = self.random.choice([
            bytes([flag]) + max(length, 0).to_bytes(4, "big") + data, message(data) * self.random.randint(2, 50),
            message(data)[:self.random.randrange(5 + len(data))], b"", self.bytes(40)])
        return BEGIN + self.call(path, body, *self.random.choice([[], encoding]))

    def headers(self):
        path, data = self.random.choice(self.requests)
        names = [b"", b"x", b"X-Upper", b":status", b":path", b":unknown", b"connection", b"grpc-timeout",
                 b"grpc-encoding", b"content-type", b"x-request-id", b"x-client-id", b"x-bin", b"grpc-tags-bin", b"te", b"content-length",
                 b"grpc-status", b"host", b"cookie", b"user-agent", self.bytes(20)]
        values = [b"", b"x", b"-1", b"99999999H", b"999999999999999S", b"1", b"gzip", b"!!!not base64!!!", b"\0",
                  b"\r\n", b"a\x01b", b"caf\xc3\xa9", b"x" * 9000, self.bytes(60)]
        more = [(self.random.choice(names), self.random.choice(values)) for _ in range(self.random.randint(1, 6))]
        path = self.random.choice([path, "", "/", "//", path[:-1], path + "/x", path.upper(), "x" * 9000, "\0"])
        fields = [*more, (b":method", self.random.choice([b"POST", b"POST", b"GET", b"PUT", b""])),
                  (b":path", path.encode()), (b":scheme", b"http"), (b":authority", b"test"), (b"te", b"trailers"),
                  (b"content-type", self.random.choice([b"application/grpc", b"text/html", b"application/grpc+json"]))]
        if self.random.random() < 0.5:
            self.random.shuffle(fields)
        fields = fields[:self.random.randint(1, len(fields))] if self.random.random() < 0.3 else fields
        block = b"".join(field(name, value) for name, value in fields)
        return BEGIN + frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, message(data))

    def compression(self):
        """A header block that is no HPACK, or nearly."""
        path, data = self.random.choice(self.requests)
        block = self.broken(request_fields(path, SOON))
        block += self.random.choice([
            b"", b"\x80", b"\xff\xff\xff\xff\x0f", b"\x3f\xff\xff\xff\xff\x07", b"\x40\x81\xff"])
        return BEGIN + frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, message(data))

    def frames(self):
        """Frames that are right each for itself, with wrong numbers, in a wrong order."""
        path, data = self.random.choice(self.requests)
        kinds = [DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, 5, PING, 7, WINDOW_UPDATE, CONTINUATION, 10, 255]
        made = [frame(HEADERS, END_HEADERS, 1, request_fields(path, SOON)), frame(DATA, END_STREAM, 1, message(data))]
        for _ in range(self.random.randint(1, 5)):
            stream = self.random.choice([0, 1, 2, 3, 99, (1 << 31) - 1, (1 << 32) - 1])
            zeros = bytes(self.random.choice([0, 4, 5, 6, 8, 16384, 16385]))
            payload = self.random.choice([self.bytes(20), zeros])
            made.insert(self.random.randint(0, len(made)),
                        frame(self.random.choice(kinds), self.random.randrange(256), stream, payload))
        return BEGIN + b"".join(made)

    def conversation(self):
        """Any byte of it may be wrong, the preface's too."""
        path, data = self.random.choice(self.requests)
        return self.broken(BEGIN + self.call(path, message(data)))

    def noise(self):
        return self.random.choice([b"", PREFACE[:self.random.randrange(24)], BEGIN,
                                   b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]) + self.bytes(200)

    def inputs(self, count):
        """So many (kind, bytes); half of them are wrong in their message alone, which most layers let through."""
        kinds = [self.protobuf] * 6 + [self.framing, self.headers, self.compression, self.frames, self.conversation,
                                       self.noise]
        for _ in range(count):
            kind = self.random.choice(kinds)
            yield kind.__name__, kind()
