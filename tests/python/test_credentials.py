"""TLS, tokens and client certificates, from the Python client."""

from __future__ import annotations

import asyncio
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess

import openai
import pytest

import reprise
import reprise.aio
from conftest import BINARY, BLOCK_TOKENS, Server, StartServer, eventually, identity

_HELP = subprocess.run([BINARY, "serve", "--help"], capture_output=True, text=True).stdout
pytestmark = [
    pytest.mark.skipif("--credentials" not in _HELP, reason="the server has no credentials"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")]


class Certificates:
    """An authority, and what it has signed for the server and for a client named "engine"."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out",
                      "ca.pem")
        for name, subject in (("server", "localhost"), ("engine", "engine")):
            self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                          "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out",
                          f"{name}.csr")
            (folder / "names").write_text(f"subjectAltName=DNS:{subject}\n")
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                          "-CAcreateserial", "-days", "2", "-extfile", "names", "-out",
                          f"{name}.pem")
            (folder / f"{name}.key").chmod(0o600)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Guarded:
    """A server over TLS that knows a token of alice's, and bob by his certificate."""

    def __init__(self, start_server: StartServer, folder: pathlib.Path,
                 certificates: Certificates, calls_per_second: int = 1000,
                 more: tuple[str, ...] = ()) -> None:
        made = subprocess.run([BINARY, "credential", "--name", "alice-web", "--tenant", "alice"],
                              check=True, capture_output=True, text=True)
        found = re.search(r"\b[\w-]{32,}\b", made.stderr)
        assert found is not None, made.stderr
        self.token = found[0]
        file = folder / "credentials.toml"
        file.write_text(made.stdout + f"""
[tenants.alice]
calls-per-second = {calls_per_second}

[[credentials]]
name = "bob-engine"
tenant = "bob"
certificate = "engine"
""")
        file.chmod(0o600)
        self.server = start_server(
            "--listen", "127.0.0.1:0", "--ram-bytes", "16MiB", "--credentials", str(file),
            "--tls-cert", certificates.path("server.pem"), "--tls-key",
            certificates.path("server.key"), "--tls-client-ca", certificates.path("ca.pem"), *more)
        port = self.server.address.rpartition(":")[2]
        self.address = f"localhost:{port}"


def _tls(certificates: Certificates) -> reprise.Tls:
    return reprise.Tls(certificates.read("ca.pem"), certificates.read("engine.pem"),
                       certificates.read("engine.key"))


def test_a_token_over_tls_is_its_tenant(start_server: StartServer, tmp_path: pathlib.Path,
                                        certificates: Certificates) -> None:
    guarded = Guarded(start_server, tmp_path, certificates)
    tls = _tls(certificates)
    with (reprise.Client(guarded.address, token=guarded.token, tls=tls) as alice,
          reprise.Client(guarded.address, tls=tls) as bob,
          reprise.Client(guarded.address, token="wrong" * 8, tls=tls) as nobody):
        mine = alice.open_namespace(identity(tenant="alice"))
        assert mine.put([(list(range(8)), bytes(mine.block_bytes))]).stored_blocks == 1
        assert mine.match(list(range(8))).blocks == 1
        with pytest.raises(reprise.PermissionDenied, match="tenant"):
            bob.open_namespace(identity(tenant="alice"))
        his = bob.open_namespace(identity(tenant="bob"))
        assert his.match(list(range(8))).blocks == 0
        with pytest.raises(reprise.Unauthenticated):
            nobody.open_namespace(identity(tenant="alice"))
        with pytest.raises(reprise.PermissionDenied):
            alice.demote()
    assert guarded.token not in guarded.server.errors()

    async def ask() -> None:
        async with reprise.aio.Client(guarded.address, token=guarded.token, tls=tls) as client:
            namespace = await client.open_namespace(identity(tenant="alice"))
            assert (await namespace.match(list(range(8)))).blocks == 1

    asyncio.run(ask())


def https_port(server: Server) -> int:
    """Where `server` listens for HTTP."""
    line, = (line for line in server.lines if line.startswith("http: "))
    return int(line.strip().rpartition(":")[2])


def tls_of(certificates: Certificates, name: str = "") -> ssl.SSLContext:
    """Of a client that trusts the authority, with the certificate `name` if there is one."""
    context = ssl.create_default_context(cafile=certificates.path("ca.pem"))
    if name:
        context.load_cert_chain(certificates.path(f"{name}.pem"), certificates.path(f"{name}.key"))
    return context


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    """Status and text of a GET."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_https_takes_the_credentials_that_grpc_takes(
        start_server: StartServer, tmp_path: pathlib.Path, certificates: Certificates,
        tiny_model: str) -> None:
    guarded = Guarded(start_server, tmp_path, certificates, more=(
        "--model", tiny_model, "--threads", "1", "--http-listen", "127.0.0.1:0", "--block-tokens",
        str(BLOCK_TOKENS)))
    port = https_port(guarded.server)
    tls = tls_of(certificates, "engine")

    def connect(token: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"https://localhost:{port}/v1", api_key=token, max_retries=0,
                             timeout=60,
                             http_client=openai.DefaultHttpxClient(verify=tls, trust_env=False))

    with connect(guarded.token) as alice:
        question = [{"role": "user", "content": "What is a block? " * 8}]
        for first in (True, False):
            *chunks, last = alice.chat.completions.create(
                model="tiny", messages=question, max_tokens=8, stream=True,
                stream_options={"include_usage": True}, extra_body={"ignore_eos": True})
            assert len(chunks) > 4
            assert (last.usage.prompt_tokens_details.cached_tokens == 0) is first
        # Longer than a record of TLS, both ways.
        long = alice.completions.create(model="tiny", prompt=["a " * 600] * 16, max_tokens=64,
                                        logprobs=2, extra_body={"ignore_eos": True})
        assert len(long.choices) == 16
    with connect("wrong" * 8) as nobody, pytest.raises(openai.AuthenticationError):
        nobody.models.list()
    bob = http.client.HTTPSConnection("localhost", port, timeout=60, context=tls)
    assert get(bob, "/v1/models")[0] == 200
    assert get(bob, "/metrics")[0] == 403
    bob.close()
    strangers = (tls_of(certificates), ssl.create_default_context())
    for stranger in strangers:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(http.client.HTTPSConnection("localhost", port, timeout=60, context=stranger),
                "/v1/models")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        get(http.client.HTTPConnection("localhost", port, timeout=60), "/v1/models")
    assert guarded.token not in guarded.server.errors()


def test_https_shows_new_certificates_to_new_connections(
        start_server: StartServer, tmp_path: pathlib.Path, certificates: Certificates) -> None:
    files = tmp_path / "tls"
    shutil.copytree(certificates.folder, files)
    server = start_server("--listen", "127.0.0.1:0", "--ram-bytes", "16MiB", "--http-listen",
                          "127.0.0.1:0", "--tls-cert", str(files / "server.pem"), "--tls-key",
                          str(files / "server.key"))
    assert "server.pem: /CN=localhost ends on" in server.errors()

    def connect(trusted: Certificates) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", https_port(server), timeout=60,
                                           context=tls_of(trusted))

    old = connect(certificates)
    assert get(old, "/v1/models")[0] == 200
    first = old.sock
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other")
    for name in ("server.pem", "server.key"):
        shutil.copy(other.path(name), files / name)
    server.process.send_signal(signal.SIGHUP)
    server.await_line("reloaded ")
    assert get(old, "/v1/models")[0] == 200
    assert old.sock is first, "its connection goes on"
    assert get(connect(other), "/v1/models")[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        get(connect(certificates), "/v1/models")


def test_https_notices_a_client_that_says_goodbye(
        start_server: StartServer, certificates: Certificates, tiny_model: str) -> None:
    server = start_server(
        "--model", tiny_model, "--threads", "1", "--block-tokens", str(BLOCK_TOKENS), "--listen",
        "127.0.0.1:0", "--ram-bytes", "64MiB", "--http-listen", "127.0.0.1:0", "--tls-cert",
        certificates.path("server.pem"), "--tls-key", certificates.path("server.key"))
    port = https_port(server)
    operator = http.client.HTTPSConnection("localhost", port, timeout=60,
                                           context=tls_of(certificates))

    def metric(name: str) -> float:
        text = get(operator, "/metrics")[1]
        line, = (line for line in text.splitlines() if line.startswith(f"reprise_{name} "))
        return float(line.split()[1])

    body = json.dumps({"prompt": "a", "max_tokens": 8000, "ignore_eos": True})
    with socket.create_connection(("localhost", port)) as plain:
        client = tls_of(certificates).wrap_socket(plain, server_hostname="localhost")
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                       b"application/json\r\nContent-Length: %d\r\n\r\n%s"
                       % (len(body), body.encode()))
        eventually(lambda: metric("running_requests") > 0)
        # TLS's goodbye, and the end of the connection behind it: bytes come before the end.
        client.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        client.close()
        eventually(lambda: metric("running_requests") == 0)
    assert metric("decoded_tokens_total") < 8000


def test_a_server_of_another_authority_is_not_talked_to(
        start_server: StartServer, tmp_path: pathlib.Path, certificates: Certificates) -> None:
    guarded = Guarded(start_server, tmp_path, certificates)
    other = tmp_path / "other"
    other.mkdir()
    strange = Certificates(other)
    tls = reprise.Tls(strange.read("ca.pem"), certificates.read("engine.pem"),
                      certificates.read("engine.key"))
    with reprise.Client(guarded.address, token=guarded.token, tls=tls, timeout=10) as client:
        with pytest.raises(reprise.Unavailable):
            client.open_namespace(identity(tenant="alice"))
    with reprise.Client(guarded.address, timeout=10) as plain, pytest.raises(reprise.Unavailable):
        plain.open_namespace(identity(tenant="alice"))


def test_who_calls_too_often_is_told_when_to_come_again(
        start_server: StartServer, tmp_path: pathlib.Path, certificates: Certificates) -> None:
    guarded = Guarded(start_server, tmp_path, certificates, calls_per_second=2)
    with reprise.Client(guarded.address, token=guarded.token, tls=_tls(certificates)) as client:
        with pytest.raises(reprise.ResourceExhausted) as caught:
            for _ in range(100):
                client.open_namespace(identity(tenant="alice"))
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 1
