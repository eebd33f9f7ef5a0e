"""What one call may tokenize or detokenize, and how long its answer may be: more is refused before it is made."""

import re

import grpc
import pytest

MIB = 1 << 20
IM_START = 1  # a token whose name is twelve bytes


def peak(server):
    """The most memory since the last call, in MiB."""
    with open(f"/proc/{server.process.pid}/status") as status:
        most = int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) / 1024
    with open(f"/proc/{server.process.pid}/clear_refs", "w") as refs:
        refs.write("5")
    return most


def ids(pb, token, count):
    return pb.TokenIds(ids=[token] * count)


@pytest.mark.parametrize(("method", "fields", "words"), [
    ("Detokenize", lambda pb: {"token_ids": ids(pb, 504, 2 * MIB + 1)},
     "token_ids.ids: 2097153 ids are more than the 2097152"),
    ("Detokenize", lambda pb: {"token_ids": ids(pb, IM_START, 8 * MIB // 12 + 1), "special": True},
     "token_ids: 8388612 bytes of text are more than the 8388608"),
    ("Tokenize", lambda pb: {"prompt": {"token_ids": ids(pb, 504, 2 * MIB + 1)}},
     "prompt.token_ids.ids: 2097153 ids are more than the 2097152"),
    ("Tokenize", lambda pb: {"prompt": {"token_ids": ids(pb, 504, MIB + 1)}, "pieces": True},
     "pieces: those of 1048577 tokens are more than the 1048576"),
    ("Tokenize", lambda pb: {"prompt": {"token_ids": ids(pb, IM_START, MIB)}, "pieces": True},
     "pieces: 12582912 bytes of text are more than the 8388608"),
])
def test_a_longer_answer_is_refused(server, stub, stubs, method, fields, words):
    pb, _ = stubs
    request = getattr(pb, method + "Request")(**fields(pb))
    peak(server)
    before = peak(server)
    with pytest.raises(grpc.RpcError) as error:
        getattr(stub, method)(request)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and words in error.value.details(), error.value
    assert peak(server) - before < 64


def test_the_longest_answers_are_given(server, stub, stubs):
    pb, _ = stubs
    text = stub.Detokenize(pb.DetokenizeRequest(token_ids=ids(pb, IM_START, 300_000), special=True)).text
    assert text == "<|im_start|>" * 300_000
    words = "to be or not " * 100_000
    answer = stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text=words), pieces=True))
    assert len(answer.ids) == len(answer.pieces) and b"".join(answer.pieces).decode() == words
