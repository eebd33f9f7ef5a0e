"""Writes tests/oracle/dequantize: random blocks of each tensor type and the values that the `gguf` package gives them.

    pip install gguf numpy
    python3 make_dequantize_goldens.py

TYPE.blocks holds the blocks as in a model file, TYPE.values their elements as little-endian f32. The floats inside the
blocks are finite; everything else is random bytes.
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Offsets of the 16-bit floats in a block.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "IQ4_NL": [0], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def random_halves(rng, n):
    """Any finite f16, but half of them of the size of real scales."""
    bits = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    bits = np.where((bits & 0x7C00) == 0x7C00, bits & 0x83FF, bits)  # not finite: a subnormal number instead
    usual = (rng.standard_normal(n) * 0.02).astype(np.float16).view(np.uint16)
    return np.where(np.arange(n) % 2 == 0, bits, usual)


def random_blocks(rng, name, n):
    block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    if name == "F32":
        return rng.standard_normal(n).astype(np.float32).view(np.uint8)
    if name == "F16":
        return random_halves(rng, n).view(np.uint8)
    if name == "BF16":
        return (rng.standard_normal(n).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    blocks = rng.integers(0, 256, (n, block_bytes), dtype=np.uint8)
    for at in HALVES[name]:
        blocks[:, at : at + 2] = random_halves(rng, n).view(np.uint8).reshape(n, 2)
    return blocks.reshape(-1)


def main():
    directory = pathlib.Path(__file__).parent / "dequantize"
    directory.mkdir(exist_ok=True)
    rng = np.random.default_rng(20240521)
    for name in ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q5_1",
                 "IQ4_NL"]:
        elements = GGML_QUANT_SIZES[GGMLQuantizationType[name]][0]
        blocks = random_blocks(rng, name, 1024 // elements if elements < 256 else 6)
        values = dequantize(blocks.reshape(1, -1), GGMLQuantizationType[name]).astype("<f4")
        assert np.isfinite(values).all()
        (directory / f"{name}.blocks").write_bytes(blocks.tobytes())
        (directory / f"{name}.values").write_bytes(values.tobytes())


if __name__ == "__main__":
    main()
