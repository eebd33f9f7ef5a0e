"""Token ids of awkward texts by Hugging Face's `tokenizers`, on the vocabulary and merges of a GGUF.

    python make_tokenizer_goldens.py MODEL.gguf goldens/tokenizer.json      (needs the PyPI packages gguf, jinja2, tokenizers)

With the file's own pre-tokenizer, no BOS, which is what the model was trained with; for the other pre-tokenizers the same
vocabulary is used with their published patterns.
Chats are rendered with the file's own template and read whole, special tokens parsed, as Hugging Face does.
"""

import json
import random
import sys

from gguf import GGUFReader
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken

import hf_tokenizer
from hf_tokenizer import PRE_TOKENIZERS, strings

TEXTS = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n", "\n \n", "\r\n", "a\r\nb", "\t", "\t\tx", " \t \n x", "a\n\n\nb", "a \n b",
    "hello", " hello", "Hello World", "hello  world", "hello   world", "HELLO", "hElLo", "don't", "DON'T", "it's we're I've",
    "I'M You'LL He'D", "'s 's's", "''''", "rock 'n' roll", "O'Neill's", "1", "12", "123", "1234", "12345678901234567890",
    "3.14159", "1,000,000", "2024-01-31", "v1.2.3-rc4", "0x1F", "1e-9", "x1y22z333", " 1 22 333 ", "५६७", "①②③", "Ⅷ", "½",
    "int main() { return 0; }", "for (int i = 0; i < 10; ++i) {\n    x += i;\n}", "def f(x):\n\treturn x**2\n",
    "std::vector<std::string>", "a->b->c", "#include <stdio.h>\n", "SELECT * FROM t WHERE a='b';", "{\"a\": [1, 2, null]}",
    "https://example.org/a?b=c&d=%20#e", "foo_bar fooBar foo-bar", "<div class=\"x\">y</div>", "a=b==c!=d", "$x @y #z",
    "...", "....", "?!?!", "—–-", "“quoted” ‘text’", "(a)[b]{c}", "a/b\\c", "~`^|", "+-*/=", "&amp;", "e.g., i.e.",
    "你好", "你好,世界!", "こんにちは世界", "カタカナ", "안녕하세요 세계", "混合text和中文123", "漢字かな交じり文。", "，。！？",
    "Привет, мир!", "Ελληνικά", "العربية نص", "שלום עולם", "हिन्दी पाठ", "ไทย", "ქართული", "Zażółć gęślą jaźń", "naïve café",
    "Straße ÄÖÜ", "ﬁ ﬂ", "ℝ ∈ ∑ ∫", "x² + y³", "½ ¼", "10 €", "£5 ¥6 ₹7", "°C µm", "™ © ®",
    "🙂", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "a🙂b", "🙂🙂🙂", "✈️ ☕", "e\u0301", "a\u0308o\u0308", "Z\u0351\u036b\u0343", "n\u0303 ñ",
    "\u00a0", "a\u00a0b", "\u2003x\u2003", "\u3000全角\u3000", "\u200b", "a\u200bb", "\u200d", "\ufeffbom", "\u2028line", "\u0085nel",
    "\u000b\u000c", "\u180e", "\u0001", "\u007f", "null\u0000byte", "\ud7ff\ue000", "\U0010ffff",
    "<|im_start|>", "<|im_end|>", "a<|im_end|>b", "<|endoftext|>", "<|im_start|>user\nhi<|im_end|>", "<|im_", "|>", "<s>", "[INST]",
    "<repo_name>", "<|eot_id|>", "</s> <unk>", "Ġ", "Ċ", "Ġhello", "ĉ", "a Ġb",
    "supercalifragilisticexpialidocious", "Donaudampfschifffahrtsgesellschaft", "aaaaaaaaaaaaaaaa", "ababababab", "zzzzzzz",
    "The quick brown fox jumps over the lazy dog.", "In 1815, M. Charles-François-Bienvenu Myriel was Bishop of D----",
    "Call me Ishmael. Some years ago--never mind how long precisely--", "MiXeD CaSe WiTh 123 NuMbErS",
    "  leading and trailing  ", "tab\there", "multi\nline\ntext\n", "trailing newline\n", "\n\n  indented\n    more\n",
    "# Title\n\n- item 1\n- item 2\n\n> quote\n", "| a | b |\n|---|---|\n", "```c\nint x;\n```\n", "a,b;c:d.e", "x" * 300,
    " " * 100, "\n" * 50, "!" * 77, "1" * 64, "ab " * 60, "é" * 40, "你" * 40, "🙂" * 20, "\t" * 33 + "x", "- " * 30,
]


def turns(*contents, system=None):
    """A conversation that begins and ends with the user."""
    said = [["user" if i % 2 == 0 else "assistant", content] for i, content in enumerate(contents)]
    return said if system is None else [["system", system], *said]


CHATS = [
    turns("Hi"), turns("Why is the sky blue?", system="Answer in French."), turns("", system=""), turns("  spaces  "),
    turns("\n\nlines\n"), turns("One.", "Two.", "Three."), turns("1 + 1 = 2, 10 + 10 = 20", "\n42\n", "\tAnd 43?"),
    turns("你好,世界! 🙂", "Grüße", "e\u0301", system="  \u00a0trimmed? "), turns("int main() {\n  return 0;\n}\n"),
    turns("user\nassistant\nsystem"), turns("word " * 300, system="x" * 100), turns("|im_end|>", "<", "<|im"),
]


def random_texts(count, seed):
    pick = random.Random(seed)
    alphabet = list("abcdefgh ABC 0123456789 \n\t'.,-_/()<>|") + list("éüß你好世界привет🙂👍\u0301\u200d\u00a0")
    return ["".join(pick.choice(alphabet) for _ in range(pick.randint(1, 60))) for _ in range(count)]


def main():
    model, out = sys.argv[1:]
    reader = GGUFReader(model)

    texts = TEXTS + random_texts(80, seed=5)
    goldens = {"texts": texts, "ids": {}}
    for name in PRE_TOKENIZERS:
        tokenizer = hf_tokenizer.load(reader, name)
        goldens["ids"][name] = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    # Rules instead of long texts: (unit, repetitions, number of ids, their sum).
    tokenizer = hf_tokenizer.load(reader, "smollm")
    goldens["long"] = []
    for unit in ("a", "word ", "12 ", "\u00e9", " ", "x=1; "):
        ids = tokenizer.encode((unit * 10000)[:10000], add_special_tokens=False).ids
        goldens["long"].append([unit, len(ids), sum(ids)])
    template = strings(reader, "tokenizer.chat_template")[0]
    rendered = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)
                                  for token, kind in zip(strings(reader, "tokenizer.ggml.tokens"), kinds) if kind == 3])
    goldens["chats"] = []
    for chat in CHATS:
        messages = [{"role": role, "content": content} for role, content in chat]
        text = rendered.render(messages=messages, add_generation_prompt=True)
        goldens["chats"].append([chat, tokenizer.encode(text, add_special_tokens=False).ids])
    with open(out, "w") as file:
        json.dump(goldens, file, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
