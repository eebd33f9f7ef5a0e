"""What is asked in a soak, and whether an answer is the one that the same request gets alone."""

import base64
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # where loopback lies
SERVICE = "/longhaul.v1.InferenceService/"

PLACES = ("harbour", "library", "mill", "observatory", "orchard", "railway station", "lighthouse", "market")
PEOPLE = ("keeper", "clerk", "miller", "astronomer", "gardener", "conductor", "captain", "baker")
THINGS = ("ledger", "lantern", "map", "telescope", "basket", "whistle", "compass", "loaf")

# Windows so small that every text has a far regime.
POSITIONS = (
    {}, {"none": {}}, {"rerope": {"window": 24}}, {"rerope": {"window": 96}}, {"leaky_rerope": {"window": 32, "step": 4}},
    {"self_extend": {"window": 32, "group": 4}}, {"yarn": {"factor": 2}}, {"ntk": {"factor": 4}},
)
# What several prompts begin with, so that requests of one mode share blocks.
HEAD = "".join(f"In the {place} the {person} keeps a {thing}. " for place, person, thing in zip(PLACES, PEOPLE, THINGS))


def make_stubs(folder):
    """Generates the wire's modules and makes them importable here."""
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}",
                    f"--grpc_python_out={folder}", "longhaul/v1/inference.proto", "longhaul/v1/admin.proto"], check=True)
    sys.path.insert(0, str(folder))


class Case:
    """A request, and what it answers where nothing runs beside it."""

    def __init__(self, name, method, message, answer=None):
        self.name, self.method, self.message, self.answer = name, method, message, answer

    def to_json(self):
        return {"name": self.name, "method": self.method, "message": base64.b64encode(self.message).decode(),
                "answer": vars(self.answer)}

    @staticmethod
    def from_json(data):
        answer = Answer()
        vars(answer).update(data["answer"])
        return Case(data["name"], data["method"], base64.b64decode(data["message"]), answer)

    def response(self, pb):
        return pb.GenerateResponse if self.method == "Generate" else pb.ScoreResponse


class Answer:
    """All of a stream that must be the same whatever runs beside it; floats are compared to the bit."""

    def __init__(self):
        self.prompt_tokens, self.text, self.ids, self.logprobs, self.top = None, "", [], [], []
        self.first_token, self.reason = None, None

    def add(self, message):
        """Takes the stream's next message; raises ValueError when it cannot stand where it stands."""
        kind = message.WhichOneof("event")
        if self.reason is not None:
            raise ValueError(f"{kind} after Finished")
        if (kind == "started") != (self.prompt_tokens is None):
            raise ValueError(f"{kind} where Started is {'missing' if self.prompt_tokens is None else 'there already'}")
        if kind == "started":
            self.prompt_tokens = message.started.prompt_tokens
        elif kind == "chunk":
            self.text += message.chunk.text
            self.ids += message.chunk.token_ids
            self._add_logprobs(message.chunk)
        elif kind == "scores":
            self._add_scores(message.scores)
        elif kind == "finished":
            self.reason = message.finished.reason
            if self.ids and message.finished.usage.completion_tokens != len(self.ids):
                raise ValueError(f"usage of {message.finished.usage.completion_tokens} tokens, {len(self.ids)} came")

    def _add_scores(self, scores):
        if self.first_token is None:
            self.first_token = scores.first_token
        if scores.first_token != self.first_token + len(self.logprobs):
            raise ValueError(f"scores of token {scores.first_token}, {self.first_token + len(self.logprobs)} is next")
        self._add_logprobs(scores)

    def _add_logprobs(self, part):
        self.logprobs += part.logprobs
        self.top += [[token.id, token.logprob] for place in part.top for token in place.tokens]

    def differs_from(self, alone, complete):
        """What is not as in the answer that the request gets alone; None when all is. `complete`: it has ended."""
        if self.prompt_tokens not in (None, alone.prompt_tokens):
            return f"{self.prompt_tokens} tokens of prompt, alone {alone.prompt_tokens}"
        if self.first_token not in (None, alone.first_token):
            return f"scores from token {self.first_token} on, alone from {alone.first_token}"
        for field in ("text", "ids", "logprobs", "top"):
            mine, whole = getattr(self, field), getattr(alone, field)
            if mine != (whole if complete else whole[:len(mine)]):
                same = next((i for i, pair in enumerate(zip(mine, whole)) if pair[0] != pair[1]), min(len(mine), len(whole)))
                return (f"{field} from {same} on: {mine[same:same + 20]!r} of {len(mine)}, alone "
                        f"{whole[same:same + 20]!r} of {len(whole)}")
        if complete and self.reason != alone.reason:
            return f"ended for reason {self.reason}, alone for {alone.reason}"
        return None


def conversations(pb, random, ask):
    """Lists of cases that are asked one after the other; `ask` gives a request's answer while nothing else runs."""

    def case(name, method, request):
        made = Case(name, method, request.SerializeToString())
        made.answer = ask(made)
        return made

    def mode(i):
        return pb.PositionMode(**POSITIONS[i % len(POSITIONS)])

    def sentence():
        return (f"The {random.choice(PEOPLE)} of the {random.choice(PLACES)} lost a {random.choice(THINGS)} "
                f"on day {random.randrange(1000)}. ")

    def generate(i):
        head = HEAD if i % 2 else ""
        text = head + "".join(sentence() for _ in range(random.randrange(1, 3))) + "After that"
        request = pb.GenerateRequest(prompt=pb.Prompt(text=text), position=mode(i), output=pb.Output(token_ids=True),
                                     stopping=pb.Stopping(max_tokens=(4, 32, 96, 200)[i // 2 % 4], ignore_eos=True))
        if i % 4 < 2:
            request.output.top_logprobs = 2
        if i % 8 == 7:  # not greedy, but as fixed
            request.sampling.temperature, request.sampling.seed = 0.8, i
        return [case(f"generate {i}", "Generate", request)]

    def score(i):
        text = (HEAD if i % 2 else "") + "".join(sentence() for _ in range(16 if i < 3 else 4))
        request = pb.ScoreRequest(prompt=pb.Prompt(text=text), position=mode(i + 1), top_logprobs=i % 2)
        if i % 2:  # the first to give way: told in part, it is read again
            request.priority = -1
        if i % 3 == 0:
            request.last_tokens = 20
        return [case(f"score {i}", "Score", request)]

    def chat(i):
        turns, messages = [], []
        for question in (sentence() + "Who helped to find it?", "And who did not?", "Say it in one sentence."):
            messages.append(pb.Message(role="user", content=question))
            request = pb.GenerateRequest(prompt=pb.Prompt(chat=pb.Chat(messages=messages)), position=mode(2 + i),
                                         output=pb.Output(token_ids=True), stopping=pb.Stopping(max_tokens=24))
            turns.append(case(f"chat {i}, turn {len(turns) + 1}", "Generate", request))
            messages.append(pb.Message(role="assistant", content=turns[-1].answer.text))
        return turns

    return [generate(i) for i in range(16)] + [score(i) for i in range(6)] + [chat(i) for i in range(3)]


def save(groups, file):
    file.write_text(json.dumps([[case.to_json() for case in group] for group in groups]))


def load(file):
    return [[Case.from_json(case) for case in group] for group in json.loads(file.read_text())]
