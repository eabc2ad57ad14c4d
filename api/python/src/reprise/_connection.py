"""Where a client connects to, and how: the options that every channel needs."""

from __future__ import annotations

import dataclasses
import ipaddress

import grpc

from reprise import errors

# The server's own limit; gRPC's default, 4 MiB, is less than a block may take.
MAX_MESSAGE_BYTES = 24 << 20
# A server that has gone without a word is noticed, also while a stream is silent.
_KEEPALIVE_MILLISECONDS = 30_000
_KEEPALIVE_TIMEOUT_MILLISECONDS = 20_000

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # No proxy of the environment between a client and its server.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MILLISECONDS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MILLISECONDS),
    # Each client has a connection of its own.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the server: PEM, as bytes.

    Attributes:
        ca: certificates that the server's must descend from; None: those that gRPC brings along.
        certificate: the client's own chain, for a server that asks for one (mTLS).
        key: its private key.
    """

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = dataclasses.field(default=None, repr=False)

    def credentials(self) -> grpc.ChannelCredentials:
        """As grpc takes them."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)


def call_metadata(address: str, token: str | None, tls: Tls | None) -> tuple[tuple[str, str], ...]:
    """What goes with every call. ValueError: the token could be read on its way."""
    if token is None:
        return ()
    if tls is None and not is_local(address):
        raise ValueError(f"a token is not sent to {address} without TLS: pass tls=reprise.Tls(...)")
    return (("authorization", f"Bearer {token}"),)


def check_address(address: str) -> None:
    """InvalidArgument: it is neither HOST:PORT, with an IPv6 address in brackets, nor unix:/path."""
    kind, _, path = address.partition(":")
    if kind == "unix" and path:
        return
    host, _, port = address.rpartition(":")
    is_host = bool(host) and "/" not in host and (":" not in host or host[0] + host[-1] == "[]")
    if not is_host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise errors.InvalidArgument(f'address "{address}" is not HOST:PORT or unix:/path')


def is_local(address: str) -> bool:
    """True when `address` cannot be another machine's."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
