"""longhaul evaluate, with servers that it starts itself."""

import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

from real_server import BUILD, MODEL

TYPES = ("--", "--compute-type", "bf16", "--kv-cache-type", "f16", "--kv-cache-memory", "64MiB")
FAST = ("--", "--kv-cache-memory", "64MiB")  # int8, where many tokens are read and likelihoods do not matter
WORDS = "the old lighthouse keeper walked down to a small harbour and saw many white boats leave before sunrise".split()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """About 2,000 tokens that no model knows by heart."""
    draw = random.Random(1)
    file = tmp_path_factory.mktemp("book") / "book.txt"
    file.write_text(" ".join(draw.choice(WORDS) for _ in range(1800)) + ".\n")
    return file


def command(output, *flags, types=TYPES):
    # No plots: drawing takes seconds and has its own test.
    return [BUILD / "client" / "longhaul", "evaluate", "--model", MODEL, "--output", str(output), *map(str, flags), *types]


def evaluate(output, *flags, types=TYPES):
    env = {name: value for name, value in os.environ.items() if name != "LONGHAUL_CACHE"}
    env["LONGHAUL_CACHE"] = "/nonexistent"
    return subprocess.run(command(output, *flags, types=types), capture_output=True, text=True, timeout=280, env=env,
                          cwd=output.parent)


def tiny(book):
    return ("--text", book, "--lengths", "64,128", "--score-tokens", 32, "--spans", 2, "--positions", "none,rerope",
            "--trained-length", 64)


def servers():
    """Command lines of the servers that run as children of anyone here, by process id."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"longhaul-server"):
            found[int(folder.name)] = words
    return found


def server_of(process):
    """The id of the server that `process` started, once it is there."""
    for _ in range(6000):
        for pid in servers():
            try:
                parent = int((pathlib.Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == process.pid:
                return pid
        time.sleep(0.01)
    raise AssertionError("no server was started")


def is_gone(pid):
    for _ in range(3000):
        if pid not in servers():
            return True
        time.sleep(0.02)
    return False


def wait_for_cells(output, n, process):
    for _ in range(12000):
        if output.exists() and len(json.loads(output.read_text())["cells"]) >= n:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError("no cell was written")


def test_tail_loss_gives_a_table_json_and_csv(book, tmp_path):
    output = tmp_path / "result.json"
    done = evaluate(output, *tiny(book))
    assert done.returncode == 0, done.stderr
    assert "control" in done.stdout and "rerope" in done.stdout and "[8/8]" in done.stderr
    assert "install_python_client.sh" in done.stderr  # the plot was not asked for: a note, no error

    result = json.loads(output.read_text())
    assert result["identity"]["score_tokens"] == 32 and result["model"]["compute_type"] == "bf16"
    n_tokens = result["identity"]["text_tokens"]
    assert result["spans"] == [n_tokens // 2, n_tokens]
    assert result["runs"][0]["server_flags"][:2] == ["--compute-type", "bf16"]
    assert len(result["cells"]) == 8
    for cell in result["cells"]:
        assert len(cell["losses"]) == 32
        assert cell["value"] == pytest.approx(sum(cell["losses"]) / 32)
        assert cell["resolved"].startswith(cell["position"])
    by_name = {(c["position"], c["length"]): c for c in result["summary"]}
    assert by_name["none", 64]["difference"] == 0 and by_name["none", 64]["n"] == 2
    # Plain past its trained length of 64 reads what it always reads: only the request calls that too long.
    assert by_name["none", 128]["mean"] == pytest.approx(by_name["none", 64]["mean"], abs=1.5)

    rows = list(csv.DictReader((tmp_path / "result.csv").open()))
    assert [(r["position"], r["length"], r["n"]) for r in rows] == [
        ("none", "64", "2"), ("none", "128", "2"), ("rerope", "64", "2"), ("rerope", "128", "2")]
    assert float(rows[1]["mean"]) == pytest.approx(by_name["none", 128]["mean"])


def test_score_tokens_are_the_same_ones_that_score_returns(book, tmp_path, server, stub, stubs):
    """The losses are those of the Score call on the last N tokens before the span's end."""
    pb, _ = stubs
    output = tmp_path / "result.json"
    done = subprocess.run([BUILD / "client" / "longhaul", "evaluate", "--target", server.target, "--output", output,
                           *map(str, tiny(book))], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stderr  # the server of this fixture runs in int8: a warning
    ids = list(stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text=book.read_text()))).ids)
    for cell in json.loads(output.read_text())["cells"]:
        if cell["position"] != "none":
            continue
        end, length = cell["span_end"], cell["length"]
        request = pb.ScoreRequest(prompt=pb.Prompt(token_ids=pb.TokenIds(ids=ids[end - length:end])), last_tokens=32,
                                  position=pb.PositionMode(none=getattr(pb, "None")()))
        losses = [-x for message in stub.Score(request) for x in message.scores.logprobs]
        assert cell["losses"] == pytest.approx(losses, abs=6e-6)


@pytest.fixture(scope="module")
def whole_run(book, tmp_path_factory):
    """The flags of a run of 24 requests, and its result."""
    output = tmp_path_factory.mktemp("whole") / "whole.json"
    flags = ("--text", book, "--lengths", "64,128", "--score-tokens", 32, "--spans", 6, "--positions", "none,rerope",
             "--trained-length", 64)
    assert evaluate(output, *flags).returncode == 0
    return flags, json.loads(output.read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_result(whole_run, tmp_path, number):
    flags, whole = whole_run
    stopped = tmp_path / "stopped.json"
    process = subprocess.Popen(command(stopped, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               cwd=tmp_path)
    server = server_of(process)
    wait_for_cells(stopped, 3, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "the same command goes on from there" in errors
    assert is_gone(server)
    n_done = len(json.loads(stopped.read_text())["cells"])
    assert 3 <= n_done < 24

    resumed = evaluate(stopped, *flags)
    assert resumed.returncode == 0 and f"{n_done} of 24 requests are finished" in resumed.stderr
    result = json.loads(stopped.read_text())
    for name in ("cells", "summary"):
        a, b = ([{k: v for k, v in cell.items() if k != "seconds"} for cell in of[name]] for of in (whole, result))
        assert a == b


def test_a_killed_run_leaves_no_server_and_no_broken_file(book, tmp_path):
    output = tmp_path / "result.json"
    process = subprocess.Popen(command(output, *tiny(book), "--quiet"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, cwd=tmp_path)
    server = server_of(process)
    wait_for_cells(output, 1, process)
    process.kill()
    process.communicate(timeout=120)
    assert is_gone(server)
    assert evaluate(output, *tiny(book)).returncode == 0
    assert len(json.loads(output.read_text())["cells"]) == 8


def test_modes_and_spans_are_added_to_a_file(book, tmp_path):
    output = tmp_path / "result.json"
    common = ("--text", book, "--score-tokens", 32, "--trained-length", 64)
    assert evaluate(output, *common, "--lengths", "64", "--spans", 4, "--positions", "none").returncode == 0
    added = evaluate(output, *common, "--lengths", "256", "--spans", 1, "--positions", "yarn")
    assert added.returncode == 0, added.stderr
    result = json.loads(output.read_text())
    assert len(result["spans"]) == 4 and len(result["runs"]) == 2
    yarn = [cell for cell in result["summary"] if cell["position"] == "yarn"]
    assert [(cell["length"], cell["n"], cell["difference_n"]) for cell in yarn] == [(256, 1, 1)]
    not_nested = evaluate(output, *common, "--lengths", "64", "--spans", 3, "--positions", "none")
    assert not_nested.returncode == 3 and "--spans" in not_nested.stderr


def test_another_fingerprint_is_refused_and_the_file_stays(book, tmp_path):
    output = tmp_path / "result.json"
    assert evaluate(output, *tiny(book)).returncode == 0
    before = output.read_bytes()
    other = evaluate(output, *tiny(book), types=("--", "--compute-type", "f32", "--kv-cache-memory", "64MiB"))
    assert other.returncode == 3 and "another engine_fingerprint" in other.stderr
    assert output.read_bytes() == before


def test_a_refused_mode_is_told_and_the_run_goes_on(book, tmp_path):
    output = tmp_path / "result.json"
    flags = list(tiny(book))
    flags[flags.index("none,rerope")] = "none,per-pair,rerope"  # the model has no table of factors
    done = evaluate(output, *flags)
    assert done.returncode == 0, done.stderr
    assert "refused [1]" in done.stdout and "\n[1] " in done.stdout
    result = json.loads(output.read_text())
    assert {r["position"] for r in result["refused"]} == {"per-pair"} and len(result["cells"]) == 8


def test_repeated_text_is_looked_up(book, tmp_path):
    output = tmp_path / "repeated.json"
    done = evaluate(output, "--task", "repeated", "--text", book, "--lengths", 256, "--period", 64, "--spans", 2,
                    "--positions", "none", "--trained-length", 256)
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    for cell in result["cells"]:
        assert len(cell["hits"]) == len(cell["losses"]) == 255
        assert cell["value"] == pytest.approx(cell["hits"][63:].count("1") / 192)
        assert cell["first_copy"] == pytest.approx(cell["hits"][:63].count("1") / 63)
        assert cell["value"] > 0.6 > 0.4 > cell["first_copy"]


def test_passkeys_are_asked_for_at_each_depth(tmp_path):
    output = tmp_path / "passkey.json"
    done = evaluate(output, "--task", "passkey", "--lengths", 256, "--depths", "0,50,100", "--trials", 2,
                    "--positions", "none", "--trained-length", 256)
    assert done.returncode == 0, done.stderr
    cells = json.loads(output.read_text())["cells"]
    assert [(cell["depth"], cell["trial"]) for cell in cells] == [(d, t) for d in (0, 50, 100) for t in (0, 1)]
    assert all(len(cell["key"]) == 5 and cell["value"] == float(cell["key"] in cell["answer"]) for cell in cells)
    assert sum(cell["value"] for cell in cells) >= 3  # within a few hundred tokens the default model finds most


def test_documents_are_asked_about_in_one_prompt_and_row_by_row(tmp_path):
    output = tmp_path / "documents.json"
    flags = ("--task", "documents", "--documents", "0,1,3", "--questions", 2, "--positions", "none", "--nbce",
             "default,beta=0:pooling=mean")
    done = evaluate(output, *flags, types=FAST)
    assert done.returncode == 0, done.stderr
    assert "cited the right document" in done.stdout and "[14/14]" in done.stderr
    result = json.loads(output.read_text())
    cells = {(c["position"], c["length"], c["question"]): c for c in result["cells"]}
    assert set(cells) == {(p, n, q) for p in ("none", "nbce", "nbce:beta=0:pooling=mean") for n in (0, 1, 3)
                          for q in (0, 1) if n > 0 or p == "none"}
    for (position, n, question), cell in cells.items():
        assert cell["key"] == cells["none", 0, question]["key"]
        assert cell["value"] == float(cell["key"].lower() in cell["answer"].lower())
        assert ("cited" in cell) == position.startswith("nbce")
        if n == 1 and position.startswith("nbce"):
            assert cell["cited"] == 1
        if position == "none" and n > 0:  # the model's own tokens of the documents
            assert 150 * n <= cell["tokens"] - cells["none", 0, question]["tokens"] <= 252 * n
    assert all(cells["none", 0, question]["value"] == 0 for question in (0, 1))
    by_name = {(c["position"], c["length"]): c for c in result["summary"]}
    assert by_name["none", 1]["difference"] == 0 and "cited" in by_name["nbce", 3]
    rows = list(csv.DictReader(output.with_suffix(".csv").open()))
    assert [r["cited"] != "" for r in rows] == [r["position"] != "none" for r in rows]

    # Settings are added to the same file, and only these documents.
    more = evaluate(output, *flags[:-1], "default,eta=0", types=FAST)
    assert more.returncode == 0 and "10 of 14 requests are finished" in more.stderr
    assert len(json.loads(output.read_text())["cells"]) == 14 + 4
    other = evaluate(output, *flags, "--seed", 1, types=FAST)
    assert other.returncode == 3 and "another text_sha256" in other.stderr


@pytest.mark.parametrize("flags,types,code,words", [
    (("--lengths", "32,64", "--score-tokens", 32), TYPES, 2, "--lengths: 32 is not allowed with --score-tokens 32"),
    (("--lengths", "64", "--spans", 99), TYPES, 2, "--spans: 99 spans of 64 tokens"),
    (("--lengths", "64", "--positions", "magic"), TYPES, 2, "magic"),
    (("--lengths", "64", "--target", "127.0.0.1:1"), TYPES, 2, "--target: not allowed with --model"),
    (("--lengths", "64", "--plot", "x.pdf"), TYPES, 2, "--plot: x.pdf must end with .svg or .png"),
    (("--lengths", "64", "--output", "/no/such/folder/x.json"), TYPES, 2, "/no/such/folder"),
    (("--lengths", "64", "--task", "repeated", "--period", 64), TYPES, 2, "--period 64"),
    (("--lengths", "64", "128"), (), 2, "'128': no such argument; lists have commas"),
    (("--lengths", "64", "--task", "documents"), TYPES, 2, "--text: --task documents writes its own"),
    (("--lengths", "64", "--server", "/no/such/server"), TYPES, 1, "was not found"),
    (("--lengths", "64"), ("--", "--no-such-flag"), 2, "no-such-flag"),
    (("--lengths", "64"), ("--", "--listen", "0.0.0.0:1"), 2, "--listen: not allowed after --"),
])
def test_says_what_is_wrong(book, tmp_path, flags, types, code, words):
    before = set(servers())
    output = () if "--output" in flags else ("--output", tmp_path / "result.json")
    done = subprocess.run([BUILD / "client" / "longhaul", "evaluate", "--model", MODEL, "--text", book,
                           *map(str, output), *map(str, flags), *types], capture_output=True, text=True, timeout=120)
    assert done.returncode == code and words in done.stderr, done.stderr
    assert not set(servers()) - before


def test_without_a_server_it_says_how_to_start_one(book, tmp_path):
    done = subprocess.run([BUILD / "client" / "longhaul", "evaluate", "--target", "127.0.0.1:1", "--text", book,
                           "--lengths", "64", "--output", tmp_path / "result.json"], capture_output=True, text=True)
    assert done.returncode == 4 and "--model FILE" in done.stderr


def test_a_plot_that_was_asked_for_and_cannot_be_drawn_is_an_error_after_all_results(book, tmp_path):
    output = tmp_path / "result.json"
    done = evaluate(output, *tiny(book), "--plot", tmp_path / "x.svg", "--quiet")
    assert done.returncode == 3 and "deploy/install_python_client.sh" in done.stderr
    assert len(json.loads(output.read_text())["cells"]) == 8 and "control" in done.stdout
