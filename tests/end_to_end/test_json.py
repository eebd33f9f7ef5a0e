"""What --json prints, held against the .proto files: every field of a message is there, in the type that it has."""

import json
import subprocess

import pytest
from google.protobuf.descriptor import FieldDescriptor

from real_server import BUILD

INTEGERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
            FieldDescriptor.CPPTYPE_UINT64}
FLOATS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def check_value(value, field, where):
    kind = type(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        check(value, field.message_type, where)
    elif field.cpp_type in INTEGERS:
        assert kind is int, where
    elif field.cpp_type in FLOATS:
        assert kind in (int, float), where
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        assert kind is bool, where
    elif field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        assert value in field.enum_type.values_by_name, where
    else:
        assert kind is str, where


def check(value, message, where=""):
    """`value` is `message` as client/README.md says."""
    assert isinstance(value, dict), where
    assert set(value) <= set(message.fields_by_name), where
    for field in message.fields:
        here = f"{where}.{field.name}"
        oneof = field.containing_oneof
        alone = oneof is None or oneof.name == "_" + field.name  # the oneof of an `optional` is no choice
        if not alone:
            assert sum(other.name in value for other in oneof.fields) == 1, here
            if field.name not in value:
                continue
        assert field.name in value, here
        if field.is_repeated:
            assert isinstance(value[field.name], list), here
            for element in value[field.name]:
                check_value(element, field, here)
        elif value[field.name] is None:
            assert field.has_presence and alone, here
        else:
            check_value(value[field.name], field, here)


@pytest.fixture
def messages(longhaul, admin_stubs, stubs):
    """Runs a command with --json and checks what it prints; returns the objects, by default of an exit with 0."""
    types = {**stubs[0].DESCRIPTOR.message_types_by_name, **admin_stubs[0].DESCRIPTOR.message_types_by_name}

    def run(name, *arguments, code=0):
        done = longhaul(*arguments, "--json")
        assert done.returncode == code, done
        objects = [json.loads(line) for line in done.stdout.splitlines()]
        for one in objects:
            check(one, types[name], name)
        return objects

    return run


def test_a_stream_is_a_message_a_line(messages):
    started, *chunks, finished = [m for m in messages("GenerateResponse", "generate", "The capital of France is",
                                                      "--max-tokens", "4", "--top-logprobs", "2", "--token-ids",
                                                      "--seed", str(2**64 - 1)) if "progress" not in m]
    assert started["started"]["seed"] == 2**64 - 1 and started["started"]["windows"] == []
    assert chunks[0]["chunk"]["sample"] == 0 and chunks[0]["chunk"]["citation"] is None
    # A float is written with its own digits, not with those of the nearest double.
    logprobs = [logprob for chunk in chunks for logprob in chunk["chunk"]["logprobs"]]
    assert len(logprobs) == 4 and all(len(repr(logprob)) < 16 for logprob in logprobs)
    assert finished["finished"]["usage"]["completion_tokens"] == 4
    assert finished["finished"]["reason"] == "FINISH_REASON_LENGTH" and finished["finished"]["truncated_tokens"] == 0
    messages("GenerateResponse", "chat", "Say hello.", "--samples", "2", "--max-tokens", "2")
    warmed = messages("GenerateResponse", "warm", "The capital of France is")
    assert warmed[-1]["finished"]["usage"]["completion_tokens"] == 0
    scored = messages("ScoreResponse", "score", "The capital of France is Paris.", "--top-logprobs", "1")
    assert sum(len(m["scores"]["logprobs"]) for m in scored if "scores" in m) == 6


def test_a_citation_of_document_0_says_so(messages, tmp_path):
    file = tmp_path / "bridge.txt"
    file.write_text("The old bridge over the river was opened to traffic in 1911.")
    answer = messages("GenerateResponse", "ask", "--documents", str(file), "--max-tokens", "4", "When was it opened?")
    citations = [m["chunk"]["citation"] for m in answer if "chunk" in m]
    assert citations and all(citation["document"] == 0 and not citation["fell_back"] for citation in citations)


def test_the_other_commands(messages):
    assert messages("TokenizeResponse", "tokenize", "hello") == [{"ids": [28120], "pieces": ["aGVsbG8="]}]
    assert messages("DetokenizeResponse", "detokenize", "28120") == [{"text": "hello"}]
    model, = messages("GetModelResponse", "info")
    assert model["vocabulary_size"] == 49152 and model["waiting"] == 0 and model["plan"] is None
    model, = messages("GetModelResponse", "info", "--position", "rerope:window=8")
    assert model["plan"]["position"]["rerope"]["window"] == 8 and model["plan"]["far"]["query_offset"] == 8
    assert messages("ListRequestsResponse", "ps") == [{"requests": []}]
    assert messages("CancelRequestResponse", "cancel", "nobody", code=7) == [{"cancelled": 0}]


def test_a_running_request(messages, longhaul, server):
    endless = subprocess.Popen([BUILD / "client" / "longhaul", "generate", "One, two,", "--target", server.target,
                                "--request-id", "endless", "--ignore-eos", "--max-tokens", "2500"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    endless.stdout.read(1)
    (listed,), = [m["requests"] for m in messages("ListRequestsResponse", "ps")]
    assert listed["id"] == "endless" and listed["priority"] == 0 and listed["tokens_read"] > 0
    assert messages("CancelRequestResponse", "cancel", "endless") == [{"cancelled": 1}]
    endless.communicate()


def test_an_error_is_an_object(longhaul):
    for arguments, code, name in ((("generate", "x", "--top-p", "0"), 2, "INVALID_ARGUMENT"),
                                  (("warm", "--prompt-file", "/no/such"), 2, "INVALID_ARGUMENT"),
                                  (("score", "x" * 2000, "--timeout", "1e-6"), 6, "DEADLINE_EXCEEDED")):
        done = longhaul(*arguments, "--json")
        assert done.returncode == code and done.stderr == ""
        error = json.loads(done.stdout)["error"]
        assert set(error) == {"code", "message"} and error["code"] == name and error["message"]


def test_a_report_has_the_server_and_every_name(server, stub, stubs, tmp_path):
    file = tmp_path / "out.json"
    subprocess.run([BUILD / "client" / "longhaul-bench", "--target", server.target, "--concurrency", "1", "--requests",
                    "1", "--warmup", "0s", "--prompts", "8", "--output-tokens", "1", "--json", file],
                   check=True, capture_output=True)
    report = json.loads(file.read_text())
    check(report["server"], stubs[0].DESCRIPTOR.message_types_by_name["GetModelResponse"], "server")
    run, = report["runs"]
    assert run["load"]["concurrency"] == 1 and run["load"]["rate"] is None and run["goodput"] is None
    nothing = run["latency"]["inter_token_latency"]  # an answer of one token has none
    assert nothing["count"] == 0 and nothing["p99"] is None and nothing.keys() == run["latency"]["end_to_end"].keys()
