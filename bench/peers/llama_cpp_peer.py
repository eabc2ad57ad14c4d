"""llama.cpp as a peer: llama_cpp_peer.py MODEL_FOLDER THREADS.

Reads MODEL_FOLDER/model.gguf, which to_gguf.py makes if it is not there. KV is f32 for f32 weights, and
llama.cpp's default, f16, otherwise.
"""

import os
import subprocess
import sys

import llama_cpp as llama
import numpy as np

from peer_protocol import serve

BATCH_TOKENS = 2048  # llama.cpp's default
STEP_ROOM = 1024     # tokens that each sequence may decode
ERROR = 4            # of llama.cpp's levels of messages


@llama.llama_log_callback
def show_errors(level, text, _):
    if level == ERROR:
        print(text.decode(), end="", file=sys.stderr)


class LlamaCppPeer:
    def __init__(self, folder, threads):
        path = f"{folder}/model.gguf"
        if not os.path.exists(path):
            converter = os.path.join(os.path.dirname(__file__), "to_gguf.py")
            subprocess.run([sys.executable, converter, folder], check=True, stdout=sys.stderr)
        llama.llama_log_set(show_errors, None)
        llama.llama_backend_init()
        self._model = llama.llama_model_load_from_file(
            path.encode(), llama.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self._threads = threads
        self._vocab_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        words = llama.ctypes.create_string_buffer(128)
        llama.llama_model_desc(self._model, words, len(words))
        self._f32 = "F32" in words.value.decode()
        self.name = f"llama-cpp-python {llama.__version__}, {words.value.decode()}"
        self._batch = llama.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._context = None

    def reset(self, prompts):
        if self._context:
            llama.llama_free(self._context)
        params = llama.llama_context_default_params()
        params.n_ctx = len(prompts) * (len(prompts[0]) + STEP_ROOM)
        params.n_seq_max = len(prompts)
        params.n_batch = BATCH_TOKENS
        params.n_threads = params.n_threads_batch = self._threads
        if self._f32:
            params.type_k = params.type_v = llama.GGML_TYPE_F32
        self._context = llama.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp cannot make a context of {params.n_ctx} tokens")

    def prompt(self, prompts):
        rows = [(token, position, sequence, position + 1 == len(prompt))
                for sequence, prompt in enumerate(prompts)
                for position, token in enumerate(prompt)]
        self._next = []
        for first in range(0, len(rows), BATCH_TOKENS):
            self._next += self._compute(rows[first:first + BATCH_TOKENS])
        self._length = len(prompts[0])
        return self._next

    def decode(self, steps):
        tokens = []
        for _ in range(steps):
            self._next = self._compute(
                [(token, self._length, sequence, True) for sequence, token in enumerate(self._next)])
            self._length += 1
            tokens += self._next
        return tokens

    def _compute(self, rows):
        """Computes (token, position, sequence, wanted) rows; the best next token of each wanted."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        if (code := llama.llama_decode(self._context, batch)) != 0:
            raise RuntimeError(f"llama_decode returned {code}")
        best = []
        for i, row in enumerate(rows):
            if row[3]:
                logits = llama.llama_get_logits_ith(self._context, i)
                best.append(int(np.ctypeslib.as_array(logits, (self._vocab_size,)).argmax()))
        return best


serve(lambda: LlamaCppPeer(sys.argv[1], int(sys.argv[2])))
