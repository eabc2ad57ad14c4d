"""What attention_peers.py --check takes for FlashInfer: the calls that flashinfer_attention.py makes,
computed in f32 by what FlashInfer's documentation says of their arguments.

Where FlashInfer is there, each call must fit its signature too.
"""

import inspect
import sys
import types

import torch
from attention_libraries import plain


def signed(real):
    """A decorator: what is called must fit `real`; None: anything fits."""
    def decorate(function):
        def call(*words, **named):
            if real is not None:
                inspect.signature(real).bind(*words, **named)
            return function(*words, **named)
        return call
    return decorate


def install():
    """Takes the name `flashinfer`."""
    try:
        import flashinfer as real
    except Exception as error:
        print(f"no signatures of FlashInfer: {error!r}", file=sys.stderr)
        real = None
    wrapper = real and real.BatchDecodeWithPagedKVCacheWrapper

    class Decode:
        @signed(wrapper and wrapper.__init__)
        def __init__(self, workspace, kv_layout, use_tensor_cores):
            assert workspace.dtype == torch.uint8 and not workspace.any() and kv_layout == "HND"

        @signed(wrapper and wrapper.plan)
        def plan(self, starts, pages, in_last, heads, kv_heads, dim, page, q_data_type, kv_data_type):
            assert {x.dtype for x in (starts, pages, in_last)} == {torch.int32}
            assert all(1 <= count <= page for count in in_last.tolist())
            self.rows = [pages[begin:end].long() for begin, end in zip(starts[:-1], starts[1:])]
            self.lengths = [page * (len(row) - 1) + count for row, count in zip(self.rows, in_last.tolist())]
            self.key = (kv_heads, page, dim)

        @signed(wrapper and wrapper.run)
        def run(self, q, kv, out):
            for b, (row, length) in enumerate(zip(self.rows, self.lengths)):
                assert all(x.shape[1:] == self.key for x in kv)
                k, v = (x[row].transpose(0, 1).flatten(1, 2)[:, :length] for x in kv)
                out[b] = plain(q[b].unsqueeze(1), k, v, False).squeeze(1)
            return out

    @signed(real and real.single_prefill_with_kv_cache)
    def prefill(q, k, v, causal, kv_layout):
        assert kv_layout == "HND" and k.shape[1] == q.shape[0]
        return plain(q.transpose(0, 1), k, v, causal).transpose(0, 1).to(q.dtype)

    sys.modules["flashinfer"] = types.SimpleNamespace(
        __version__=f"stand-in ({real.__version__})" if real else "stand-in",
        BatchDecodeWithPagedKVCacheWrapper=Decode, single_prefill_with_kv_cache=prefill)
