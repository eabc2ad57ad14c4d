"""Fixtures: the real server, started with a tiny model, and clients of it."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

import reprise

ROOT = pathlib.Path(__file__).resolve().parents[2]
# ctest names the one it has built.
BINARY = os.environ.get("REPRISE_BINARY", str(ROOT / "build/release/reprise"))
BLOCK_TOKENS = 8
# A test that is killed leaves no server behind. (A preexec_fn would fork with gRPC's threads.)
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


class Server:
    """`reprise serve` with these flags, ready; killed by `close`.

    Attributes:
        address: where it listens, for clients.
        lines: what it has printed so far.
    """

    def __init__(self, *flags: str) -> None:
        self.lines: list[str] = []
        self._errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [*_DIE_WITH_PARENT, BINARY, "serve", *flags], stdout=subprocess.PIPE,
            stderr=self._errors, text=True)
        self.address = self.await_line("listening on ")

    def await_line(self, prefix: str) -> str:
        """Reads what it prints up to the line that begins with `prefix`; the rest of that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith(prefix):
                return line[len(prefix):].strip()
        raise AssertionError(f"no line {prefix!r} in {self.lines}; stderr: {self.errors()}")

    def errors(self) -> str:
        """What it has written to stderr."""
        self._errors.seek(0)
        return self._errors.read()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model folder whose server starts at once."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    subprocess.run(
        [BINARY, "make-model", "--out", str(folder), "--hidden-size", "32", "--layers", "2",
         "--heads", "4", "--kv-heads", "2", "--intermediate-size", "32"],
        check=True, capture_output=True)
    return str(folder)


# Starts a server with the flags given.
StartServer = Callable[..., Server]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers with the flags given; they end with the test."""
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        servers.append(Server(*flags))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def short_folder() -> Iterator[pathlib.Path]:
    """A folder whose path is short enough for a Unix socket in it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="reprise-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(tiny_model: str) -> Iterator[Server]:
    """One server for all tests of a file: RAM, disk, the tiny model in blocks of 8 tokens."""
    with tempfile.TemporaryDirectory(prefix="reprise-") as folder:
        started = Server("--model", tiny_model, "--threads", "1", "--listen", "127.0.0.1:0",
                         "--ram-bytes", "16MiB", "--disk-dir", folder, "--disk-bytes", "64MiB",
                         "--block-tokens", str(BLOCK_TOKENS))
        yield started
        started.close()


@pytest.fixture
def client(server: Server) -> Iterator[reprise.Client]:
    with reprise.Client(server.address, timeout=30) as connected:
        yield connected


@pytest.fixture
def namespace(client: reprise.Client, request: pytest.FixtureRequest) -> reprise.Namespace:
    """A namespace of the test's own."""
    return client.open_namespace(identity(salt=request.node.nodeid))


def eventually(happens: Callable[[], bool]) -> None:
    """Waits until it does; fails after 20 seconds."""
    late = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < late
        time.sleep(0.002)


def identity(salt: str = "", **fields: object) -> reprise.Identity:
    """Blocks of 8 tokens, 2 KiB of fp32."""
    layout = reprise.KvLayout(num_layers=2, num_kv_heads=2, head_dim=8, block_tokens=BLOCK_TOKENS,
                              dtype=reprise.DType.FP32)
    return reprise.Identity(model_digest="m", tokenizer_digest="t", layout=layout,
                            position_scheme="none", salt=salt, **fields)  # type: ignore[arg-type]
