#!/usr/bin/env python3
"""Packs FlashInfer for a machine without network, where bench/gpu/run.sh then finds it as a peer.

    build/peers-venv/bin/python bench/gpu/peers/pack_flashinfer.py [PYTHON]

PYTHON is the version of the other machine's python3 (default: 3.12), which has PyTorch for CUDA 13.
Makes build/flashinfer/flashinfer.tar.xz (3 MiB), which tests/gpu/make_bundle.sh puts beside its bundle:
FlashInfer, what it imports, and the modules that flashinfer_attention.py launches, compiled here for
sm_90a. What only other modules need is left out. Needs nvcc 13, ninja, PyTorch and PyPI; compiling
takes seven minutes on two cores, once.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
WORK = os.path.join(ROOT, "build", "flashinfer")
PACKAGES = ["flashinfer-python==0.5.3", "apache-tvm-ffi==0.1.15.post2", "einops==0.8.2",
            "nvidia-ml-py==13.615.71", "tabulate==0.10.0", "typing-extensions==4.15.0"]
SOURCES = ("batch_decode", "batch_prefill", "single_prefill")  # from which it makes names of modules


def install(folder, *options):
    """The packages in a folder that is there once they all are."""
    unfinished = folder + ".unfinished"
    for old in folder, unfinished:
        shutil.rmtree(old, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", unfinished,
                    *options, *PACKAGES], check=True)
    os.rename(unfinished, folder)


def compile_modules():
    """Of bf16, 128 dims, i32 tables, neither a window nor a cap of scores. Prints where each is."""
    import torch
    from flashinfer.jit import attention, build_jit_specs
    bf16, i32 = torch.bfloat16, torch.int32
    modules = [attention.gen_batch_decode_module(bf16, bf16, bf16, i32, 128, 128, 0, False, False),
               attention.gen_batch_prefill_module("fa2", bf16, bf16, bf16, i32, 128, 128, 0, False, False, False),
               attention.gen_single_prefill_module("fa3", bf16, bf16, bf16, 128, 128, 0, False, False, False)]
    for number, module in enumerate(modules):
        print(f"module {number + 1} of {len(modules)}: {module.name}", file=sys.stderr, flush=True)
        build_jit_specs([module])
        print(module.jit_library_path)


def compiled():
    """The compiled modules' paths, of a process that sees this machine's FlashInfer."""
    packages = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    ours = os.path.join(WORK, f"here-{packages}")
    if not os.path.isdir(ours):
        install(ours)
    environment = dict(os.environ, PYTHONPATH=ours, FLASHINFER_WORKSPACE_BASE=WORK,
                       FLASHINFER_CUDA_ARCH_LIST="9.0a")
    return subprocess.run([sys.executable, __file__, "--compile"], env=environment, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.splitlines()


def remove_but(folder, kept):
    """Removes what is in the folder, but what has a name that `kept` is true of."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if not kept(name):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def prune(folder):
    """Leaves what Python imports, and of the sources those that it reads before it looks for a module."""
    data = os.path.join(folder, "flashinfer", "data")
    remove_but(data, lambda name: name == "csrc")
    remove_but(os.path.join(data, "csrc"), lambda name: name.startswith(SOURCES))
    remove_but(os.path.join(folder, "tvm_ffi"), lambda name: name not in ("3rdparty", "include", "share", "src"))
    remove_but(folder, lambda name: name not in ("bin", "build_backend.py", "build_utils.py", "example.py"))


def pack(python):
    libraries = compiled()
    theirs = os.path.join(WORK, "there")
    install(theirs, "--only-binary=:all:", "--python-version", python, "--platform", "manylinux_2_24_x86_64")
    prune(theirs)
    for library in libraries:
        name = os.path.basename(library)
        folder = os.path.join(theirs, "flashinfer", "data", "aot", name.removesuffix(".so"))
        os.makedirs(folder)
        shutil.copy(library, folder)
    subprocess.run(["strip", "--strip-unneeded", *glob.glob(os.path.join(theirs, "**", "*.so"), recursive=True)],
                   check=True)
    archive = os.path.join(WORK, "flashinfer.tar.xz")
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        tar.add(theirs, arcname=".", filter=lambda file: None if "__pycache__" in file.name else file)
    print(f"{os.path.relpath(archive, ROOT)}: {os.path.getsize(archive) >> 10} KiB")


if __name__ == "__main__":
    if "--compile" in sys.argv[1:]:
        compile_modules()
    else:
        pack(sys.argv[1] if len(sys.argv) > 1 else "3.12")
