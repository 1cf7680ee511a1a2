"""Reference of openPangu-2.0 (OpenPanguV2ForCausalLM): what it adds to the Ultra layer of families.py.

Streams of residuals mixed by small doubly stochastic matrices (mHC), causal convolutions on the latents (MoME), learned
sinks, sliding windows, and layers whose tokens see only the keys that an indexer picks (DSA). One sequence at a time.

Shapes: T tokens, H hidden, S streams, K keys = sinks and tokens.
"""
import torch

import families

HC_EPS = 1e-6
INDEX_EPS = 1e-6  # of the indexer's key norm


# ------------------------------------------------------------------------------------------------------- residuals
def streams(c):
    return c.mhc_num_stream if c.get("use_mhc", False) else 1


def sinkhorn(m, rounds):
    """[T, S, S] -> nearly doubly stochastic: a softmax of each row, then columns, and (rows, columns) rounds - 1 times."""
    m = torch.softmax(m, -1) + HC_EPS
    m = m / (m.sum(-2, keepdim=True) + HC_EPS)
    for _ in range(rounds - 1):
        m = m / (m.sum(-1, keepdim=True) + HC_EPS)
        m = m / (m.sum(-2, keepdim=True) + HC_EPS)
    return m


def coefficients(R, params, name, c):
    """phi of the normed flat streams R [T, S*H]; a norm without gain where the model has no gamma."""
    gain = params[name + ".norm_gamma"] if c.get("mhc_use_gamma", False) else 1.0
    return families.linear(families.rms_norm(R, gain, c.rms_norm_eps), params, name + ".phi")


def gather(h_pre, R):
    """sum over s of h_pre[s] R_s: [T, S], [T, S*H] -> [T, H]."""
    return torch.einsum("ts,tsh->th", h_pre, R.reshape(len(R), h_pre.shape[1], -1))


def pre(R, params, name, c):
    """The layer's input, and what `post` needs."""
    S = streams(c)
    u, alpha, beta = coefficients(R, params, name, c), params[name + ".branch_alpha"], params[name + ".branch_beta"]
    h_pre = torch.sigmoid(alpha[0] * u[:, :S] + beta[:S]) + HC_EPS
    h_post = 2 * torch.sigmoid(alpha[1] * u[:, S : 2 * S] + beta[S : 2 * S])
    m = (alpha[2] * u[:, 2 * S :] + beta[2 * S :]).reshape(-1, S, S)
    return gather(h_pre, R), h_post, sinkhorn(m, c.mhc_recur_norm)


def post(R, y, h_post, h_res):
    """New streams: R'_c = h_post[c] * y + sum over r of h_res[r, c] R_r."""
    old = R.reshape(len(R), h_post.shape[1], -1)
    new = h_post[:, :, None] * y[:, None, :] + torch.einsum("trc,trh->tch", h_res, old)
    return new.reshape(R.shape)


def merge(R, params, c):
    """The streams' sum that model.norm gets."""
    name = "model.merge_mhc_module"
    u = coefficients(R, params, name, c)
    return gather(torch.sigmoid(params[name + ".branch_alpha_pre"] * u + params[name + ".branch_beta_pre"]) + HC_EPS, R)


# ------------------------------------------------------------------------------------------------------- attention
def convolved(x, params, name, c):
    """x + depthwise causal convolution; nothing is added at the first k-1 positions, which lack a full window."""
    if not c.get("use_mome", c.get("router_sliding_window", 0) > 0):
        return x
    w, k = params[name + ".weight"][:, 0, :], c.router_sliding_window
    rows = [x[t] + (w.T * x[t - k + 1 : t + 1]).sum(0) if t >= k - 1 else x[t] for t in range(len(x))]
    return torch.stack(rows)


def window(index, c):
    """How many keys, its own among them, a token of this layer sees; None: all."""
    if index not in c.get("swa_layers", []):
        return None
    each = c.get("sliding_window_list", None)
    return c.sliding_window if each is None else each[c.swa_layers.index(index)]


def first_channels_turned(x, c):
    """The indexer rotates the first qk_rope_head_dim channels, half-rotate whatever the attention does."""
    r = c.qk_rope_head_dim
    return torch.cat((families.rope(x[..., :r], c.rope_theta, False), x[..., r:]), -1)


def index_scores(z, cq, params, name, c):
    """[T, T]: how much token t wants key s. z: the layer's normed input, cq: the normed q latent."""
    T, heads, d = len(z), c.index_n_heads, c.index_head_dim
    q = first_channels_turned(families.linear(cq, params, name + ".wq_b").reshape(T, heads, d), c)
    k = families.rms_norm(families.linear(z, params, name + ".wk"), params[name + ".k_norm.weight"], INDEX_EPS)
    k = first_channels_turned(k[:, None], c)[:, 0]
    weight = families.linear(z, params, name + ".weights_proj") * heads**-0.5
    return torch.einsum("th,ths->ts", weight, torch.relu(torch.einsum("thd,sd->ths", q, k) * d**-0.5))


def best_keys(scores, count):
    """Mask [T, T] of the `count` best causal keys of each token, and the smallest gap relative to a row's largest score."""
    T = len(scores)
    mask, gap = torch.zeros(T, T, dtype=torch.bool), float("inf")
    for t in range(T):
        row = scores[t, : t + 1]
        order = row.argsort(descending=True)
        mask[t, order[:count]] = True
        if t + 1 > count:
            gap = min(gap, float((row[order[count - 1]] - row[order[count]]) / row.abs().max()))
    return mask, gap


def visible(model, index, z, cq):
    """Mask [T, T] of the keys a token sees."""
    c, T = model.c, len(z)
    seen = torch.ones(T, T, dtype=torch.bool).tril()
    width = window(index, c)
    if width is not None:
        seen = seen & torch.ones(T, T, dtype=torch.bool).triu(1 - width)
    if c.get("index_topk", 0) > 0 and index in c.get("dsa_layers", []):
        with torch.no_grad():  # a choice: no gradient
            scores = index_scores(z, cq, model.p, f"model.layers.{index}.self_attn.indexer", c)
            chosen, gap = best_keys(scores, c.index_topk)
        model.index_gap = min(model.index_gap, gap)
        seen = seen & chosen
    return seen


def expanded(latent, k_rot, params, name, c):
    """Keys [K, heads, nope + rot] and values [K, heads, v] of normed latents and one rope key each."""
    heads, nope = c.num_attention_heads, c.qk_nope_head_dim
    up = families.linear(latent, params, name + ".kv_b_proj").reshape(len(latent), heads, nope + c.v_head_dim)
    return torch.cat((up[..., :nope], k_rot[:, None].expand(-1, heads, -1)), -1), up[..., nope:]


def sinks(params, name, c):
    """Keys and values that every token sees: latents normed but not convolved, rope keys as they are."""
    gain = params[name + ".kv_a_layernorm.weight"]
    latent = families.rms_norm(params[name + ".param_sink_compressed_kv"], gain, families.LATENT_EPS)
    return expanded(latent, params[name + ".param_sink_k_pe"], params, name, c)


def attention(model, z, index):
    c, params, name = model.c, model.p, f"model.layers.{index}.self_attn"
    T, heads, nope, rot = len(z), c.num_attention_heads, c.qk_nope_head_dim, c.qk_rope_head_dim
    pairs = c.get("rope_interleave", False)

    cq = convolved(families.linear(z, params, name + ".q_a_proj"), params, name + ".qa_conv", c)
    cq = families.rms_norm(cq, params[name + ".q_a_layernorm.weight"], families.LATENT_EPS)
    q = families.linear(cq, params, name + ".q_b_proj").reshape(T, heads, nope + rot)
    q = torch.cat((q[..., :nope], families.rope(q[..., nope:], c.rope_theta, pairs)), -1)

    latent, k_rot = families.linear(z, params, name + ".kv_a_proj_with_mqa").split((c.kv_lora_rank, rot), -1)
    latent = convolved(latent, params, name + ".compresskv_conv", c)
    latent = families.rms_norm(latent, params[name + ".kv_a_layernorm.weight"], families.LATENT_EPS)
    k, v = expanded(latent, families.rope(k_rot[:, None], c.rope_theta, pairs)[:, 0], params, name, c)

    seen = visible(model, index, z, cq)
    if c.get("param_sink_number", 0) > 0:
        sink_k, sink_v = sinks(params, name, c)
        k, v = torch.cat((sink_k, k)), torch.cat((sink_v, v))
        seen = torch.cat((torch.ones(T, len(sink_k), dtype=torch.bool), seen), 1)
    score = torch.einsum("thd,shd->hts", q, k) * (nope + rot) ** -0.5
    prob = torch.softmax(score.masked_fill(~seen, float("-inf")), -1)
    out = torch.einsum("hts,shd->thd", prob, v).reshape(T, -1)
    return families.linear(convolved(out, params, name + ".o_conv", c), params, name + ".o_proj")


# ---------------------------------------------------------------------------------------------------------- layers
def branches(model, index):
    """(name of the mHC module, function) of the two halves of a layer, sandwich norms included."""
    name, sandwich = f"model.layers.{index}", model.c.get("sandwich_norm", False)
    before_mlp = "pre_mlp_layernorm" if sandwich else "post_attention_layernorm"

    def attend(x):
        a = attention(model, model.norm(x, name + ".input_layernorm"), index)
        return model.norm(a, name + ".post_attention_layernorm") if sandwich else a

    def feed(x):
        m = model.mlp(model.norm(x, f"{name}.{before_mlp}"), index)
        return model.norm(m, name + ".post_mlp_layernorm") if sandwich else m

    return (name + ".attn_mhc_module", attend), (name + ".mlp_mhc_module", feed)


def plain_layer(model, x, index):
    """A layer with one residual: the MTP heads, and all layers of a model without mHC."""
    for _, branch in branches(model, index):
        x = x + branch(x)
    return x


def trunk(model, x):
    """Embeddings [T, H] -> what model.norm gets [T, H]."""
    c, mixed = model.c, model.c.get("use_mhc", False)
    R = x.repeat(1, streams(c))
    for index in range(c.num_hidden_layers):
        if mixed:
            for module, branch in branches(model, index):
                x, h_post, h_res = pre(R, model.p, module, c)
                R = post(R, branch(x), h_post, h_res)
        else:
            R = plain_layer(model, R, index)
        if index in c.get("block_post_layernorm_idx", []):
            R = model.norm(R, f"model.layers.{index}.block_post_layernorm")  # over all channels of all streams
    return merge(R, model.p, c) if mixed else R
