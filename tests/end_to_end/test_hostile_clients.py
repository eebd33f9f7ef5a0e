"""What a hostile or broken client can send: the server answers it and lives on."""

import pytest

from raw_http2 import RawClient


@pytest.fixture
def raw(server, stub):
    client = RawClient(server.target)
    yield client
    client.close()


def one_token(pb):
    return pb.GenerateRequest(prompt=pb.Prompt(text="x"), stopping=pb.Stopping(max_tokens=1)).SerializeToString()


@pytest.mark.parametrize("header", [b"x-request-id", b"x-client-id"])
@pytest.mark.parametrize("value", [b"a\x01b", b"a\x7fb", b"caf\xc3\xa9", b"", b"x" * 129])
def test_a_name_that_no_header_may_hold_is_refused(server, raw, stub, stubs, header, value):
    pb, _ = stubs
    answer = raw.call("Generate", one_token(pb), [(header, value)])
    assert answer["grpc-status"] == b"3" and header in answer["grpc-message"]
    assert server.process.poll() is None
    stub.GetModel(pb.GetModelRequest())


def test_a_name_of_printable_characters_is_used(raw, stubs):
    pb, _ = stubs
    answer = raw.call("Generate", one_token(pb), [(b"x-request-id", b"Order 66 ~!")])
    assert answer["grpc-status"] == b"0" and answer["x-request-id"] == b"Order 66 ~!"
