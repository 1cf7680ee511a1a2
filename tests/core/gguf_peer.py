"""Blocks of GGUF files as the Python package `gguf` decodes and encodes them, for block_types_test.cc.

Standard input: {"decode": {TYPE: hex}, "encode": {TYPE: [values]}}, or {"read": path}.
Standard output: {"decode": {TYPE: [f32 bits]}, "encode": {TYPE: hex}}, or {"keys": ..., "tensors":
{name: {type, shape, bits of the first values}}}.  Exit code 77: a package is missing.
"""
import json
import sys

try:
    import gguf
    import numpy as np
except ImportError:
    sys.exit(77)


def bits(values):
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).ravel().tolist()


def read(path):
    reader = gguf.GGUFReader(path)
    tensors = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        tensors[tensor.name] = {"type": tensor.tensor_type.name, "shape": [int(n) for n in tensor.shape],
                                "bits": bits(values.ravel()[:64])}
    keys = {}
    for key, field in reader.fields.items():
        value = field.contents()
        keys[key] = len(value) if isinstance(value, list) else value
    return {"keys": keys, "tensors": tensors}


request = json.load(sys.stdin)
if "read" in request:
    json.dump(read(request["read"]), sys.stdout)
    sys.exit(0)
reply = {"decode": {}, "encode": {}}
for name, text in request["decode"].items():
    kind = gguf.GGMLQuantizationType[name]
    blocks = np.frombuffer(bytes.fromhex(text), dtype=np.uint8).reshape(1, -1)
    reply["decode"][name] = bits(gguf.quants.dequantize(blocks, kind))
for name, values in request["encode"].items():
    kind = gguf.GGMLQuantizationType[name]
    data = np.array(values, dtype=np.float32).reshape(1, -1)
    reply["encode"][name] = gguf.quants.quantize(data, kind).tobytes().hex()
json.dump(reply, sys.stdout)
