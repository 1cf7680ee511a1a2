"""The golden cases: tiny configs with awkward sizes, the tensor names and shapes they imply, and their random weights."""
import numpy as np

# --------------------------------------------------------------------------------------------------------- configs
_ULTRA = {
    "architectures": ["PanguUltraMoEForCausalLM"],
    "model_type": "pangu_ultra_moe",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 256,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
    "use_cache": True,
}

_V2 = {
    "architectures": ["OpenPanguV2ForCausalLM"],
    "model_type": "openpangu_v2",
    "attention_bias": False,
    "hidden_act": "silu",
    "max_position_embeddings": 256,
    "norm_topk_prob": True,
    "param_sink_number": 64,
    "param_sink_with_value": True,
    "sandwich_norm": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
}

CASES = {
    # V1.0 spelling; interleaved RoPE by default; rms_norm_eps far from the latent norms' 1e-6, so a mix-up shows.
    "ultra_v1": {
        "seed": 101,
        "lengths": [11, 1, 7, 2],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "config": {
            **_ULTRA,
            "vocab_size": 67,
            "hidden_size": 32,
            "intermediate_size": 45,
            "moe_intermediate_size": 7,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "attention_q_lora_dim": 14,
            "attention_kv_lora_dim": 11,
            "attention_qk_dim": 6,
            "attention_qk_rope_dim": 8,
            "attention_v_dim": 5,
            "num_routed_experts": 8,
            "num_shared_experts": 1,
            "num_experts_per_tok": 2,
            "num_dense_layers": 1,
            "num_mtp_layers": 1,
            "rms_norm_eps": 1e-3,
            "rope_theta": 1000.0,
            "sandwich_norm": True,
            "torch_dtype": "float32",
        },
    },
    # DeepSeek spelling, correction bias beside the gate, two shared experts as one wide one, two chained heads, 2 shards.
    "ultra_deepseek_spelling": {
        "seed": 202,
        "lengths": [9, 2, 13, 1],
        "mtp_weight": 0.7,
        "balance_weight": 0.25,
        "shards": 2,
        "config": {
            **_ULTRA,
            "vocab_size": 67,
            "hidden_size": 27,
            "intermediate_size": 41,
            "moe_intermediate_size": 5,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "q_lora_rank": 13,
            "kv_lora_rank": 9,
            "qk_nope_head_dim": 5,
            "qk_rope_head_dim": 6,
            "v_head_dim": 7,
            "n_routed_experts": 9,
            "n_shared_experts": 2,
            "num_experts_per_tok": 3,
            "first_k_dense_replace": 1,
            "num_nextn_predict_layers": 2,
            "router_enable_expert_bias": True,
            "routed_scaling_factor": 1.7,
            "rms_norm_eps": 1e-5,
            "rope_theta": 25600000,
            "rope_interleave": True,
            "sandwich_norm": True,
            "torch_dtype": "float32",
        },
    },
    # Half-rotate RoPE, Llama-style norms (post_attention_layernorm before the MLP), no MTP, bf16 weights, the
    # transformers 5 spelling of RoPE and dtype, and a sequence longer than the others by far.
    "ultra_half_rope": {
        "seed": 303,
        "lengths": [37, 5, 2],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "dtype": "BF16",
        "config": {
            **_ULTRA,
            "vocab_size": 67,
            "hidden_size": 30,
            "intermediate_size": 43,
            "moe_intermediate_size": 9,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
            "num_key_value_heads": 5,
            "q_lora_rank": 17,
            "kv_lora_rank": 10,
            "qk_nope_head_dim": 3,
            "qk_rope_head_dim": 4,
            "v_head_dim": 6,
            "n_routed_experts": 7,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 2,
            "num_nextn_predict_layers": 0,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"},
            "rope_interleave": False,
            "sandwich_norm": False,
            "dtype": "bfloat16",
        },
    },
    # MoGE: 4 groups of 2 contiguous experts, the best one of each; GQA 4:2 with biases everywhere.
    "pro_moe": {
        "seed": 404,
        "lengths": [12, 1, 5, 8],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "config": {
            "architectures": ["PanguProMoEForCausalLM"],
            "model_type": "PanguProMoE",
            "vocab_size": 67,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-3,
            "rope_theta": 300.0,
            "moe_intermediate_size": 7,
            "shared_expert_intermediate_size": 19,
            "num_experts": 8,
            "num_experts_per_tok": 4,
            "mlp_only_layers": [],
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
            "use_cache": True,
        },
    },
    # Biases on q, k, v and o; the checkpoint carries the redundant rotary_emb.inv_freq of the published one.
    "embedded": {
        "seed": 505,
        "lengths": [70, 2, 13, 1],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "config": {
            "architectures": ["PanguEmbeddedForCausalLM"],
            "model_type": "PanguEmbedded",
            "attention_dropout": 0.0,
            "bias": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_act": "silu",
            "hidden_size": 36,
            "initializer_range": 0.02,
            "intermediate_size": 59,
            "max_position_embeddings": 256,
            "num_attention_heads": 6,
            "num_hidden_layers": 3,
            "num_key_value_heads": 3,
            "pad_token_id": 0,
            "rms_norm_eps": 1e-3,
            "rope_theta": 200.0,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
            "use_cache": True,
            "vocab_size": 67,
        },
    },
    # No biases, one key/value head, tied embeddings (their gradient counts once), a long sequence.
    "llama_tied": {
        "seed": 606,
        "lengths": [83, 1, 17],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "config": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_act": "silu",
            "hidden_size": 30,
            "intermediate_size": 61,
            "max_position_embeddings": 256,
            "mlp_bias": False,
            "num_attention_heads": 5,
            "num_hidden_layers": 4,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-3,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            "vocab_size": 67,
        },
    },
    # DeepSeek-V3's MTP head, which transformers leaves out: groups, the bias as the gate's child, no sandwich.
    "deepseek_v3_mtp": {
        "seed": 707,
        "lengths": [11, 2, 6, 1],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "config": {
            "architectures": ["DeepseekV3ForCausalLM"],
            "model_type": "deepseek_v3",
            "attention_bias": False,
            "hidden_act": "silu",
            "max_position_embeddings": 256,
            "vocab_size": 37,
            "hidden_size": 16,
            "intermediate_size": 21,
            "moe_intermediate_size": 5,
            "num_hidden_layers": 2,
            "num_nextn_predict_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "q_lora_rank": 10,
            "kv_lora_rank": 9,
            "qk_nope_head_dim": 6,
            "qk_rope_head_dim": 8,
            "v_head_dim": 5,
            "n_routed_experts": 12,
            "n_shared_experts": 1,
            "num_experts_per_tok": 3,
            "n_group": 4,
            "topk_group": 2,
            "topk_method": "noaux_tc",
            "scoring_func": "sigmoid",
            "norm_topk_prob": True,
            "routed_scaling_factor": 2.5,
            "first_k_dense_replace": 1,
            "rms_norm_eps": 1e-6,
            "rope_theta": 100.0,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        },
    },
    # openPangu-R-72B: sinks with values, keys normed, values narrower than keys, the first channels turn, an MTP head.
    "pro_moe_v2": {
        "seed": 808,
        "lengths": [13, 1, 70, 2],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "config": {
            "architectures": ["PanguProMoEV2ForCausalLM"],
            "model_type": "PanguProMoE",
            "hidden_act": "silu",
            "max_position_embeddings": 256,
            "vocab_size": 37,
            "hidden_size": 18,
            "intermediate_size": 23,
            "moe_intermediate_size": 5,
            "num_hidden_layers": 2,
            "num_mtp_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "qk_nope_dim": 5,
            "qk_rope_dim": 4,
            "v_channels": 7,
            "param_sink_number": 64,
            "param_sink_with_value": True,
            "n_routed_experts": 8,
            "n_shared_experts": 2,
            "num_experts_per_tok": 3,
            "first_k_dense_replace": 1,
            "router_enable_expert_bias": True,
            "norm_topk_prob": True,
            "routed_scaling_factor": 2.5,
            "sandwich_norm": True,
            "rms_norm_eps": 1e-3,
            "rope_theta": 200.0,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        },
    },
    # The same without values of the sinks (they are zeros), half-rotate pairs, no sandwich, no bias.
    "pro_moe_v2_keys": {
        "seed": 909,
        "lengths": [5, 19],
        "mtp_weight": 0.0,
        "balance_weight": 0.0,
        "config": {
            "architectures": ["PanguProMoEV2ForCausalLM"],
            "model_type": "PanguProMoE",
            "hidden_act": "silu",
            "max_position_embeddings": 256,
            "vocab_size": 31,
            "hidden_size": 12,
            "intermediate_size": 23,
            "moe_intermediate_size": 5,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "qk_nope_dim": 3,
            "qk_rope_dim": 6,
            "v_channels": 11,
            "param_sink_number": 128,
            "param_sink_with_value": False,
            "n_routed_experts": 6,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 0,
            "router_enable_expert_bias": False,
            "norm_topk_prob": True,
            "routed_scaling_factor": 1.5,
            "sandwich_norm": False,
            "rms_norm_eps": 1e-5,
            "rope_theta": 200.0,
            "rope_interleave": False,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
        },
    },
    # openPangu-2.0 with all of its parts: 4 streams, indexer and window layers by turns, every window another, a norm over
    # the streams, convolutions, sinks, the bias, 2 chained heads; sequences shorter than the convolution.
    "openpangu_v2": {
        "seed": 1010,
        "lengths": [20, 1, 3, 2],
        "mtp_weight": 0.3,
        "balance_weight": 0.5,
        "config": {
            **_V2,
            "vocab_size": 31,
            "hidden_size": 15,
            "intermediate_size": 21,
            "moe_intermediate_size": 5,
            "num_hidden_layers": 4,
            "num_nextn_predict_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "q_lora_rank": 10,
            "kv_lora_rank": 8,
            "qk_nope_head_dim": 6,
            "qk_rope_head_dim": 4,
            "v_head_dim": 5,
            "first_k_dense_replace": 1,
            "n_routed_experts": 6,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "router_enable_expert_bias": True,
            "routed_scaling_factor": 2.5,
            "dsa_layers": [0, 2],
            "swa_layers": [1, 3, 4, 5],
            "sliding_window": 9,
            "sliding_window_list": [6, 3, 5, 2],
            "index_topk": 5,
            "index_n_heads": 5,
            "index_head_dim": 8,
            "use_mhc": True,
            "mhc_num_stream": 4,
            "mhc_recur_norm": 20,
            "mhc_use_gamma": True,
            "block_post_layernorm_idx": [1],
            "use_mome": True,
            "router_sliding_window": 3,
            "rms_norm_eps": 1e-3,
            "rope_interleave": False,
            "rope_theta": 100.0,
            "torch_dtype": "float32",
        },
    },
    # The same with most of it off: one residual, no convolutions (use_mome false beats the width), no indexer, a window by
    # `sliding_window` in one layer and none in the others, no head, no bias, half-rotate by default; transformers 5 spelling.
    "openpangu_v2_plain": {
        "seed": 1111,
        "lengths": [17, 4, 1],
        "mtp_weight": 0.0,
        "balance_weight": 0.25,
        "config": {
            **_V2,
            "vocab_size": 31,
            "hidden_size": 18,
            "intermediate_size": 23,
            "moe_intermediate_size": 5,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "q_lora_rank": 11,
            "kv_lora_rank": 9,
            "qk_nope_head_dim": 5,
            "qk_rope_head_dim": 6,
            "v_head_dim": 7,
            "first_k_dense_replace": 1,
            "n_routed_experts": 7,
            "n_shared_experts": 2,
            "num_experts_per_tok": 3,
            "router_enable_expert_bias": False,
            "routed_scaling_factor": 1.5,
            "swa_layers": [1],
            "sliding_window": 4,
            "use_mhc": False,
            "block_post_layernorm_idx": [1],
            "use_mome": False,
            "router_sliding_window": 3,
            "rms_norm_eps": 1e-3,
            "rope_parameters": {"rope_theta": 200.0, "rope_type": "default"},
            "dtype": "float32",
        },
    },
    # 2 streams without gamma and with few rounds, a wide convolution (use_mome by default), the indexer in every layer,
    # with heads of odd width, interleaved pairs for the attention only, one head.
    "openpangu_v2_nogamma": {
        "seed": 1212,
        "lengths": [2, 19, 5, 3],
        "mtp_weight": 0.7,
        "balance_weight": 0.25,
        "config": {
            **_V2,
            "vocab_size": 31,
            "hidden_size": 14,
            "intermediate_size": 19,
            "moe_intermediate_size": 5,
            "num_hidden_layers": 3,
            "num_nextn_predict_layers": 1,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "q_lora_rank": 9,
            "kv_lora_rank": 7,
            "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 6,
            "v_head_dim": 5,
            "first_k_dense_replace": 1,
            "n_routed_experts": 6,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "router_enable_expert_bias": True,
            "routed_scaling_factor": 2.5,
            "dsa_layers": [0, 1, 2],
            "swa_layers": [3],
            "sliding_window": 4,
            "index_topk": 4,
            "index_n_heads": 6,
            "index_head_dim": 9,
            "use_mhc": True,
            "mhc_num_stream": 2,
            "mhc_recur_norm": 3,
            "mhc_use_gamma": False,
            "router_sliding_window": 4,
            "rms_norm_eps": 1e-3,
            "rope_interleave": True,
            "rope_theta": 100.0,
            "torch_dtype": "float32",
        },
    },
}


# ---------------------------------------------------------------------------------------------------------- shapes
def _mlp(name, hidden, width):
    return {
        f"{name}.gate_proj.weight": (width, hidden),
        f"{name}.up_proj.weight": (width, hidden),
        f"{name}.down_proj.weight": (hidden, width),
    }


def _mla(name, c):
    h, heads = c.hidden_size, c.num_attention_heads
    return {
        f"{name}.q_a_proj.weight": (c.q_lora_rank, h),
        f"{name}.q_a_layernorm.weight": (c.q_lora_rank,),
        f"{name}.q_b_proj.weight": (heads * (c.qk_nope_head_dim + c.qk_rope_head_dim), c.q_lora_rank),
        f"{name}.kv_a_proj_with_mqa.weight": (c.kv_lora_rank + c.qk_rope_head_dim, h),
        f"{name}.kv_a_layernorm.weight": (c.kv_lora_rank,),
        f"{name}.kv_b_proj.weight": (heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank),
        f"{name}.o_proj.weight": (h, heads * c.v_head_dim),
    }


def _gqa(name, c, bias):
    h = c.hidden_size
    d = h // c.num_attention_heads
    q, kv = c.num_attention_heads * d, c.num_key_value_heads * d
    out = {}
    for proj, shape in {"q": (q, h), "k": (kv, h), "v": (kv, h), "o": (h, q)}.items():
        out[f"{name}.{proj}_proj.weight"] = shape
        if bias:
            out[f"{name}.{proj}_proj.bias"] = shape[:1]
    return out


def _sink_gqa(name, c):
    h, heads, groups = c.hidden_size, c.num_attention_heads, c.num_key_value_heads
    d, v, sinks = c.qk_nope_dim + c.qk_rope_dim, c.v_channels, c.param_sink_number
    out = {
        f"{name}.qkv_proj.weight": (heads * d + groups * (d + v), h),
        f"{name}.o_proj.weight": (h, heads * v),
        f"{name}.k_layernorm.weight": (d,),
        f"{name}.param_sink_key": (sinks, groups, d),
    }
    if c.param_sink_with_value:
        out[f"{name}.param_sink_value"] = (sinks, groups, v)
    return out


def _v2_attention(name, c, indexer):
    out, v = _mla(name, c), c.num_attention_heads * c.v_head_dim
    out[f"{name}.param_sink_compressed_kv"] = (c.param_sink_number, c.kv_lora_rank)
    out[f"{name}.param_sink_k_pe"] = (c.param_sink_number, c.qk_rope_head_dim)
    if c.get("use_mome", True):
        for conv, channels in {"qa": c.q_lora_rank, "compresskv": c.kv_lora_rank, "o": v}.items():
            out[f"{name}.{conv}_conv.weight"] = (channels, 1, c.router_sliding_window)
    if indexer:
        out[f"{name}.indexer.wq_b.weight"] = (c.index_n_heads * c.index_head_dim, c.q_lora_rank)
        out[f"{name}.indexer.wk.weight"] = (c.index_head_dim, c.hidden_size)
        out[f"{name}.indexer.k_norm.weight"] = (c.index_head_dim,)
        out[f"{name}.indexer.weights_proj.weight"] = (c.index_n_heads, c.hidden_size)
    return out


def _mhc(name, c, outputs, suffix, alphas):
    wide = c.mhc_num_stream * c.hidden_size
    out = {f"{name}.phi.weight": (outputs, wide)}
    out[f"{name}.branch_alpha{suffix}"], out[f"{name}.branch_beta{suffix}"] = (alphas,), (outputs,)
    if c.mhc_use_gamma:
        out[f"{name}.norm_gamma"] = (wide,)
    return out


def _v2_residuals(c):
    """What the trunk has for its streams."""
    out, S = {}, c.mhc_num_stream if c.use_mhc else 1
    for i in c.get("block_post_layernorm_idx", []):
        out[f"model.layers.{i}.block_post_layernorm.weight"] = (S * c.hidden_size,)
    if c.use_mhc:
        for i in range(c.num_hidden_layers):
            for half in ("attn", "mlp"):
                out.update(_mhc(f"model.layers.{i}.{half}_mhc_module", c, S * (S + 2), "", 3))
        out.update(_mhc("model.merge_mhc_module", c, S, "_pre", 1))
    return out


def _attention(name, c):
    if c.architecture == "OpenPanguV2ForCausalLM":
        return _v2_attention(name + ".self_attn", c, int(name.split(".")[-1]) in c.get("dsa_layers", []))
    return (_sink_gqa if hasattr(c, "param_sink_number") else _mla)(name + ".self_attn", c)


def _ultra_layer(name, c, dense):
    h, out = c.hidden_size, _attention(name, c)
    norms = ["input_layernorm", "post_attention_layernorm"]
    if c.get("sandwich_norm", False):
        norms += ["pre_mlp_layernorm", "post_mlp_layernorm"]
    out.update({f"{name}.{n}.weight": (h,) for n in norms})
    if dense:
        return {**out, **_mlp(name + ".mlp", h, c.intermediate_size)}
    out[f"{name}.mlp.gate.weight"] = (c.n_routed_experts, h)
    if c.get("router_enable_expert_bias", False):
        out[f"{name}.mlp.e_score_correction_bias"] = (c.n_routed_experts,)
    if c.architecture == "DeepseekV3ForCausalLM":
        out[f"{name}.mlp.gate.e_score_correction_bias"] = (c.n_routed_experts,)
    for e in range(c.n_routed_experts):
        out.update(_mlp(f"{name}.mlp.experts.{e}", h, c.moe_intermediate_size))
    return {**out, **_mlp(name + ".mlp.shared_experts", h, c.n_shared_experts * c.moe_intermediate_size)}


def _pro_layer(name, c):
    h, out = c.hidden_size, _gqa(name + ".self_attn", c, True)
    out.update({f"{name}.{n}.weight": (h,) for n in ("input_layernorm", "post_attention_layernorm")})
    out[f"{name}.mlp.gate.weight"] = (c.num_experts, h)
    out[f"{name}.mlp.router_scale"] = (1, c.num_experts)
    for e in range(c.num_experts):
        out.update(_mlp(f"{name}.mlp.experts.{e}", h, c.moe_intermediate_size))
    return {**out, **_mlp(name + ".mlp.shared_expert", h, c.shared_expert_intermediate_size)}


def _dense_layer(name, c):
    out = _gqa(name + ".self_attn", c, c.get("bias", False))
    out.update({f"{name}.{n}.weight": (c.hidden_size,) for n in ("input_layernorm", "post_attention_layernorm")})
    return {**out, **_mlp(name + ".mlp", c.hidden_size, c.intermediate_size)}


def shapes(c):
    """{published tensor name: shape} of a families.Config."""
    h, layers = c.hidden_size, c.num_hidden_layers
    out = {"model.embed_tokens.weight": (c.vocab_size, h), "model.norm.weight": (h,)}
    if not c.tie_word_embeddings:
        out["lm_head.weight"] = (c.vocab_size, h)
    for i in range(layers):
        name = f"model.layers.{i}"
        if hasattr(c, "n_routed_experts"):
            out.update(_ultra_layer(name, c, i < c.first_k_dense_replace))
        elif c.architecture == "PanguProMoEForCausalLM":
            out.update(_pro_layer(name, c))
        else:
            out.update(_dense_layer(name, c))
    for i in range(layers, layers + c.get("num_nextn_predict_layers", 0)):
        name = f"model.layers.{i}"
        out.update({f"{name}.{n}.weight": (h,) for n in ("enorm", "hnorm", "shared_head.norm")})
        out[f"{name}.eh_proj.weight"] = (h, 2 * h)
        out.update(_ultra_layer(name, c, False))
    if c.architecture == "OpenPanguV2ForCausalLM":
        out.update(_v2_residuals(c))
    return out


# --------------------------------------------------------------------------------------------------------- weights
# Large rope keys (the latents beside them are normed): a few tokens must hold their own against 64 sinks.
_V2_GAINS = {"kv_a_proj_with_mqa": 3.0}


def _draw(rng, name, shape, gains):
    """Every kind of tensor gets values that matter: gains away from 1, biases away from 0, sharp routers."""
    n = rng.standard_normal(shape)
    if name.endswith("e_score_correction_bias"):
        return 0.2 * n
    if name.endswith(".bias"):
        return 0.3 * n
    if "branch_alpha" in name:
        return 0.8 + 0.2 * n
    if "branch_beta" in name:
        return 0.5 * n
    if "_conv." in name:
        return 0.5 * n
    if "param_sink_k_pe" in name:
        return 0.8 * n
    if name.endswith("router_scale"):
        return 1 + 0.3 * n
    if "post_mlp_layernorm" in name:
        return 0.6 + 0.2 * n
    if "norm" in name:
        return 1 + 0.25 * n
    if name == "model.embed_tokens.weight":
        return 0.7 * n
    gain = {"gate": 2.0, "lm_head": 2.0, **gains}.get(name.split(".")[-2], 1.3)
    return gain * n / np.sqrt(shape[1])


def weights(c, seed):
    rng = np.random.default_rng(seed)
    gains = _V2_GAINS if c.architecture == "OpenPanguV2ForCausalLM" else {}
    return {name: _draw(rng, name, shape, gains).astype(np.float32) for name, shape in shapes(c).items()}


def tokens(c, lengths, seed):
    rng = np.random.default_rng(seed + 1)
    return [rng.integers(0, c.vocab_size, n).tolist() for n in lengths]
