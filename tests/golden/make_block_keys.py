#!/usr/bin/env python3
"""Makes block_keys.json: namespace identities, their root keys, and chains of block keys.

    python3 tests/golden/make_block_keys.py

Needs xxhash from PyPI, the reference implementation. It follows cachestore/README.md and shares no
code with the store. Keys are persisted: a change of this file's output is a change of format.
"""

import json
import pathlib
import struct

import xxhash

OUT = pathlib.Path(__file__).parent / "block_keys.json"
DTYPES = {"fp32": 1, "fp16": 2, "bf16": 3, "fp8": 4, "int8": 5, "int4": 6}
KEY_SOURCES = {"tokens": 1, "external": 2}
EXAMPLE = dict(model_digest="m", tokenizer_digest="t", adapter_digest="none", num_layers=2,
               num_kv_heads=1, head_dim=4, block_tokens=4, dtype="fp32", first_layer=0,
               kv_scales="none", position_scheme="learned", tensor_parallel_rank=0,
               tensor_parallel_size=1, pipeline_parallel_rank=0, pipeline_parallel_size=1,
               tenant="default", salt="", key_source="tokens")


def encode(identity):
    out = struct.pack("<I", 1)
    for tag, (name, value) in enumerate(identity.items(), start=1):
        if name == "dtype":
            raw = bytes([DTYPES[value]])
        elif name == "key_source":
            raw = bytes([KEY_SOURCES[value]])
        elif isinstance(value, str):
            raw = value.encode()
        else:
            raw = struct.pack("<i", value)
        out += struct.pack("<BI", tag, len(raw)) + raw
    return out


def xxh3(data):
    return xxhash.xxh3_128_digest(data)  # big endian: hi, then lo


def child(parent, words):
    hi, lo = struct.unpack(">QQ", parent)
    return xxh3(struct.pack("<QQ", hi, lo) + words)


def case(secret, blocks, **changes):
    """`blocks`: token ids, or 64 hex digits of an external key."""
    identity = dict(EXAMPLE, **changes)
    encoding = encode(identity)
    root = xxh3(b"reprise.ns.v1" + struct.pack("<QQ", *secret) + encoding)
    keys = []
    for block in blocks:
        words = bytes.fromhex(block) if isinstance(block, str) else struct.pack(
            f"<{len(block)}I", *block)
        keys.append(child(keys[-1] if keys else root, words))
    return dict(secret=[f"{part:016x}" for part in secret], identity=identity,
                encoding=encoding.hex(), root=root.hex(),
                chain=[dict(content=block, key=key.hex()) for block, key in zip(blocks, keys)])


def main():
    secret = (0x0102030405060708, 0x090A0B0C0D0E0F10)
    first = [[1, 2, 3, 4], [5, 6, 7, 8]]
    external = ["00" * 32, "00" * 31 + "01", "80" + "00" * 31,
                "".join(f"{i:02x}" for i in range(32))]
    cases = [
        case(secret, first),
        case((0, 1 << 63), first),
        case(secret, first, tenant="alice", salt="tuesday"),
        case(secret, first, adapter_digest="lora-7", first_layer=2, tensor_parallel_rank=1,
             tensor_parallel_size=2, pipeline_parallel_rank=3, pipeline_parallel_size=4),
        case(secret, [[0], [0xFFFFFFFF], [0]], block_tokens=1, dtype="bf16",
             position_scheme="rope theta=500000"),
        case(secret, [list(range(16)), list(range(16, 32)), list(range(16))], block_tokens=16,
             dtype="int8", kv_scales="per head"),
        case(secret, [list(range(100000, 104096))], block_tokens=4096, head_dim=1, num_layers=1),
        case(secret, external, key_source="external"),
        case(secret, external[1:2], key_source="external", block_tokens=256),
    ]
    OUT.write_text("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n")


if __name__ == "__main__":
    main()
