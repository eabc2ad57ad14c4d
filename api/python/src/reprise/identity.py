"""What a namespace is opened from: everything but tokens that changes KV bytes."""

from __future__ import annotations

import dataclasses
import enum
import math

from reprise.v1 import cache_pb2 as pb

# What an identity is hashed with; servers that hash otherwise refuse it.
HASH_SCHEME = "reprise-xxh3-128-v1"
# Length of an external key.
EXTERNAL_KEY_BYTES = 32


class DType(enum.IntEnum):
    """What keys and values are kept as."""

    FP32 = 1
    FP16 = 2
    BF16 = 3
    FP8_E4M3 = 4
    INT8 = 5
    INT4 = 6


class KeySource(enum.IntEnum):
    """Who names the blocks of a namespace."""

    TOKENS = 1
    EXTERNAL = 2


@dataclasses.dataclass(frozen=True, slots=True)
class KvLayout:
    """Shape of a block's bytes.

    Attributes:
        num_layers, num_kv_heads, head_dim: of the model, or of the part of it whose KV this is.
        block_tokens: tokens that a block stands for.
        dtype: of the elements.
    """

    num_layers: int
    num_kv_heads: int
    head_dim: int
    block_tokens: int
    dtype: DType

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """[layer][K, V][KV head][token][head dimension], for numpy or torch."""
        return (self.num_layers, 2, self.num_kv_heads, self.block_tokens, self.head_dim)

    @property
    def elements(self) -> int:
        """Elements of a block; scales, where there are any, come on top."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """Equal identities share blocks; any field that differs makes another namespace.

    Attributes:
        model_digest, tokenizer_digest: names of the exact bytes of weights and tokenizer.
        layout: shape of a block.
        position_scheme: how positions enter K, such as "rope 10000".
        tenant: whose blocks they are.
        adapter_digest: "none" without an adapter.
        first_layer: number of the first layer that blocks hold.
        kv_scales: "none" for FP32, FP16 and BF16; cachestore/README.md lists the others.
        tensor_parallel_rank, tensor_parallel_size: which part of the heads, of how many.
        pipeline_parallel_rank, pipeline_parallel_size: which part of the layers, of how many.
        salt: blocks are shared only under the same one.
        key_source: EXTERNAL: prompts are given as keys of 32 bytes, one a block.
    """

    model_digest: str
    tokenizer_digest: str
    layout: KvLayout
    position_scheme: str
    tenant: str = "default"
    adapter_digest: str = "none"
    first_layer: int = 0
    kv_scales: str = "none"
    tensor_parallel_rank: int = 0
    tensor_parallel_size: int = 1
    pipeline_parallel_rank: int = 0
    pipeline_parallel_size: int = 1
    salt: str = ""
    key_source: KeySource = KeySource.TOKENS

    def to_proto(self) -> pb.NamespaceIdentity:
        """The same as a message."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        layout = fields.pop("layout")
        return pb.NamespaceIdentity(
            layout=pb.KvLayout(**{field.name: getattr(layout, field.name)
                                  for field in dataclasses.fields(layout)}),
            **fields)

    @classmethod
    def from_proto(cls, message: pb.NamespaceIdentity) -> Identity:
        """ValueError: the message has a dtype that this package does not know."""
        fields = {field.name: getattr(message, field.name) for field in dataclasses.fields(cls)}
        layout = message.layout
        fields["layout"] = KvLayout(layout.num_layers, layout.num_kv_heads, layout.head_dim,
                                    layout.block_tokens, DType(layout.dtype))
        fields["key_source"] = KeySource(message.key_source or KeySource.TOKENS)
        return cls(**fields)
