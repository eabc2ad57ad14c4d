#!/usr/bin/env python3
"""Hugging Face transformers on a GPU, for `reprise bench gpu-engine --peers`.

A Llama of 8B geometry with random weights in bf16, made on the card; it speaks the lines of
bench/peers/peer_protocol.py.

    transformers_decode.py --check    tries a tiny geometry on the CPU
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "peers"))

try:
    import torch
    import transformers
except ImportError as error:
    print("error", error)  # before any other name of them is needed
    sys.exit(77)
from peer_protocol import serve

LLAMA_8B = dict(vocab_size=128256, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32,
                num_key_value_heads=8, intermediate_size=14336, max_position_embeddings=131072)
TINY = dict(vocab_size=512, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, intermediate_size=128, max_position_embeddings=256)


class TransformersDecode:
    def __init__(self, geometry, device):
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("no CUDA card for PyTorch")
        self._device = device
        config = transformers.LlamaConfig(**geometry, tie_word_embeddings=False)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(device):
            self._model = transformers.AutoModelForCausalLM.from_config(config).eval()
        torch.set_default_dtype(before)
        self.name = f"transformers {transformers.__version__}, torch {torch.__version__}, bfloat16"

    def reset(self, prompts):
        self._cache = None

    def prompt(self, prompts):
        return self._step(torch.tensor(prompts, device=self._device))

    def decode(self, steps):
        tokens = []
        for _ in range(steps):
            tokens += self._step(self._next)
        return tokens

    @torch.inference_mode()
    def _step(self, ids):
        output = self._model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._cache = output.past_key_values
        self._next = output.logits[:, -1].argmax(-1, keepdim=True)
        return self._next[:, 0].tolist()


def check():
    """Steps on the CPU against the whole text at once. Returns the exit code."""
    peer = TransformersDecode(TINY, "cpu")
    texts = [[7, 30, 2, 9], [200, 1, 5, 77]]
    peer.reset(texts)
    first = peer.prompt(texts)
    further = peer.decode(3)
    if len(first) != 2 or len(further) != 6:
        print("wrong numbers of tokens")
        return 1
    with torch.inference_mode():
        whole = torch.tensor([text + [first[i]] for i, text in enumerate(texts)])
        expected = peer._model(whole).logits[:, -1].float()
    # bf16 rounds otherwise from shape to shape: a token is right when it is as good as the best.
    for row, token in zip(expected, further[:2]):
        if row[token] < row.max() - 0.05:
            print("another token than of the whole text")
            return 1
    print(peer.name)
    return 0


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(check())
    serve(lambda: TransformersDecode(LLAMA_8B, "cuda"))
