"""The asyncio client against a real server, and against the blocking one."""

from __future__ import annotations

import asyncio
import inspect
import pathlib
import random
import time
from collections.abc import AsyncIterator

import pytest

import reprise
import reprise.aio
from conftest import BLOCK_TOKENS, Server, StartServer, identity


def tokens_of(*blocks: int) -> list[int]:
    return [1000 * block + token for block in blocks for token in range(BLOCK_TOKENS)]


def bytes_of(namespace: reprise.aio.Namespace, block: int) -> bytes:
    return random.Random(block).randbytes(namespace.block_bytes)


@pytest.mark.parametrize("name", reprise.aio.__all__)
def test_both_clients_offer_the_same(name: str) -> None:
    blocking, asynchronous = getattr(reprise, name), getattr(reprise.aio, name)
    members = [{member for member in dir(kind) if not member.startswith("_")}
               for kind in (blocking, asynchronous)]
    assert members[0] == members[1]
    for member in members[0]:
        functions = [inspect.getattr_static(kind, member) for kind in (blocking, asynchronous)]
        if inspect.isfunction(functions[0]):
            signatures = [[(parameter.name, parameter.kind, parameter.default)
                           for parameter in inspect.signature(function).parameters.values()]
                          for function in functions]
            assert signatures[0] == signatures[1], f"{name}.{member}"


def test_the_second_turn_of_a_chat_reuses_the_first(server: Server) -> None:
    async def talk() -> None:
        async with reprise.aio.Client(server.address) as client:
            messages: list[reprise.Message] = [{"role": "user", "content": "What is a coroutine?"}]
            first = client.chat(messages, max_new_tokens=16)
            texts = [chunk.text async for chunk in first]
            assert "".join(texts) == first.text
            messages.append({"role": "assistant", "content": first.text})
            messages.append({"role": "user", "content": "And a task?"})
            second = client.chat(messages, max_new_tokens=4)
            await second.read()
            assert second.summary.cached_tokens.ram > first.summary.prompt_tokens // 2
            ids = await client.tokenize(messages)
            assert len(ids) == second.summary.prompt_tokens

    asyncio.run(talk())


def test_what_is_put_is_matched_and_got(server: Server) -> None:
    async def use() -> None:
        async with reprise.aio.Client(server.address) as client:
            namespace = await client.open_namespace(identity("aio put"))

            async def blocks() -> AsyncIterator[tuple[list[int], bytes]]:
                for number in (1, 2):
                    yield tokens_of(number), bytes_of(namespace, number)

            assert (await namespace.put(blocks())).stored_blocks == 2
            report = await namespace.put([(tokens_of(3), bytes_of(namespace, 3))],
                                         prefix=tokens_of(1, 2))
            assert report.stored_blocks == 1
            prompt = tokens_of(1, 2, 3, 4)
            assert await namespace.match(prompt) == reprise.Match(0, 3, 0, 3 * BLOCK_TOKENS)
            got = [bytes(block.buffer) async for block in namespace.get(prompt)]
            assert got == [bytes_of(namespace, number) for number in (1, 2, 3)]
            assert (await namespace.invalidate()).ram_blocks == 3
            assert [block async for block in namespace.get(prompt)] == []
            assert (await client.stats()).store["ram_capacity_bytes"] > 0
            assert await client.demote() >= 0
            assert (await client.invalidate(everything=True)).ram_blocks >= 0

    asyncio.run(use())


def test_many_tasks_share_a_client(server: Server) -> None:
    async def one(client: reprise.aio.Client, number: int) -> bool:
        namespace = await client.open_namespace(identity(f"aio {number % 3}"))
        chain = [100 * number + block for block in range(4)]
        await namespace.put((tokens_of(block), bytes_of(namespace, block)) for block in chain)
        got = [bytes(block.buffer) async for block in namespace.get(tokens_of(*chain))]
        return got == [bytes_of(namespace, block) for block in chain]

    async def all_of_them() -> None:
        async with reprise.aio.Client(server.address) as client:
            assert all(await asyncio.gather(*(one(client, number) for number in range(20))))

    asyncio.run(all_of_them())


def test_errors_are_those_of_the_blocking_client(server: Server) -> None:
    class Own(Exception):
        pass

    async def fail() -> None:
        async with reprise.aio.Client(server.address) as client:
            with pytest.raises(reprise.InvalidArgument, match="top_k"):
                await client.generate("x", top_k=-1).read()
            with pytest.raises(reprise.DeadlineExceeded):
                await client.generate("x", max_new_tokens=8000, ignore_eos=True,
                                      timeout=0.05).read()
            namespace = await client.open_namespace(identity("aio errors"))
            with pytest.raises(ValueError, match="this buffer 3"):
                await namespace.put([(tokens_of(1), b"abc")])
            with pytest.raises(reprise.FailedPrecondition, match="put the others first"):
                await namespace.put(((tokens_of(number), bytes(namespace.block_bytes))
                                     for number in range(50)), prefix=tokens_of(99))

            async def blocks() -> AsyncIterator[tuple[list[int], bytes]]:
                yield tokens_of(1), bytes(namespace.block_bytes)
                raise Own

            with pytest.raises(Own):
                await namespace.put(blocks())
        with pytest.raises(reprise.Unavailable, match="closed"):
            await client.stats()

    asyncio.run(fail())


def test_a_cancelled_task_frees_its_request(server: Server) -> None:
    async def cancel() -> None:
        async with reprise.aio.Client(server.address) as client:
            started = asyncio.Event()

            async def ask() -> None:
                async with client.generate("x", max_new_tokens=8000, ignore_eos=True) as answer:
                    async for _ in answer:
                        started.set()

            task = asyncio.create_task(ask())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while (await client.stats()).engine["running_requests"] > 0:
                await asyncio.sleep(0.01)
            answer = client.generate("x", max_new_tokens=8000, ignore_eos=True)
            await anext(answer)
            answer.cancel()
            with pytest.raises(reprise.Cancelled):
                await answer.read()

    asyncio.run(cancel())


def test_a_namespace_is_opened_again(start_server: StartServer,
                                     short_folder: pathlib.Path) -> None:
    async def restart() -> None:
        first = start_server("--listen", f"unix:{short_folder}/socket", "--ram-bytes", "16MiB")
        async with reprise.aio.Client(first.address) as client:
            namespace = await client.open_namespace(identity())
            stale = namespace.id
            first.close()
            start_server("--listen", first.address, "--ram-bytes", "16MiB")
            late = time.monotonic() + 60
            while True:
                try:
                    assert (await namespace.match(tokens_of(1))).blocks == 0
                    break
                except reprise.Unavailable:  # gRPC waits a moment before it connects again
                    assert time.monotonic() < late
                    await asyncio.sleep(0.05)
            assert namespace.id != stale
            assert [block async for block in namespace.get(tokens_of(1))] == []

    asyncio.run(restart())
