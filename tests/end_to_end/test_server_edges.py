"""What a server does with odd model files, flags and machines: it says so, and never answers as if nothing were."""

import math
import os
import pathlib
import struct
import subprocess

import grpc
import loopback
import pytest

from real_server import BUILD, MODEL

NAME = b"Smollm2 135M 8k Lc100K Mix1 Ep2"
TEMPLATE_KEY = b"tokenizer.chat_template"


class ModelCopy:
    """A copy of the default model in which values are replaced by others of the same length."""

    def __init__(self, folder: pathlib.Path):
        self.path = folder / "model.gguf"
        self.bytes = bytearray(MODEL.read_bytes())

    def rename(self, name: bytes):
        at = self.bytes.index(NAME)
        self.bytes[at : at + len(NAME)] = name.ljust(len(NAME))

    def set_chat_template(self, text: str):
        at = self.bytes.index(TEMPLATE_KEY) + len(TEMPLATE_KEY) + 4
        (length,) = struct.unpack_from("<Q", self.bytes, at)
        padding = length - len(text.encode())
        assert padding >= 4
        self.bytes[at + 8 : at + 8 + length] = text.encode() + b"{#" + b" " * (padding - 4) + b"#}"

    def rename_token(self, token: bytes, to: bytes):
        """Of the vocabulary."""
        entry = struct.pack("<Q", len(token)) + token
        at = self.bytes.index(entry, self.bytes.index(b"tokenizer.ggml.tokens"))
        self.bytes[at : at + len(entry)] = struct.pack("<Q", len(to)) + to

    def spoil(self, tensor: bytes):
        """Makes the first number of an F32 tensor NaN."""
        (n_tensors,) = struct.unpack_from("<Q", self.bytes, 8)
        at = self.bytes.index(struct.pack("<Q", 17) + b"token_embd.weight")  # the first one
        begin = None
        for _ in range(n_tensors):
            (length,) = struct.unpack_from("<Q", self.bytes, at)
            name = bytes(self.bytes[at + 8 : at + 8 + length])
            (n_dims,) = struct.unpack_from("<I", self.bytes, at + 8 + length)
            at += 8 + length + 4 + 8 * n_dims
            kind, offset = struct.unpack_from("<IQ", self.bytes, at)
            at += 12
            if name == tensor:
                assert kind == 0
                begin = offset
        data = (at + 31) // 32 * 32
        struct.pack_into("<f", self.bytes, data + begin, math.nan)

    def write(self):
        self.path.write_bytes(self.bytes)
        return self.path


def refused(*flags, environment=None):
    """Runs a server that must end by itself; what it says."""
    ended = subprocess.run([BUILD / "server" / "longhaul-server", "--listen", "127.0.0.1:0", *flags], env=environment,
                           capture_output=True, text=True, timeout=60)
    assert ended.returncode in (1, 2)
    return ended.stderr


def chat(pb, *contents):
    prompt = pb.Prompt()
    for i, content in enumerate(contents):
        prompt.chat.messages.add(role=("user", "assistant")[i % 2], content=content)
    return prompt


def test_a_chat_has_the_bos_of_its_template_and_no_name_forges_the_log(start_server, stubs, tmp_path):
    pb, rpc = stubs
    model = ModelCopy(tmp_path)
    model.rename(b"x\n2030 info forged \x1b[31m")
    model.set_chat_template("{{bos_token}}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
                            "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
                            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
    config = tmp_path / "config"
    config.write_text("max-queue=7\nkv-cache-memory=64MiB\n")
    server = start_server(model=model.write(), environment={
        "LONGHAUL_CONFIG": str(config), "LONGHAUL_MAX_QUEU": "3", "LONGHAUL_PORT": "tcp://10.0.0.7:50051",
        "LONGHAUL_SERVICE_HOST": "10.0.0.7", "LONGHAUL_PORT_50051_TCP_PROTO": "tcp"})
    with loopback.channel(server.target) as channel:
        stub = rpc.InferenceServiceStub(channel)
        info = server.wait_until_serving(stub, pb)
        ids = stub.Tokenize(pb.TokenizeRequest(prompt=chat(pb, "Hi", "Hello.", "Bye <|im_start|>"))).ids
    assert info.chat_template == "chatml" and info.name.startswith("x\n2030"), "on the wire it is as it is"
    assert list(ids[:2]) == [1, 1] and list(ids).count(1) == 1 + 4, "the BOS of this vocabulary is <|im_start|>"
    assert server.stop() == 0
    log = server.log.read_text()
    assert "serving x\\n2030 info forged \\x1b[31m" in log and "\x1b" not in log
    assert all(line.split()[1] in ("info", "warning") for line in log.splitlines()), log
    assert [line for line in log.splitlines() if " warning " in line and "LONGHAUL_" in line] == [
        line for line in log.splitlines() if "LONGHAUL_MAX_QUEU, " in line and "LONGHAUL_MAX_QUEUE is one" in line] != []


def test_a_template_that_no_family_writes_refuses_chats_alone(start_server, stubs, tmp_path):
    pb, rpc = stubs
    model = ModelCopy(tmp_path)
    model.set_chat_template("{% for message in messages %}{{ '[INST] ' + message['content'] }}{% endfor %}")
    threads = str(os.cpu_count() + 1)
    server = start_server("--kv-cache-memory", "64MiB", "--threads", threads, model=model.write())
    with loopback.channel(server.target) as channel:
        stub = rpc.InferenceServiceStub(channel)
        assert server.wait_until_serving(stub, pb).chat_template == ""
        with pytest.raises(grpc.RpcError) as refusal:
            list(stub.Generate(pb.GenerateRequest(prompt=chat(pb, "Hi"))))
        assert refusal.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "--chat-template" in refusal.value.details() and "[INST] " in refusal.value.details()
        assert stub.Tokenize(pb.TokenizeRequest(prompt=pb.Prompt(text="Hi"))).ids
    assert server.stop() == 0
    warnings = [line for line in server.log.read_text().splitlines() if " warning " in line]
    assert any("chats will be refused" in line and "[INST]" in line for line in warnings)
    assert any(f"--threads: {threads} " in line for line in warnings)


def test_a_template_is_none_for_a_vocabulary_without_its_marks(start_server, stubs, tmp_path):
    model = ModelCopy(tmp_path)
    model.rename_token(b"<|im_end|>", b"<|zz_end|>")
    path = model.write()
    assert "the vocabulary has no <|im_end|>" in refused("--model", str(path), "--chat-template", "chatml")
    server = start_server("--kv-cache-memory", "64MiB", model=path)
    pb, rpc = stubs
    with loopback.channel(server.target) as channel:
        server.wait_until_serving(rpc.InferenceServiceStub(channel), pb)
    assert server.stop() == 0
    assert "chats will be refused" in server.log.read_text()


def test_no_answer_holds_what_is_not_a_number(start_server, stubs, tmp_path):
    pb, rpc = stubs
    model = ModelCopy(tmp_path)
    model.spoil(b"output_norm.weight")
    server = start_server("--kv-cache-memory", "64MiB", model=model.write())
    text = pb.Prompt(text="The capital of France is Paris.")
    documents = pb.Contexts(documents=pb.Documents(documents=[pb.Document(text="Paris."), pb.Document(text="Rome.")]))
    with loopback.channel(server.target) as channel:
        stub = rpc.InferenceServiceStub(channel)
        server.wait_until_serving(stub, pb)
        for call in (
            lambda: stub.Generate(pb.GenerateRequest(prompt=text)),
            lambda: stub.Generate(pb.GenerateRequest(prompt=text, contexts=documents, output=pb.Output(entropies=True))),
            lambda: stub.Score(pb.ScoreRequest(prompt=text, top_logprobs=2)),
            lambda: stub.Score(pb.ScoreRequest(prompt=text, contexts=documents, answer=pb.Prompt(text=" Yes."))),
        ):
            got = []
            with pytest.raises(grpc.RpcError) as failure:
                got.extend(call())
            assert failure.value.code() == grpc.StatusCode.INTERNAL
            assert "not numbers" in failure.value.details()
            assert "nan" not in "".join(map(str, got)).lower()


def test_what_the_machine_or_the_model_cannot_is_refused_at_the_start(tmp_path):
    model = ("--model", str(MODEL))
    said = refused(*model, "--kv-cache-memory", "1000TiB")
    assert "--kv-cache-memory: 1024000.00 GiB" in said and "memory of this machine or container" in said
    assert "loading" not in said, "before the model is loaded"
    said = refused(*model, "--kv-cache-memory", "64MiB", "--chat-template", "llama3")
    assert "<|start_header_id|>, <|end_header_id|>, <|eot_id|>" in said
    for flag in ("--model", "--listen", "--port-file", "--config", "--kv-cache-memory", "--chat-template"):
        assert refused(*(model if flag != "--model" else ()), flag, "").startswith(f"longhaul-server: {flag}:"), flag
    assert str(tmp_path / "none") in refused(*model, environment={"LONGHAUL_CONFIG": str(tmp_path / "none")})
    assert refused(*model, "--log-level", "\x1b[31m").count("\x1b") == 0
