"""What a burst took is given back once its clients have gone."""

import contextlib
import threading
import time

import grpc
import loopback
from vitals import until

WITHIN = 10  # seconds
AT_MOST = 1.2  # times what was resident before


def burst(target, stubs, clients=10):
    """Many clients at once: long texts to tokenize, streams of answers, scores, requests that are refused. Half of it is
    given up after a second."""
    pb, rpc = stubs

    def requests(stub):
        text = pb.Prompt(text="word " * 200_000)
        stopping = pb.Stopping(max_tokens=20)
        yield stub.Tokenize.future(pb.TokenizeRequest(prompt=text, pieces=True))
        yield stub.Detokenize.future(pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[2] * 200_000), special=True))
        for number in range(16):
            yield stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text=f"{number} and then"), stopping=stopping))
            yield stub.Generate(pb.GenerateRequest(prompt=text, stopping=stopping))
        yield stub.Score(pb.ScoreRequest(prompt=pb.Prompt(text="again " * 400), top_logprobs=20))

    def client():
        with loopback.channel(target, ("grpc.use_local_subchannel_pool", 1)) as channel:
            calls = list(requests(rpc.InferenceServiceStub(channel)))
            time.sleep(1)
            for call in calls[::2]:
                call.cancel()
            for call in calls[1::2]:
                with contextlib.suppress(grpc.RpcError):
                    call.result() if isinstance(call, grpc.Future) else list(call)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_memory_returns_after_a_burst(victim):
    attacked = victim("--max-queue", "1000")
    pb, _ = attacked.stubs
    with attacked.stub() as stub:  # the whole KV cache is in use once
        list(stub.Score(pb.ScoreRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=[504] * 2800)))))
    before = attacked.vitals.resident()
    attacked.vitals.forget_peak()
    burst(attacked.target, attacked.stubs)
    until(lambda: attacked.vitals.resident() <= AT_MOST * before, WITHIN,
          lambda: f"{before:.0f} MB before, {attacked.vitals.resident():.0f} MB {WITHIN} s after")
    print(f"{before:.0f} MB before, {attacked.vitals.peak():.0f} MB during, {attacked.vitals.resident():.0f} MB after")
