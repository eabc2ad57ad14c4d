"""Blocks read and written in a real server's memory. test_leases.py has what could go wrong."""

from __future__ import annotations

import asyncio
import pathlib
import random
from collections.abc import Iterator

import numpy
import pytest

import reprise
import reprise.aio
from conftest import BLOCK_TOKENS, Server, StartServer, eventually

_RAM_BYTES = 16 << 20


@pytest.fixture
def local_server(start_server: StartServer, short_folder: pathlib.Path) -> Server:
    # By the order of LRU what fills RAM anew pushes out all that was there.
    server = start_server("--listen", f"unix:{short_folder}/socket", "--ram-bytes", str(_RAM_BYTES),
                          "--eviction", "lru")
    with reprise.Client(server.address) as client:
        try:
            client.session(shared_memory=True).close()
        except (reprise.Unimplemented, reprise.FailedPrecondition) as error:
            pytest.skip(f"the server has no shared memory: {error.message}")
    return server


@pytest.fixture
def client(local_server: Server) -> Iterator[reprise.Client]:
    with reprise.Client(local_server.address, timeout=30) as connected:
        yield connected


@pytest.fixture
def namespace(client: reprise.Client) -> reprise.Namespace:
    """Blocks of 64 KiB: RAM has room for some 250."""
    layout = reprise.KvLayout(num_layers=4, num_kv_heads=4, head_dim=64, block_tokens=BLOCK_TOKENS,
                              dtype=reprise.DType.FP32)
    return client.open_namespace(reprise.Identity("m", "t", layout, "none"))


def tokens_of(*blocks: int) -> list[int]:
    return [1000 * block + token for block in blocks for token in range(BLOCK_TOKENS)]


def content(namespace: reprise.Namespace, block: int) -> bytes:
    return random.Random(block).randbytes(namespace.block_bytes)


def put(namespace: reprise.Namespace, *blocks: int) -> reprise.PutReport:
    return namespace.put((tokens_of(block), content(namespace, block)) for block in blocks)


def churn(namespace: reprise.Namespace) -> None:
    """Fills RAM anew, twice over: every slot that may be used again is."""
    for block in range(1000, 1000 + 2 * _RAM_BYTES // namespace.block_bytes):
        assert put(namespace, block).stored_blocks == 1


def test_a_lease_shows_what_get_sends(client: reprise.Client,
                                      namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2, 3)
    with (client.session(shared_memory=True) as session,
          session.acquire(namespace, tokens_of(1, 2, 3), first_block=1) as lease):
        assert lease.wait() == 2
        shown = [(block.index, bytes(block.buffer)) for block in lease.blocks()]
    sent = [(block.index, bytes(block.buffer))
            for block in namespace.get(tokens_of(1, 2, 3), first_block=1)]
    assert shown == sent == [(1, content(namespace, 2)), (2, content(namespace, 3))]


def test_a_view_keeps_its_bytes_whatever_ends(local_server: Server, client: reprise.Client,
                                              namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2)
    with client.session(shared_memory=True) as session:
        with session.acquire(namespace, tokens_of(1, 2)) as lease:
            views = [block.array("u1") for block in lease.blocks()]
        churn(namespace)
        assert [bytes(view) for view in views] == [content(namespace, 1), content(namespace, 2)]
    churn(namespace)  # the session has ended, the connection has not
    assert [bytes(view) for view in views] == [content(namespace, 1), content(namespace, 2)]
    assert namespace.match(tokens_of(1, 2)).ram_blocks == 2
    local_server.stop()
    assert [bytes(view) for view in views] == [content(namespace, 1), content(namespace, 2)]


def test_without_a_view_the_slot_is_used_again(client: reprise.Client,
                                               namespace: reprise.Namespace) -> None:
    """The negative control of the test above."""
    put(namespace, 1)
    with client.session(shared_memory=True) as session:
        lease = session.acquire(namespace, tokens_of(1))
        (block,) = lease.blocks()
        arena, hold = session._arena, lease._hold
        assert arena is not None and hold is not None
        stray = type(arena.window(0, namespace.block_bytes, hold)).from_address(
            arena._address + lease._record.places[0].offset)
        assert bytes(stray) == content(namespace, 1)
        del block, hold
        lease.release()
        eventually(lambda: client.stats().store["pinned_blocks"] == 0)
        churn(namespace)
        assert bytes(stray) != content(namespace, 1)
        assert namespace.match(tokens_of(1)).blocks == 0


def test_what_is_sealed_is_a_block_like_any_other(client: reprise.Client,
                                                  namespace: reprise.Namespace) -> None:
    put(namespace, 1)
    layout = namespace.identity.layout
    kv = numpy.random.default_rng(1).random((2, *layout.shape), dtype=numpy.float32)
    with (client.session(shared_memory=True, write=True) as session,
          session.grant(namespace, 3) as grant):
        assert len(grant) == 3
        for slot in range(2):
            grant.array(slot, numpy.float32, layout.shape)[:] = kv[slot]
        report = grant.seal([tokens_of(2), tokens_of(3)], prefix=tokens_of(1))
        assert (report.stored_blocks, report.rejected_blocks) == (2, 0), report
        _, *sealed = namespace.get(tokens_of(1, 2, 3))
        assert [numpy.array_equal(block.array(numpy.float32, layout.shape), kv[slot])
                for slot, block in enumerate(sealed)] == [True, True]
        eventually(lambda: client.stats().store["writing_blocks"] == 0)  # the third slot's as well


def test_who_did_not_ask_to_write_cannot(client: reprise.Client,
                                         namespace: reprise.Namespace) -> None:
    with client.session(shared_memory=True) as session:
        assert session._arena is not None and not session._arena.writable
        with pytest.raises(reprise.FailedPrecondition, match="may write"):
            session.grant(namespace, 1)


def test_asyncio_reads_and_writes_in_place(local_server: Server,
                                           namespace: reprise.Namespace) -> None:
    async def use() -> None:
        async with reprise.aio.Client(local_server.address, timeout=30) as client:
            mine = await client.open_namespace(namespace.identity)
            async with client.session(shared_memory=True, write=True) as session:
                async with await session.grant(mine, 1) as grant:
                    grant.buffer(0)[:] = content(namespace, 7)
                    assert (await grant.seal([tokens_of(7)])).stored_blocks == 1
                async with await session.acquire(mine, tokens_of(7)) as lease:
                    assert await lease.wait() == 1
                    shown = [bytes(block.buffer) async for block in lease.blocks()]
                assert shown == [content(namespace, 7)]

    asyncio.run(use())


def test_a_machine_without_the_socket_has_no_shared_memory(server: Server) -> None:
    with reprise.Client(server.address) as client:
        with pytest.raises((reprise.FailedPrecondition, reprise.Unimplemented)):
            client.session(shared_memory=True)
