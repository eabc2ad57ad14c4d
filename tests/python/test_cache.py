"""Blocks in and out over gRPC, against a real server."""

from __future__ import annotations

import pathlib
import random

import numpy
import pytest
import xxhash
from google.protobuf.message import DecodeError

import reprise
import reprise._methods
from conftest import BLOCK_TOKENS, StartServer, eventually, identity
from reprise import _wire
from reprise._put_batch import PutBatch
from reprise._requests import NamespaceRequests
from reprise.v1 import cache_pb2 as pb


def tokens_of(*blocks: int) -> list[int]:
    """Token ids of blocks, each of which is named by a number."""
    return [1000 * block + token for block in blocks for token in range(BLOCK_TOKENS)]


def bytes_of(namespace: reprise.Namespace, block: int) -> bytes:
    """Bytes that no other block has."""
    return random.Random(block).randbytes(namespace.block_bytes)


def put(namespace: reprise.Namespace, *blocks: int) -> reprise.PutReport:
    """Stores a chain of blocks."""
    return namespace.put((tokens_of(block), bytes_of(namespace, block)) for block in blocks)


def test_what_is_put_is_matched_and_got(namespace: reprise.Namespace) -> None:
    report = put(namespace, 1, 2, 3)
    assert (report.stored_blocks, report.rejected_blocks, report.reject_reason) == (3, 0, "")
    prompt = tokens_of(1, 2, 3, 4)
    assert namespace.match(prompt) == reprise.Match(0, 3, 0, 3 * BLOCK_TOKENS)
    assert namespace.match(prompt).blocks == 3
    blocks = list(namespace.get(prompt))
    assert [block.index for block in blocks] == [0, 1, 2]
    assert [bytes(block.buffer) for block in blocks] == [bytes_of(namespace, number)
                                                        for number in (1, 2, 3)]
    assert {block.tier for block in blocks} == {"ram"}
    assert [block.index for block in namespace.get(prompt, first_block=2)] == [2]
    assert list(namespace.get(tokens_of(9))) == []


def test_a_run_goes_on_behind_its_prefix(namespace: reprise.Namespace) -> None:
    put(namespace, 1)
    report = namespace.put([(tokens_of(2), bytes_of(namespace, 2))], prefix=tokens_of(1))
    assert report.stored_blocks == 1
    assert namespace.match(tokens_of(1, 2)).blocks == 2
    assert namespace.match(tokens_of(2)).blocks == 0
    with pytest.raises(reprise.FailedPrecondition, match="put the others first"):
        namespace.put([(tokens_of(3), bytes_of(namespace, 3))], prefix=tokens_of(7))


def test_a_block_is_a_numpy_array_without_a_copy(namespace: reprise.Namespace) -> None:
    shape = namespace.identity.layout.shape
    stored = numpy.arange(namespace.identity.layout.elements, dtype=numpy.float32).reshape(shape)
    namespace.put([(tokens_of(1), stored)])
    (block,) = namespace.get(numpy.array(tokens_of(1)))
    array = block.array(numpy.float32, shape)
    assert numpy.array_equal(array, stored)
    assert numpy.shares_memory(array, numpy.frombuffer(block.buffer, numpy.uint8))
    assert not array.flags.writeable and block.buffer.readonly
    assert numpy.array_equal(block.array("float32"), stored.reshape(-1))
    with pytest.raises(ValueError, match="reshape"):
        block.array(numpy.float32, (3, 3))


def test_the_payload_is_a_view_into_the_message_received() -> None:
    payload = random.Random(1).randbytes(5000)
    message = pb.GetResponse(block_index=3, payload=payload, payload_xxh3=9,
                             tier="ram").SerializeToString()
    sent = _wire.parse_sent_block(message)
    assert sent.payload.obj is message
    assert sent.payload == payload
    assert (sent.header.block_index, sent.header.payload_xxh3, sent.header.tier) == (3, 9, "ram")
    assert _wire.parse_sent_block(b"").payload.nbytes == 0
    # Fields of a later version of the proto are passed over.
    later = message + bytes([15 << 3, 1, 14 << 3 | 2, 1, 0, 13 << 3 | 5, 0, 0, 0, 0])
    assert _wire.parse_sent_block(later).payload == payload
    for end in range(1, len(message)):
        try:
            short = _wire.parse_sent_block(message[:end])
        except (ValueError, DecodeError):
            continue
        assert bytes(short.payload) in (b"", payload)


def test_a_put_message_is_what_protobuf_would_write() -> None:
    header = pb.PutRequest(namespace_id=7, token_ids=[1, 300], payload_xxh3=5)
    for size in (0, 1, 127, 128, 300, 1 << 15):
        payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
        parts = (memoryview(payload)[:size // 3], payload[size // 3:])
        written = _wire.serialize_put(_wire.PutMessage(header, parts))
        expected = pb.PutRequest(payload=payload)
        expected.MergeFrom(header)
        assert pb.PutRequest.FromString(written) == expected


def test_small_blocks_share_messages() -> None:
    def put_of(keys: reprise.KeySource, room: int, count: int) -> list[pb.PutRequest]:
        batch = PutBatch(NamespaceRequests(7, keys, 100, 2, room), (), False, None)
        buffer = bytearray(100)
        messages = []
        for number in range(count):
            buffer[:] = bytes([number]) * 100  # used again: what shares a message was copied
            name = [number, number] if keys == reprise.KeySource.TOKENS else bytes([number]) * 32
            full = batch.add((name, buffer))
            messages += [] if full is None else [_wire.serialize_put(full)]
        rest = batch.rest()
        messages += [] if rest is None else [_wire.serialize_put(rest)]
        return [pb.PutRequest.FromString(message) for message in messages]

    by_tokens = put_of(reprise.KeySource.TOKENS, 250, 5)
    assert [len(message.payload) for message in by_tokens] == [200, 200, 100]
    assert [len(message.more_xxh3) for message in by_tokens] == [1, 1, 0]
    assert [message.namespace_id for message in by_tokens] == [7, 0, 0]
    assert list(by_tokens[1].token_ids) == [2, 2, 3, 3]
    assert by_tokens[1].payload == bytes([2]) * 100 + bytes([3]) * 100
    assert by_tokens[1].more_xxh3[0] == xxhash.xxh3_64_intdigest(bytes([3]) * 100)
    by_keys = put_of(reprise.KeySource.EXTERNAL, 1000, 3)
    assert by_keys[0].external_key == bytes(32)
    assert list(by_keys[0].more_external_keys) == [bytes([1]) * 32, bytes([2]) * 32]
    assert [len(message.payload) for message in put_of(reprise.KeySource.TOKENS, 0, 2)] == [100] * 2
    assert put_of(reprise.KeySource.TOKENS, 250, 0) == []


def test_many_small_blocks_are_put_and_got(namespace: reprise.Namespace) -> None:
    numbers = range(1, 2001)  # two messages
    assert namespace._requests.max_message_bytes == 1024 * namespace.block_bytes
    report = namespace.put((tokens_of(number), bytes([number % 251]) * namespace.block_bytes)
                           for number in numbers)
    assert (report.stored_blocks, len(report.results)) == (2000, 2000)
    got = [bytes(block.buffer) for block in namespace.get(tokens_of(*numbers))]
    assert got == [bytes([number % 251]) * namespace.block_bytes for number in numbers]


def test_everything_with_a_buffer_may_be_put(namespace: reprise.Namespace) -> None:
    size = namespace.block_bytes
    buffers = [bytes(size), bytearray(size), memoryview(bytes(size)),
               numpy.zeros(size // 4, numpy.float32), numpy.zeros(size // 2, numpy.float16),
               numpy.zeros((size // 8, 2), ">f4")]
    report = namespace.put((tokens_of(number), buffer) for number, buffer in enumerate(buffers))
    assert report.stored_blocks == len(buffers), report
    with pytest.raises(ValueError, match="C-contiguous"):
        namespace.put([(tokens_of(1), numpy.zeros((size // 4, 2), numpy.float32)[:, 0])])
    with pytest.raises(ValueError, match=f"{size} bytes long, this buffer 5"):
        namespace.put([(tokens_of(1), b"12345")])
    with pytest.raises(ValueError, match="8 tokens, this one 3"):
        namespace.put([([1, 2, 3], bytes(size))])
    with pytest.raises(TypeError, match="has no buffer"):
        namespace.put([(tokens_of(1), [1.0, 2.0])])


def test_prompts_that_are_none_are_refused(namespace: reprise.Namespace) -> None:
    with pytest.raises(TypeError, match="tokenize"):
        namespace.match("some text")  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        namespace.match([-1])
    with pytest.raises(TypeError):
        namespace.match([b"x" * 32])


def test_external_keys_stand_for_tokens(client: reprise.Client,
                                        request: pytest.FixtureRequest) -> None:
    namespace = client.open_namespace(identity(salt=request.node.nodeid,
                                               key_source=reprise.KeySource.EXTERNAL))
    keys = [bytes([number]) * 32 for number in range(3)]
    namespace.put((key, bytes_of(namespace, number)) for number, key in enumerate(keys))
    assert namespace.match(keys).blocks == 3
    assert [bytes(block.buffer) for block in namespace.get(keys)] == [
        bytes_of(namespace, number) for number in range(3)]
    assert namespace.match([keys[1]]).blocks == 0
    with pytest.raises(ValueError, match="32 bytes, this one 3"):
        namespace.match([b"abc"])
    with pytest.raises(TypeError, match="bytes, not int"):
        namespace.match([1, 2])


def test_a_damaged_block_is_never_given(namespace: reprise.Namespace,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    put(namespace, 1)
    real = _wire.parse_sent_block

    def damage(message: bytes) -> _wire.SentBlock:
        broken = bytearray(message)
        broken[len(broken) // 2] ^= 1
        return real(bytes(broken))

    damaged = reprise._methods.Method(reprise._methods.GET.path, reprise._methods.GET.serialize,
                                      damage)
    monkeypatch.setattr(reprise._methods, "GET", damaged)
    with pytest.raises(reprise.ChecksumMismatch, match="block 0"):
        list(namespace.get(tokens_of(1)))
    assert issubclass(reprise.ChecksumMismatch, reprise.DataLoss)


def test_invalidate_takes_what_is_in_its_scope(client: reprise.Client,
                                               namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2, 3)
    put(namespace, 5)
    taken = namespace.invalidate(tokens_of(1, 2))
    assert taken.ram_blocks == 2
    assert namespace.match(tokens_of(1, 2, 3)).blocks == 1
    assert namespace.match(tokens_of(5)).blocks == 1
    namespace.invalidate()
    assert namespace.match(tokens_of(1)).blocks == namespace.match(tokens_of(5)).blocks == 0
    put(namespace, 1)
    client.invalidate(tenant="default")
    assert namespace.match(tokens_of(1)).blocks == 0
    put(namespace, 1)
    client.invalidate(everything=True)
    assert namespace.match(tokens_of(1)).blocks == 0
    with pytest.raises(TypeError, match="either"):
        client.invalidate()
    with pytest.raises(TypeError, match="either"):
        client.invalidate(tenant="a", everything=True)


def test_demoted_blocks_come_back_from_disk(client: reprise.Client,
                                            namespace: reprise.Namespace) -> None:
    put(namespace, 1, 2)
    assert client.demote() >= 2
    assert namespace.match(tokens_of(1, 2)).disk_blocks == 2
    blocks = list(namespace.get(tokens_of(1, 2)))
    assert [block.tier for block in blocks] == ["disk", "disk"]
    assert [bytes(block.buffer) for block in blocks] == [bytes_of(namespace, 1),
                                                        bytes_of(namespace, 2)]


def test_blocks_of_the_served_model_are_found_by_its_identity(client: reprise.Client) -> None:
    prompt = "A prompt of which the server keeps the keys and values"
    client.generate(prompt, max_new_tokens=1).read()
    namespace = client.open_namespace(client.model().identity)
    tokens = client.tokenize(prompt)
    blocks = list(namespace.get(tokens))
    assert len(blocks) == namespace.match(tokens).blocks == len(tokens) // BLOCK_TOKENS
    array = blocks[0].array(numpy.float32, namespace.identity.layout.shape)
    assert numpy.isfinite(array).all() and array.any()


def test_stats_count_what_happened(client: reprise.Client, namespace: reprise.Namespace) -> None:
    before = client.stats().store["sealed_blocks"]
    put(namespace, 1, 2, 3)
    assert client.stats().store["sealed_blocks"] == before + 3
    assert client.stats().engine["waiting_requests"] == 0


def test_a_get_left_early_holds_nothing(client: reprise.Client,
                                        namespace: reprise.Namespace) -> None:
    put(namespace, *range(50))
    blocks = namespace.get(tokens_of(*range(50)))
    assert next(blocks).index == 0
    blocks.close()  # type: ignore[attr-defined]
    eventually(lambda: client.stats().store["pinned_blocks"] == 0)


def test_a_namespace_outlives_its_server(tiny_model: str, start_server: StartServer,
                                         short_folder: pathlib.Path) -> None:
    flags = ("--listen", f"unix:{short_folder}/socket", "--ram-bytes", "16MiB",
             "--disk-dir", str(short_folder / "cache"), "--disk-bytes", "16MiB")
    server = start_server(*flags)
    with reprise.Client(server.address) as client:
        other, mine = client.open_namespace(identity("other")), client.open_namespace(identity())
        put(mine, 1, 2)
        put(other, 1)
        stale = mine.id
        assert server.stop() == 0
        again = start_server(*flags)
        assert again.address == server.address
        # Opened in another order: were its number another's now, this would read foreign blocks.
        client.open_namespace(identity("first"))
        client.open_namespace(identity("second"))
        assert [bytes(block.buffer) for block in mine.get(tokens_of(1, 2))] == [
            bytes_of(mine, 1), bytes_of(mine, 2)]
        assert mine.match(tokens_of(1, 2)).blocks == 2
        assert mine.id != stale
        assert other.match(tokens_of(1)).blocks == 1


def test_the_number_of_a_namespace_means_nothing_to_the_next_server(
        start_server: StartServer, short_folder: pathlib.Path) -> None:
    flags = ("--listen", f"unix:{short_folder}/socket", "--ram-bytes", "16MiB")
    server = start_server(*flags)
    with reprise.Client(server.address) as client:
        stale = client.open_namespace(identity("mine"))
        server.close()
        start_server(*flags)
        namespace = client.open_namespace(identity("another's"))
        with pytest.raises(reprise.NotFound):  # were it served, it would be the other's
            stale.put([(tokens_of(1), bytes(stale.block_bytes))])
        assert namespace.match(tokens_of(1)).blocks == 0
        assert put(stale, 1).stored_blocks == 1  # opened again by the call that failed
        assert namespace.match(tokens_of(1)).blocks == 0


def test_ten_threads_share_a_client(namespace: reprise.Namespace) -> None:
    import concurrent.futures

    def work(number: int) -> bool:
        chain = [10 * number + block for block in range(4)]
        put(namespace, *chain)
        got = [bytes(block.buffer) for block in namespace.get(tokens_of(*chain))]
        return got == [bytes_of(namespace, block) for block in chain]

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert all(pool.map(work, range(20)))
