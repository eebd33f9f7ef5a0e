"""Compares forward.py with Hugging Face transformers on the same weights; run once, by hand (README.md holds the figures).

    pip install torch transformers gguf numpy
    python tests/oracle/check_against_transformers.py MODEL.gguf
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers

import forward

PROMPTS = pathlib.Path(__file__).with_name("prompts.json")


def half_split(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k from GGUF's interleaved pairs (2i, 2i + 1) to the pairs (i, i + d/2) of transformers."""
    outputs, inputs = matrix.shape
    return matrix.reshape(heads, outputs // heads // 2, 2, inputs).swapaxes(1, 2).reshape(outputs, inputs)


def twin(model: forward.Model, rope: dict | None = None, trained_length: int = 0) -> transformers.LlamaForCausalLM:
    """The model in transformers; `rope`: how it scales positions; `trained_length`: instead of the model's own."""
    w = model.weights
    config = transformers.LlamaConfig(
        vocab_size=w["token_embd.weight"].shape[0],
        hidden_size=w["token_embd.weight"].shape[1],
        intermediate_size=w["blk.0.ffn_gate.weight"].shape[0],
        num_hidden_layers=model.n_layers,
        num_attention_heads=model.n_heads,
        num_key_value_heads=model.n_kv_heads,
        rms_norm_eps=model.epsilon,
        rope_parameters=(rope or {"rope_type": "default"}) | {"rope_theta": model.rotary_base},
        max_position_embeddings=trained_length or model.trained_length,
        attn_implementation="eager",
    )
    state = {
        "model.embed_tokens.weight": w["token_embd.weight"],
        "model.norm.weight": w["output_norm.weight"],
        "lm_head.weight": w["output.weight"],
    }
    for i in range(model.n_layers):
        to, source = f"model.layers.{i}.", f"blk.{i}."
        state[to + "input_layernorm.weight"] = w[source + "attn_norm.weight"]
        state[to + "post_attention_layernorm.weight"] = w[source + "ffn_norm.weight"]
        state[to + "self_attn.q_proj.weight"] = half_split(w[source + "attn_q.weight"], model.n_heads)
        state[to + "self_attn.k_proj.weight"] = half_split(w[source + "attn_k.weight"], model.n_kv_heads)
        state[to + "self_attn.v_proj.weight"] = w[source + "attn_v.weight"]
        state[to + "self_attn.o_proj.weight"] = w[source + "attn_output.weight"]
        for part in ("gate", "up", "down"):
            state[f"{to}mlp.{part}_proj.weight"] = w[f"{source}ffn_{part}.weight"]
    twin_model = transformers.LlamaForCausalLM(config).float().eval()
    twin_model.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.items()}, strict=True)
    return twin_model


def main() -> None:
    model = forward.load(sys.argv[1])
    other = twin(model)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    for name, prompt in json.loads(PROMPTS.read_text())["texts"].items():
        ids = prompt["ids"]
        ours = forward.forward(model, ids)
        with torch.no_grad():
            theirs = other(torch.tensor([ids])).logits[0].numpy()
        nll = np.abs(forward.negative_log_likelihoods(ours, ids) - forward.negative_log_likelihoods(theirs, ids))
        logits = np.abs(ours - theirs)
        print(f"{name} ({len(ids)} tokens): nll mean {nll.mean():.1e} max {nll.max():.1e}, "
              f"logits mean {logits.mean():.1e} max {logits.max():.1e}")


if __name__ == "__main__":
    main()
