"""Checks the arrows of the house: which folder may include which, and which words belong to which folder.

An arrow that the build cannot see (a header-only include) is found here. Prints each violation; exit code 1 if any.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder -> folders whose headers it may include (its own always).
ALLOWED = {
    "engine/base": [],
    "engine/position": ["engine/base"],
    "engine/decoding": ["engine/base"],
    "engine/text": ["engine/base"],
    "engine/backend": ["engine/base", "engine/position", "engine/decoding"],
    "engine/backend/cpu": ["engine/base", "engine/position", "engine/decoding", "engine/backend",
                           "engine/backend/cpu/attention", "engine/backend/cpu/matmul"],
    "engine/backend/cpu/attention": ["engine/base", "engine/position", "engine/backend", "engine/backend/cpu"],
    "engine/backend/cpu/matmul": ["engine/base", "engine/backend", "engine/backend/cpu"],
    "engine/cache": ["engine/base", "engine/position", "engine/backend"],
    "engine/scheduling": ["engine/base", "engine/position", "engine/decoding", "engine/backend", "engine/cache"],
    "engine/model": ["engine/base", "engine/position", "engine/text", "engine/backend", "engine/model/gguf",
                     "engine/model/families"],
    "engine/model/gguf": ["engine/base", "engine/backend", "engine/model"],
    "engine/model/families": ["engine/base", "engine/position", "engine/backend", "engine/model"],
    "engine/request": ["engine/base", "engine/position", "engine/decoding"],
    "engine/telemetry": ["engine/base", "engine/position", "engine/backend", "engine/cache", "engine/scheduling",
                         "engine/request"],
    "engine/running": ["engine/base", "engine/position", "engine/decoding", "engine/text", "engine/backend",
                       "engine/cache", "engine/scheduling", "engine/request", "engine/telemetry"],
    "engine/prepare": ["engine/base", "engine/position", "engine/decoding", "engine/text", "engine/backend",
                       "engine/cache", "engine/request", "engine/telemetry", "engine/running"],
    "engine": ["engine/base", "engine/position", "engine/decoding", "engine/text", "engine/backend", "engine/cache",
               "engine/scheduling", "engine/model", "engine/request", "engine/telemetry", "engine/running",
               "engine/prepare"],
    "server/sockets": ["engine/base"],
    "server/status": ["proto", "engine/base"],
    "server/front": ["proto", "engine/base", "server/sockets", "server/status"],
    "server/health": ["engine/base", "server/sockets"],
    "server/grpc": ["proto", "engine", "engine/base", "engine/position", "engine/decoding", "engine/text",
                    "engine/request", "engine/telemetry", "engine/backend", "server/front", "server/status"],
    "server/metrics": ["engine", "engine/base", "engine/position", "engine/backend", "engine/request", "engine/telemetry", "server/front",
                       "server/sockets", "server/lifecycle"],
    "server/lifecycle": ["proto", "engine", "engine/base"],
    "server": ["proto", "engine", "engine/base", "engine/position", "engine/backend", "engine/telemetry", "server/sockets", "server/front",
               "server/health", "server/grpc", "server/metrics", "server/lifecycle"],
    "client": ["proto", "engine/base"],
    "client/io": ["proto", "engine/base"],
    "client/evaluation": ["proto", "engine/base", "client", "client/io"],
    "client/loadgen": ["proto", "engine/base", "client", "client/io", "client/evaluation"],
    "client/commands": ["proto", "engine/base", "client", "client/io", "client/evaluation"],
}
# Files that know more than their folder: the one that chooses among the backends.
ALLOWED_FILES = {"engine/backend/backend_factory.cc": ["engine/backend/cpu"]}
# Words that must not stand in the includes of the engine, and names that only one folder knows.
FOREIGN_INCLUDES = re.compile(r"grpc|protobuf|prometheus|longhaul/v1")
MODE_NAMES = re.compile(r"rerope|ntk", re.IGNORECASE)


def folder_of(path: str) -> str:
    """The longest known folder that holds `path`."""
    parts = path.split("/")[:-1]
    while parts and "/".join(parts) not in ALLOWED:
        parts.pop()
    return "/".join(parts)


def is_part(a: str, b: str) -> bool:
    """Whether one of two folders lies in the other: together they are one room."""
    return a.startswith(b + "/") or b.startswith(a + "/")


def main() -> int:
    problems = [f"{a} and {b} may include each other" for a in ALLOWED for b in ALLOWED[a]
                if a < b and b in ALLOWED and a in ALLOWED[b] and not is_part(a, b)]
    for top in ("engine", "server", "client"):
        for file in sorted((ROOT / top).rglob("*")):
            if file.suffix not in (".h", ".cc", ".cu", ".cuh"):
                continue
            name = file.relative_to(ROOT).as_posix()
            own = folder_of(name)
            text = file.read_text()
            for number, line in enumerate(text.splitlines(), 1):
                match = re.match(r'\s*#\s*include\s+[<"]([^">]+)[">]', line)
                if not match:
                    continue
                target = match.group(1)
                if top == "engine" and FOREIGN_INCLUDES.search(target):
                    problems.append(f"{name}:{number}: the engine includes {target}")
                if not target.startswith(("engine/", "server/", "client/")):
                    continue
                to = folder_of(target)
                if to != own and to not in ALLOWED[own] + ALLOWED_FILES.get(name, []):
                    problems.append(f"{name}:{number}: {own} must not include {target}")
            if top == "engine" and own != "engine/position" and MODE_NAMES.search(text):
                problems.append(f"{name}: a position mode's name outside engine/position")
    print("\n".join(problems) or "arrows: every include points the right way")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
