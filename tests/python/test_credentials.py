"""TLS, tokens and client certificates, from the Python client."""

from __future__ import annotations

import asyncio
import pathlib
import re
import shutil
import subprocess

import pytest

import reprise
import reprise.aio
from conftest import BINARY, StartServer, identity

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
                 certificates: Certificates, calls_per_second: int = 1000) -> None:
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
            certificates.path("server.key"), "--tls-client-ca", certificates.path("ca.pem"))
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
