"""OpenAI's API, with OpenAI's own package, and /metrics, with Prometheus' own parser."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import openai
import pytest
from prometheus_client import parser

import reprise
from conftest import BLOCK_TOKENS, Server, eventually, identity


def http_address(server: Server) -> str:
    """Where `server` listens for HTTP: it says so before anything else."""
    lines = [line for line in server.lines if line.startswith("http: ")]
    assert len(lines) == 1
    return "http://" + lines[0].removeprefix("http: ").strip()


def connect(server: Server, **options: object) -> openai.OpenAI:
    """OpenAI's client of `server`, which asks no proxy and does not try again."""
    return openai.OpenAI(base_url=http_address(server) + "/v1", api_key="none", max_retries=0,
                         timeout=60, http_client=openai.DefaultHttpxClient(trust_env=False),
                         **options)


def fetch(url: str) -> tuple[int, str]:
    """Status and text of a GET."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def flags(tiny_model: str) -> list[str]:
    return ["--model", tiny_model, "--threads", "1", "--listen", "127.0.0.1:0", "--http-listen",
            "127.0.0.1:0", "--ram-bytes", "64MiB", "--block-tokens", str(BLOCK_TOKENS)]


@pytest.fixture(scope="module")
def http_server(flags: list[str]) -> Iterator[Server]:
    started = Server(*flags)
    yield started
    started.close()


@pytest.fixture
def ai(http_server: Server) -> Iterator[openai.OpenAI]:
    with connect(http_server) as client:
        yield client


def test_cached_tokens_rise_over_a_streamed_conversation(ai: openai.OpenAI) -> None:
    messages: list[dict[str, str]] = [{"role": "system", "content": "You are brief."}]
    cached: list[int] = []
    prompts: list[int] = []
    for turn in range(4):
        messages.append({"role": "user", "content": f"Question {turn}: what is a block?"})
        answer = ""
        usage = None
        reasons = []
        stream = ai.chat.completions.create(
            model="tiny", messages=messages, max_tokens=24, seed=turn, stream=True,
            stream_options={"include_usage": True})
        for chunk in stream:
            if chunk.usage is not None:
                assert not chunk.choices
                usage = chunk.usage
                continue
            assert usage is None, "usage comes last"
            answer += chunk.choices[0].delta.content or ""
            if chunk.choices[0].finish_reason is not None:
                reasons.append(chunk.choices[0].finish_reason)
        assert usage is not None and reasons in (["length"], ["stop"])
        cached.append(usage.prompt_tokens_details.cached_tokens)
        prompts.append(usage.prompt_tokens)
        messages.append({"role": "assistant", "content": answer})
    assert cached[0] == 0
    assert cached == sorted(set(cached)), "more is cached with every turn"
    # What the turn before sent is found again, but for its last block.
    for turn in range(1, 4):
        assert cached[turn] >= prompts[turn - 1] - 2 * BLOCK_TOKENS


def test_a_whole_answer_is_what_its_stream_says(ai: openai.OpenAI) -> None:
    arguments = dict(model="tiny", messages=[{"role": "user", "content": "Hello"}], n=2,
                     max_completion_tokens=9, seed=7, logprobs=True, top_logprobs=2)
    whole = ai.chat.completions.create(**arguments)
    assert whole.object == "chat.completion"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    texts = ["", ""]
    logprobs: list[list[object]] = [[], []]
    for chunk in ai.chat.completions.create(**arguments, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        if choice.logprobs is not None:
            logprobs[choice.index] += choice.logprobs.content
    for index, choice in enumerate(whole.choices):
        assert choice.message.role == "assistant"
        assert choice.message.content == texts[index]
        assert choice.logprobs.content == logprobs[index]
        assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)


def test_completions_take_texts_and_token_ids(ai: openai.OpenAI) -> None:
    def texts(prompt: object, **more: object) -> list[str]:
        answer = ai.completions.create(model="tiny", prompt=prompt, temperature=0, max_tokens=6,
                                       **more)
        return [choice.text for choice in answer.choices]

    one, two = texts("One"), texts("Two")
    assert texts(["One", "Two"]) == one + two
    assert len(texts([[5, 6, 7], [8, 9]])) == 2
    assert "".join(chunk.choices[0].text for chunk in ai.completions.create(
        model="tiny", prompt="One", temperature=0, max_tokens=6, stream=True)) == one[0]
    answer = ai.completions.create(model="tiny", prompt="One", temperature=0, max_tokens=3,
                                   logprobs=2)
    assert len(answer.choices[0].logprobs.tokens) == 3
    assert all(len(top) <= 2 for top in answer.choices[0].logprobs.top_logprobs)
    # A token that is banned, and the text that ends an answer, do not come.
    stopped = ai.completions.create(model="tiny", prompt="One", temperature=0, max_tokens=6,
                                    stop=[one[0][2]])
    assert stopped.choices[0].finish_reason == "stop"
    assert one[0][2] not in stopped.choices[0].text


def test_models(ai: openai.OpenAI) -> None:
    assert [model.id for model in ai.models.list()] == ["tiny"]
    assert ai.models.retrieve("tiny").owned_by == "reprise"
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("other")


def test_errors_are_the_packages_own(ai: openai.OpenAI, http_server: Server) -> None:
    hello = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.NotFoundError) as unknown:
        ai.chat.completions.create(model="gpt-4", messages=hello)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unsupported:
        ai.chat.completions.create(model="tiny", messages=hello,
                                   response_format={"type": "json_object"})
    assert unsupported.value.param == "response_format"
    with pytest.raises(openai.BadRequestError) as misspelt:
        ai.chat.completions.create(model="tiny", messages=hello, extra_body={"temprature": 1})
    assert (misspelt.value.param, misspelt.value.code) == ("temprature", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as too_long:
        ai.completions.create(model="tiny", prompt="word " * 10000)
    assert too_long.value.code == "context_length_exceeded"
    assert too_long.value.type == "invalid_request_error"
    # Also where the call was to be streamed.
    with pytest.raises(openai.BadRequestError):
        ai.chat.completions.create(model="tiny", messages=hello, stream=True, temperature=-1)
    assert "request_id" in dir(too_long.value) and too_long.value.request_id


def test_several_at_once(http_server: Server) -> None:
    with connect(http_server) as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        def ask(i: int) -> str:
            chunks = client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": f"Question {i % 4}"}],
                temperature=0, max_tokens=16, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

        answers = list(pool.map(ask, range(32)))
    for i, answer in enumerate(answers):
        assert answer == answers[i % 4] != ""


def test_who_goes_in_the_middle_frees_the_request(
        flags: list[str], start_server: Callable[..., Server]) -> None:
    with connect(start_server(*flags, "--max-running", "1")) as client:
        stream = client.completions.create(model="tiny", prompt="a", max_tokens=8000, stream=True,
                                           extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()
        # It had the only place; the server says when it ended, long before its 8,000 tokens.
        client.completions.create(model="tiny", prompt="b", max_tokens=1)
        text = fetch(str(client.base_url).removesuffix("/v1/") + "/metrics")[1]
    samples = {sample.name: sample.value for family in
               parser.text_string_to_metric_families(text) for sample in family.samples
               if not sample.labels}
    assert samples["reprise_decoded_tokens_total"] < 8000
    assert samples["reprise_running_requests"] == 0


def test_a_session_has_a_name_and_an_end(ai: openai.OpenAI) -> None:
    arguments = dict(model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=1,
                     temperature=0, prompt_cache_key="chat-17")
    first = ai.chat.completions.create(**arguments)
    last = ai.chat.completions.create(**arguments, extra_body={"session_closed": True})
    assert first.choices[0].message.content == last.choices[0].message.content
    with pytest.raises(openai.BadRequestError) as wrong:
        ai.chat.completions.create(**arguments, extra_body={"session_closed": "yes"})
    assert wrong.value.param == "session_closed"


def test_tools_change_what_the_template_is_told(ai: openai.OpenAI) -> None:
    tools = [{"type": "function", "function": {"name": "now", "parameters": {}}}]
    for choice in ("auto", "none"):
        ai.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "Hello"}],
                                   tools=tools, tool_choice=choice, max_tokens=1)
    with pytest.raises(openai.BadRequestError) as forced:
        ai.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "Hello"}],
                                   tools=tools, tool_choice="required")
    assert forced.value.param == "tool_choice"


def test_metrics_are_what_prometheus_reads(ai: openai.OpenAI, http_server: Server) -> None:
    ai.completions.create(model="tiny", prompt="Once upon a time there was", max_tokens=2)
    status, text = fetch(http_address(http_server) + "/metrics")
    assert status == 200
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert len(families) > 40
    assert all(family.type in ("counter", "gauge", "histogram") and family.documentation
               for family in families.values())
    hits = {sample.labels["tier"]: sample.value for sample in families["reprise_hit_tokens"].samples}
    misses = sum(sample.value for sample in families["reprise_miss_tokens"].samples)
    assert set(hits) == {"gpu", "ram", "disk"}
    assert sum(hits.values()) + misses == families["reprise_lookup_tokens"].samples[0].value > 0


def test_sigterm_lets_streams_end_and_readiness_falls(
        flags: list[str], start_server: Callable[..., Server]) -> None:
    server = start_server(*flags, "--shutdown-grace", "60")
    address = http_address(server)
    assert fetch(address + "/readyz") == (200, "ok\n")
    begun = threading.Barrier(5)
    looked = threading.Event()

    def stream(client: openai.OpenAI) -> str | None:
        chunks = iter(client.completions.create(
            model="tiny", prompt="a", max_tokens=4000, stream=True,
            extra_body={"ignore_eos": True}))
        next(chunks)
        begun.wait(timeout=60)
        looked.wait(timeout=60)  # reading, they would take the interpreter
        return [chunk.choices[0].finish_reason for chunk in chunks][-1]

    with (connect(server) as client, reprise.Client(server.address) as cache,
          concurrent.futures.ThreadPoolExecutor(5) as pool):
        namespace = cache.open_namespace(identity())
        tokens = [0] * BLOCK_TOKENS
        blocks = 5000  # more than a message holds

        def slow_blocks() -> Iterator[reprise.NewBlock]:
            yield from [(tokens, bytes(namespace.block_bytes))] * blocks
            looked.wait(timeout=60)

        # The server could be done with the streams before anything is looked at; not with this.
        put = pool.submit(namespace.put, slow_blocks())
        eventually(lambda: namespace.match(tokens).blocks == 1)
        ends = [pool.submit(stream, client) for _ in range(4)]
        begun.wait(timeout=60)
        server.process.send_signal(signal.SIGTERM)
        server.await_line("shutting down")
        assert fetch(address + "/healthz") == (200, "ok\n")
        assert fetch(address + "/readyz")[0] == 503
        status, body = fetch(address + "/v1/models")
        assert status == 503 and json.loads(body)["error"]["code"] == "unavailable"
        looked.set()
        assert [end.result() for end in ends] == ["length"] * 4
        assert put.result().stored_blocks == blocks
    assert server.process.wait(timeout=60) == 0
