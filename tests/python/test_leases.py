"""Leases and shared memory: views never show another block's bytes.

The server here overwrites what is released at once (fake_cache.py); test_later_calls.py has the
real one.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import reprise
import reprise.aio
from conftest import identity
from fake_cache import BLOCK_BYTES, BLOCK_TOKENS, FakeCache, content


@pytest.fixture
def start_fake(short_folder: pathlib.Path) -> Iterator[Callable[..., FakeCache]]:
    fakes: list[FakeCache] = []

    def start(**options: Any) -> FakeCache:
        fakes.append(FakeCache(short_folder, **options))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.close()


class Connected:
    """A client, its namespace and a session with shared memory."""

    def __init__(self, fake: FakeCache, **options: Any) -> None:
        self.client = reprise.Client(fake.address, timeout=20)
        self.namespace = self.client.open_namespace(identity())
        self.session = self.client.session(**{"shared_memory": True, **options})

    def acquire(self, *blocks: int) -> reprise.Lease:
        return self.session.acquire(self.namespace, prompt_of(*blocks))

    def __enter__(self) -> Connected:
        return self

    def __exit__(self, *error: object) -> None:
        self.session.close()
        self.client.close()


def prompt_of(*blocks: int) -> list[int]:
    return [block for block in blocks for _ in range(BLOCK_TOKENS)]


def test_blocks_are_read_where_they_lie(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    with Connected(fake) as here:
        assert here.session.shared_memory and here.session.max_ttl == 30
        with here.acquire(1, 2) as lease:
            assert (lease.ready, lease.num_blocks, lease.wait()) == (True, 2, 2)
            blocks = list(lease.blocks())
            assert [block.index for block in blocks] == [0, 1]
            assert [bytes(block.buffer) for block in blocks] == [content(1), content(2)]
            array = blocks[0].array(numpy.uint8, (2, BLOCK_BYTES // 2))
            assert not array.flags.writeable and blocks[0].buffer.readonly
            assert numpy.shares_memory(array, blocks[0].array("u1"))
        del blocks, array
        fake.await_held(0)


def test_a_view_outlives_release_with_the_right_bytes(
        start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    with Connected(fake) as here:
        with here.acquire(1, 2) as lease:
            first, second = lease.blocks()
            view = first.array("u1")[100:].reshape(2, -1)[1]  # three steps from the buffer
            expected = numpy.frombuffer(content(1), "u1")[100:].reshape(2, -1)[1]
        del first, second
        with pytest.raises(reprise.LeaseEnded, match="released"):
            next(lease.blocks())
        # Another lease's release goes after this one's would have.
        here.acquire(5).release()
        fake.await_held(1)
        assert numpy.array_equal(view, expected)
        del view
        fake.await_held(0)


def test_without_the_view_the_slot_is_overwritten(start_fake: Callable[..., FakeCache]) -> None:
    """What the test above would see, were the lease not kept: its negative control."""
    fake = start_fake()
    with Connected(fake) as here:
        lease = here.acquire(1)
        (block,) = lease.blocks()
        arena = here.session._arena
        assert arena is not None and bytes(block.buffer) == content(1)
        stray = (type(arena.window(0, 1, lease._hold))).from_address(  # type: ignore[arg-type]
            arena._address + BLOCK_BYTES)
        assert stray[0] == content(1)[0]
        del block
        lease.release()
        fake.await_held(0)
        assert stray[0] == 0xEE


def test_views_outlive_their_session_and_client(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    with Connected(fake) as here:
        (block,) = here.acquire(3).blocks()
        array = block.array("u1")
        del block
    fake.await_connections(1)  # kept by the view: the server may not use the slot
    assert bytes(array) == content(3)
    del array, here
    gc.collect()
    fake.await_connections(0)


def test_a_lease_that_nobody_refers_to_is_released(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    with Connected(fake) as here:
        lease = here.acquire(1)
        fake.await_held(1)
        del lease
        fake.await_held(0)


def test_a_release_that_fails_is_sent_again(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    with Connected(fake) as here:
        lease = here.acquire(1)
        fake.fail_next.add("Release")
        lease.release()
        fake.await_held(0)
        assert not fake.fail_next


def test_the_end_of_a_request_is_told_once_no_view_is_left(
        start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    hints = reprise.Hints(session="s", turn=2, finish_reason="tool_use", session_closed=True)
    with Connected(fake) as here:
        lease = here.acquire(1, 2)
        (first, second) = lease.blocks()
        with pytest.raises(reprise.BufferInUse):
            lease.end_request(hints)
        assert not fake.releases and bytes(first.buffer) == content(1), "the lease goes on"
        del first, second
        lease.end_request(hints, output_tokens=7)
        (told,) = fake.releases
        assert (told.hints, told.output_tokens) == (hints.to_proto(), 7)
        assert not fake.held
        with pytest.raises(reprise.LeaseEnded, match="released"):
            lease.end_request(hints)
        here.acquire().end_request(hints)  # nothing is held: nobody is told
        failing = here.acquire(3)
        fake.fail_next.add("Release")
        with pytest.raises(reprise.RepriseError):
            failing.end_request(hints)
        fake.await_held(0)  # ended all the same
    assert len(fake.releases) == 2 and not fake.releases[1].HasField("hints")


def test_what_is_held_is_renewed(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake(ttl=0.3)
    with Connected(fake) as here:
        (block,) = here.acquire(1).blocks()  # by a view alone
        fake.fail_next.add("Renew")
        fake.await_renewals(3)
        del block
        fake.await_held(0)


def test_a_lease_becomes_ready_when_it_is_loaded(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake(loading=True)
    with Connected(fake) as here:
        lease, lost = here.acquire(1, 2, 3), here.acquire(4)
        assert (lease.ready, lease.num_blocks) == (False, 3)
        with pytest.raises(reprise.DeadlineExceeded, match="being loaded"):
            lease.wait(timeout=0.01)
        ids = list(fake.held)
        fake.ready(ids[0], 2)
        assert lease.wait() == 2
        assert [bytes(block.buffer) for block in lease.blocks()] == [content(1), content(2)]
        fake.ready(ids[1], 0)
        with pytest.raises(reprise.LeaseEnded, match="expired"):
            lost.wait()
        assert not lost.ready


def test_an_event_may_come_before_the_answer(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake(loading=True)
    fake.event_first = True
    with Connected(fake) as here:
        assert here.acquire(1, 2).wait() == 2


def test_nothing_cached_is_a_lease_of_nothing(start_fake: Callable[..., FakeCache]) -> None:
    with Connected(start_fake()) as here, here.acquire() as lease:
        assert (lease.ready, lease.num_blocks, lease.wait()) == (True, 0, 0)
        assert list(lease.blocks()) == []


def test_advice_is_told(start_fake: Callable[..., FakeCache]) -> None:
    with Connected(start_fake()) as here:
        lease = here.session.acquire(here.namespace, prompt_of(1, 2),
                                     prefill=reprise.PrefillEstimate(1000.0))
        assert (lease.advice, lease.advised_blocks) == (reprise.Advice.LOAD_SOME, 1)
        assert lease.load_time.p50_seconds == 0.25
        assert lease.match.ram_blocks == 2
        assert here.acquire(1).advice == reprise.Advice.NONE


def test_a_block_with_other_bytes_is_refused(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    fake.wrong_checksums = True
    with Connected(fake) as here, here.acquire(1) as lease:
        with pytest.raises(reprise.ChecksumMismatch, match="block 0"):
            next(lease.blocks())
        (block,) = lease.blocks(verify=False)
        assert bytes(block.buffer) == content(1)


def test_a_session_that_the_server_ends_says_so(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake(loading=True)
    with Connected(fake) as here:
        lease = here.acquire(1)
        fake.announce.put(None)
        with pytest.raises(reprise.LeaseEnded, match="ended the session"):
            lease.wait()
        with pytest.raises(reprise.LeaseEnded, match="ended the session"):
            here.acquire(2)


def test_without_shared_memory_leased_blocks_are_sent(
        start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    with Connected(fake, shared_memory=False) as here:
        with here.acquire(1, 2) as lease:
            blocks = list(lease.blocks())
        fake.await_held(0)  # the buffers are the client's own
        assert [bytes(block.buffer) for block in blocks] == [content(1), content(2)]
        with pytest.raises(reprise.FailedPrecondition, match="shared memory"):
            here.session.grant(here.namespace, 1)
    assert fake.connections == 0


def test_granted_slots_are_written_and_sealed(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake(writable=True)
    with Connected(fake, write=True) as here, here.session.grant(here.namespace, 3) as grant:
        assert len(grant) == 3
        grant.array(0, "u1")[:] = numpy.frombuffer(content(1), "u1")
        grant.buffer(1)[:] = content(2)
        report = grant.seal([prompt_of(1), prompt_of(2)])
        assert report.stored_blocks == 2
        assert report.results[0].outcome == reprise.PutOutcome.STORED
        assert fake.sealed == [content(1), content(2)]
        fake.await_held(0)  # the third goes back
        with pytest.raises(reprise.LeaseEnded, match="sealed"):
            grant.buffer(0)
        with pytest.raises(reprise.LeaseEnded, match="sealed"):
            grant.seal([prompt_of(1)])


def test_a_slot_that_could_still_be_written_is_not_sealed(
        start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake(writable=True)
    with Connected(fake) as here:
        grant = here.session.grant(here.namespace, 1)
        array = grant.array(0, "u1").reshape(2, -1)[1]
        with pytest.raises(reprise.BufferInUse, match="1 views"):
            grant.seal([prompt_of(1)])
        assert fake.sealed == []
        grant.release()
        array[:] = 1  # still this client's own
        assert len(fake.held) == 1
        del array
        fake.await_held(0)


def test_a_read_only_arena_grants_nothing(start_fake: Callable[..., FakeCache]) -> None:
    with Connected(start_fake()) as here:
        with pytest.raises(reprise.FailedPrecondition, match="may write"):
            here.session.grant(here.namespace, 1)


def test_memory_that_could_shrink_is_not_mapped(start_fake: Callable[..., FakeCache]) -> None:
    fake = start_fake()
    os.close(fake._fd)
    fake._fd = os.memfd_create("unsealed")
    os.ftruncate(fake._fd, 16 * BLOCK_BYTES)
    with reprise.Client(fake.address) as client:
        with pytest.raises(reprise.Unavailable, match="for good"):
            client.session(shared_memory=True)


def test_places_outside_of_the_arena_are_refused(start_fake: Callable[..., FakeCache]) -> None:
    with Connected(start_fake()) as here, here.acquire(1) as lease:
        lease._record.places[0].offset = 16 * BLOCK_BYTES - 1
        with pytest.raises(reprise.DataLoss, match="arena"):
            next(lease.blocks())
        lease._record.places[0].offset = -1
        with pytest.raises(reprise.DataLoss, match="arena"):
            next(lease.blocks())


def test_a_forked_child_has_no_views(start_fake: Callable[..., FakeCache]) -> None:
    with Connected(start_fake()) as here:
        (block,) = here.acquire(1).blocks()
        child = os.fork()
        if child == 0:
            faulthandler.disable()
            bytes(block.buffer)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)  # never other bytes


def test_torch_tensors_keep_their_lease(start_fake: Callable[..., FakeCache]) -> None:
    torch = pytest.importorskip("torch")
    fake = start_fake()
    with Connected(fake) as here:
        with here.acquire(1) as lease, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the tensor could not be written
            (block,) = lease.blocks()
            tensor = torch.frombuffer(block.buffer, dtype=torch.bfloat16)
            half = tensor.view(torch.uint8).reshape(2, -1)[1]
        del block, tensor
        here.acquire(5).release()
        fake.await_held(1)
        assert bytes(half.numpy()) == content(1)[BLOCK_BYTES // 2:]
        del half
        fake.await_held(0)


def test_asyncio_leases_keep_the_same_promise(start_fake: Callable[..., FakeCache]) -> None:
    async def use(fake: FakeCache) -> None:
        async with reprise.aio.Client(fake.address, timeout=20) as client:
            namespace = await client.open_namespace(identity())
            async with client.session(shared_memory=True) as session:
                lease = await session.acquire(namespace, prompt_of(1, 2))
                async with lease:
                    views = [block.array("u1") async for block in lease.blocks()]
                with pytest.raises(reprise.LeaseEnded, match="released"):
                    await lease.wait()
                (await session.acquire(namespace, prompt_of(5))).release()
                await asyncio.to_thread(fake.await_held, 1)
                assert [bytes(view) for view in views] == [content(1), content(2)]
                views.pop()
                fake.fail_next.add("Release")
                views.pop()
                await asyncio.to_thread(fake.await_held, 0)
                ending = await session.acquire(namespace, prompt_of(3))
                (view,) = [block async for block in ending.blocks()]
                with pytest.raises(reprise.BufferInUse):
                    await ending.end_request()
                del view
                await ending.end_request(reprise.Hints(finish_reason="stop"), output_tokens=9)
                assert (fake.releases[-1].hints.finish_reason, fake.releases[-1].output_tokens) == (
                    "stop", 9)
                assert not fake.held
                nothing = await session.acquire(namespace, [])
                assert [block async for block in nothing.blocks()] == []
            with pytest.raises(reprise.LeaseEnded, match="closed"):
                await session.acquire(namespace, prompt_of(1))
        await asyncio.to_thread(fake.await_connections, 0)

    asyncio.run(use(start_fake()))


def test_asyncio_leases_load_renew_and_end(start_fake: Callable[..., FakeCache]) -> None:
    async def use(fake: FakeCache) -> None:
        async with reprise.aio.Client(fake.address, timeout=20) as client:
            namespace = await client.open_namespace(identity())
            async with client.session() as session:
                lease = await session.acquire(namespace, prompt_of(1, 2, 3))
                with pytest.raises(reprise.DeadlineExceeded, match="being loaded"):
                    await lease.wait(timeout=0.01)
                fake.fail_next.add("Renew")
                await asyncio.to_thread(fake.await_renewals, 3)
                waiting = asyncio.create_task(lease.wait())
                fake.ready(next(iter(fake.held)), 3)
                assert await waiting == 3
                blocks = [bytes(block.buffer) async for block in lease.blocks()]
                assert blocks == [content(1), content(2), content(3)]
                lost = await session.acquire(namespace, prompt_of(4))
                fake.announce.put(None)
                with pytest.raises(reprise.LeaseEnded, match="ended the session"):
                    await lost.wait()

    asyncio.run(use(start_fake(loading=True, ttl=0.3)))


def test_asyncio_grants_are_written_and_sealed(start_fake: Callable[..., FakeCache]) -> None:
    async def use(fake: FakeCache) -> None:
        async with reprise.aio.Client(fake.address, timeout=20) as client:
            namespace = await client.open_namespace(identity())
            async with client.session(shared_memory=True) as session:
                async with await session.grant(namespace, 2) as grant:
                    view = grant.buffer(0)
                    view[:] = content(1)
                    with pytest.raises(reprise.BufferInUse):
                        await grant.seal([prompt_of(1)])
                    del view
                    assert (await grant.seal([prompt_of(1)])).stored_blocks == 1
                assert fake.sealed == [content(1)]
                await asyncio.to_thread(fake.await_held, 0)

    asyncio.run(use(start_fake(writable=True)))
