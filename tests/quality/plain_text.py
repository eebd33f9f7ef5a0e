"""The Jargon File as plain prose: python3 plain_text.py <jargon.txt >book.txt

Left out: the tables of contents before each part, the index of the glossary's entries, rulers and tables drawn with box
characters. The indent goes, and each paragraph becomes one line, as in other plain text books.
"""

import re
import sys

BOX = re.compile(r"[─-╿]")


def paragraphs(text: str) -> list[str]:
    found: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines()]
        if any(BOX.search(line) for line in lines):
            continue
        joined = " ".join(line for line in lines if line)
        if joined:
            found.append(joined)
    return found


def without_lists(blocks: list[str]) -> list[str]:
    """Leaves out runs of 8 and more short blocks that end no sentence: contents and indexes."""
    kept: list[str] = []
    run: list[str] = []
    for block in [*blocks, "."]:
        if len(block) < 80 and not block.endswith((".", "!", "?", ":", "”", ")")) and not block.startswith(":"):
            run.append(block)
            continue
        if len(run) < 8:
            kept += run
        else:
            kept.append(run[-1])  # the heading of what follows
        run = []
        kept.append(block)
    return kept[:-1]


def main() -> None:
    text = sys.stdin.read()
    sys.stdout.write("\n\n".join(without_lists(paragraphs(text))) + "\n")


if __name__ == "__main__":
    main()
