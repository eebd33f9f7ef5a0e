"""The file of `longhaul evaluate`, as far as it is drawn: its summary, never recomputed here."""

import dataclasses
import json


class ResultError(Exception):
    """The file is no result, or has nothing to draw."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A mode at a length (passkey: and a depth; documents: their number), over n samples."""

    position: str
    length: int
    depth: int
    n: int
    mean: float
    standard_error: float | None
    difference: float | None
    difference_standard_error: float | None
    first_copy: float | None
    cited: float | None


@dataclasses.dataclass(frozen=True)
class Result:
    """What is drawn of a file."""

    model: str
    compute_type: str
    kv_cache_type: str
    trained_length: int
    score_tokens: int
    period: int
    cells: list[Cell]

    @staticmethod
    def read(path: str, task: str) -> "Result":
        """Reads `path`; ResultError when it is no result of `task` or is empty."""
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if data.get("format") != "longhaul-evaluation-1":
            raise ResultError(f"{path} is no result of longhaul evaluate")
        identity, model = data["identity"], data["model"]
        if identity["task"] != task:
            raise ResultError(f"{path} holds a result of task {identity['task']}, not {task}")
        names = [field.name for field in dataclasses.fields(Cell)]
        cells = [Cell(**{name: cell.get(name, 0 if name == "depth" else None) for name in names})
                 for cell in data["summary"]]
        if not cells:
            raise ResultError(f"{path} holds no measurement yet")
        return Result(model["name"], model["compute_type"], model["kv_cache_type"], identity["trained_length"],
                      identity.get("score_tokens", 0), identity.get("period", 0), cells)

    @property
    def positions(self) -> list[str]:
        """The modes in the file's order."""
        return list(dict.fromkeys(cell.position for cell in self.cells))

    @property
    def lengths(self) -> list[int]:
        return sorted({cell.length for cell in self.cells})

    @property
    def samples(self) -> int:
        """The samples of a whole cell; some may have fewer."""
        return max(cell.n for cell in self.cells)

    @property
    def subtitle(self) -> str:
        return f"{self.model}, products {self.compute_type}, KV cache {self.kv_cache_type}"

    def of(self, position: str) -> list[Cell]:
        """A mode's cells by length."""
        return sorted((cell for cell in self.cells if cell.position == position), key=lambda cell: cell.length)
