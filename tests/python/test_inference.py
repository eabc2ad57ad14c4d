"""Generate, chat, tokenize and models against a real server."""

from __future__ import annotations

import threading

import pytest

import reprise
from conftest import StartServer, eventually

GREETING: list[reprise.Message] = [{"role": "user", "content": "What is a block?"}]


def test_generate_streams_chunks_and_then_has_a_summary(client: reprise.Client) -> None:
    answer = client.generate("Once upon a time", max_new_tokens=6, ignore_eos=True)
    with pytest.raises(ValueError, match="read all chunks"):
        _ = answer.summary
    chunks = list(answer)
    assert len(chunks) == 6
    assert "".join(chunk.text for chunk in chunks) == answer.text
    assert all(chunk.sample == 0 and chunk.logprob is None for chunk in chunks)
    summary = answer.summary
    assert summary.finish_reason == reprise.FinishReason.MAX_TOKENS
    assert summary.new_tokens == 6
    assert summary.prompt_tokens == len(client.tokenize("Once upon a time"))
    assert 0 < summary.ttft_seconds <= summary.total_seconds


def test_token_ids_and_text_are_the_same_prompt(client: reprise.Client) -> None:
    text = client.generate("The same prompt", max_new_tokens=4, ignore_eos=True)
    ids = client.generate(client.tokenize("The same prompt"), max_new_tokens=4, ignore_eos=True)
    assert [chunk.token_id for chunk in text] == [chunk.token_id for chunk in ids]


def test_the_second_turn_of_a_chat_reuses_the_first(client: reprise.Client) -> None:
    messages = [*GREETING]
    first = client.chat(messages, max_new_tokens=16)
    messages.append({"role": "assistant", "content": first.read()})
    assert first.summary.cached_tokens.total == 0
    messages.append({"role": "user", "content": "And a slot?"})
    second = client.chat(messages, max_new_tokens=4)
    second.read()
    assert second.summary.cached_tokens.ram > first.summary.prompt_tokens // 2
    assert second.summary.block_tokens == 8
    unshared = client.chat(messages, max_new_tokens=4, salt="another")
    unshared.read()
    assert unshared.summary.cached_tokens.total == 0
    off = client.chat(messages, max_new_tokens=4, use_cache=False)
    assert (off.read(), off.summary.cached_tokens.total) == (second.text, 0)


def test_tokenize_renders_a_conversation_as_chat_does(client: reprise.Client) -> None:
    ids = client.tokenize(GREETING)
    answer = client.chat(GREETING, max_new_tokens=1)
    answer.read()
    assert answer.summary.prompt_tokens == len(ids) > len(client.tokenize("What is a block?"))


def test_every_option_reaches_the_server(client: reprise.Client) -> None:
    options: reprise.GenerateOptions = {
        "max_new_tokens": 3, "temperature": 0.5, "top_k": 5, "top_p": 0.9, "min_p": 0.01, "seed": 7,
        "repetition_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.1,
        "logit_bias": {65: 100.0}, "top_logprobs": 2, "stop": ["never this"],
        "stop_token_ids": [3], "ignore_eos": True, "num_samples": 2, "priority": 5,
        "use_cache": True, "exact_kv": True, "tenant": "default", "salt": "s",
        "hints": reprise.Hints(session="a", turn=1)}
    answer = client.generate("x", **options)
    chunks = list(answer)
    assert {chunk.sample for chunk in chunks} == {0, 1}
    assert {chunk.token_id for chunk in chunks} == {65}  # the bias, twice over
    assert all(chunk.logprob is not None and len(chunk.top_logprobs) == 2 for chunk in chunks)
    assert len(answer.texts) == len(answer.summary.samples) == 2
    refused: dict[str, reprise.GenerateOptions] = {
        "top_k": {"top_k": -1}, "top_p": {"top_p": 2.0}, "min_p": {"min_p": 2.0},
        "repetition_penalty": {"repetition_penalty": -1.0},
        "presence_penalty": {"presence_penalty": 9.0},
        "frequency_penalty": {"frequency_penalty": 9.0}, "temperature": {"temperature": -1.0},
        "logit_bias": {"logit_bias": {1: 999.0}}, "top_logprobs": {"top_logprobs": 99},
        "max_new_tokens": {"max_new_tokens": -1}, "priority": {"priority": 999},
        "num_samples": {"num_samples": 99}}
    for name, wrong in refused.items():
        with pytest.raises(reprise.InvalidArgument, match=name):
            client.generate("x", **wrong).read()


def test_what_is_no_option_is_refused_before_anything_is_sent(client: reprise.Client) -> None:
    with pytest.raises(TypeError, match="top_q"):
        client.generate("x", top_q=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="sequence of texts"):
        client.generate("x", stop="one text")


def test_model_and_models_tell_what_is_served(client: reprise.Client) -> None:
    model = client.model()
    assert model.name == "tiny"
    assert model.identity.layout.block_tokens == 8
    assert model.identity.layout.dtype == reprise.DType.FP32
    assert reprise.Identity.from_proto(model.identity.to_proto()) == model.identity
    try:
        assert client.models() == (model,)
    except reprise.Unimplemented:
        pytest.skip("the server does not offer ListModels yet")


def test_leaving_an_answer_early_frees_the_request(client: reprise.Client) -> None:
    def runs_until_left() -> bool:
        with client.generate("Once", max_new_tokens=8000, ignore_eos=True) as answer:
            next(answer)
            runs = client.stats().engine["running_requests"] == 1
        eventually(lambda: client.stats().engine["running_requests"] == 0)
        with pytest.raises(reprise.RepriseError) as ended:
            answer.read()
        return runs and isinstance(ended.value, reprise.Cancelled)

    # Again where the server, for which nobody read, ended it before the client did.
    eventually(runs_until_left)


def test_two_answers_at_once_do_not_mix(client: reprise.Client) -> None:
    prompts = [f"Question number {number}" for number in range(6)]
    alone = [client.generate(prompt, max_new_tokens=8, ignore_eos=True).read()
             for prompt in prompts]
    together = [""] * len(prompts)

    def ask(index: int) -> None:
        together[index] = client.generate(prompts[index], max_new_tokens=8, ignore_eos=True).read()

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_server_without_a_model_says_so(start_server: StartServer) -> None:
    server = start_server("--listen", "127.0.0.1:0", "--ram-bytes", "16MiB")
    with reprise.Client(server.address) as client:
        with pytest.raises(reprise.FailedPrecondition, match="model"):
            client.generate("x").read()
        with pytest.raises(reprise.FailedPrecondition, match="model"):
            client.model()
