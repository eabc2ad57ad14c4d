"""Hugging Face transformers on PyTorch as a peer: transformers_peer.py MODEL_FOLDER THREADS."""

import sys

import torch
import transformers

from peer_protocol import serve


class TransformersPeer:
    def __init__(self, folder, threads):
        torch.set_num_threads(threads)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
        dtype = str(self._model.dtype).removeprefix("torch.")
        self.name = f"transformers {transformers.__version__}, torch {torch.__version__}, {dtype}"

    def reset(self, prompts):
        self._cache = None

    def prompt(self, prompts):
        return self._step(torch.tensor(prompts))

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


serve(lambda: TransformersPeer(sys.argv[1], int(sys.argv[2])))
