#!/usr/bin/env python3
"""Checks the oracle against Hugging Face transformers where it has the same arithmetic; skips if it is not installed.

embedded, llama_tied  as LlamaForCausalLM, whole
ultra_*               as DeepseekV3ForCausalLM with one expert group: MLA, both RoPE layouts, sigmoid router with and without
                      correction bias, shared experts, leading dense layers. Sandwich norms and MTP heads are left out on
                      both sides: transformers has neither. It has no MoGE, so pro_moe is not covered.

Logits and all gradients of loss.lm are compared. Made with transformers 4.51 and PyTorch 2.5.
"""
import sys

import numpy as np
import torch

import compare
import families
from selfcheck import load_case

try:
    import transformers
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM
except ImportError as e:
    print(f"skip: no transformers with Llama and DeepSeek-V3 ({e})")
    sys.exit(0)

TOL = 5e-5  # transformers runs in float32 (its MoE cannot do otherwise), the oracle in float64


def plain(config, arrays):
    """The case without sandwich norms and MTP, under one spelling of the config."""
    c = families.Config(config)
    keep = {}
    for name, a in arrays.items():
        layer = int(name.split(".")[2]) if name.startswith("model.layers.") else -1
        if layer < c.num_hidden_layers and "mlp_layernorm" not in name and "inv_freq" not in name:
            keep[name] = a
    one = {k: v for k, v in vars(c).items() if k not in ("architecture", "num_nextn_predict_layers", "rope_parameters")}
    return {**one, "sandwich_norm": False}, keep


def peer(config, arrays):
    common = ("vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads rms_norm_eps "
              "rope_theta max_position_embeddings tie_word_embeddings").split()  # fmt: skip
    args = {k: config[k] for k in common}
    if config["architectures"][0] == "PanguUltraMoEForCausalLM":
        mla = ("q_lora_rank kv_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim n_routed_experts n_shared_experts "
               "num_experts_per_tok first_k_dense_replace moe_intermediate_size routed_scaling_factor norm_topk_prob").split()  # fmt: skip
        args.update({k: config[k] for k in mla}, rope_interleave=config.get("rope_interleave", True), n_group=1, topk_group=1)
        model = DeepseekV3ForCausalLM(DeepseekV3Config(**args, attn_implementation="eager"))
    else:
        bias = config.get("bias", False)
        model = LlamaForCausalLM(LlamaConfig(**args, attention_bias=bias, attn_implementation="eager"))
    state = {n.replace("mlp.e_score", "mlp.gate.e_score"): torch.tensor(a) for n, a in arrays.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [n for n in missing if not n.endswith(("e_score_correction_bias", "lm_head.weight"))]
    if missing or unexpected:
        sys.exit(f"names differ: missing {missing}, unexpected {unexpected}")
    for name, b in model.named_buffers():
        if name.endswith("e_score_correction_bias") and name.replace("gate.", "") not in arrays:
            b.zero_()
    return model.float().eval()


def one_case(name):
    config, arrays = plain(*load_case(name)[:2])
    tokens = load_case(name)[2]
    want, _ = families.run(config, arrays, tokens, 0.0, 0.0)
    model = peer(config, arrays)
    outputs = [model(torch.tensor([s])).logits[0] for s in tokens]
    logp = [torch.log_softmax(o[:-1], -1).gather(1, torch.tensor(s)[1:, None]) for o, s in zip(outputs, tokens)]
    (-torch.cat(logp).mean()).backward()
    got = {f"logits.{i}": o.detach() for i, o in enumerate(outputs)}
    for n, p in model.named_parameters():
        got["grad." + n] = torch.zeros_like(p) if p.grad is None else p.grad
    names = [n for n in want if not n.startswith("loss.") and not n.endswith("correction_bias")]
    err, where = max((compare.error(want[n].numpy(), got[n].numpy()), n) for n in names)
    print(f"{'ok  ' if err < TOL else 'FAIL'} {name}: {len(names)} tensors, worst {err:.1e} ({where})")
    return err < TOL


if __name__ == "__main__":
    print("transformers", transformers.__version__, "torch", torch.__version__, "numpy", np.__version__)
    results = [one_case(n) for n in ("embedded", "llama_tied", "ultra_v1", "ultra_deepseek_spelling", "ultra_half_rope")]
    sys.exit(0 if all(results) else 1)
