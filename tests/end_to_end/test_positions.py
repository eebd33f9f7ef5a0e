"""Position modes over the wire and on the command line, with a server that takes the model for one of 128 tokens."""

import json
import math
import subprocess
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import loopback
from real_server import BUILD, MODEL, Server

L = 128
PAIRS = 32


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"), "--kv-cache-memory", "64MiB", "--trained-length", str(L),
                     "--default-position", "rerope:window=32")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def text(stub, stubs):
    """Token ids of a text, as many as are asked for."""
    pb, _ = stubs
    words = " ".join(f"The number after {n} is {n + 1}." for n in range(60))
    ids = list(stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text=words))).ids)
    assert len(ids) >= 400
    return lambda count: ids[:count]


@pytest.fixture(scope="module")
def ask(stub, stubs):
    """(Started, (ids, logprobs)) of an answer to token ids."""
    pb, _ = stubs

    def run(ids, position, max_tokens=4):
        messages = list(stub.Generate(pb.GenerateRequest(
            prompt=pb.Prompt(token_ids=pb.TokenIds(ids=ids)),
            stopping=pb.Stopping(max_tokens=max_tokens, ignore_eos=True),
            output=pb.Output(top_logprobs=0, token_ids=True),
            position=pb.PositionMode(**position),
        )))
        return messages[0].started, ([i for m in messages for i in m.chunk.token_ids],
                                     [p for m in messages for p in m.chunk.logprobs])

    return run


@pytest.fixture(scope="module")
def score(stub, stubs):
    pb, _ = stubs

    def run(ids, position, **fields):
        messages = list(stub.Score(pb.ScoreRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=ids)),
                                                   position=pb.PositionMode(**position), **fields)))
        return messages[0].started, [p for m in messages for p in m.scores.logprobs]

    return run


@pytest.fixture(scope="module")
def plan_of(stub, stubs):
    pb, _ = stubs

    def run(length=0, **position):
        return stub.GetModel(pb.GetModelRequest(position=pb.PositionMode(**position), length=length)).plan

    return run


@pytest.fixture
def longhaul(server, stub):
    def run(*arguments):
        return subprocess.run([BUILD / "client" / "longhaul", arguments[0], "--target", server.target, *arguments[1:]],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    return run


def refusal(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT, error.value
    return error.value.details()


# --- Every mode ---

MODES = [
    ("none", {}, L),
    ("linear", dict(factor=4), 4 * L),
    ("ntk", dict(factor=4), 4 * L),
    ("ntk", dict(factor=4, variant="NTK_VARIANT_RADIX"), 4 * L),
    ("ntk_fixed", dict(factor=4), 4 * L),
    ("beta_mixed", dict(factor=4), 4 * L),
    ("yarn", dict(factor=4), 4 * L),
    ("yarn", dict(factor=4, ramp="YARN_RAMP_TURNS"), 4 * L),
    ("llama3", dict(factor=4), 4 * L),
    ("per_pair", dict(factors=[1] * (PAIRS - 1) + [2]), 2 * L),
    ("rerope", dict(window=16), 0),
    ("leaky_rerope", dict(window=32, step=4), 32 + 4 * (L - 32)),
    ("self_extend", dict(window=32, group=4), 32 + 4 * (L - 32)),
]


@pytest.mark.parametrize("kind,fields,reach", MODES)
def test_every_mode_answers_and_tells_what_it_became(ask, text, kind, fields, reach):
    started, (ids, logprobs) = ask(text(40), {kind: fields})
    assert started.position.WhichOneof("kind") == kind
    assert started.reach == reach and started.position.trained_length == L
    assert not started.past_recommended
    assert len(ids) == 4 and all(p <= 0 for p in logprobs)
    for name, value in fields.items():
        if isinstance(value, int):
            assert getattr(getattr(started.position, kind), name) == value


def test_defaults_are_filled_in(ask, text):
    started, _ = ask(text(40), dict(beta_mixed={}))
    assert started.position.beta_mixed.b == 0.625 and started.position.beta_mixed.factor == 1
    started, _ = ask(text(40), dict(rerope={}))
    assert started.position.rerope.window == L // 4
    started, _ = ask(text(40), dict(none={}, log_n={}))
    assert started.position.HasField("log_n") and started.position.log_n.trained_length == L


def test_a_factor_that_is_not_given_is_fitted(ask, text):
    started, _ = ask(text(200), dict(linear={}))  # 204 tokens: 1.5 L is 192
    assert started.position.linear.factor == 2 and started.reach == 2 * L and started.refit
    started, _ = ask(text(100), dict(linear={}))
    assert started.position.linear.factor == 1 and not started.refit


def test_the_mode_reaches_score(score, text):
    plain, alone = score(text(100), dict(none={}))
    scaled, other = score(text(100), dict(linear=dict(factor=4)))
    assert plain.position.WhichOneof("kind") == "none" and scaled.position.linear.factor == 4
    assert len(alone) == len(other) == 99 and alone != other


def test_a_length_where_the_mode_gets_worse_is_told(ask, text):
    ntk = dict(ntk=dict(factor=4))
    assert ask(text(300), ntk)[0].past_recommended
    assert not ask(text(100), ntk)[0].past_recommended


# --- auto ---

def test_auto_switches_past_the_trained_length(ask, text):
    started, _ = ask(text(L - 4), {})
    assert started.position.WhichOneof("kind") == "none" and started.reach == L and not started.refit
    for position in ({}, dict(auto={})):
        started, _ = ask(text(L - 3), position)
        assert started.position.rerope.window == 32 and started.reach == 0 and started.refit


def test_auto_can_be_told_how_long_a_chat_gets(ask, text):
    assert ask(text(20), dict(auto=dict(expected_tokens=L)))[0].position.WhichOneof("kind") == "none"
    assert ask(text(20), dict(auto=dict(expected_tokens=L + 1)))[0].position.rerope.window == 32


def test_a_request_has_its_own_trained_length(ask, text):
    started, _ = ask(text(L - 3), dict(trained_length=1024))
    assert started.position.WhichOneof("kind") == "none" and started.reach == 1024


# --- Refusals ---

NAN = float("nan")
REFUSED = [
    (dict(rerope=dict(window=0)), "position.rerope.window"),
    (dict(rerope=dict(window=L + 1)), "position.rerope.window"),
    (dict(rerope=dict(window=1 << 63)), "position.rerope.window"),
    (dict(leaky_rerope=dict(window=0)), "position.leaky_rerope.window"),
    (dict(leaky_rerope=dict(step=1 << 63)), "position.leaky_rerope.step"),
    (dict(self_extend=dict(window=L + 1)), "position.self_extend.window"),
    (dict(linear=dict(factor=0.5)), "position.linear.factor"),
    (dict(linear=dict(factor=-4)), "position.linear.factor"),
    (dict(linear=dict(factor=NAN)), "position.linear.factor"),
    (dict(ntk=dict(factor=float("inf"))), "position.ntk.factor"),
    (dict(ntk=dict(variant=7)), "position.ntk.variant"),
    (dict(yarn=dict(ramp=7)), "position.yarn.ramp"),
    (dict(yarn=dict(alpha=NAN)), "position.yarn.alpha"),
    (dict(yarn=dict(alpha=2, beta=1)), "position.yarn.beta"),
    (dict(llama3=dict(low_freq_factor=0)), "position.llama3.low_freq_factor"),
    (dict(beta_mixed=dict(b=2)), "position.beta_mixed.b"),
    (dict(beta_mixed=dict(b=NAN)), "position.beta_mixed.b"),
    (dict(per_pair=dict(factors=[1, 2])), "position.per_pair.factors"),
    (dict(per_pair=dict(factors=[1] * (PAIRS - 1) + [0])), "position.per_pair.factors"),
    (dict(none={}, log_n=dict(trained_length=1)), "position.log_n.trained_length"),
    (dict(none={}, trained_length=1), "position.trained_length"),
]


@pytest.mark.parametrize("position,field", REFUSED)
def test_what_makes_no_sense_is_refused_by_its_field(ask, score, plan_of, text, position, field):
    assert field in refusal(lambda: ask(text(20), position))
    assert field in refusal(lambda: score(text(20), position))
    assert field in refusal(lambda: plan_of(**position))


def test_beyond_the_reach_names_the_three_numbers(ask, score, text):
    details = refusal(lambda: ask(text(200), dict(linear=dict(factor=1.5)), max_tokens=7))
    assert all(number in details for number in ("200", "7", "192"))
    details = refusal(lambda: score(text(200), dict(linear=dict(factor=1.5))))
    assert all(number in details for number in ("200", "192"))


def test_beyond_the_reach_is_read_when_that_is_allowed(ask, score, text):
    started, (ids, _) = ask(text(200), dict(none={}, allow_beyond_reach=True))
    assert started.reach == L and started.position.allow_beyond_reach and len(ids) == 4
    assert len(score(text(200), dict(none={}, allow_beyond_reach=True), last_tokens=20)[1]) == 20
    assert ask(text(20), dict(rerope=dict(window=2 * L), allow_beyond_reach=True))[0].position.rerope.window == 2 * L


# --- The plan ---

def test_get_model_returns_the_plan(plan_of, stub, stubs):
    pb, _ = stubs
    assert not stub.GetModel(pb.GetModelRequest()).HasField("plan")
    plain = plan_of(none={})
    assert plain.position.WhichOneof("kind") == "none" and plain.reach == L and not plain.HasField("far")
    assert len(plain.frequencies) == PAIRS and plain.frequencies[0] == 1 and plain.query_scale == 1
    assert all(a > b > 0 for a, b in zip(plain.frequencies, plain.frequencies[1:]))

    linear = plan_of(linear={}, length=3 * L)
    assert linear.position.linear.factor == 3 and linear.refit
    assert list(linear.frequencies) == pytest.approx([f / 3 for f in plain.frequencies], rel=1e-14)

    leaky = plan_of(leaky_rerope=dict(window=32, step=4), log_n={})
    assert (leaky.far.window, leaky.far.divisor, leaky.far.floor, leaky.far.query_offset) == (32, 4, False, 24)
    assert leaky.log_n_trained_length == L and list(leaky.frequencies) == list(plain.frequencies)

    assert plan_of(yarn=dict(factor=4)).query_scale == pytest.approx((0.1 * math.log(4) + 1) ** 2, rel=1e-12)
    switched = plan_of(length=L + 1)
    assert switched.position.rerope.window == 32 and switched.far.divisor == 0 and switched.reach == 0
    assert "length" in refusal(lambda: plan_of(none={}, length=1 << 63))


def test_info_prints_the_plan(longhaul):
    result = longhaul("info", "--position", "yarn:factor=4", "--dump")
    assert result.returncode == 0, result.stderr
    assert f"yarn:factor=4,alpha=1,beta=32,ramp=index,trained-length={L}" in result.stdout
    assert f"{4 * L} tokens" in result.stdout
    rows = [line.split("\t") for line in result.stdout.splitlines() if "\t" in line]
    assert [int(row[0]) for row in rows] == list(range(PAIRS))
    assert float(rows[0][1]) == 1 and float(rows[-1][2]) == 0.25
    assert "from distance 32 on" in longhaul("info", "--position", "leaky-rerope", "--length", "300").stdout
    plan = json.loads(longhaul("info", "--position", "rerope:window=8,log-n=0", "--json").stdout)["plan"]
    assert plan["position"]["rerope"]["window"] == 8 and len(plan["frequencies"]) == PAIRS


# --- The command line ---

def test_commands_take_a_mode_and_tell_what_it_became(longhaul):
    result = longhaul("generate", "One, two,", "--max-tokens", "4", "--position", "rerope:window=4,log-n=0")
    assert result.returncode == 0 and f"[position rerope:window=4,log-n={L}" in result.stderr
    assert "no bound" in result.stderr
    result = longhaul("generate", "One, two,", "--max-tokens", "4")
    assert result.returncode == 0 and "position" not in result.stderr
    result = longhaul("chat", "Say hello.", "--max-tokens", "4", "--position", "linear:factor=2")
    assert result.returncode == 0 and f"reach {2 * L} tokens" in result.stderr
    result = longhaul("score", "The number after 1 is 2.", "--position", "self-extend:window=2,group=3")
    assert result.returncode == 0 and "[position self-extend:group=3,window=2" in result.stderr


def test_a_length_where_the_mode_gets_worse_is_a_warning(longhaul, tmp_path):
    file = tmp_path / "text"
    file.write_text(" ".join(f"The number after {n} is {n + 1}." for n in range(30)))
    arguments = ("generate", "--prompt-file", str(file), "What comes next?", "--max-tokens", "4", "--position")
    assert "warning" in longhaul(*arguments, "ntk:factor=3").stderr
    assert "warning" not in longhaul(*arguments, "rerope").stderr


@pytest.mark.parametrize("mode,words", [
    ("reropee", ("--position", "'reropee' is no position mode", "leaky-rerope")),
    ("rerope:windw=4", ("'windw'", "window")),
    ("rerope:window=0", ("position.rerope.window",)),
])
def test_a_wrong_mode_is_exit_code_2(longhaul, mode, words):
    for command in (("generate", "x"), ("chat", "x"), ("score", "x y"), ("info",)):
        result = longhaul(*command, "--position", mode)
        assert result.returncode == 2 and all(word in result.stderr for word in words), result.stderr


@pytest.mark.parametrize("flag,value,word,code", [
    ("--default-position", "auto", "auto", 2),
    ("--default-position", "reropee", "no position mode", 2),
    ("--default-position", "yarn:ramp=7", "position.yarn.ramp", 2),
    ("--default-position", "rerope:window=0", "window", None),
    ("--trained-length", "-1", "trained-length", 2),
    ("--trained-length", "1", "trained", None),
])
def test_the_server_refuses_wrong_flags_at_its_start(flag, value, word, code):
    result = subprocess.run([BUILD / "server" / "longhaul-server", "--model", MODEL, "--listen", "127.0.0.1:0",
                             f"{flag}={value}"], capture_output=True, text=True, timeout=30)
    assert result.returncode == code if code else result.returncode in (1, 2)
    assert word in result.stderr


def test_the_default_position_comes_from_a_config_file_too(start_server, stubs, tmp_path):
    pb, rpc = stubs
    config = tmp_path / "config"
    config.write_text('default-position=leaky-rerope:window=16,log-n=0\ntrained-length=64\nkv-cache-memory=32MiB\n')
    running = start_server("--config", str(config))
    with loopback.channel(running.target) as channel:
        made = rpc.InferenceServiceStub(channel)
        running.wait_until_serving(made, pb)
        plan = made.GetModel(pb.GetModelRequest(position=pb.PositionMode(), length=65)).plan
        assert plan.position.leaky_rerope.window == 16 and plan.log_n_trained_length == 64


# --- Together ---

def test_modes_share_a_batch_and_change_no_bit_of_each_other(ask, text):
    requests = [
        (text(150), dict(rerope=dict(window=32))),
        (text(170)[20:], dict(yarn=dict(factor=2))),
        (text(160)[5:], dict(leaky_rerope=dict(window=16, step=2), log_n={})),
        (text(90), dict(none={})),
    ]
    alone = [ask(ids, position, max_tokens=12)[1] for ids, position in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda request: ask(*request, max_tokens=12)[1], requests))
    assert together == alone
