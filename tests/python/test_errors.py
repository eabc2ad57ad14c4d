"""Errors, timeouts and the ways to a server."""

from __future__ import annotations

import pathlib
import socket
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest

import reprise
import reprise.aio
from conftest import Server, StartServer, identity
from reprise import errors


def failed(code: grpc.StatusCode, details: str) -> grpc.RpcError:
    """What grpc raises, made up."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
def test_every_status_code_is_an_error_of_the_tree(code: grpc.StatusCode) -> None:
    error = errors.from_rpc_error(failed(code, "why it was"))
    assert isinstance(error, reprise.RepriseError)
    assert (error.code, error.message, str(error)) == (code.name, "why it was", "why it was")
    own = {"INVALID_ARGUMENT": reprise.InvalidArgument, "NOT_FOUND": reprise.NotFound,
           "UNAVAILABLE": reprise.Unavailable, "DATA_LOSS": reprise.DataLoss}
    if code.name in own:
        assert type(error) is own[code.name]


def test_a_retry_hint_is_told_in_seconds() -> None:
    def hint(details: str) -> float | None:
        error = failed(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
        return errors.from_rpc_error(error).retry_after

    assert hint("over its rate; retry-after-ms=1500") == 1.5
    assert hint("retry-after-ms=soon") is None
    assert hint("retry-after-ms=1500 is what it said") is None
    assert hint("") is None


def test_the_message_of_the_server_is_kept(client: reprise.Client) -> None:
    with pytest.raises(reprise.InvalidArgument) as caught:
        client.open_namespace(reprise.Identity("", "t", identity().layout, "none"))
    assert "model_digest" in caught.value.message
    assert isinstance(caught.value, ValueError)


def test_a_silent_server_ends_in_deadline_exceeded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with reprise.Client(address, timeout=0.2) as client:
            with pytest.raises((reprise.DeadlineExceeded, reprise.Unavailable)):
                client.stats()
            with pytest.raises((TimeoutError, ConnectionError)):
                client.generate("x").read()


def test_what_is_no_address_is_refused_before_anybody_is_asked() -> None:
    for address in ("", "127.0.0.1", "host:port", "host:65536", ":1", "::1:80", "unix:",
                    "http://host:1", "/run/socket"):
        for client in (reprise.Client, reprise.aio.Client):
            with pytest.raises(reprise.InvalidArgument, match="HOST:PORT or unix:/path"):
                client(address)
    for address in ("localhost:1", "[::1]:1", "unix:/run/socket"):
        reprise.Client(address).close()


def test_nobody_listening_ends_in_unavailable(tmp_path: pathlib.Path) -> None:
    with reprise.Client(f"unix:{tmp_path}/nobody") as client:
        with pytest.raises(reprise.Unavailable):
            client.stats()


def test_a_timeout_of_one_call_overrides_the_clients(client: reprise.Client) -> None:
    with pytest.raises(reprise.DeadlineExceeded):
        client.generate("x", max_new_tokens=8000, ignore_eos=True, timeout=0.05).read()
    assert client.stats(timeout=float("inf")).store


def test_a_closed_client_says_so(server: Server) -> None:
    client = reprise.Client(server.address)
    client.close()
    with pytest.raises(reprise.Unavailable, match="closed"):
        client.stats()
    with pytest.raises(reprise.Unavailable, match="closed"):
        client.generate("x")


def test_a_unix_socket_is_an_address(start_server: StartServer,
                                     short_folder: pathlib.Path) -> None:
    server = start_server("--listen", f"unix:{short_folder}/socket", "--ram-bytes", "16MiB")
    with reprise.Client(server.address) as client:
        assert client.stats().store["ram_capacity_bytes"] > 0


def test_a_token_is_not_sent_where_it_could_be_read() -> None:
    for address in ("example.org:50051", "10.0.0.1:50051", "[2001:db8::1]:1"):
        with pytest.raises(ValueError, match="TLS") as caught:
            reprise.Client(address, token="secret-token")
        assert "secret-token" not in str(caught.value)
    for address in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/x"):
        reprise.Client(address, token="secret-token").close()
    reprise.Client("example.org:1", token="secret-token", tls=reprise.Tls()).close()
    assert "secret-key" not in repr(reprise.Tls(key=b"secret-key"))


def test_what_an_iterable_raises_is_raised(namespace: reprise.Namespace) -> None:
    class Own(Exception):
        pass

    def blocks() -> Iterator[tuple[list[int], bytes]]:
        yield list(range(8)), bytes(namespace.block_bytes)
        raise Own("in the middle")

    with pytest.raises(Own, match="in the middle"):
        namespace.put(blocks())
