"""Calls beside match, put and get, against a real server; those it does not offer are skipped."""

from __future__ import annotations

import asyncio
import functools
import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

import reprise
import reprise.aio
from conftest import BLOCK_TOKENS, Server, StartServer, eventually, identity
from reprise.v1 import cache_pb2 as pb


def offered(test: Callable[..., None]) -> Callable[..., None]:
    """Skips the test where a call of it is not offered."""
    @functools.wraps(test)
    def run(*args: Any, **fields: Any) -> None:
        try:
            test(*args, **fields)
        except reprise.Unimplemented as error:
            pytest.skip(f"the server does not offer this: {error.message}")
    return run


def tokens_of(*blocks: int) -> list[int]:
    return [1000 * block + token for block in blocks for token in range(BLOCK_TOKENS)]


def bytes_of(namespace: reprise.Namespace, block: int) -> bytes:
    return random.Random(block).randbytes(namespace.block_bytes)


def put(namespace: reprise.Namespace, *blocks: int) -> reprise.PutReport:
    return namespace.put((tokens_of(block), bytes_of(namespace, block)) for block in blocks)


@offered
def test_exists_counts_leading_blocks(namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2)
    assert namespace.exists(tokens_of(1, 2, 3)) == 2
    assert namespace.exists(tokens_of(2)) == 0


@offered
def test_independent_keys_stand_alone(client: reprise.Client) -> None:
    namespace = client.open_namespace(identity("independent",
                                               key_source=reprise.KeySource.EXTERNAL))
    keys = [bytes([number]) * 32 for number in range(4)]
    assert namespace.exists_each(keys) == (False, False, False, False)
    report = namespace.put([(keys[1], bytes_of(namespace, 1)), (keys[3], bytes_of(namespace, 3))],
                           independent_keys=True)
    assert report.stored_blocks == 2
    assert namespace.exists_each(keys) == (False, True, False, True)
    got = list(namespace.get(keys, independent_keys=True))
    assert [(block.index, bytes(block.buffer)) for block in got] == [
        (1, bytes_of(namespace, 1)), (3, bytes_of(namespace, 3))]


@offered
def test_a_put_tells_of_each_block(client: reprise.Client, namespace: reprise.Namespace) -> None:
    namespace.exists(tokens_of(1))  # servers that tell of each block offer this as well
    put(namespace, 1)
    report = put(namespace, 1, 2)
    assert [result.outcome for result in report.results] == [reprise.PutOutcome.EXISTED,
                                                             reprise.PutOutcome.STORED]


@offered
def test_touch_counts_what_is_cached(namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2)
    assert namespace.touch(tokens_of(1, 2, 3), hints=reprise.Hints(session="a")) == 2


@offered
def test_prefetch_brings_blocks_into_ram(client: reprise.Client,
                                         namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2)
    client.demote()
    prefetched = namespace.prefetch(tokens_of(1, 2), within=20)
    assert prefetched.ready_blocks + prefetched.loading_blocks == 2
    eventually(lambda: namespace.match(tokens_of(1, 2)).ram_blocks == 2)


@offered
def test_explain_says_why(namespace: reprise.Namespace) -> None:
    put(namespace, 1)
    explained = namespace.explain(tokens_of(1, 2)[:-1])
    assert [block.verdict for block in explained.blocks] == [
        pb.BLOCK_VERDICT_RAM, pb.BLOCK_VERDICT_PARTIAL]
    assert explained.summary


@offered
def test_list_and_usage_tell_what_is_there(client: reprise.Client,
                                           namespace: reprise.Namespace) -> None:
    put(namespace, *range(5))
    blocks = list(namespace.list(with_token_ids=True, page_size=2))
    assert sorted(block.depth for block in blocks) == [0, 1, 2, 3, 4]
    assert {tuple(block.token_ids) for block in blocks} == {
        tuple(tokens_of(number)) for number in range(5)}
    assert len(list(client.list())) >= 5
    (tenant,) = [tenant for tenant in client.usage(all_tenants=True).tenants
                 if tenant.tenant == namespace.identity.tenant]
    assert sum(tier.blocks for tier in tenant.tiers if tier.tier == "ram") >= 5


@offered
def test_watch_tells_what_comes_and_goes(client: reprise.Client,
                                         namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2)
    namespace.invalidate()
    events = namespace.watch(from_sequence=1, timeout=20)
    kinds = []
    for event in events:
        kinds.append(event.WhichOneof("event"))
        if kinds[-1] in ("removed", "cleared"):
            break
    assert "stored" in kinds


@offered
def test_an_exported_prefix_is_imported_elsewhere(
        client: reprise.Client, namespace: reprise.Namespace,
        start_server: StartServer) -> None:
    put(namespace, 1, 2, 3)
    file = io.BytesIO()
    size = namespace.export_file(file, tokens_of(1, 2))
    assert size == len(file.getvalue()) > 2 * namespace.block_bytes
    other = start_server("--listen", "127.0.0.1:0", "--ram-bytes", "16MiB")
    with reprise.Client(other.address) as there:
        file.seek(0)
        imported = there.import_file(file)
        assert (imported.stored_blocks, imported.rejected_blocks) == (2, 0)
        copy = there.open_namespace(namespace.identity)
        assert [bytes(block.buffer) for block in copy.get(tokens_of(1, 2, 3))] == [
            bytes_of(copy, 1), bytes_of(copy, 2)]
        broken = bytearray(file.getvalue())
        broken[len(broken) // 2] ^= 1
        with pytest.raises(reprise.DataLoss):
            there.import_file(io.BytesIO(bytes(broken)))


@offered
def test_a_lease_holds_blocks_and_reads_them_by_its_id(client: reprise.Client,
                                                       namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2, 3)
    client.demote()
    with client.session(name="test") as session:
        assert len(session.id) == 16 and session.max_ttl == 4
        with session.acquire(namespace, tokens_of(1, 2, 3, 4), first_block=1,
                             prefill=reprise.PrefillEstimate(1e-3)) as lease:
            assert lease.match.blocks == 3 and lease.advice == reprise.Advice.LOAD
            assert lease.wait() == 2
            assert client.stats().store["pinned_blocks"] == 2
            assert [(block.index, bytes(block.buffer)) for block in lease.blocks()] == [
                (1, bytes_of(namespace, 2)), (2, bytes_of(namespace, 3))]
        eventually(lambda: client.stats().store["pinned_blocks"] == 0)
        kept = session.acquire(namespace, tokens_of(1))
        assert kept.wait() == 1
        assert session.acquire(namespace, tokens_of(9)).num_blocks == 0
    eventually(lambda: client.stats().store["pinned_blocks"] == 0)  # ended with its session
    with pytest.raises(reprise.LeaseEnded):
        kept.wait()


def test_a_session_may_ask_for_longer_leases(server: Server, client: reprise.Client) -> None:
    for asked, granted in ((0.5, 0.5), (20, 20), (100, 30)):
        with client.session(max_ttl=asked) as session:
            assert session.max_ttl == granted
    with pytest.raises(reprise.InvalidArgument, match="max_ttl_seconds"):
        client.session(max_ttl=-1)

    async def open_one() -> float:
        async with (reprise.aio.Client(server.address) as aio_client,
                    aio_client.session(max_ttl=20) as session):
            return session.max_ttl

    assert asyncio.run(open_one()) == 20


def test_how_a_request_ended_is_told(client: reprise.Client, namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2)
    ended = client.stats().store["ended_requests"]
    with client.session() as session:
        lease = session.acquire(namespace, tokens_of(1, 2), hints=reprise.Hints(session="s"))
        lease.end_request(reprise.Hints(session="s", finish_reason="end_turn"), output_tokens=3)
        assert client.stats().store["ended_requests"] == ended + 1
        assert client.stats().sessions["held_bytes"] == 0
        with pytest.raises(reprise.InvalidArgument, match="hints.ttl_seconds"):
            session.acquire(namespace, tokens_of(1)).end_request(reprise.Hints(ttl_seconds=-1))
        with pytest.raises(reprise.InvalidArgument, match="output_tokens"):
            session.acquire(namespace, tokens_of(1)).end_request(output_tokens=-1)


_HOLD_AND_STOP = """
import sys, time, reprise
from conftest import identity
client = reprise.Client(sys.argv[1])
namespace = client.open_namespace(identity(sys.argv[2]))
lease = client.session().acquire(namespace, [int(token) for token in sys.argv[3].split()])
print(lease.wait(), flush=True)
time.sleep(600)
"""


@offered
def test_leases_of_a_killed_client_are_free_within_seconds(
        client: reprise.Client, server: Server, namespace: reprise.Namespace) -> None:
    client.session().close()
    put(namespace, 1, 2)
    prompt = " ".join(str(token) for token in tokens_of(1, 2))
    with subprocess.Popen(
            [sys.executable, "-c", _HOLD_AND_STOP, server.address, namespace.identity.salt, prompt],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "2\n"
        assert client.stats().store["pinned_blocks"] == 2
        holder.kill()
        killed = time.monotonic()
        while client.stats().store["pinned_blocks"] > 0:
            assert time.monotonic() - killed < 5
