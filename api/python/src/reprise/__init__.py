"""Client of the Reprise KV cache and inference server.

    import reprise

    client = reprise.Client("127.0.0.1:50051")
    print(client.generate("Once upon a time", max_new_tokens=64).read())

reprise.aio has the same for asyncio. Messages that are returned as they are (ExplainResponse,
ListedBlock, UsageResponse, WhatIfResponse, CacheEvent) are those of reprise.v1.cache_pb2 and documented in
api/proto/reprise/v1/cache.proto.
"""

from reprise._connection import Tls
from reprise.admin import Admin
from reprise.blocks import (Block, Imported, Invalidated, Match, Prefetched, PutOutcome, PutReport,
                            PutResult, Stats)
from reprise.client import Client, Generation
from reprise.errors import (AlreadyExists, BufferInUse, Cancelled, ChecksumMismatch, DataLoss,
                            DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument,
                            LeaseEnded, NotFound, OutOfRange, PermissionDenied, RepriseError,
                            ResourceExhausted, Unauthenticated, Unavailable, Unimplemented)
from reprise.generation import (CachedTokens, Chunk, FinishReason, GenerateOptions, Message, Model,
                                SampleSummary, Summary, TokenLogprob)
from reprise.hints import Hints
from reprise.identity import DType, Identity, KeySource, KvLayout
from reprise.leasing import Advice, LoadTime, PrefillEstimate
from reprise.namespace import Namespace
from reprise.recording import Recording
from reprise.session import Grant, Lease, Session

__version__ = "0.1.0"

__all__ = [
    "Admin", "Advice", "AlreadyExists", "Block", "BufferInUse", "CachedTokens", "Cancelled",
    "ChecksumMismatch", "Chunk", "Client", "DType", "DataLoss", "DeadlineExceeded",
    "FailedPrecondition", "FinishReason", "GenerateOptions", "Generation", "Grant", "Hints",
    "Identity", "Imported", "Internal", "InvalidArgument", "Invalidated", "KeySource", "KvLayout",
    "Lease", "LeaseEnded", "LoadTime", "Match", "Message", "Model", "Namespace", "NotFound",
    "OutOfRange", "PermissionDenied", "Prefetched", "PrefillEstimate", "PutOutcome", "PutReport",
    "PutResult", "Recording", "RepriseError", "ResourceExhausted", "SampleSummary", "Session",
    "Stats", "Summary", "Tls", "TokenLogprob", "Unauthenticated", "Unavailable", "Unimplemented",
]
