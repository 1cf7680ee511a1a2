"""Checkpoints as the Python package `compressed-tensors` writes and reads them, for quantized_test.cc.

Standard input: {"write": directory, "cases": [{format, weights}]}: each case becomes
directory/INDEX with a config.json and a random matrix; standard output [[f32 bits of the matrix as
the package reads it back]].  {"read": file.safetensors, "modules": [name], "bits", "group",
"config"}: [f32 bits of each as the package unpacks it, and turns it by the config's transforms of weights].  Or {"match": [[module, entry]]}: [whether the entry means that Linear].
{"schemes": quantization_config, "modules": [name]}: [bits that each Linear gets by it, 0: none].
Exit code 77: a package is missing.
"""
import json
import pathlib
import sys

try:
    import numpy as np
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs, QuantizationConfig, QuantizationScheme, apply_quantization_config)
    from compressed_tensors.transform import TransformConfig, apply_transform_config
    from compressed_tensors.utils.match import is_match
    from safetensors import safe_open
    from safetensors.torch import save_file
except ImportError:
    sys.exit(77)

ROWS, COLUMNS = 40, 64


def scale_shape(args):
    if args.strategy == "tensor":
        return (1,)
    if args.strategy == "channel":
        return (ROWS, 1)
    rows, columns = (1, args.group_size) if args.strategy == "group" else args.block_structure
    return (-(-ROWS // rows), -(-COLUMNS // columns))


def write(folder, case):
    args = QuantizationArgs(**case["weights"])
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format=case["format"])
    shape, bits = scale_shape(args), args.num_bits
    state = {"weight": torch.randn(ROWS, COLUMNS), "weight_scale": torch.rand(shape) * 0.1 + 0.01}
    if not args.symmetric:
        low = -(1 << (bits - 1))
        state["weight_zero_point"] = torch.randint(low, -low, shape, dtype=torch.int8)
    compressor = BaseCompressor.get_value_from_registry(case["format"])
    stored = compressor.compress(state, scheme)
    folder.mkdir(parents=True)
    save_file({"model.x." + name: tensor.contiguous() for name, tensor in stored.items()}, folder / "model.safetensors")
    config = QuantizationConfig(config_groups={"group_0": scheme}, format=case["format"], ignore=["lm_head"])
    text = json.loads(config.model_dump_json())
    (folder / "config.json").write_text(json.dumps({"quantization_config": text}))
    weight = compressor.decompress(stored, scheme)["weight"]
    return weight.to(torch.float32).numpy().view(np.uint32).ravel().tolist()


def turned(name, weight, config):
    """A Linear's weight after the transforms of a quantization_config. Hadamard's matrix is its own inverse, so the
    transform that made what is stored gives what it was made of."""
    transforms = config.get("transform_config")
    if transforms is None:
        return weight
    model = torch.nn.Module()
    *path, last = name.split(".")
    at = model
    for part in path:
        at.add_module(part, torch.nn.Module())
        at = getattr(at, part)
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight.to(torch.float32).clone()  # it is changed in place
    at.add_module(last, linear)
    apply_transform_config(model, TransformConfig(**transforms))
    x = torch.randn(3, weight.shape[1])
    assert torch.allclose(linear(x), x @ weight.to(torch.float32).T, atol=1e-3), "the input is not turned as the weight is"
    return linear.weight.data


def read(request):
    args = QuantizationArgs(num_bits=request["bits"], strategy="group", group_size=request["group"])
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format="pack-quantized")
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    out = []
    with safe_open(request["read"], "pt") as file:
        for module in request["modules"]:
            parts = ("weight_packed", "weight_scale", "weight_shape")
            state = {part: file.get_tensor(f"{module}.{part}") for part in parts}
            state["weight_scale"] = state["weight_scale"].to(torch.float32)
            weight = compressor.decompress(state, scheme)["weight"]
            weight = turned(module, weight, request["config"])
            out.append(weight.to(torch.float32).numpy().view(np.uint32).ravel().tolist())
    return out


def schemes(request):
    model = torch.nn.Module()
    for name in request["modules"]:
        *path, last = name.split(".")
        at = model
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = getattr(at, part)
        at.add_module(last, torch.nn.Linear(64, 64))
    apply_quantization_config(model, QuantizationConfig(**request["schemes"]))
    found = [getattr(model.get_submodule(name), "quantization_scheme", None) for name in request["modules"]]
    return [0 if scheme is None else scheme.weights.num_bits for scheme in found]


request = json.load(sys.stdin)
torch.manual_seed(1)
if "match" in request:
    linear = torch.nn.Linear(1, 1)
    json.dump([is_match(module, linear, [entry]) for module, entry in request["match"]], sys.stdout)
elif "schemes" in request:
    json.dump(schemes(request), sys.stdout)
elif "read" in request:
    json.dump(read(request), sys.stdout)
else:
    base = pathlib.Path(request["write"])
    json.dump([write(base / str(i), case) for i, case in enumerate(request["cases"])], sys.stdout)
