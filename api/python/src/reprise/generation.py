"""What a model is asked, and what it answers."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from reprise.hints import Hints
from reprise.identity import Identity
from reprise.v1 import inference_pb2 as pb


class Message(TypedDict):
    """One message of a conversation."""

    role: str  # "system", "user" or "assistant"
    content: str


class GenerateOptions(TypedDict, total=False):
    """Keyword arguments of `generate` and `chat`; all may be left out.

    They act in this order: logit_bias, repetition, frequency and presence penalty, temperature,
    top_k, top_p, min_p. The same seed and request give the same tokens.
    """

    max_new_tokens: int  # default 128
    temperature: float  # default 0: greedy
    top_k: int  # 0: off
    top_p: float  # (0, 1]
    min_p: float  # [0, 1], of the likeliest token's probability; 0: off
    seed: int
    repetition_penalty: float  # (0, 100]; 1: off
    presence_penalty: float  # [-2, 2]
    frequency_penalty: float  # [-2, 2]
    logit_bias: Mapping[int, float]  # token id -> [-100, 100]
    top_logprobs: int  # 0 to 20; left out: chunks carry no log probabilities
    stop: Sequence[str]  # texts at which an answer ends; they are not part of it
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    num_samples: int  # answers to the one prompt, at most 32
    priority: int  # -100 to 100; the higher one goes first
    use_cache: bool  # False: blocks are neither looked for nor stored
    exact_kv: bool  # fails where the server rounds keys and values
    tenant: str  # only without credentials; default "default"
    salt: str  # blocks are shared only under the same one
    hints: Hints


class FinishReason(enum.IntEnum):
    """Why an answer ended."""

    UNSPECIFIED = 0
    STOP_TOKEN = 1
    STOP_STRING = 2
    MAX_TOKENS = 3
    CONTEXT_FULL = 4
    CANCELLED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural logarithm of a token's probability in the model's own distribution."""

    token_id: int
    logprob: float


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """One new token.

    Attributes:
        token_id: the token.
        text: text that became complete with it; may be empty.
        sample: which answer it is of, from 0.
        logprob: when top_logprobs was asked for.
        top_logprobs: of the likeliest tokens, best first.
    """

    token_id: int
    text: str
    sample: int
    logprob: float | None
    top_logprobs: tuple[TokenLogprob, ...]

    @classmethod
    def from_proto(cls, chunk: pb.TokenChunk) -> Chunk:
        """What the message says."""
        return cls(chunk.token_id, chunk.text, chunk.sample,
                   chunk.logprob if chunk.HasField("logprob") else None,
                   tuple(TokenLogprob(top.token_id, top.logprob) for top in chunk.top_logprobs))


@dataclasses.dataclass(frozen=True, slots=True)
class CachedTokens:
    """Prompt tokens that were not computed, by the tier that had them."""

    gpu: int
    ram: int
    disk: int

    @property
    def total(self) -> int:
        return self.gpu + self.ram + self.disk


@dataclasses.dataclass(frozen=True, slots=True)
class SampleSummary:
    """How one of the answers ended."""

    finish_reason: FinishReason
    new_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What a request cost; times in seconds, counted from its submission.

    Attributes:
        samples: one for each answer.
        prompt_tokens: length of the prompt.
        cached_tokens: of them, those that were not computed.
        new_tokens: of all answers.
        queue_seconds: until it was admitted.
        load_seconds: of them, spent waiting for cached blocks.
        ttft_seconds: until the first token.
        total_seconds: until the last token.
        decode_tokens_per_second: tokens after the first over the time after the first.
        block_tokens: tokens of a KV block.
    """

    samples: tuple[SampleSummary, ...]
    prompt_tokens: int
    cached_tokens: CachedTokens
    new_tokens: int
    queue_seconds: float
    load_seconds: float
    ttft_seconds: float
    total_seconds: float
    decode_tokens_per_second: float
    block_tokens: int

    @property
    def finish_reason(self) -> FinishReason:
        """Of the first answer."""
        return self.samples[0].finish_reason

    @classmethod
    def from_proto(cls, summary: pb.GenerateSummary) -> Summary:
        """What the message says."""
        cached = summary.cached_tokens
        samples = tuple(SampleSummary(FinishReason(sample.finish_reason), sample.new_tokens)
                        for sample in summary.samples)
        return cls(
            samples or (SampleSummary(FinishReason(summary.finish_reason), summary.new_tokens),),
            summary.prompt_tokens, CachedTokens(cached.gpu, cached.ram, cached.disk),
            summary.new_tokens, summary.queue_seconds, summary.load_seconds, summary.ttft_seconds,
            summary.total_seconds, summary.decode_tokens_per_second, summary.block_tokens)


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """A served model.

    Attributes:
        name: last component of its folder.
        architecture: as its config.json says.
        max_positions: context, in tokens.
        vocab_size: token ids are below it.
        identity: of the default tenant's blocks; what `open_namespace` takes.
    """

    name: str
    architecture: str
    max_positions: int
    vocab_size: int
    identity: Identity

    @classmethod
    def from_proto(cls, message: pb.GetModelResponse) -> Model:
        """What the message says."""
        return cls(message.name, message.architecture, message.max_positions, message.vocab_size,
                   Identity.from_proto(message.identity))


class Answers:
    """Text and summary of a request, gathered from its events."""

    def __init__(self) -> None:
        self._texts: list[list[str]] = [[]]
        self._summary: Summary | None = None

    def take(self, event: pb.GenerateResponse) -> Chunk | None:
        """The event's chunk; None: it is the summary, the last event."""
        if event.WhichOneof("event") == "summary":
            self._summary = Summary.from_proto(event.summary)
            return None
        chunk = Chunk.from_proto(event.token)
        while len(self._texts) <= chunk.sample:
            self._texts.append([])
        self._texts[chunk.sample].append(chunk.text)
        return chunk

    @property
    def text(self) -> str:
        """Text of the first answer, so far."""
        return self.texts[0]

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts of all answers, so far."""
        return tuple("".join(parts) for parts in self._texts)

    @property
    def summary(self) -> Summary:
        """ValueError: not all chunks have been read."""
        if self._summary is None:
            raise ValueError("there is no summary yet: read all chunks first")
        return self._summary


_SAMPLING = frozenset({"temperature", "top_k", "top_p", "min_p", "seed", "repetition_penalty",
                       "presence_penalty", "frequency_penalty", "logit_bias", "top_logprobs"})
_STOP = {"max_new_tokens": "max_new_tokens", "ignore_eos": "ignore_eos", "stop": "strings",
         "stop_token_ids": "token_ids"}
_REQUEST = frozenset({"tenant", "salt", "exact_kv", "priority", "num_samples"})


def generate_request(prompt: str | Iterable[int], options: GenerateOptions) -> pb.GenerateRequest:
    """TypeError: an option is unknown or of a wrong type; ValueError: it does not fit its field."""
    if isinstance(prompt, str):
        return _with_options(pb.GenerateRequest(text=prompt), options)
    return _with_options(pb.GenerateRequest(token_ids=pb.TokenIds(ids=prompt)), options)


def chat_request(messages: Iterable[Message], template_variables: str,
                 options: GenerateOptions) -> pb.GenerateRequest:
    """Errors as generate_request."""
    request = pb.GenerateRequest(conversation=conversation(messages, template_variables))
    return _with_options(request, options)


def conversation(messages: Iterable[Message], template_variables: str) -> pb.Conversation:
    """The messages, oldest first, as the server renders them."""
    return pb.Conversation(
        messages=[pb.ChatMessage(role=message["role"], content=message["content"])
                  for message in messages],
        template_variables=template_variables)


def _with_options(request: pb.GenerateRequest, options: GenerateOptions) -> pb.GenerateRequest:
    values: dict[str, Any] = dict(options)
    for name, value in values.items():
        if name in _SAMPLING:
            request.sampling.MergeFrom(pb.Sampling(**{name: value}))
        elif name in _STOP:
            if name == "stop" and isinstance(value, str):
                raise TypeError('stop is a sequence of texts; for one: stop=["..."]')
            request.stop.MergeFrom(pb.Stop(**{_STOP[name]: value}))
        elif name in _REQUEST:
            setattr(request, name, value)
        elif name == "use_cache":
            request.cache_use = pb.CACHE_USE_DEFAULT if value else pb.CACHE_USE_OFF
        elif name == "hints":
            request.hints.CopyFrom(value.to_proto())
        else:
            raise TypeError(f"there is no option {name!r}; reprise.GenerateOptions lists them")
    return request
