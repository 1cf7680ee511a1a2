"""Merges by the Python package `mergekit` 0.1.5, for merge_test.cc.

Standard input: a list of {"config": a merge configuration, "out": directory}: the package merges models as
its command does; or {"dare": method, "base": file, "models": [file], "masks": file, "weights", "parameters",
"out": file}: each tensor by the package's formula, with the mask MODEL/NAME in place of its random one.
Standard output: {}. Exit code 77: a package is missing, or another version.
"""
import json
import sys

try:
    from importlib.metadata import version

    import torch
    from mergekit import sparsify
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.merge_methods import registry
    from mergekit.merge_methods.base import TensorGroup
    from mergekit.options import MergeOptions
    from safetensors.torch import load_file, save_file
except ImportError:
    sys.exit(77)
if version("mergekit") != "0.1.5":
    sys.exit(77)


def dare(request):
    base, masks = load_file(request["base"]), load_file(request["masks"])
    models = [load_file(path) for path in request["models"]]
    method = registry.get(request["dare"])
    given = {}

    def bernoulli(tensor, density, rescale_norm=None):
        assert density == request["parameters"]["density"]
        return sparsify.rescaled_masked_tensor(tensor, given["masks"].pop(0), rescale_norm)

    sparsify.bernoulli = bernoulli
    out = {}
    for name, tensor in base.items():
        group = TensorGroup.from_tensors([tensor] + [model[name] for model in models], base_index=0)
        given["masks"] = [masks[f"{i}/{name}"] for i in range(len(models))]
        parameters = {parameter.name: parameter.default for parameter in method.spec.parameters}
        parameters["lambda"] = request["parameters"]["lambda"]
        parameters["weight"] = dict(enumerate(request["weights"], 1))
        parameters["density"] = {i: request["parameters"]["density"] for i in parameters["weight"]}
        out[name] = method.merge_group(group, **parameters).contiguous()
    save_file(out, request["out"])


for job in json.load(sys.stdin):
    if "dare" in job:
        dare(job)
    else:
        config = MergeConfiguration.model_validate(job["config"])
        run_merge(config, job["out"], MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True))
json.dump({}, sys.stdout)
