"""The examples of api/README.md, against a real server: what they print is what the page says."""

from __future__ import annotations

import contextlib
import io
import pathlib
import re
import typing

import pytest

from conftest import ROOT, StartServer, eventually

_SECTION = "## Every RPC, by example\n"


def blocks_of(section: str) -> list[str]:
    """The section's blocks of Python."""
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_every_example_does_what_the_page_says(
        start_server: StartServer, tiny_model: str, short_folder: pathlib.Path,
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "api/README.md").read_text()
    blocks = blocks_of(page.partition(_SECTION)[2].partition("\n## ")[0])
    assert len(blocks) >= 4
    server = start_server("--model", tiny_model, "--threads", "1", "--listen", "127.0.0.1:0",
                          "--arena-socket", f"{short_folder}/arena", "--ram-bytes", "16MiB",
                          "--disk-dir", str(tmp_path / "disk"), "--disk-bytes", "64MiB")
    monkeypatch.chdir(tmp_path)
    names: dict[str, typing.Any] = {}
    for block in blocks:
        if "client" in names:  # the transport holds what Get sent a moment longer than the call
            eventually(lambda: names["client"].stats().store["pinned_blocks"] == 0)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(block.replace("127.0.0.1:50051", server.address), names)
        assert printed.getvalue().splitlines() == re.findall(r"^ *#> (.*)$", block, re.MULTILINE)
