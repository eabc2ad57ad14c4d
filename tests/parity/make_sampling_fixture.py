#!/usr/bin/env python3
"""Makes sampling.json: what transformers makes of logits by generation parameters.

    python3 tests/parity/make_sampling_fixture.py

Needs torch and transformers from PyPI; downloads nothing. The processors and their order are those
that GenerationMixin builds from a GenerationConfig, none of them is named here. Each case has random
logits [VOCAB_SIZE], the tokens before them, its parameters, and

    adjusted        logits after bias and repetition penalty: the processors of a greedy generation
    probabilities   of a draw: softmax after all processors of a sampling one; 0 where filtered out

Presence and frequency penalties are not transformers'; they are tested without it.
"""

import json
import pathlib
import random

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

VOCAB_SIZE = 40
CASES = 30
# Kept and dropped tokens must differ by more than f32 arithmetic does.
SMALLEST_GAP = 1e-3


def random_parameters(rng, tokens):
    """Each parameter is off in some cases, and acts in most."""
    parameters = {"temperature": rng.choice([0.5, 0.8, 1.0, 1.7, 4.0])}
    if rng.random() < 0.5:
        parameters["top_k"] = rng.randint(3, 20)
    if rng.random() < 0.6:
        parameters["top_p"] = rng.choice([0.5, 0.7, 0.9, 0.97])
    if rng.random() < 0.6:
        parameters["min_p"] = rng.choice([0.02, 0.1, 0.3])
    if rng.random() < 0.3:
        # Many tokens count, and both filters cut: here it matters which of them is first.
        parameters.update(temperature=2.0, top_p=0.8, min_p=0.3)
    if rng.random() < 0.7:
        parameters["repetition_penalty"] = rng.choice([0.7, 1.2, 1.8])
    if rng.random() < 0.7:
        biased = rng.sample(range(VOCAB_SIZE), 4) + rng.sample(tokens, 2)
        parameters["logit_bias"] = {token: rng.choice([-100.0, -2.5, 1.5, 6.0]) for token in biased}
    return parameters


def processed(model, parameters, do_sample, tokens, logits):
    """The logits after the processors that transformers builds for `parameters`."""
    named = {"top_k": 0, "top_p": 1.0, **parameters}
    bias = named.pop("logit_bias", None)
    if bias:
        named["sequence_bias"] = {(token,): value for token, value in bias.items()}
    config = GenerationConfig(do_sample=do_sample, **named)
    processors = model._get_logits_processor(config, input_ids_seq_length=len(tokens), device="cpu")
    return processors(torch.tensor([tokens]), logits.clone()[None])[0]


def make_case(model, rng):
    logits = torch.tensor([rng.gauss(0, 1.5) for _ in range(VOCAB_SIZE)], dtype=torch.float32)
    prompt = [rng.randrange(VOCAB_SIZE) for _ in range(rng.randint(2, 12))]
    answer = [rng.randrange(VOCAB_SIZE) for _ in range(rng.randint(0, 12))]
    parameters = random_parameters(rng, prompt + answer)
    adjusted = processed(model, parameters, False, prompt + answer, logits)
    drawn = processed(model, parameters, True, prompt + answer, logits)
    return {"logits": logits.tolist(), "prompt": prompt, "answer": answer,
            "parameters": parameters, "adjusted": adjusted.tolist(),
            "probabilities": torch.softmax(drawn.double(), 0).tolist()}


def is_clear(case):
    """No two logits are so close that rounding may tell them apart."""
    ranked = sorted(case["adjusted"])
    return all(b - a > SMALLEST_GAP for a, b in zip(ranked, ranked[1:]))


def main():
    rng = random.Random(20)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB_SIZE, hidden_size=8, intermediate_size=8,
                                         num_hidden_layers=1, num_attention_heads=1,
                                         bos_token_id=None, eos_token_id=None))
    cases = []
    while len(cases) < CASES:
        case = make_case(model, rng)
        if is_clear(case):
            cases.append(case)
    path = pathlib.Path(__file__).parent / "sampling.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(f"{path}: {len(cases)} cases")


if __name__ == "__main__":
    main()
