"""Blocks as they come and go, and what the cache says of them."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import xxhash

from reprise import errors
from reprise._wire import SentBlock
from reprise.v1 import cache_pb2 as pb

if TYPE_CHECKING:
    import numpy
    import numpy.typing

# Token ids, or, in a namespace of external keys, one key of 32 bytes a block. An array of numpy's
# is fine.
Prompt: TypeAlias = Iterable[int] | Iterable[bytes]
# What has the buffer protocol and is C-contiguous: bytes, memoryview, numpy array; of a torch
# tensor its numpy().
Buffer: TypeAlias = Any
# A block to store: its own token ids (block_tokens of them), or its external key, and its bytes.
NewBlock: TypeAlias = tuple[Iterable[int] | bytes, Buffer]


def array_of(buffer: memoryview, dtype: numpy.typing.DTypeLike,
             shape: Sequence[int] | None) -> numpy.ndarray[Any, Any]:
    """A view of `buffer` as numpy knows it, without a copy; needs numpy.

    ValueError: `shape` has another size than the buffer.
    """
    import numpy

    array = numpy.frombuffer(buffer, dtype)
    return array if shape is None else array.reshape(shape)


def bytes_of(buffer: Buffer) -> memoryview:
    """The bytes of `buffer`, not copied, as a flat memoryview.

    ValueError: it is not C-contiguous. TypeError: it has no buffer.
    """
    if hasattr(buffer, "__array_interface__"):  # types that memoryview does not know, as bfloat16
        if not buffer.flags.c_contiguous:
            raise ValueError("the array is not C-contiguous: pass numpy.ascontiguousarray(array)")
        return memoryview(buffer.reshape(-1).view("u1"))
    try:
        view = memoryview(buffer)
    except TypeError:
        raise TypeError(f"{type(buffer).__name__} has no buffer: pass bytes, a memoryview or a "
                        "numpy array (of a torch tensor, tensor.numpy())") from None
    if not view.c_contiguous:
        raise ValueError("the buffer is not C-contiguous")
    return view.cast("B")


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """A block that the cache has given.

    Attributes:
        index: its number in the prompt, from 0.
        tier: where it was found: "gpu", "ram" or "disk".
        buffer: its bytes, read-only. From another process's memory they have been copied into the
            client's; with shared memory they lie where the server has them, and the block, its
            lease and everything in between live on while there is a view of them.
    """

    index: int
    tier: str
    buffer: memoryview

    def array(self, dtype: numpy.typing.DTypeLike,
              shape: Sequence[int] | None = None) -> numpy.ndarray[Any, Any]:
        """A read-only view as a numpy array, without a copy.

        Args:
            dtype: of the elements; of a block without scales that of `identity.layout`.
            shape: such as `identity.layout.shape`; None: flat.
        """
        return array_of(self.buffer, dtype, shape)

    @classmethod
    def from_wire(cls, sent: SentBlock, verify: bool) -> Block:
        """ChecksumMismatch: `verify` is set and the bytes are not what the server has sent."""
        header = sent.header
        if verify:
            check_bytes(sent.payload, header.payload_xxh3, header.block_index)
        return cls(header.block_index, header.tier, sent.payload)


def hash_bytes(buffer: memoryview) -> int:
    """XXH3-64 of `buffer`."""
    return xxhash.xxh3_64_intdigest(buffer)


def check_bytes(buffer: memoryview, expected: int, index: int) -> None:
    """ChecksumMismatch: the XXH3-64 of `buffer` is not `expected`."""
    actual = hash_bytes(buffer)
    if actual != expected:
        raise errors.ChecksumMismatch(
            f"block {index} has arrived with XXH3-64 {actual:016x}, was sent with {expected:016x}")


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """How much of a prompt is cached: blocks in a row from the first one on.

    Attributes:
        gpu_blocks: on the GPU; counted nowhere else.
        ram_blocks: in RAM.
        disk_blocks: only on disk.
        matched_tokens: of all of them.
    """

    gpu_blocks: int
    ram_blocks: int
    disk_blocks: int
    matched_tokens: int

    @property
    def blocks(self) -> int:
        """In any tier."""
        return self.gpu_blocks + self.ram_blocks + self.disk_blocks

    @classmethod
    def from_proto(cls, match: pb.MatchResponse) -> Match:
        """What the message says."""
        return cls(match.gpu_blocks, match.ram_blocks, match.disk_blocks, match.matched_tokens)


@dataclasses.dataclass(frozen=True, slots=True)
class Prefetched:
    """What Prefetch found.

    Attributes:
        ready_blocks: leading blocks that were in memory already.
        loading_blocks: behind them, that are on their way.
    """

    ready_blocks: int
    loading_blocks: int


class PutOutcome(enum.IntEnum):
    """What became of a block that was put."""

    UNSPECIFIED = 0
    STORED = 1
    EXISTED = 2  # it was there already, and stays as it was
    REJECTED = 3
    BEHIND_REJECTED = 4  # a block before it was rejected


@dataclasses.dataclass(frozen=True, slots=True)
class PutResult:
    """Of one block; `reason` says why it was rejected."""

    outcome: PutOutcome
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class PutReport:
    """What became of the blocks of one call.

    Attributes:
        stored_blocks: visible now.
        rejected_blocks: not stored.
        reject_reason: of the first of them; empty when there is none.
        results: one a block, in order; empty from a server that does not tell.
    """

    stored_blocks: int
    rejected_blocks: int
    reject_reason: str
    results: tuple[PutResult, ...]

    @classmethod
    def from_proto(cls, response: pb.PutResponse) -> PutReport:
        """What the message says."""
        results = tuple(PutResult(PutOutcome(result.outcome), result.reason)
                        for result in response.results)
        return cls(response.stored_blocks, response.rejected_blocks, response.reject_reason,
                   results)


@dataclasses.dataclass(frozen=True, slots=True)
class Invalidated:
    """Blocks taken out; one in several tiers counts in each.

    Attributes:
        gpu_blocks, ram_blocks, disk_blocks: by tier.
        pinned_blocks: of those in memory, that are still being read; they go when that ends.
    """

    gpu_blocks: int
    ram_blocks: int
    disk_blocks: int
    pinned_blocks: int

    @classmethod
    def from_proto(cls, response: pb.InvalidateResponse) -> Invalidated:
        """What the message says."""
        return cls(response.gpu_blocks, response.ram_blocks, response.disk_blocks,
                   response.pinned_blocks)


@dataclasses.dataclass(frozen=True, slots=True)
class Imported:
    """What became of the blocks of an exported file.

    Attributes:
        namespace_id: where they are, for this server process.
        stored_blocks, existing_blocks, rejected_blocks: stored now, there before, not stored.
        reject_reason: of the first one that was rejected.
    """

    namespace_id: int
    stored_blocks: int
    existing_blocks: int
    rejected_blocks: int
    reject_reason: str

    @classmethod
    def from_proto(cls, response: pb.ImportResponse) -> Imported:
        """What the message says."""
        return cls(response.namespace_id, response.stored_blocks, response.existing_blocks,
                   response.rejected_blocks, response.reject_reason)


@dataclasses.dataclass(frozen=True, slots=True)
class Stats:
    """Counters and gauges, by name.

    Attributes:
        store: of the blocks.
        engine: of the served model; empty when there is none.
        sessions: of sessions, leases, and the advice that was given.
    """

    store: typing.Mapping[str, int]
    engine: typing.Mapping[str, int]
    sessions: typing.Mapping[str, int]
