"""Reads the machine code of the CUDA kernels and holds it to what each kernel is made of.

Usage: sass_check.py [--tools DIR] OBJECT...

For every kernel of the objects, on each architecture: instructions that must be there (tensor-core
products and 128-bit loads in attention, asynchronous copies in prefill), no local memory, no stack.
Prints a table, one line a kernel. Exit status 1: a rule is broken, 77: skipped, because cuobjdump or
nvdisasm is missing (PyPI: nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm).
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

SKIPPED = 77
ARCHITECTURES = ("sm_80", "sm_90a")
# What stands in the name of a kernel that only sm_90a has.
ONLY_SM90 = ("Sm90", "Hopper")

# The softmax of a tile that is computed while products of warpgroups are under way: powers of two
# behind a wait that leaves a group of them, up to the next wait.
BESIDE = "EX2 beside"

# What stands in a kernel's name -> instructions that it must have, as (column, least count).
RULES = {
    "DecodeAttentionKernel": [("HMMA", 12), ("LDG.128", 4)],
    "PrefillAttentionKernel": [("HMMA", 64), ("LDSM", 16), ("LDGSTS.128", 2)],
    "PrefillSm90Kernel": [("HGMMA", 24), ("UTMALDG", 1), ("USETMAXREG", 2), (BESIDE, 64)],
    "NarrowKernel": [("LDG.128", 1)],
    "NormKernel": [("LDG.128", 2)],
    "ActivationKernel": [("LDG.128", 2)],
    "GenericAttentionKernel": [],
    "MergeStatesKernel": [],
    "EmbedKernel": [],
    "RopeAppendKernel": [],
    "SampleKernel": [],
    "GatherRowsKernel": [],
    "AddRowsKernel": [],
    "SoftCapKernel": [],
    "GatherCopyKernel": [("LDG.128", 8)],
    "StreamReadKernel": [("LDG.128", 8)],
    # Of the tests:
    "Spin": [],
    "HopperProbeKernel": [],
}
COLUMNS = {
    "HMMA": r"HMMA\.",
    "HGMMA": r"HGMMA\.",
    "UTMALDG": r"UTMALDG\.",
    "USETMAXREG": r"USETMAXREG",
    "LDSM": r"LDSM\.",
    "LDG.128": r"LDG\.E\S*\.128",
    "LDGSTS.128": r"LDGSTS\.E\S*\.128",
    "local": r"(LDL|STL)[.\s]",
}


def find_tools(folder):
    """Returns the folder that holds cuobjdump and nvdisasm, or None."""
    venv = pathlib.Path(sys.prefix)
    candidates = [folder] if folder else [p.parent for p in venv.glob("lib/*/site-packages/nvidia/*/bin/cuobjdump")]
    on_path = shutil.which("cuobjdump")
    candidates += [pathlib.Path(on_path).parent] if on_path else []
    for candidate in candidates:
        if all(os.access(pathlib.Path(candidate) / tool, os.X_OK) for tool in ("cuobjdump", "nvdisasm")):
            return pathlib.Path(candidate)
    return None


def dump(tools, option, path):
    """What cuobjdump says of the object, in lines. It looks for nvdisasm on the path."""
    environment = dict(os.environ, PATH=f"{tools}{os.pathsep}{os.environ.get('PATH', '')}")
    command = [str(tools / "cuobjdump"), option, str(path)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()


def by_kernel(lines, heading):
    """Yields (architecture, mangled name, line) for the lines below each heading of a kernel."""
    architecture = kernel = None
    for line in lines:
        if match := re.match(r"arch = (\S+)", line):
            architecture, kernel = match.group(1), None
        elif match := re.match(heading, line):
            kernel = match.group(1)
        elif kernel:
            yield architecture, kernel, line


def read_object(tools, path):
    """Returns {(kernel, architecture): {column: count}}; REG and STACK come from -res-usage."""
    found = collections.defaultdict(collections.Counter)
    under_way = {}  # whether the last wait of a kernel left products
    for architecture, kernel, line in by_kernel(dump(tools, "-sass", path), r"\s*Function : (\S+)"):
        counts = found[kernel, architecture]
        for column, pattern in COLUMNS.items():
            counts[column] += 1 if re.search(r"\s" + pattern, line) else 0
        if match := re.search(r"WARPGROUP\.DEPBAR\.LE gsb0, 0x(\d)", line):
            under_way[kernel] = match.group(1) != "0"
        counts[BESIDE] += 1 if under_way.get(kernel) and "MUFU.EX2" in line else 0
    for architecture, kernel, line in by_kernel(dump(tools, "-res-usage", path), r"\s*Function (\S+):$"):
        for column in ("REG", "STACK"):
            if match := re.search(rf"\b{column}:(\d+)", line):
                found[kernel, architecture][column] = int(match.group(1))
    return found


def readable(kernel):
    """DecodeAttentionKernel<3, 128> of a mangled name: template arguments are numbers."""
    name = next((name for name in RULES if name in kernel), kernel)
    arguments = re.findall(r"Li(\d+)E|KvTypeE(\d+)E", kernel)
    return name + (f"<{', '.join(a or b for a, b in arguments)}>" if arguments else "")


def architectures_of(kernel):
    return ("sm_90a",) if any(name in kernel for name in ONLY_SM90) else ARCHITECTURES


def complaints(kernel, counts):
    """What is wrong with one kernel on one architecture."""
    rules = next((rules for name, rules in RULES.items() if name in kernel), None)
    if rules is None:
        return ["no rule for it in sass_check.py"]
    wrong = [f"{counts[column]} {column}, at least {least}" for column, least in rules if counts[column] < least]
    return wrong + [f"{counts[column]} {column}" for column in ("local", "STACK") if counts[column] > 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=pathlib.Path, help="folder of cuobjdump and nvdisasm")
    parser.add_argument("objects", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    tools = find_tools(arguments.tools)
    if tools is None:
        print("skipped: no cuobjdump and nvdisasm; pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
        return SKIPPED
    found = {}
    for path in arguments.objects:
        found.update(read_object(tools, path))
    columns = ["REG", "STACK", *COLUMNS, BESIDE]
    print(f"{'kernel':34}{'arch':8}" + "".join(f"{column:>12}" for column in columns))
    broken = [f"no {name}" for name in RULES if not any(name in kernel for kernel, _ in found)]
    for kernel, architecture in sorted(found, key=lambda key: (readable(key[0]), key[1])):
        counts = found[kernel, architecture]
        print(f"{readable(kernel):34}{architecture:8}" + "".join(f"{counts[column]:12}" for column in columns))
        broken += [f"{readable(kernel)} {architecture}: {cause}" for cause in complaints(kernel, counts)]
    missing = {(kernel, a) for kernel, _ in found for a in architectures_of(kernel)} - set(found)
    broken += [f"{readable(kernel)} is not compiled for {architecture}" for kernel, architecture in missing]
    for cause in broken:
        print(f"broken: {cause}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
