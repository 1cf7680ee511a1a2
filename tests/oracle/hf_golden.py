#!/usr/bin/env python3
"""Writes tests/golden/CASE/ for the architectures of others, as Hugging Face transformers computes them.

Usage: hf_golden.py [--out DIR] [CASE...]

config.json is written here in a published spelling; transformers reads it, makes the model, saves it under its published
names, loads it again, and gives logits and gradients of the mean cross-entropy. Weights are ours: every kind of tensor gets
values that matter. A case whose routers are near a tie is drawn again. Made with transformers 5.23 and PyTorch 2.15.
"""
import argparse
import json
import os

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import cases as oracle_cases
import st
from make_golden import ROOT, write_json

_COMMON = {
    "vocab_size": 37, "hidden_size": 16, "num_hidden_layers": 2, "hidden_act": "silu", "max_position_embeddings": 256,
    "initializer_range": 0.02, "tie_word_embeddings": False, "use_cache": True,
}  # fmt: skip
_MLA = {
    "num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 9, "qk_nope_head_dim": 6, "qk_rope_head_dim": 8,
    "v_head_dim": 5, "attention_bias": False, "rms_norm_eps": 1e-6,
}  # fmt: skip
_DEEPSEEK = {
    **_COMMON, **_MLA, "intermediate_size": 21, "moe_intermediate_size": 5, "n_routed_experts": 12, "n_shared_experts": 2,
    "num_experts_per_tok": 3, "first_k_dense_replace": 1, "moe_layer_freq": 1, "rope_theta": 100.0, "torch_dtype": "float32",
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip


def _yarn(m):
    return {"type": "yarn", "factor": 6, "original_max_position_embeddings": 16, "beta_fast": 4, "beta_slow": 1, "mscale": m,
            "mscale_all_dim": m}  # fmt: skip


CASES = {
    # Llama 3's scaling in the spelling of transformers 5, heads that are not hidden / heads wide, several eos ids.
    "llama3_rope": (1, [45, 3, 1], {
        **_COMMON, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "intermediate_size": 27, "head_dim": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-3, "attention_bias": False, "mlp_bias": False,
        "bos_token_id": 0, "eos_token_id": [1, 2], "dtype": "float32",
        "rope_parameters": {"rope_theta": 50.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    }),
    # SmolLM2's shape: tied; linear scaling in the spelling of transformers 4; biases everywhere.
    "llama_linear": (2, [33, 2, 1], {
        **_COMMON, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "intermediate_size": 24, "rope_theta": 100.0,
        "num_attention_heads": 4, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "attention_bias": True, "mlp_bias": False,
        "tie_word_embeddings": True, "rope_scaling": {"type": "linear", "factor": 3.0}, "torch_dtype": "float32",
    }),
    # Biases on q, k and v alone; YaRN as Qwen2.5 documents it.
    "qwen2_yarn": (3, [40, 1, 4], {
        **_COMMON, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "intermediate_size": 26, "rope_theta": 100.0,
        "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "use_sliding_window": False,
        "sliding_window": 64, "max_window_layers": 2, "tie_word_embeddings": True, "torch_dtype": "float32",
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24},
    }),
    # A norm on each query and key head.
    "qwen3": (4, [21, 1, 6], {
        **_COMMON, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "intermediate_size": 23, "rope_theta": 1000.0,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "rms_norm_eps": 1e-3, "attention_bias": False,
        "use_sliding_window": False, "sliding_window": None, "max_window_layers": 2, "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }),
    # Softmax router, chosen probabilities sum to one; a leading dense layer.
    "qwen3_moe": (5, [17, 1, 5], {
        **_COMMON, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "intermediate_size": 22,
        "moe_intermediate_size": 6, "num_experts": 7, "num_experts_per_tok": 3, "norm_topk_prob": True,
        "decoder_sparse_step": 1, "mlp_only_layers": [0], "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "rms_norm_eps": 1e-6, "attention_bias": False, "rope_theta": 1000.0, "use_sliding_window": False,
        "sliding_window": None, "max_window_layers": 2, "torch_dtype": "float32",
    }),
    # V2-Lite: no query latent, plain top-k of a softmax, mscale 0.707.
    "deepseek_v2_lite": (6, [37, 1, 4], {
        **_DEEPSEEK, "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "q_lora_rank": None,
        "topk_method": "greedy", "n_group": 1, "topk_group": 1, "scoring_func": "softmax", "norm_topk_prob": False,
        "routed_scaling_factor": 1.0, "rope_scaling": _yarn(0.707),
    }),
    # V2: the experts of the groups with the best single one.
    "deepseek_v2": (7, [29, 1, 6], {
        **_DEEPSEEK, "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "q_lora_rank": 10,
        "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2, "scoring_func": "softmax",
        "norm_topk_prob": False, "routed_scaling_factor": 4.0, "rope_scaling": _yarn(0.707),
    }),
    # V3: sigmoid, correction bias, the groups whose best two sum highest.
    "deepseek_v3": (8, [31, 1, 5], {
        **_DEEPSEEK, "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "q_lora_rank": 10,
        "topk_method": "noaux_tc", "n_group": 4, "topk_group": 2, "scoring_func": "sigmoid", "norm_topk_prob": True,
        "routed_scaling_factor": 2.5, "rope_scaling": _yarn(1.0),
    }),
}  # fmt: skip


def draw(model, seed):
    """Our values in place of those that a fresh model has; each expert is drawn like a matrix."""
    rng = np.random.default_rng(seed)
    tensors = dict(model.named_parameters())
    tensors.update({n: b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")})
    with torch.no_grad():
        for name, t in sorted(tensors.items()):
            parts = t if t.dim() == 3 else t[None]
            for part in parts:
                stem = name if t.dim() < 3 else name + ".weight"
                part.copy_(torch.tensor(oracle_cases._draw(rng, stem, tuple(part.shape))))


def run(model, tokens):
    """Logits of each sequence, the loss over all next-token targets, and gradients under the published names."""
    outputs = [model(torch.tensor([s])).logits[0] for s in tokens]
    logp = [torch.log_softmax(o[:-1].double(), -1).gather(1, torch.tensor(s)[1:, None]) for o, s in zip(outputs, tokens)]
    loss = -torch.cat(logp).mean()
    model.zero_grad()
    loss.backward()
    result = {f"logits.{i}": o.detach() for i, o in enumerate(outputs)}
    result["loss.lm"] = result["loss.total"] = loss.detach()
    for name, p in model.named_parameters():
        grad = torch.zeros_like(p) if p.grad is None else p.grad
        if p.dim() < 3:
            result["grad." + name] = grad
            continue
        stem, kind = name.rsplit(".", 1)  # experts stacked in memory, stored one by one
        for e in range(p.shape[0]):
            for part, g in zip(("gate", "up") if kind == "gate_up_proj" else ("down",), grad[e].chunk(2 if kind == "gate_up_proj" else 1)):
                result[f"grad.{stem}.{e}.{part}_proj.weight"] = g
    return {n: v.detach().numpy().astype(np.float32) for n, v in result.items()}


def settled(model, tokens, expected):
    """Whether small changes of the routers change little: no choice is near a tie."""
    gates = [p for n, p in model.named_parameters() if n.endswith("mlp.gate.weight")]
    gates += [b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")]
    for sign in (1e-3, -1e-3) if gates else ():
        with torch.no_grad():
            kept = [g.clone() for g in gates]
            for g in gates:
                g.mul_(1 + sign)
            logits = [model(torch.tensor([s])).logits[0].numpy() for s in tokens]
            for g, k in zip(gates, kept):
                g.copy_(k)
        for i, l in enumerate(logits):
            want = expected[f"logits.{i}"]
            if np.abs(l - want).max() > 1e-2 * np.abs(want).max():
                return False
    return True


def save(model, folder, config):
    """The checkpoint as transformers writes it, under a config.json of ours."""
    for old in os.listdir(folder):
        os.remove(os.path.join(folder, old))
    model.save_pretrained(folder)
    os.path.exists(os.path.join(folder, "generation_config.json")) and os.remove(os.path.join(folder, "generation_config.json"))
    write_json(os.path.join(folder, "config.json"), config)


def load(folder):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    problems = {k: v for k, v in info.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if problems:
        raise SystemExit(f"{folder}: {problems}")
    return model.double().eval()


def make(name, out):
    seed, lengths, config = CASES[name]
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    for attempt in range(100):
        rng = np.random.default_rng(1000 * seed + attempt)
        tokens = [rng.integers(0, config["vocab_size"], n).tolist() for n in lengths]
        write_json(os.path.join(folder, "config.json"), config)
        fresh = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).float()
        draw(fresh, 1000 * seed + attempt)
        save(fresh, folder, config)
        model = load(folder)
        expected = run(model, tokens)
        if settled(model, tokens, expected):
            break
    else:
        raise SystemExit(f"{name}: every draw is near a tie")
    with open(os.path.join(folder, "tokens.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(tokens) + "\n")
    write_json(os.path.join(folder, "meta.json"), {"mtp_weight": 0.0, "balance_weight": 0.0, "seed": 1000 * seed + attempt})
    st.save(os.path.join(folder, "expected.safetensors"), expected)
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{name}: draw {attempt}, {len(expected)} results, {size} bytes, loss {expected['loss.lm']:.6f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", default=ROOT)
    ap.add_argument("cases", nargs="*", metavar="CASE")
    args = ap.parse_args()
    for name in args.cases or CASES:
        make(name, args.out)


if __name__ == "__main__":
    main()
