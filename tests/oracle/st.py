"""Minimal safetensors reader and writer on numpy, so that the oracle depends on nothing but numpy and torch.

Handles F32, F64 and BF16 (BF16 is kept as float32 values in memory and rounded to nearest even when written).
"""
import json
import struct

import numpy as np

_SIZE = {"F64": 8, "F32": 4, "BF16": 2}


def round_bf16(a):
    """float32 values rounded to the nearest bfloat16 (ties to even), still as float32."""
    u = np.ascontiguousarray(a, dtype=np.float32).view(np.uint32).astype(np.uint64)
    u = (u + 0x7FFF + ((u >> 16) & 1)) & 0xFFFF0000
    return u.astype(np.uint32).view(np.float32).reshape(np.shape(a))


def _encode(a, dtype):
    if dtype == "BF16":
        u = round_bf16(a).view(np.uint32) >> 16
        return u.astype("<u2").tobytes()
    return np.ascontiguousarray(a, dtype={"F32": "<f4", "F64": "<f8"}[dtype]).tobytes()


def save(path, tensors, dtype="F32", dtypes=None):
    """Writes {name: array}. `dtypes` overrides `dtype` per name. Order: alignment descending, then name."""
    dtypes = dtypes or {}
    kind = {n: dtypes.get(n, dtype) for n in tensors}
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors, key=lambda n: (-_SIZE[kind[n]], n)):
        blob = _encode(tensors[name], kind[name])
        header[name] = {"dtype": kind[name], "shape": list(np.shape(tensors[name])), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return at


def load(path):
    """Reads {name: float32/float64 array}."""
    with open(path, "rb") as f:
        raw = f.read()
    (n,) = struct.unpack("<Q", raw[:8])
    header, data, out = json.loads(raw[8 : 8 + n]), raw[8 + n :], {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        blob = data[t["data_offsets"][0] : t["data_offsets"][1]]
        if t["dtype"] == "BF16":
            a = (np.frombuffer(blob, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            a = np.frombuffer(blob, {"F32": "<f4", "F64": "<f8"}[t["dtype"]])
        out[name] = a.reshape(t["shape"])
    return out
