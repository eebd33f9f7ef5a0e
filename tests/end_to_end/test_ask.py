"""Questions over documents, by the command line and by the wire."""

import json
import math

import grpc
import pytest

FACTS = {
    "bridge.txt": "The bridge over the river Arn was opened in 1911. It was paid for by the widow Tamsin Grey.",
    "lighthouse.txt": "The lighthouse at Cape Sorrow is 41 metres high and was painted green.",
    "baker.txt": "The baker Oluf Brand sells rye bread on Mondays and nothing at all on Sundays.",
}
QUESTION = "When was the bridge over the Arn opened?"


@pytest.fixture
def notes(tmp_path):
    for name, text in FACTS.items():
        (tmp_path / name).write_text(text)
    return [str(tmp_path / name) for name in FACTS]


def ask_request(pb, texts, question=QUESTION, **more):
    documents = pb.Documents(documents=[pb.Document(id=name, text=text) for name, text in texts.items()])
    return pb.GenerateRequest(prompt=pb.Prompt(text=question), contexts=pb.Contexts(documents=documents),
                              stopping=pb.Stopping(max_tokens=24), **more)


def test_asks_files_and_cites_them(longhaul, notes):
    result = longhaul("ask", "--documents", *notes, QUESTION, "--max-tokens", "24")
    assert result.returncode == 0 and "1911" in result.stdout, result.stderr
    assert result.stdout.startswith(f"[{notes[0]}] ")
    table = result.stderr.splitlines()
    assert table[0].endswith(notes[0]) and "entropy" in table[0] and " %" in table[0]
    # The question may stand before the files, or come from standard input; or the files be one argument each.
    first = longhaul("ask", QUESTION, "--documents", *notes, "--max-tokens", "24")
    second = longhaul("ask", "--documents", *notes, "--max-tokens", "24", stdin=QUESTION)
    assert first.stdout == second.stdout == result.stdout
    assert longhaul("ask", QUESTION).returncode == 2
    missing = longhaul("ask", QUESTION, "--documents", notes[0], "/no/such/file")
    assert missing.returncode == 2 and "/no/such/file" in missing.stderr


def test_asks_for_machines(longhaul, notes):
    result = longhaul("ask", "--documents", *notes, QUESTION, "--max-tokens", "24", "--json", "--pooling", "max",
                      "--beta", "0.5", "--eta", "0", "--keep", "0.9")
    messages = [json.loads(line) for line in result.stdout.splitlines()]
    assert messages[-1]["finished"]["usage"]["prompt_tokens"] > 100
    cited = [m["chunk"]["citation"] for m in messages if m.get("chunk", {}).get("citation")]
    assert cited and all(c["id"] in notes for c in cited)
    assert len(messages[-1]["finished"]["documents"]) == len(notes)
    # Each flag arrives: a wrong value is refused by its field.
    for flag, field in (("--beta", "beta"), ("--eta", "eta"), ("--keep", "top_p")):
        refused = longhaul("ask", "--documents", *notes, QUESTION, flag, "-7")
        assert refused.returncode == 2 and f"contexts.nbce.{field}: -7" in refused.stderr
    assert longhaul("ask", "--documents", *notes, QUESTION, "--pooling", "median").returncode != 0


def test_asks_a_long_document(longhaul, tmp_path):
    filler = [f"Chapter {i}. Nothing of note happened in the village. " for i in range(40)]
    filler.insert(20, FACTS["bridge.txt"] + " ")
    book = tmp_path / "book.txt"
    book.write_text("".join(filler))
    result = longhaul("ask", "--long-document", str(book), "--window", "128", "--overlap", "16", QUESTION,
                      "--max-tokens", "16")
    assert result.returncode == 0 and "1911" in result.stdout, result.stderr
    assert result.stdout.startswith("[bytes ")
    result = longhaul("ask", "--long-document", str(book), "--window", "16", "--overlap", "16", QUESTION)
    assert result.returncode == 2 and "overlap_tokens" in result.stderr


def test_warm_reads_a_library(longhaul, notes, tmp_path):
    library = []
    for i in range(4):
        file = tmp_path / f"{i}.txt"
        file.write_text(f"Part {i}. " + "The ships came and went, and the keeper wrote them down. " * 8)
        library.append(str(file))
    result = longhaul("warm", "--documents", *library)
    assert result.returncode == 0 and "tokens read" in result.stdout
    result = longhaul("ask", "--documents", library[2], library[0], "Who wrote?", "--max-tokens", "4", "--json")
    finished = json.loads(result.stdout.splitlines()[-1])["finished"]
    assert finished["usage"]["cached_tokens"] > 200


def test_a_system_message_and_a_template(longhaul, notes):
    result = longhaul("ask", "--documents", *notes, QUESTION, "--system", "Answer in one word.", "--max-tokens", "8")
    assert result.returncode == 0, result.stderr
    result = longhaul("ask", "--documents", *notes, QUESTION, "--document-template", "{document} Q: {question} A:",
                      "--max-tokens", "8")
    assert result.returncode == 0, result.stderr
    result = longhaul("ask", "--documents", *notes, QUESTION, "--document-template", "{document}")
    assert result.returncode == 2 and "contexts.document_template" in result.stderr


def test_every_chunk_says_where_it_comes_from(stub, stubs):
    pb, _ = stubs
    request = ask_request(pb, FACTS, output=pb.Output(entropies=True, token_ids=True, top_logprobs=2))
    messages = list(stub.Generate(request))
    tokens = [0] * len(FACTS)
    for message in messages:
        if not message.HasField("chunk") or not message.chunk.token_ids:
            continue
        chunk = message.chunk
        assert chunk.citation.id == list(FACTS)[chunk.citation.document]
        tokens[chunk.citation.document] += len(chunk.token_ids)
        assert len(chunk.entropies) == len(chunk.token_ids)
        for row in chunk.entropies:
            assert len(row.nats) == len(FACTS) + 1 and all(entropy >= 0 for entropy in row.nats)
    assert [use.tokens for use in messages[-1].finished.documents] == tokens
    assert tokens[0] == max(tokens)


def test_scores_an_answer_over_documents(stub, stubs):
    pb, _ = stubs
    contexts = ask_request(pb, FACTS).contexts

    def score(answer):
        request = pb.ScoreRequest(prompt=pb.Prompt(text=QUESTION), contexts=contexts, answer=pb.Prompt(text=answer))
        messages = list(stub.Score(request))
        return [x for m in messages for x in m.scores.logprobs], messages[-1].finished

    right, _ = score("The bridge over the river Arn was opened in 1911.")
    wrong, finished = score("The bridge over the river Arn was opened in 1874.")
    assert len(right) == len(wrong)
    assert finished.truncated_tokens == sum(math.isinf(x) for x in wrong)
    assert sum(max(x, -50) for x in right) > sum(max(x, -50) for x in wrong)
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Score(pb.ScoreRequest(prompt=pb.Prompt(text="x y"), answer=pb.Prompt(text="z"))))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and error.value.details().startswith("answer:")


@pytest.mark.parametrize("change,field", [
    (lambda pb, r: r.contexts.ClearField("documents"), "contexts: no documents"),
    (lambda pb, r: r.contexts.documents.ClearField("documents"), "contexts.documents: there are none"),
    (lambda pb, r: r.contexts.documents.documents[1].ClearField("text"), "contexts.documents[1]: 'lighthouse.txt'"),
    (lambda pb, r: setattr(r.contexts.documents.documents[2], "id", "bridge.txt"),
     "contexts.documents[2].id: 'bridge.txt'"),
    (lambda pb, r: setattr(r.contexts.documents.documents[2], "id", "x" * 2000), "contexts.documents[2].id"),
    (lambda pb, r: r.contexts.documents.documents[0].token_ids.ids.append(-1), "contexts.documents[0]"),
    (lambda pb, r: setattr(r.contexts.nbce, "beta", math.nan), "contexts.nbce.beta: nan"),
    (lambda pb, r: setattr(r.contexts.nbce, "beta", -1.5), "contexts.nbce.beta: -1.5"),
    (lambda pb, r: setattr(r.contexts.nbce, "eta", math.inf), "contexts.nbce.eta: inf"),
    (lambda pb, r: setattr(r.contexts.nbce, "top_p", 0), "contexts.nbce.top_p: 0"),
    (lambda pb, r: setattr(r.contexts.nbce, "pooling", 9), "contexts.nbce.pooling"),
    (lambda pb, r: setattr(r.contexts, "document_template", "{question}{document}"), "contexts.document_template"),
    (lambda pb, r: setattr(r.contexts, "document_template", "{document}"), "contexts.document_template"),
    (lambda pb, r: r.contexts.baseline.token_ids.ids.append(10**6), "contexts.baseline"),
    (lambda pb, r: r.prompt.chat.messages.add(role="assistant", content="x"), "prompt.chat.messages"),
    (lambda pb, r: setattr(r.contexts.long_document, "text", ""), "contexts.long_document.text"),
    (lambda pb, r: r.contexts.long_document.MergeFrom(pb.LongDocument(text="a b", window_tokens=4, overlap_tokens=4)),
     "contexts.long_document.overlap_tokens: 4"),
    (lambda pb, r: r.contexts.documents.documents.extend(pb.Document(text="x") for _ in range(300)), "--max-rows"),
], ids=range(18))
def test_refuses_bad_contexts_naming_the_field(stub, stubs, change, field):
    pb, _ = stubs
    request = ask_request(pb, FACTS)
    change(pb, request)
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(request))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT, error.value
    assert field in error.value.details(), error.value.details()
