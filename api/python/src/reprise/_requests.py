"""Requests of the Cache service that need no transport: for the blocking and the asyncio client."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from reprise.blocks import Prompt
from reprise.hints import Hints
from reprise.identity import EXTERNAL_KEY_BYTES, HASH_SCHEME, Identity, KeySource
from reprise.v1 import cache_pb2 as pb

# The length of one message of an import.
FILE_CHUNK_BYTES = 1 << 20


def open_namespace(identity: Identity, shared: bool) -> pb.OpenNamespaceRequest:
    return pb.OpenNamespaceRequest(identity=identity.to_proto(), hash_scheme=HASH_SCHEME,
                                   shared=shared)


def open_session(*, name: str, shared_memory: bool, write: bool,
                 max_ttl: float) -> pb.OpenSessionRequest:
    return pb.OpenSessionRequest(client_name=name, shared_memory=shared_memory,
                                 write_shared_memory=write, max_ttl_seconds=max_ttl)


def stats_fields(response: pb.StatsResponse) -> dict[str, dict[str, int]]:
    return {"store": dict(response.store), "engine": dict(response.engine),
            "sessions": dict(response.sessions)}


def hints_field(hints: Hints | None) -> dict[str, Any]:
    return {} if hints is None else {"hints": hints.to_proto()}


def invalidate_scope(tenant: str | None, everything: bool) -> pb.InvalidateRequest:
    """TypeError: not exactly one of both is given."""
    if everything == (tenant is not None):
        raise TypeError("invalidate takes either tenant=NAME or everything=True")
    if tenant is not None:
        return pb.InvalidateRequest(tenant=tenant)
    return pb.InvalidateRequest(all=True)


@dataclasses.dataclass(frozen=True, slots=True)
class NamespaceRequests:
    """Fills in what of a request is the namespace's.

    Attributes:
        namespace_id: for one server process.
        key_source: what prompts are given as.
        block_bytes: size of a block.
        block_tokens: tokens of a block.
        max_message_bytes: what of several blocks one message may hold; 0: it holds one block.
    """

    namespace_id: int
    key_source: KeySource
    block_bytes: int
    block_tokens: int
    max_message_bytes: int

    def prompt_fields(self, prompt: Prompt, prefix: str = "") -> dict[str, Any]:
        """The fields that a prompt goes into; their names begin with `prefix`.

        TypeError: it is text, or not what the namespace's key source asks for. ValueError: a token
        id is no u32, or a key has not 32 bytes.
        """
        if isinstance(prompt, (str, bytes)):
            raise TypeError(f"a prompt is token ids or external keys, not {type(prompt).__name__}; "
                            "client.tokenize(text) gives the served model's ids")
        if self.key_source == KeySource.TOKENS:
            tolist = getattr(prompt, "tolist", None)  # an array of numpy's, faster than one by one
            return {f"{prefix}token_ids": prompt if tolist is None else tolist()}
        keys = list(prompt)
        for key in keys:
            _check_key(key)
        return {f"{prefix}external_keys": keys}

    def about(self, prompt: Prompt, hints: Hints | None = None) -> dict[str, Any]:
        """The fields of most requests about a prompt."""
        return {"namespace_id": self.namespace_id, **self.prompt_fields(prompt),
                **hints_field(hints)}

    def prefix_scope(self, prompt: Prompt) -> pb.BlockPrefix:
        return pb.BlockPrefix(**self.about(prompt))

    def invalidate(self, prefix: Prompt | None) -> pb.InvalidateRequest:
        if prefix is None:
            return pb.InvalidateRequest(namespace_id=self.namespace_id)
        return pb.InvalidateRequest(prefix=self.prefix_scope(prefix))

    def export(self, prefix: Prompt | None) -> pb.ExportRequest:
        if prefix is None:
            return pb.ExportRequest(namespace_id=self.namespace_id)
        return pb.ExportRequest(prefix=self.prefix_scope(prefix))

    def put_header(self, prefix: Prompt, independent_keys: bool,
                   hints: Hints | None) -> pb.PutRequest:
        """What the first message of a Put says besides its block."""
        return pb.PutRequest(namespace_id=self.namespace_id, independent_keys=independent_keys,
                             **self.prompt_fields(prefix, "prefix_"), **hints_field(hints))

    def block_name(self, name: Iterable[int] | bytes) -> dict[str, Any]:
        """The field that names one block: its own token ids, or its external key."""
        if self.key_source == KeySource.EXTERNAL:
            _check_key(name)
            return {"external_key": name}
        if isinstance(name, (str, bytes)):
            raise TypeError(f"a block is named by its token ids, not by {type(name).__name__}")
        tokens = list(name)
        if len(tokens) != self.block_tokens:
            raise ValueError(f"a block of this namespace has {self.block_tokens} tokens, "
                             f"this one {len(tokens)}")
        return {"token_ids": tokens}


def _check_key(key: object) -> None:
    if not isinstance(key, bytes):
        raise TypeError(f"an external key is bytes, not {type(key).__name__}")
    if len(key) != EXTERNAL_KEY_BYTES:
        raise ValueError(f"an external key has {EXTERNAL_KEY_BYTES} bytes, this one {len(key)}")
