"""The longhaul command line against the real server."""

import json
import signal
import subprocess
import time

import pytest

from real_server import BUILD, MODEL


def test_generates_from_an_argument_a_file_and_standard_input(longhaul, tmp_path):
    prompt = "The capital of France is"
    by_argument = longhaul("generate", prompt, "--max-tokens", "6")
    assert by_argument.returncode == 0 and "Paris" in by_argument.stdout
    assert "6 tokens" in by_argument.stderr
    file = tmp_path / "prompt"
    file.write_text(prompt)
    assert longhaul("generate", "--prompt-file", str(file), "--max-tokens", "6").stdout == by_argument.stdout
    assert longhaul("generate", "--max-tokens", "6", stdin=prompt).stdout == by_argument.stdout


def test_prints_json_for_machines(longhaul):
    result = longhaul("generate", "The capital of France is", "--max-tokens", "4", "--json", "--top-logprobs", "2")
    messages = [json.loads(line) for line in result.stdout.splitlines()]
    assert "started" in messages[0] and "finished" in messages[-1]
    assert len(messages[1]["chunk"]["top"][0]["tokens"]) == 2
    assert json.loads(longhaul("info", "--json").stdout)["chat_template"] == "chatml"


def test_the_other_commands_answer(longhaul):
    assert longhaul("chat", "Say hello.").returncode == 0
    assert longhaul("tokenize", "hello").stdout.startswith("28120\t")
    assert longhaul("detokenize", "28120").stdout == "hello\n"
    score = longhaul("score", "The capital of France is Paris.")
    assert len(score.stdout.splitlines()) == 6 and "nat per token" in score.stderr


@pytest.mark.parametrize("arguments,code", [
    (("generate", "x", "--top-p", "0"), 2),
    (("generate", "x", "--no-such-flag"), 2),
    (("generate", "--prompt-file", "/no/such/file"), 2),
    (("generate", "x", "--ignore-eos", "--max-tokens", "2500", "--timeout", "0.3"), 6),
])
def test_exit_codes_tell_the_kind_of_error(longhaul, arguments, code):
    result = longhaul(*arguments)
    assert result.returncode == code and result.stderr


@pytest.mark.parametrize("arguments,named", [
    (("--request-id", "a\nb"), "--request-id"), (("--request-id", "x" * 129), "--request-id"),
    (("--request-id", "caf\u00e9"), "--request-id"),
    (("--timeout", "-1"), "--timeout"), (("--timeout", "nan"), "--timeout"), (("--timeout", "soon"), "--timeout"),
    (("--prompt-file", "/tmp"), "--prompt-file /tmp"),
    (("--logit-bias", "5=1x"), "5=1x"), (("--logit-bias", "5x=1"), "5x=1"), (("--logit-bias", "5"), "'5'"),
    (("--logit-bias", "99999999999=1"), "99999999999=1"), (("--logit-bias", "5="), "5="),
])
def test_a_flag_that_cannot_be_sent_is_a_message(longhaul, arguments, named):
    result = longhaul("generate", "x", "--max-tokens", "1", *arguments)
    assert result.returncode == 2 and named in result.stderr


def test_standard_input_that_cannot_be_read_is_a_message(server):
    with open("/proc/self/mem", "rb") as unreadable:
        result = subprocess.run([BUILD / "client" / "longhaul", "generate", "--target", server.target],
                                stdin=unreadable, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "standard input" in result.stderr


@pytest.mark.parametrize("timeout", ["1e13", "1e300", "inf", "4e7"])
def test_a_timeout_beyond_a_year_is_none(longhaul, timeout):
    assert longhaul("generate", "x", "--max-tokens", "1", "--timeout", timeout).returncode == 0


def test_a_message_over_the_limit_is_a_wrong_request(longhaul, tmp_path):
    file = tmp_path / "large"
    file.write_bytes(b"x" * (65 << 20))
    result = longhaul("generate", "--prompt-file", str(file))
    assert result.returncode == 2 and "--max-message-size" in result.stderr


def test_no_server_is_exit_code_4():
    result = subprocess.run([BUILD / "client" / "longhaul", "info", "--target", "127.0.0.1:1"], capture_output=True)
    assert result.returncode == 4


def test_ctrl_c_cancels(server, stub):
    process = subprocess.Popen(
        [BUILD / "client" / "longhaul", "generate", "One, two,", "--target", server.target, "--ignore-eos",
         "--max-tokens", "2500"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def server_fails(*flags):
    result = subprocess.run([BUILD / "server" / "longhaul-server", *flags], capture_output=True, text=True, timeout=120)
    return result.returncode, result.stderr


def test_the_server_says_what_is_wrong_with_its_flags_and_files(tmp_path):
    code, message = server_fails("--model", MODEL, "--compute-type", "int3")
    assert code == 2 and "compute-type" in message
    code, message = server_fails("--listen", "127.0.0.1:0")
    assert code == 2 and "model" in message
    code, message = server_fails("--model", "/no/such.gguf", "--listen", "127.0.0.1:0")
    assert code == 1 and "/no/such.gguf" in message
    truncated = tmp_path / "truncated.gguf"
    truncated.write_bytes(MODEL.read_bytes()[:5_000_000])
    code, message = server_fails("--model", truncated, "--listen", "127.0.0.1:0")
    assert code == 1 and "truncated.gguf" in message


@pytest.mark.parametrize("address", ["127.0.0.1:70000", "127.0.0.1:65536", "127.0.0.1:", "127.0.0.1", "127.0.0.1:5x"])
def test_an_address_that_is_none_is_refused(address):
    code, message = server_fails("--model", MODEL, "--listen", address)
    assert code == 2 and "--listen" in message and address in message and "65535" in message


@pytest.mark.parametrize("flag,value,allowed", [
    ("--max-message-size", "12", "1KiB to 2047MiB"), ("--kv-cache-memory", "2000TiB", "1024TiB"),
    ("--drain-timeout", "2000000s", "0s to 1e6s"), ("--drain-timeout", "-1s", "0s to 1e6s"),
])
def test_a_value_out_of_range_is_refused_by_its_own_flag(flag, value, allowed):
    code, message = server_fails("--model", MODEL, flag, value)
    assert code == 2 and flag in message and allowed in message
    assert not any(other in message for other in ("--max-message-size", "--kv-cache-memory", "--drain-timeout")
                   if other != flag)


def test_an_address_that_cannot_be_bound_is_refused(server):
    for address in (server.target, "192.0.2.7:0", "no.such.host.invalid:0"):
        code, message = server_fails("--model", MODEL, "--listen", address)
        assert code == 1 and "--listen" in message and address in message


def test_flags_come_from_the_environment_and_a_file(start_server, tmp_path, monkeypatch):
    config = tmp_path / "config"
    config.write_text("threads=1\nkv-cache-memory=32MiB\n")
    monkeypatch.setenv("LONGHAUL_COMPUTE_TYPE", "f32")
    running = start_server("--config", str(config))
    for _ in range(600):
        result = subprocess.run([BUILD / "client" / "longhaul", "info", "--json", "--target", running.target],
                                capture_output=True, text=True)
        if result.returncode == 0:
            break
        time.sleep(0.1)
    info = json.loads(result.stdout)
    assert info["threads"] == 1 and info["compute_type"] == "f32" and info["kv_cache_type"] == "f32"


def test_a_misspelled_key_of_a_config_file_is_an_error(tmp_path):
    config = tmp_path / "config"
    config.write_text("max-qeue=5\n")
    code, message = server_fails("--model", MODEL, "--listen", "127.0.0.1:0", "--config", str(config))
    assert code == 2 and "max-qeue" in message


def test_a_cache_that_holds_nothing_is_refused_by_its_flag():
    code, message = server_fails("--model", MODEL, "--listen", "127.0.0.1:0", "--kv-cache-memory", "1KiB")
    assert code == 1 and "--kv-cache-memory" in message and "1024" in message


def test_several_answers_are_printed_one_after_the_other(longhaul):
    ask = ["generate", "My favourite animal is", "--temperature", "1", "--seed", "5", "--max-tokens", "12"]
    result = longhaul(*ask, "--samples", "2")
    alone = [longhaul(*ask, "--first-sample", str(sample)).stdout for sample in (0, 1)]
    assert result.returncode == 0 and result.stdout == f"[1 of 2]\n{alone[0]}\n[2 of 2]\n{alone[1]}"
    refused = longhaul(*ask, "--samples", "300")
    assert refused.returncode == 2 and refused.stdout == "" and "samples: 300" in refused.stderr
