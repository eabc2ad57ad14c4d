"""Generates the modules of the proto files while the package is built: none is checked in."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import pathlib
import shutil
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

PROTO_FILES = ("cache", "inference", "admin")


def proto_folder(root: str) -> pathlib.Path:
    """Where the proto files lie: beside this package in the repository, inside it in an sdist."""
    inside = pathlib.Path(root, "proto")
    return inside if inside.is_dir() else pathlib.Path(root).parent / "proto"


class GeneratedMessages(BuildHookInterface[Any]):
    """Puts reprise/v1/*_pb2.py and their .pyi into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        from grpc_tools import protoc

        self.folder = tempfile.mkdtemp(prefix="reprise-proto-")
        protos = proto_folder(self.root)
        files = [f"reprise/v1/{name}.proto" for name in PROTO_FILES]
        well_known = importlib.resources.files("grpc_tools") / "_proto"
        arguments = [f"-I{protos}", f"-I{well_known}", f"--python_out={self.folder}",
                     f"--pyi_out={self.folder}"]
        if protoc.main(["protoc", *arguments, *files]) != 0:
            raise RuntimeError(f"protoc failed for {files} in {protos}")
        key = "force_include_editable" if version == "editable" else "force_include"
        for path in pathlib.Path(self.folder).rglob("*_pb2.py*"):
            relative = str(path.relative_to(self.folder))
            build_data[key][str(path)] = relative

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self.folder)


class RuntimeDependencies(MetadataHookInterface):
    """What the package needs: of protobuf, what the tool that generates its messages asks for."""

    def update(self, metadata: dict[str, Any]) -> None:
        asked = importlib.metadata.requires("grpcio-tools") or []
        protobuf = [entry for entry in asked if entry.startswith("protobuf")]
        metadata["dependencies"] = ["grpcio>=1.66", "xxhash>=3", *(protobuf or ["protobuf"])]
