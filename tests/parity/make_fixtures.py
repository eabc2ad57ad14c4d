#!/usr/bin/env python3
"""Makes the parity fixtures: tiny random models of each family, and what transformers says of them.

    python3 tests/parity/make_fixtures.py [NAME ...]      (default: all of them)

Needs torch, transformers, safetensors and numpy from PyPI; downloads nothing. Each fixture is a
Hugging Face folder written by save_pretrained, plus

    expected.json   prompt (token ids), vocab_size, two prompts with their greedy continuations
    logits.f32      f32 little endian [prompt length, vocab_size]: logits of every prompt position

computed in f32 by eager attention on one thread. "rope" is no model but rows of the rotary table, at
positions far beyond those of the models. Every parameter is random, biases and norm
weights too, so that a weight which is skipped or swapped changes the logits. Seeds are tried until
the two best logits of every greedy step differ clearly: a continuation decided by rounding would
test nothing.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from transformers import (AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, GPT2Config,
                          LlamaConfig, MistralConfig, MixtralConfig, Qwen2Config, Qwen3Config,
                          Qwen3MoeConfig)
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

ROOT = pathlib.Path(__file__).parent / "fixtures"
PROMPT_TOKENS = 40
SECOND_PROMPT_TOKENS = 13
NEW_TOKENS = 64
# The smallest gap between the two best logits, as a share of the logits' standard deviation.
SMALLEST_GAP = 2e-3

ROPE_DIM = 128
# The scaled ones are those of Llama 3.1 8B, of Qwen2.5 7B stretched to 131,072 tokens, and of
# Gemma 3 4B.
ROPES = [
    {"rope_type": "default", "rope_theta": 10000.0},
    {"rope_type": "default", "rope_theta": 500000.0},
    {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
    {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
     "original_max_position_embeddings": 32768},
    {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
]
ROPE_POSITIONS = [0, 1, 4095, 8191, 131071]

# eos and bos are null: a continuation is 64 tokens whatever they are.
COMMON = dict(vocab_size=272, hidden_size=48, num_hidden_layers=2, max_position_embeddings=160,
              bos_token_id=None, eos_token_id=None, attn_implementation="eager")
GATED = dict(COMMON, intermediate_size=64, num_attention_heads=4)
EXPERTS = dict(head_dim=16, moe_intermediate_size=24, num_experts_per_tok=2)
GPT2 = dict(vocab_size=272, n_embd=48, n_layer=3, n_head=4, n_positions=160, n_inner=96,
            bos_token_id=None, eos_token_id=None, attn_implementation="eager")

# name: (config, dtype in the file, largest shard)
FIXTURES = {
    "gpt2_mha_tied": (GPT2Config(**dict(GPT2, n_layer=2)), torch.float32, None),
    "gpt2_untied_erf": (GPT2Config(**dict(GPT2, activation_function="gelu", n_inner=None, n_layer=2,
                                          tie_word_embeddings=False)), torch.float16, None),
    "llama_mha_untied": (LlamaConfig(**GATED, num_key_value_heads=4, tie_word_embeddings=False),
                         torch.float32, None),
    "llama_gqa_tied": (LlamaConfig(**GATED, num_key_value_heads=2, tie_word_embeddings=True,
                                   rope_parameters={"rope_type": "default",
                                                    "rope_theta": 500000.0}),
                       torch.float32, None),
    "llama_mqa_biases": (LlamaConfig(**GATED, num_key_value_heads=1, tie_word_embeddings=True,
                                     attention_bias=True, mlp_bias=True), torch.float32, None),
    "llama_sharded_bf16": (LlamaConfig(**dict(GATED, num_hidden_layers=3), num_key_value_heads=2,
                                       tie_word_embeddings=False), torch.bfloat16, "60KB"),
    "mistral_gqa": (MistralConfig(**GATED, num_key_value_heads=2, head_dim=16, sliding_window=None,
                                  tie_word_embeddings=False), torch.float32, None),
    "qwen2_gqa_untied": (Qwen2Config(**GATED, num_key_value_heads=2, tie_word_embeddings=False,
                                     use_sliding_window=False), torch.float32, None),
    "qwen2_gqa_tied": (Qwen2Config(**GATED, num_key_value_heads=2, tie_word_embeddings=True,
                                   use_sliding_window=False), torch.float32, None),
    # Scaled positions: contexts are longer than the "original" one, where scaling shows.
    "llama_scaled_llama3": (LlamaConfig(**GATED, num_key_value_heads=1, tie_word_embeddings=False,
                                        rope_parameters=dict(
                                            ROPES[2], original_max_position_embeddings=32)),
                            torch.float32, None),
    "llama_scaled_linear": (LlamaConfig(**GATED, num_key_value_heads=2, tie_word_embeddings=False,
                                        rope_parameters={"rope_type": "linear", "factor": 4.0,
                                                         "rope_theta": 10000.0}),
                            torch.float32, None),
    "qwen2_scaled_yarn": (Qwen2Config(**GATED, num_key_value_heads=4, tie_word_embeddings=True,
                                      use_sliding_window=False, rope_parameters={
                                          "rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
                                          "original_max_position_embeddings": 40}),
                          torch.float32, None),
    "qwen3_gqa_tied": (Qwen3Config(**GATED, num_key_value_heads=2, head_dim=16,
                                   tie_word_embeddings=True), torch.float32, None),
    "qwen3_mha_untied": (Qwen3Config(**GATED, num_key_value_heads=4, head_dim=20,
                                     tie_word_embeddings=False), torch.bfloat16, None),
    # Layer 1 has one MLP, layers 0 and 2 have experts.
    "qwen3moe_mqa_untied": (Qwen3MoeConfig(**dict(GATED, num_hidden_layers=3), **EXPERTS,
                                           num_key_value_heads=1, num_experts=6,
                                           norm_topk_prob=True, mlp_only_layers=[1],
                                           tie_word_embeddings=False), torch.float32, None),
    "qwen3moe_gqa_tied": (Qwen3MoeConfig(**GATED, **EXPERTS, num_key_value_heads=2, num_experts=5,
                                         norm_topk_prob=False, tie_word_embeddings=True),
                          torch.bfloat16, None),
    "mixtral_gqa": (MixtralConfig(**dict(GATED, intermediate_size=32), num_key_value_heads=2,
                                  num_local_experts=4, num_experts_per_tok=2, sliding_window=None,
                                  tie_word_embeddings=False), torch.float32, None),
    # Windows that end within a tile of 64 positions, and one that spans two tiles.
    "mistral_window": (MistralConfig(**GATED, num_key_value_heads=4, sliding_window=70,
                                     tie_word_embeddings=False), torch.float32, None),
    "qwen2_window": (Qwen2Config(**dict(GATED, num_hidden_layers=3), num_key_value_heads=2,
                                 tie_word_embeddings=True, use_sliding_window=True,
                                 sliding_window=20, max_window_layers=1), torch.float32, None),
    # The first with caps that scores and logits come near to, the second with the usual ones.
    "gemma2_gqa_tied": (Gemma2Config(
        **dict(GATED, num_hidden_layers=3), num_key_value_heads=2, head_dim=16,
        query_pre_attn_scalar=20, sliding_window=20, attn_logit_softcapping=20.0,
        final_logit_softcapping=20.0, tie_word_embeddings=True), torch.float32, None),
    "gemma2_mqa_untied": (Gemma2Config(
        **GATED, num_key_value_heads=1, head_dim=12, query_pre_attn_scalar=12, sliding_window=70,
        tie_word_embeddings=False, layer_types=["full_attention", "sliding_attention"]),
                          torch.bfloat16, None),
    "gemma3_mqa_tied": (Gemma3TextConfig(
        **dict(GATED, num_hidden_layers=3), num_key_value_heads=1, head_dim=16,
        query_pre_attn_scalar=20, sliding_window=20, tie_word_embeddings=True,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        rope_parameters={"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0,
                                            "factor": 8.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
                        torch.float32, None),
    "gemma3_gqa_untied": (Gemma3TextConfig(
        **GATED, num_key_value_heads=2, head_dim=12, query_pre_attn_scalar=12, sliding_window=70,
        tie_word_embeddings=False, layer_types=["sliding_attention", "full_attention"]),
                          torch.bfloat16, None),
}


def randomise(model, generator):
    """Fills every parameter so that attention, MLP and positions all matter to the logits."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith(".bias"):
                p.copy_(0.3 * noise)
            elif p.dim() == 1:
                p.copy_(1 + 0.2 * noise)
            elif "wpe" in name:
                p.copy_(0.5 * noise)
            elif "embed" in name or "wte" in name or "lm_head" in name:
                # A tied embedding must stay small, or each token predicts itself for ever.
                p.copy_((0.2 if model.config.tie_word_embeddings else 1.0) * noise)
            else:
                # GPT-2's Conv1D is [in, out], nn.Linear is [out, in], experts are [.., out, in].
                fan_in = p.shape[0] if ".c_" in name else p.shape[-1]
                p.copy_(1.5 * noise / fan_in ** 0.5)


def greedy(model, prompt):
    """Returns the NEW_TOKENS-token continuation and the smallest relative gap that decided it."""
    ids, gap = list(prompt), float("inf")
    for _ in range(NEW_TOKENS):
        logits = model(torch.tensor([ids])).logits[0, -1]
        best = torch.topk(logits, 2)
        gap = min(gap, float((best.values[0] - best.values[1]) / logits.std()))
        ids.append(int(best.indices[0]))
    return ids[len(prompt):], gap


def attempt(config, dtype, seed):
    """One random model (f32, of the values its file will hold), expected and logits; or None."""
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    randomise(model, generator)
    # Parameters alone: model.to() would round the rotary frequencies too, and a model that is loaded
    # from a file has them in f32 whatever the file's dtype is.
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype))
    vocab = config.vocab_size
    draw = lambda n: torch.randint(0, vocab, (n,), generator=generator).tolist()
    prompt, second = draw(PROMPT_TOKENS), draw(SECOND_PROMPT_TOKENS)
    continuations = []
    for p in (prompt, second):
        tokens, gap = greedy(model, p)
        if gap < SMALLEST_GAP or len(set(tokens)) < 12:
            return None
        continuations.append({"prompt": p, "tokens": tokens, "smallest_gap": round(gap, 6)})
    logits = model(torch.tensor([prompt])).logits[0].numpy()
    expected = {"prompt": prompt, "vocab_size": vocab, "continuations": continuations}
    return model, expected, logits


def make(name):
    config, dtype, largest_shard = FIXTURES[name]
    for seed in range(1, 1000):
        made = attempt(config, dtype, seed)
        if made is not None:
            break
    else:
        sys.exit(f"{name}: no seed gives a clear greedy continuation")
    model, expected, logits = made
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shards = {"max_shard_size": largest_shard} if largest_shard else {}
    model.to(dtype).save_pretrained(folder, **shards)
    (folder / "expected.json").write_text(json.dumps({"seed": seed, **expected}) + "\n")
    logits.astype("<f4").tofile(folder / "logits.f32")
    size = sum(f.stat().st_size for f in folder.iterdir())
    gaps = [c["smallest_gap"] for c in expected["continuations"]]
    print(f"{name}: seed {seed}, {size} bytes, smallest gaps {gaps}")


def make_rope():
    """Writes rope/rows.json and rope/rows.f32: cosines, then sines, of one position a row."""
    rows, values = [], []
    for rope in ROPES:
        config = LlamaConfig(hidden_size=4 * ROPE_DIM, num_attention_heads=4,
                             max_position_embeddings=max(ROPE_POSITIONS) + 1, rope_parameters=rope)
        cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.tensor([ROPE_POSITIONS]))
        for i, position in enumerate(ROPE_POSITIONS):
            rows.append({"rope": rope, "position": position})
            # The second half of a row repeats the first.
            values += [cos[0, i, :ROPE_DIM // 2], sin[0, i, :ROPE_DIM // 2]]
    folder = ROOT.parent / "rope"
    folder.mkdir(exist_ok=True)
    (folder / "rows.json").write_text(json.dumps({"rotary_dim": ROPE_DIM, "rows": rows}) + "\n")
    torch.cat(values).numpy().astype("<f4").tofile(folder / "rows.f32")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    names = sys.argv[1:] or ["rope", *FIXTURES]
    with torch.inference_mode():
        for name in names:
            make_rope() if name == "rope" else make(name)


if __name__ == "__main__":
    main()
