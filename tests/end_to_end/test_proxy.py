"""Servers of this machine are reached directly, whatever the environment says of proxies: by programs, scripts and tests."""

import functools
import http.server
import os
import subprocess
import threading

import loopback
import pytest
from real_server import BUILD, MODEL, ROOT

# Nobody listens at port 9.
PROXIES = {name: "http://127.0.0.1:9" for lower in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
           for name in (lower, lower.upper())}


@pytest.fixture
def environment():
    return {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"} | PROXIES


def set_proxies(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)


def bash(script, environment):
    return subprocess.run(["bash", "-euc", f'. "{ROOT}/deploy/common.sh"\n{script}'], env=environment, text=True,
                          capture_output=True, timeout=120)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_command_line_reaches_loopback(server, stub, environment, host):
    target = server.target.replace("127.0.0.1", host)
    done = subprocess.run([BUILD / "client" / "longhaul", "info", "--target", target], env=environment, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("model "), done.stderr


def test_the_load_generator_reaches_loopback(server, stub, environment, tmp_path):
    done = subprocess.run([BUILD / "client" / "longhaul-bench", "--target", server.target, "--requests", "1",
                           "--concurrency", "1", "--warmup", "0s", "--output-tokens", "2", "--prompts",
                           "lengths:uniform:min=4,max=4", "--quiet"],
                          env=environment, text=True, capture_output=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_scripts_reach_the_server_that_they_start(environment):
    done = bash(f'start_server "{BUILD}" "{MODEL}"; echo "$target"; stop_server', environment)
    assert done.returncode == 0 and done.stdout.startswith("127.0.0.1:"), done.stderr


def test_the_scripts_tell_the_client_s_last_words(environment, tmp_path):
    for folder, words in {"server": "while [ $# -gt 1 ]; do [ $1 = --port-file ] && echo 9 >$2; shift; done; exec sleep 60",
                          "client": "echo the proxy is to blame >&2; exit 4"}.items():
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / ("longhaul-server" if folder == "server" else "longhaul")
        program.write_text(f"#!/bin/bash\n{words}\n")
        program.chmod(0o755)
    # A minute passes once the client has spoken.
    time = 'sleep() { [ ! -s "$server_state/info" ] || SECONDS=$((SECONDS + 60)); command sleep "$@"; }'
    done = bash(f'{time}\nstart_server "{tmp_path}" model.gguf', environment)
    assert done.returncode == 1
    assert "error: the server did not serve within 60 seconds" in done.stderr
    assert done.stderr.endswith("longhaul info --target 127.0.0.1:9 says:\nthe proxy is to blame\n")


def test_the_tests_reach_the_server(server, stubs, monkeypatch):
    pb, rpc = stubs
    set_proxies(monkeypatch)
    with loopback.channel(server.target, ("grpc.use_local_subchannel_pool", 1)) as channel:
        server.wait_until_serving(rpc.InferenceServiceStub(channel), pb)


def test_a_page_of_this_machine_is_read(monkeypatch, tmp_path):
    set_proxies(monkeypatch)
    (tmp_path / "page").write_text("read")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.handle_request).start()
        assert loopback.read(f"http://127.0.0.1:{served.server_port}/page") == "read"


def test_no_program_of_the_tests_goes_another_way():
    for file in (ROOT / "tests").rglob("*.py"):
        if file.name not in ("loopback.py", "test_proxy.py"):
            text = file.read_text()
            assert "insecure_channel(" not in text and "urlopen(" not in text, file
