"""A server that is told to end while it still answers: whoever is not answered to the end is told to try again."""

import pathlib
import signal
import subprocess
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from h2.settings import SettingCodes

import loopback
from raw_http2 import RawClient

ENDLESS = 5000  # tokens, by far more than a second's


def retry_delay(call):
    """Of a call that ended with UNAVAILABLE and RetryInfo, in seconds."""
    assert call.code() == grpc.StatusCode.UNAVAILABLE, call
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in rpc_status.from_call(call).details), call
    return retry.retry_delay.ToMilliseconds() / 1000


def endless(pb, token=504, **more):
    return pb.GenerateRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[token])),
                              stopping=pb.Stopping(max_tokens=ENDLESS, ignore_eos=True),
                              position=pb.PositionMode(rerope=pb.Rerope()), **more)


def reason_of(stream):
    """Reads a stream to its end, which is no good one."""
    last = None
    with pytest.raises(grpc.RpcError):
        for last in stream:
            pass
    return last.finished.reason if last is not None and last.HasField("finished") else None


@pytest.fixture
def serving(start_server, stubs):
    """A server that has a second after SIGTERM, and a stub."""
    pb, rpc = stubs
    running = start_server("--drain-timeout", "1s", "--kv-cache-memory", "512MiB", "--max-rows", "2",
                           "--max-message-size", "64MiB")
    with loopback.channel(running.target, ("grpc.max_receive_message_length", -1)) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        yield running, made


def test_a_drain_that_runs_out_ends_all_that_was_accepted_with_a_time_to_try_again(serving, stubs):
    pb, _ = stubs
    running, stub = serving
    first = stub.Generate(endless(pb, 504))  # alone at first: two at a time run, and which come first is open
    assert next(first).HasField("started") and next(first).HasField("chunk")
    others = [stub.Generate(endless(pb, token)) for token in (505, 506)]
    score = stub.Score(pb.ScoreRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[507] * ENDLESS)),
                                       position=pb.PositionMode(rerope=pb.Rerope())))
    for stream in others + [score]:
        assert next(stream).HasField("started")
    streams = [first, *others, score]
    # Two are worked on, the others wait: all together they take far longer than a second.
    texts = [stub.Tokenize.future(pb.TokenizeRequest(prompt=pb.Prompt(text=" " * 8_000_000), pieces=True))
             for _ in range(20)]
    while not any(text.done() for text in texts):
        assert next(first).HasField("chunk")  # the other texts are on their way, or have arrived
    ids = [stub.Detokenize.future(pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[504] * 100_000)))
           for _ in range(5)]
    untouched = stub.Generate(endless(pb, 508))  # behind the texts
    while (model := stub.GetModel(pb.GetModelRequest())).running + model.waiting < 5:
        pass  # it has not arrived
    begin = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    reasons = [reason_of(stream) for stream in [*streams, untouched]]
    assert reasons == [pb.FINISH_REASON_UNAVAILABLE] * 4 + [None], "the last one was still to be tokenized"
    for call in [*streams, untouched]:
        assert 0 < retry_delay(call) <= 60 and "--drain-timeout" in call.details()
    for call in texts + ids:
        if call.code() != grpc.StatusCode.OK:  # the first may have been done
            assert retry_delay(call) > 0
    assert sum(call.code() == grpc.StatusCode.UNAVAILABLE for call in texts) > 8
    assert running.process.wait(10) == 0
    assert 1 <= time.monotonic() - begin < 8


def test_what_comes_while_loading_or_draining_is_told_to_try_again(start_server, stubs):
    pb, rpc = stubs
    running = start_server("--drain-timeout", "60s", "--kv-cache-memory", "64MiB")
    with loopback.channel(running.target) as channel:
        stub = rpc.InferenceServiceStub(channel)

        early = stub.GetModel.future(pb.GetModelRequest())
        if early.exception() is not None:
            assert retry_delay(early) == 1
        running.wait_until_serving(stub, pb)
        stream = stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="One,"),
                                                  stopping=pb.Stopping(max_tokens=2000, ignore_eos=True)))
        assert next(stream).HasField("started") and next(stream).HasField("chunk")
        running.process.send_signal(signal.SIGTERM)
        text = pb.TokenizeRequest(prompt=pb.Prompt(text="x"))
        while stub.Tokenize.future(text).code() == grpc.StatusCode.OK:
            pass
        for call in (stub.Tokenize.future(text), stub.Generate(endless(pb)),
                     stub.Detokenize.future(pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[504])))):
            assert retry_delay(call) == 1 and "shutting down" in call.details()
        assert stub.GetModel(pb.GetModelRequest()).running == 1, "what runs may be looked at"
        stream.cancel()
        assert running.process.wait(10) == 0


def test_a_slow_reader_is_told_to_try_again_too(serving, stubs):
    pb, _ = stubs
    running, stub = serving
    score = pb.ScoreRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[507] * ENDLESS)), top_logprobs=20,
                            position=pb.PositionMode(rerope=pb.Rerope()))
    raw = RawClient(running.target)
    raw.http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})  # then it must read, and does not
    stuck = raw.start("Score", score.SerializeToString())
    stream = stub.Score(score)
    assert next(stream).HasField("started")
    time.sleep(1)
    begin = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 0
    assert time.monotonic() - begin < 6, "nobody waits longer for its last messages than 2 s"
    assert reason_of(stream) == pb.FINISH_REASON_UNAVAILABLE and retry_delay(stream) > 0
    assert raw.headers_of(stuck)["grpc-status"] == b"14"
    raw.close()


def test_the_command_line_and_the_load_generator_say_that_the_server_was_not_there(serving, tmp_path):
    running, _ = serving
    client = pathlib.Path(running.process.args[0]).parent.parent / "client"
    generate = subprocess.Popen([client / "longhaul", "generate", "--target", running.target, "--max-tokens",
                                 str(ENDLESS), "--ignore-eos", "--position", "rerope", "One, two,"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    bench = subprocess.Popen([client / "longhaul-bench", "--target", running.target, "--concurrency", "1",
                              "--requests", "1", "--warmup", "0s", "--prompts", "8", "--output-tokens", str(ENDLESS),
                              "--positions", "rerope"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(2)
    running.process.send_signal(signal.SIGTERM)
    for process in (generate, bench):
        out, err = process.communicate(timeout=30)
        assert process.returncode == 4, out + err
    assert "UNAVAILABLE" in out + err and "CANCELLED" not in out + err
