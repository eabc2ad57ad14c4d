"""The RPCs: path, and how their messages become bytes and come out of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Generic, TypeVar

from google.protobuf.message import Message

from reprise import _wire
from reprise.v1 import admin_pb2 as admin
from reprise.v1 import cache_pb2 as cache
from reprise.v1 import inference_pb2 as inference

Request = TypeVar("Request")
Response = TypeVar("Response")
RequestMessage = TypeVar("RequestMessage", bound=Message)
ResponseMessage = TypeVar("ResponseMessage", bound=Message)


@dataclasses.dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One RPC. Whether requests or responses are streamed is the caller's to know."""

    path: str
    serialize: Callable[[Request], bytes]
    parse: Callable[[bytes], Response]


def _method(path: str, request: type[RequestMessage], response: type[ResponseMessage]
            ) -> Method[RequestMessage, ResponseMessage]:
    return Method(f"/reprise.v1.{path}", request.SerializeToString, response.FromString)


GENERATE = _method("Inference/Generate", inference.GenerateRequest, inference.GenerateResponse)
TOKENIZE = _method("Inference/Tokenize", inference.TokenizeRequest, inference.TokenizeResponse)
GET_MODEL = _method("Inference/GetModel", inference.GetModelRequest, inference.GetModelResponse)
LIST_MODELS = _method("Inference/ListModels", inference.ListModelsRequest,
                      inference.ListModelsResponse)

OPEN_NAMESPACE = _method("Cache/OpenNamespace", cache.OpenNamespaceRequest,
                         cache.OpenNamespaceResponse)
MATCH = _method("Cache/Match", cache.MatchRequest, cache.MatchResponse)
EXISTS = _method("Cache/Exists", cache.ExistsRequest, cache.ExistsResponse)
TOUCH = _method("Cache/Touch", cache.TouchRequest, cache.TouchResponse)
PREFETCH = _method("Cache/Prefetch", cache.PrefetchRequest, cache.PrefetchResponse)
EXPLAIN = _method("Cache/Explain", cache.ExplainRequest, cache.ExplainResponse)

OPEN_SESSION = _method("Cache/OpenSession", cache.OpenSessionRequest, cache.SessionEvent)
ACQUIRE = _method("Cache/Acquire", cache.AcquireRequest, cache.AcquireResponse)
RENEW = _method("Cache/Renew", cache.RenewRequest, cache.RenewResponse)
RELEASE = _method("Cache/Release", cache.ReleaseRequest, cache.ReleaseResponse)
GRANT = _method("Cache/Grant", cache.GrantRequest, cache.GrantResponse)
SEAL = _method("Cache/Seal", cache.SealRequest, cache.PutResponse)

PUT: Method[_wire.PutMessage, cache.PutResponse] = Method(
    "/reprise.v1.Cache/Put", _wire.serialize_put, cache.PutResponse.FromString)
GET: Method[cache.GetRequest, _wire.SentBlock] = Method(
    "/reprise.v1.Cache/Get", cache.GetRequest.SerializeToString, _wire.parse_sent_block)

STATS = _method("Cache/Stats", cache.StatsRequest, cache.StatsResponse)
LIST = _method("Cache/List", cache.ListRequest, cache.ListResponse)
USAGE = _method("Cache/Usage", cache.UsageRequest, cache.UsageResponse)
WHAT_IF = _method("Cache/WhatIf", cache.WhatIfRequest, cache.WhatIfResponse)
WATCH = _method("Cache/Watch", cache.WatchRequest, cache.CacheEvent)
DEMOTE = _method("Cache/Demote", cache.DemoteRequest, cache.DemoteResponse)
INVALIDATE = _method("Cache/Invalidate", cache.InvalidateRequest, cache.InvalidateResponse)
EXPORT = _method("Cache/Export", cache.ExportRequest, cache.FileChunk)
IMPORT = _method("Cache/Import", cache.FileChunk, cache.ImportResponse)

START_RECORDING = _method("Admin/StartRecording", admin.StartRecordingRequest, admin.RecordingState)
STOP_RECORDING = _method("Admin/StopRecording", admin.StopRecordingRequest, admin.RecordingState)
