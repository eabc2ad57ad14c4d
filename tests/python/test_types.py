"""The package's types hold, and both clients offer the same."""

from __future__ import annotations

import importlib.util
import inspect
import os
import pathlib
import subprocess
import sys

import pytest

import reprise
from conftest import ROOT


def test_mypy_strict_finds_nothing(tmp_path: pathlib.Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    packages = pathlib.Path(reprise.__file__).parents[1]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "api/python/pyproject.toml"),
         "--cache-dir", str(tmp_path), "-p", "reprise"],
        env={**os.environ, "MYPYPATH": str(packages)}, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_everything_public_is_documented() -> None:
    for name in reprise.__all__:
        value = getattr(reprise, name)
        assert inspect.getdoc(value), name
        if not inspect.isclass(value):
            continue
        for member, function in vars(value).items():
            if inspect.isfunction(function) and not member.startswith("_"):
                assert function.__doc__, f"{name}.{member}"


def test_clients_on_other_systems_do_without_shared_memory() -> None:
    imported = subprocess.run(
        [sys.executable, "-c",
         "import sys; sys.modules['fcntl'] = None; import reprise, reprise.aio"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True)
    assert imported.returncode == 0, imported.stderr
