"""Hugging Face's `tokenizers` on the vocabulary and merges of a GGUF: put together from its parts, not converted."""

from gguf import GGUFReader
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def split(*patterns):
    splits = [Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])


# By the name of tokenizer.ggml.pre: how it cuts, and whether a piece that is a token is taken without merging.
PRE_TOKENIZERS = {
    "smollm": (Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]), False),
    "gpt-2": (ByteLevel(add_prefix_space=False, use_regex=True), False),
    "llama-bpe": (split(LLAMA3), True),
    "qwen2": (split(QWEN2), False),
    "default": (split(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"), False),
}


def strings(reader: GGUFReader, key: str) -> list[str]:
    field = reader.fields[key]
    return [bytes(field.parts[i]).decode("utf-8") for i in field.data]


def load(reader: GGUFReader, pre_tokenizer: str) -> Tokenizer:
    """With that pre-tokenizer, whatever the file names."""
    vocabulary = {token: i for i, token in enumerate(strings(reader, "tokenizer.ggml.tokens"))}
    pairs = [tuple(merge.split(" ")) for merge in strings(reader, "tokenizer.ggml.merges")]
    cut, ignore_merges = PRE_TOKENIZERS[pre_tokenizer]
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=pairs, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = cut
    return tokenizer
