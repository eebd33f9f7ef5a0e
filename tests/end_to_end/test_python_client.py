"""A client in another language: what any gRPC program can do with a running server."""

import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import loopback


def generate(pb, text, max_tokens, **stopping):
    return pb.GenerateRequest(
        prompt=pb.Prompt(text=text),
        stopping=pb.Stopping(max_tokens=max_tokens, **stopping),
        output=pb.Output(top_logprobs=0, token_ids=True),
    )


def endless(pb):
    return generate(pb, "One, two, three,", 2500, ignore_eos=True)


def answer_of(messages):
    text, ids, logprobs, finished = "", [], [], None
    for message in messages:
        text += message.chunk.text
        ids += message.chunk.token_ids
        logprobs += message.chunk.logprobs
        if message.HasField("finished"):
            finished = message.finished
    return text, ids, logprobs, finished


def wait_until_free(stub, pb):
    for _ in range(3000):
        if stub.GetModel(pb.GetModelRequest()).cache_tokens_used == 0:
            return
        time.sleep(0.02)
    raise AssertionError("blocks of the cache stay taken")


def test_streams_an_answer_in_order(stub, stubs):
    pb, _ = stubs
    messages = list(stub.Generate(generate(pb, "The capital of France is", 12)))
    kinds = [message.WhichOneof("event") for message in messages]
    assert kinds[0] == "started" and kinds[-1] == "finished" and set(kinds[1:-1]) == {"chunk"}
    text, ids, logprobs, finished = answer_of(messages)
    assert "Paris" in text
    assert len(ids) == len(logprobs) == finished.usage.completion_tokens == 12
    assert finished.reason == pb.FINISH_REASON_LENGTH
    assert 0 < finished.timings.first_token <= finished.timings.queue + finished.timings.prefill + 1


def test_score_agrees_with_generate_to_the_bit(stub, stubs):
    pb, _ = stubs
    prompt = list(stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="The capital of France is"))).ids)
    _, ids, logprobs, _ = answer_of(stub.Generate(generate(pb, "The capital of France is", 12)))
    request = pb.ScoreRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=prompt + ids)), from_token=len(prompt))
    scores = [logprob for message in stub.Score(request) for logprob in message.scores.logprobs]
    assert scores == logprobs


def test_tokenize_and_detokenize_are_inverse(stub, stubs):
    pb, _ = stubs
    text = "Grüße, 你好 123 <|im_end|> 🙂"
    response = stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text=text), pieces=True))
    assert b"".join(response.pieces).decode() == text
    assert stub.Detokenize(pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=response.ids))).text == text


def test_a_chat_ends_with_its_turn(stub, stubs):
    pb, _ = stubs
    chat = pb.Chat(messages=[pb.Message(role="user", content="Say hello in one short sentence.")])
    messages = stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(chat=chat)))
    text, _, _, finished = answer_of(messages)
    assert finished.reason == pb.FINISH_REASON_EOS and text and "<|" not in text


def test_cancelling_frees_the_cache(stub, stubs):
    pb, _ = stubs
    call = stub.Generate(endless(pb))
    for message in call:
        if message.HasField("chunk"):
            break
    assert stub.GetModel(pb.GetModelRequest()).cache_tokens_used > 0
    call.cancel()
    wait_until_free(stub, pb)


def test_a_client_that_vanishes_frees_the_cache(server, stub, stubs):
    pb, rpc = stubs
    channel = loopback.channel(server.target, ("grpc.use_local_subchannel_pool", 1))
    call = rpc.InferenceServiceStub(channel).Generate(endless(pb))
    next(call)
    channel.close()
    wait_until_free(stub, pb)


def test_a_deadline_ends_a_request(stub, stubs):
    pb, _ = stubs
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(endless(pb), timeout=0.4))
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until_free(stub, pb)


BAD = float("nan")
REFUSED = [
    (dict(prompt=dict(text="")), "prompt.text"),
    (dict(), "prompt: not given"),
    (dict(prompt=dict(token_ids=dict(ids=[5, 49152]))), "prompt.token_ids.ids[1]"),
    (dict(prompt=dict(token_ids=dict(ids=[-1]))), "prompt.token_ids.ids[0]"),
    (dict(prompt=dict(chat=dict(messages=[dict(role="wizard", content="x")]))), "messages[0].role"),
    (dict(prompt=dict(chat=dict())), "prompt.chat.messages"),
    (dict(prompt=dict(text="x"), sampling=dict(temperature=BAD)), "sampling.temperature"),
    (dict(prompt=dict(text="x"), sampling=dict(temperature=-1)), "sampling.temperature"),
    (dict(prompt=dict(text="x"), sampling=dict(top_p=0)), "sampling.top_p"),
    (dict(prompt=dict(text="x"), sampling=dict(top_p=BAD)), "sampling.top_p"),
    (dict(prompt=dict(text="x"), sampling=dict(min_p=-0.5)), "sampling.min_p"),
    (dict(prompt=dict(text="x"), sampling=dict(repetition_penalty=0)), "sampling.repetition_penalty"),
    (dict(prompt=dict(text="x"), sampling=dict(presence_penalty=float("inf"))), "sampling.presence_penalty"),
    (dict(prompt=dict(text="x"), sampling=dict(logit_bias={5: BAD})), "sampling.logit_bias"),
    (dict(prompt=dict(text="x"), sampling=dict(logit_bias={60000: 1})), "sampling.logit_bias"),
    (dict(prompt=dict(text="x"), stopping=dict(stop=["a"] * 1000)), "stopping.stop"),
    (dict(prompt=dict(text="x"), stopping=dict(stop=[""])), "stopping.stop"),
    (dict(prompt=dict(text="x"), stopping=dict(stop_token_ids=[-3])), "stopping.stop_token_ids[0]"),
    (dict(prompt=dict(text="x"), stopping=dict(max_tokens=3, min_tokens=4)), "stopping.min_tokens"),
    (dict(prompt=dict(text="x"), stopping=dict(max_tokens=9000)), "stopping.max_tokens"),
    (dict(prompt=dict(text="x"), output=dict(top_logprobs=21)), "output.top_logprobs"),
]


@pytest.mark.parametrize("request_fields,field", REFUSED)
def test_bad_input_is_refused_by_its_field(stub, stubs, request_fields, field):
    pb, _ = stubs
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(pb.GenerateRequest(**request_fields)))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field in error.value.details()


def test_what_cannot_fit_is_refused_with_the_numbers(stub, stubs):
    pb, _ = stubs
    most = stub.GetModel(pb.GetModelRequest()).cache_tokens
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(generate(pb, "The capital of France is", most)))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert all(number in error.value.details() for number in ("5 tokens", str(most)))


def test_text_that_is_not_utf8_is_refused(server, stub):
    # prompt { text: 0xff }
    with loopback.channel(server.target) as channel:
        call = channel.unary_stream("/longhaul.v1.InferenceService/Generate")
        with pytest.raises(grpc.RpcError) as error:
            list(call(b"\x0a\x03\x0a\x01\xff"))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in error.value.details()


def test_a_message_over_the_limit_is_refused_and_the_server_lives_on(start_server, stubs):
    pb, rpc = stubs
    running = start_server("--max-message-size", "1MiB", "--kv-cache-memory", "64MiB")
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        with pytest.raises(grpc.RpcError) as error:
            made.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="x" * (2 << 20))))
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert made.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="x"))).ids


def test_a_full_queue_refuses(start_server, stubs):
    pb, rpc = stubs
    running = start_server("--max-queue", "1", "--kv-cache-memory", "64MiB")
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        calls = [made.Generate(endless(pb)) for _ in range(6)]
        codes = []
        threads = [threading.Thread(target=lambda c=c: codes.append(first_code(c))) for c in calls]
        for thread in threads:
            thread.start()
        time.sleep(1)
        for call in calls:
            call.cancel()
        for thread in threads:
            thread.join()
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        wait_until_free(made, pb)


def first_code(call):
    try:
        list(call)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_draining_lets_a_stream_finish_and_exits_with_0(start_server, stubs):
    pb, rpc = stubs
    running = start_server("--kv-cache-memory", "64MiB", "--drain-timeout", "200s")
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        call = made.Generate(generate(pb, "Once upon a time", 1000, ignore_eos=True))
        assert next(call).HasField("started")
        exit_code = []
        stopper = threading.Thread(target=lambda: exit_code.append(running.stop(240)))
        stopper.start()
        for _ in range(6000):
            status = health.Check(health_pb2.HealthCheckRequest()).status
            if status == health_pb2.HealthCheckResponse.NOT_SERVING:
                break
            time.sleep(0.01)
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as error:
            list(made.Generate(generate(pb, "x", 1)))
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        _, ids, _, finished = answer_of(call)
        assert len(ids) == 1000 and finished.reason == pb.FINISH_REASON_LENGTH
        stopper.join()
        assert exit_code == [0]


def test_a_client_without_our_proto_finds_the_service_by_reflection(server, stub):
    with loopback.channel(server.target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "longhaul.v1.InferenceService" in database.get_services()
        pool = DescriptorPool(database)
        method = pool.FindServiceByName("longhaul.v1.InferenceService").FindMethodByName("Tokenize")
        request = GetMessageClass(method.input_type)()
        request.prompt.text = "hello"
        call = channel.unary_unary(
            "/longhaul.v1.InferenceService/Tokenize",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        assert list(call(request).ids) == [28120]


def test_the_request_id_comes_back(stub, stubs):
    pb, _ = stubs
    call = stub.Generate(generate(pb, "x", 1), metadata=[("x-request-id", "abc-7")])
    assert ("x-request-id", "abc-7") in [(key, value) for key, value in call.initial_metadata()]
    list(call)


def test_samples_are_each_the_one_of_its_number(stub, stubs):
    pb, _ = stubs
    request = pb.GenerateRequest(prompt=pb.Prompt(text="My favourite animal is"), samples=3,
                                 sampling=pb.Sampling(temperature=1, seed=5), stopping=pb.Stopping(max_tokens=12))
    texts, ended = ["", "", ""], {}
    for message in stub.Generate(request):
        if message.HasField("chunk"):
            texts[message.chunk.sample] += message.chunk.text
            if message.chunk.finish_reason:
                ended[message.chunk.sample] = message.chunk.finish_reason
    assert sorted(ended) == [0, 1, 2] and message.finished.reason == ended[0]
    assert len(set(texts)) == 3
    for sample in range(3):
        request.samples, request.first_sample = 1, sample
        messages = list(stub.Generate(request))
        assert "".join(m.chunk.text for m in messages) == texts[sample]
        assert not any(m.chunk.finish_reason for m in messages) and messages[-1].finished.reason == ended[sample]
    request.samples = 300
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(request))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "samples: 300" in error.value.details()
