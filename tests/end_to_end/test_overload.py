"""What a client is told that asks for too much, by programs that read google.rpc, and whether health answers meanwhile."""

import contextlib
import itertools
import threading
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

import loopback
from real_server import longest_text


@contextlib.contextmanager
def serving(start_server, stubs, *flags):
    pb, rpc = stubs
    running = start_server("--kv-cache-memory", "64MiB", *flags)
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        yield running, made


fresh_tokens = itertools.count(500)


def reading(pb, tokens, max_tokens=1, **more):
    """A prompt that has no beginning in common with another."""
    return pb.GenerateRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[next(fresh_tokens)] * tokens)),
                              stopping=pb.Stopping(max_tokens=max_tokens, ignore_eos=True), **more)


def error_of(call):
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    return error.value


def details_of(error, *kinds):
    """The messages of these kinds that the error carries, in this order."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    assert status.code == error.code().value[0] and status.message == error.details()
    found = []
    for kind in kinds:
        message = kind()
        assert any(any_message.Unpack(message) for any_message in status.details), status
        found.append(message)
    return found


def overload_of(error):
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    retry, info = details_of(error, error_details_pb2.RetryInfo, error_details_pb2.ErrorInfo)
    delay = retry.retry_delay.ToMilliseconds() / 1000
    assert 0.1 <= delay <= 60 and info.domain == "longhaul"
    return info, delay


def start(made, pb, request, metadata=()):
    """A stream whose first message, Started, has come."""
    stream = made.Generate(request, metadata=metadata)
    assert next(stream).HasField("started")
    return stream


def fill_half(made, pb):
    """A stream that holds half of the cache for some seconds: a prompt of 1,450 tokens does not fit beside it."""
    stream = start(made, pb, reading(pb, 1500, 1300))
    assert next(stream).HasField("chunk")
    return stream


@pytest.mark.parametrize("change,field,description", [
    ({"priority": 101}, "priority", "101 is not allowed; it must be -100 to 100"),
    ({"sampling": {"top_p": 2}}, "sampling.top_p", "2 is not allowed"),
    ({"prompt": {"text": ""}}, "prompt.text", "empty"),
    ({"prompt": {"token_ids": {"ids": [1, 1 << 20]}}}, "prompt.token_ids.ids[1]", "outside the vocabulary"),
    ({"prompt": {"chat": {"messages": [{"role": "wizard"}]}}}, "prompt.chat.messages[0].role", "'wizard' is not one of"),
    ({"position": {"yarn": {"factor": -1}}}, "position.yarn.factor", "-1"),
    ({"stopping": {"max_tokens": 1 << 20}}, "stopping.max_tokens", "exceed"),
])
def test_a_wrong_field_is_named_to_programs_too(stub, stubs, change, field, description):
    pb, _ = stubs
    error = error_of(stub.Generate(pb.GenerateRequest(**({"prompt": {"text": "x"}} | change))))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    bad_request, = details_of(error, error_details_pb2.BadRequest)
    violation, = bad_request.field_violations
    assert violation.field == field and description in violation.description
    assert error.details() == f"{violation.field}: {violation.description}"


def test_a_full_queue_says_when_to_try_again(start_server, stubs):
    pb, _ = stubs
    with serving(start_server, stubs, "--max-queue", "2") as (_, made):
        streams = [fill_half(made, pb)]
        streams += [start(made, pb, reading(pb, 2000)) for _ in range(2)]
        info, delay = overload_of(error_of(made.Generate(reading(pb, 1))))
        assert info.reason == "QUEUE_FULL" and dict(info.metadata) == {"flag": "--max-queue", "limit": "2"}
        assert delay > 0.2, "4,000 tokens wait"
        for stream in streams:
            stream.cancel()


def test_a_client_has_so_many_requests_by_name_or_by_address(start_server, stubs):
    pb, rpc = stubs
    with serving(start_server, stubs, "--max-client-requests", "2") as (running, made):
        named = [("x-client-id", "greedy")]
        streams = [start(made, pb, reading(pb, 3, 600), named) for _ in range(2)]
        error = error_of(made.Generate(reading(pb, 1), metadata=named))
        info, delay = overload_of(error)
        assert info.reason == "CLIENT_LIMIT" and info.metadata["limit"] == "2" and delay >= 1
        assert "'greedy' has 2 requests" in error.details() and "--max-client-requests" in error.details()
        # Connections of one address are one client, and not the one with a name.
        with loopback.channel(running.target, ("grpc.use_local_subchannel_pool", 1)) as channel:
            other = rpc.InferenceServiceStub(channel)
            streams += [start(made, pb, reading(pb, 3, 600)), start(other, pb, reading(pb, 3, 600))]
            for each in (made, other):
                assert "'127.0.0.1' has 2 requests" in error_of(each.Generate(reading(pb, 1))).details()
            for stream in streams:
                stream.cancel()
        for _ in range(3000):  # until what was cancelled has ended
            try:
                assert len(list(made.Generate(reading(pb, 1), metadata=named))) > 1
                break
            except grpc.RpcError as refused:
                overload_of(refused)
                time.sleep(0.02)
        for _ in range(20):  # one after the other is never too many
            assert len(list(made.Generate(reading(pb, 1), metadata=named))) > 1


def test_a_client_has_so_many_tokens_in_the_queue(start_server, stubs):
    pb, _ = stubs
    with serving(start_server, stubs, "--max-client-queued-tokens", "2900") as (_, made):
        streams = [fill_half(made, pb)]
        greedy = [("x-client-id", "greedy")]
        streams += [start(made, pb, reading(pb, 1450), greedy) for _ in range(2)]
        error = error_of(made.Generate(reading(pb, 1), metadata=greedy))
        assert overload_of(error)[0].metadata["flag"] == "--max-client-queued-tokens"
        assert "has 2900 tokens in the queue" in error.details()
        for stream in streams:
            stream.cancel()


def test_the_server_ends_what_has_no_deadline(start_server, stubs):
    pb, _ = stubs
    with serving(start_server, stubs, "--max-request-time", "400ms") as (_, made):
        begin = time.monotonic()
        error = error_of(made.Generate(reading(pb, 3, 2500)))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "400 ms" in error.details() and "--max-request-time" in error.details()
        assert 0.35 < time.monotonic() - begin < 60


def test_what_cannot_be_read_before_its_deadline_is_not_begun(start_server, stubs):
    pb, _ = stubs
    with serving(start_server, stubs, "--log-level", "debug") as (running, made):
        # The server learns how fast it reads.
        seconds = min(list(made.Generate(reading(pb, 1100)))[-1].finished.timings.prefill for _ in range(2))
        request = reading(pb, 2500)
        # The client's own clock may be first, and a busy machine may look too late: the server's log tells what it did.
        for _ in range(100):
            error = error_of(made.Generate(request, timeout=seconds * 2500 / 1100 / 30))
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            time.sleep(0.1)
            if "not begun" in running.log.read_text():
                break
        else:
            raise AssertionError(running.log.read_text())
        assert list(made.Generate(request, timeout=60))[-1].finished.usage.prompt_tokens == 2500


def test_health_answers_under_full_load(start_server, stubs, capsys):
    """While the largest prompt is tokenized, eight streams run and the cores are busy."""
    pb, rpc = stubs
    running = start_server("--kv-cache-memory", "2GiB", "--max-message-size", "64MiB")
    with loopback.channel(running.target, ("grpc.max_send_message_length", -1)) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        done = threading.Event()

        def stream():
            while not done.is_set():
                call = made.Generate(reading(pb, 3, 2000))
                for _ in call:
                    if done.is_set():
                        call.cancel()
                        break

        text = longest_text(made, pb, "word ")

        def largest():
            while not done.is_set():
                call = made.Generate(pb.GenerateRequest(prompt=pb.Prompt(text=text)))
                error = error_of(call)
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and " of the answer exceed " in error.details()

        threads = [threading.Thread(target=stream) for _ in range(8)]
        threads.append(threading.Thread(target=largest))
        for thread in threads:
            thread.start()
        while made.GetModel(pb.GetModelRequest()).running < 8:
            time.sleep(0.05)
        with loopback.channel(running.target, ("grpc.use_local_subchannel_pool", 1)) as health_channel:
            health = health_pb2_grpc.HealthStub(health_channel)
            seconds, waiting = [], 0
            for _ in range(50):
                begin = time.monotonic()
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
                seconds.append(time.monotonic() - begin)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                waiting += made.GetModel(pb.GetModelRequest()).waiting > 0
                time.sleep(0.05)
        done.set()
        worst = max(seconds) * 1000
        with capsys.disabled():
            print(f"\nhealth under load: worst of 50 checks {worst:.1f} ms, median {sorted(seconds)[25] * 1000:.1f} ms; a text "
                  f"of {len(text) / 1e6:.1f} MB was in the queue, being tokenized, at {waiting} of them")
        assert worst < 500 and waiting > 25
        for thread in threads:
            thread.join()
