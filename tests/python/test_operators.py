"""What operators ask for: what-if curves, and recordings on the Admin listener."""

from __future__ import annotations

import asyncio
import gzip
import pathlib
from collections.abc import Iterator

import pytest

import reprise
import reprise.aio
from conftest import BLOCK_TOKENS, Server, identity
from reprise.v1 import cache_pb2 as pb


@pytest.fixture
def admin_address(short_folder: pathlib.Path) -> str:
    return f"unix:{short_folder}/admin.sock"


@pytest.fixture
def operated(admin_address: str) -> Iterator[Server]:
    started = Server("--listen", "127.0.0.1:0", "--ram-bytes", "16MiB", "--admin-listen",
                     admin_address)
    yield started
    started.close()


def touch_some(server: Server, prompts: int) -> None:
    with reprise.Client(server.address) as client:
        namespace = client.open_namespace(identity())
        for prompt in range(prompts):
            namespace.touch(range(1000 * prompt, 1000 * prompt + 2 * BLOCK_TOKENS))


def test_requests_are_recorded_into_a_new_file(operated: Server, admin_address: str,
                                               tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "requests.ktr.gz")
    with reprise.Admin(admin_address) as admin:
        with pytest.raises(reprise.FailedPrecondition):
            admin.stop_recording()
        begun = admin.start_recording(path, max_bytes=1 << 20)
        assert (begun.path, begun.ended, begun.cause) == (path, False, "")
        with pytest.raises(reprise.FailedPrecondition):
            admin.start_recording(path + "2")
        touch_some(operated, 3)
        ended = admin.stop_recording()
        assert (ended.ended, ended.requests, ended.blocks, ended.dropped_requests) == (
            True, 3, 6, 0)
        assert ended.bytes == (tmp_path / "requests.ktr.gz").stat().st_size
        assert gzip.decompress((tmp_path / "requests.ktr.gz").read_bytes())[:4] == b"KTR1"
        with pytest.raises(reprise.AlreadyExists):
            admin.start_recording(path)
        with pytest.raises(reprise.InvalidArgument):
            admin.start_recording(path + "2", max_bytes=-1)


def test_asyncio_records_as_well(operated: Server, admin_address: str,
                                 tmp_path: pathlib.Path) -> None:
    async def record() -> None:
        async with reprise.aio.Admin(admin_address) as admin:
            assert not (await admin.start_recording(str(tmp_path / "a.ktr.gz"))).ended
            await asyncio.to_thread(touch_some, operated, 2)
            assert (await admin.stop_recording()).requests == 2
            with pytest.raises(reprise.FailedPrecondition):
                await admin.stop_recording()

    asyncio.run(record())


def test_what_if_has_a_point_for_each_size(operated: Server) -> None:
    touch_some(operated, 50)

    async def ask() -> pb.WhatIfResponse:
        async with reprise.aio.Client(operated.address) as client:
            return await client.what_if()

    with reprise.Client(operated.address) as client:
        told = client.what_if(all_tenants=True)
    tenants = [tenant.tenant for tenant in told.tenants]
    assert sorted(tenants) == ["", *sorted(tenant.tenant for tenant in asyncio.run(ask()).tenants)]
    assert 0 < told.sampling_rate <= 1
    (everybody,) = [tenant for tenant in told.tenants if tenant.tenant == ""]
    assert everybody.looked_up_tokens == pytest.approx(50 * 2 * BLOCK_TOKENS, rel=0.01)
    ram = [point for curve in everybody.curves if curve.tier == "ram" for point in curve.points]
    assert [point.factor for point in ram] == [0.5, 1, 2, 4]
    assert all(0 <= point.hit_ratio <= 1 for point in ram)
    assert [point.bytes for point in ram] == [factor * (16 << 20) for factor in (0.5, 1, 2, 4)]
