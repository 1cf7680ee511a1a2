""
    "Reference forward pass of the Pangu families in plain PyTorch, written for reading and not for speed.

    Every sequence of the ragged batch runs alone,
    attention is an explicit softmax matrix, and each token visits its experts one by one; only the statistics for the balance loss are shared by the whole batch. `params` maps the published Hugging
Face tensor names to tensors of any float dtype (float64 here), so autograd yields the gradient under the same names.

Shapes: T tokens of one sequence, D hidden, H heads, G key/value heads, V vocabulary, N experts.
"""
import torch

import openpangu_v2

LATENT_EPS = 1e-6  # q_a_layernorm and kv_a_layernorm ignore rms_norm_eps, as in the released code

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- config
_ALIASES = {  # V1.0 spelling -> DeepSeek spelling
    "attention_q_lora_dim": "q_lora_rank",
    "attention_kv_lora_dim": "kv_lora_rank",
    "attention_qk_dim": "qk_nope_head_dim",
    "attention_qk_rope_dim": "qk_rope_head_dim",
    "attention_v_dim": "v_head_dim",
    "num_routed_experts": "n_routed_experts",
    "num_shared_experts": "n_shared_experts",
    "num_dense_layers": "first_k_dense_replace",
    "num_mtp_layers": "num_nextn_predict_layers",
}


class Config:
    """config.json with one spelling; a missing key that a family needs is an AttributeError."""

    def __init__(self, raw):
        self.architecture = raw["architectures"][0]
        for key, value in raw.items():
            setattr(self, _ALIASES.get(key, key), value)
        if not hasattr(self, "rope_theta"):  # transformers 5 spelling
            self.rope_theta = raw["rope_parameters"]["rope_theta"]

    def get(self, key, default):
        value = getattr(self, key, None)
        return default if value is None else value

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- small parts
def rms_norm(x, gain, eps):
    return gain * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def linear(x, params, name):
    y = x @ params[name + ".weight"].T
    return y + params[name + ".bias"] if name + ".bias" in params else y


def swiglu(x, params, name):
    """down( silu(gate x) * (up x) )"""
    g = linear(x, params, name + ".gate_proj")
    return linear(g * torch.sigmoid(g) * linear(x, params, name + ".up_proj"), params, name + ".down_proj")


def rope(x, theta, interleaved):
    """Rotates x [T, heads, R]; row t has position t. Pair j turns by t * theta^(-2j/R).

    interleaved: pair j is channels (2j, 2j+1); otherwise (j, j + R/2).
    """
    T, _, R = x.shape
    freq = theta ** (-torch.arange(0, R, 2, dtype=x.dtype) / R)
    angle = (torch.arange(T, dtype=x.dtype)[:, None] * freq)[:, None, :]  # [T, 1, R/2]
    cos, sin = torch.cos(angle), torch.sin(angle)
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., : R // 2], x[..., R // 2 :])
    ra, rb = a * cos - b * sin, b * cos + a * sin
    return torch.stack((ra, rb), -1).flatten(-2) if interleaved else torch.cat((ra, rb), -1)


def causal_attention(q, k, v):
    """q [T,H,A], k [T,H,A], v [T,H,B] -> [T, H*B]; scale 1/sqrt(A)."""
    T, H, A = q.shape
    score = torch.einsum("thd,shd->hts", q, k) * A**-0.5
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    prob = torch.softmax(score.masked_fill(future, float("-inf")), -1)
    return torch.einsum("hts,shd->thd", prob, v).reshape(T, -1)

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- - \
    attention
def mla(x, params, name, c):
    """Multi-head latent attention, naive form (docs/mla.md)."""
    T, H = x.shape[0], c.num_attention_heads
    nope, rot, vd, latent = c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim, c.kv_lora_rank
    pairs = c.get("rope_interleave", True)

    cq = rms_norm(linear(x, params, name + ".q_a_proj"), params[name + ".q_a_layernorm.weight"], LATENT_EPS)
    q = linear(cq, params, name + ".q_b_proj").reshape(T, H, nope + rot)
    q = torch.cat((q[..., :nope], rope(q[..., nope:], c.rope_theta, pairs)), -1)

    kv = linear(x, params, name + ".kv_a_proj_with_mqa")  # [T, latent | rot]
    ckv = rms_norm(kv[:, :latent], params[name + ".kv_a_layernorm.weight"], LATENT_EPS)
    k_rot = rope(kv[:, None, latent:], c.rope_theta, pairs)  # one key shared by all heads, not normed
    up = linear(ckv, params, name + ".kv_b_proj").reshape(T, H, nope + vd)  # per head [nope ; v]
    k = torch.cat((up[..., :nope], k_rot.expand(T, H, rot)), -1)
    return linear(causal_attention(q, k, up[..., nope:]), params, name + ".o_proj")


def gqa(x, params, name, c):
    """Grouped-query attention; head h reads key/value head h // (H/G). Half-rotate RoPE over the full head."""
    T, H, G = x.shape[0], c.num_attention_heads, c.num_key_value_heads
    d = c.get("head_dim", c.hidden_size // H)
    q = rope(linear(x, params, name + ".q_proj").reshape(T, H, d), c.rope_theta, False)
    k = rope(linear(x, params, name + ".k_proj").reshape(T, G, d), c.rope_theta, False)
    v = linear(x, params, name + ".v_proj").reshape(T, G, d)
    k, v = (t.repeat_interleave(H // G, dim=1) for t in (k, v))
    return linear(causal_attention(q, k, v), params, name + ".o_proj")


def sink_gqa(x, params, name, c):
    """Attention of openPangu-R-72B: one matrix for q, k and v, keys normed before the rotation, which turns the first
    qk_rope_dim channels of a head, values of another width, and learned entries before the first key that every token sees."""
    T, H, G, S = x.shape[0], c.num_attention_heads, c.num_key_value_heads, c.param_sink_number
    rot, d, vd = c.qk_rope_dim, c.qk_rope_dim + c.qk_nope_dim, c.v_channels
    pairs = c.get("rope_interleave", True)
    gain = params[name + ".k_layernorm.weight"]

    def turned(a):
        return torch.cat((rope(a[..., :rot], c.rope_theta, pairs), a[..., rot:]), -1)

    q, k, v = linear(x, params, name + ".qkv_proj").split((H * d, G * d, G * vd), -1)
    q, k, v = turned(q.reshape(T, H, d)), turned(rms_norm(k.reshape(T, G, d), gain, c.rms_norm_eps)), v.reshape(T, G, vd)
    sink_k = rms_norm(params[name + ".param_sink_key"], gain, c.rms_norm_eps)  # [S, G, d], not rotated
    sink_v = params[name + ".param_sink_value"] if c.get("param_sink_with_value", False) else v.new_zeros(S, G, vd)
    k, v = (torch.cat(t).repeat_interleave(H // G, dim=1) for t in ((sink_k, k), (sink_v, v)))
    score = torch.einsum("thd,shd->hts", q, k) * d**-0.5
    hidden = torch.cat((torch.zeros(T, S, dtype=torch.bool), torch.ones(T, T, dtype=torch.bool).triu(1)), 1)
    prob = torch.softmax(score.masked_fill(hidden, float("-inf")), -1)
    return linear(torch.einsum("hts,shd->thd", prob, v).reshape(T, -1), params, name + ".o_proj")

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- - \
    routing
class RouterStats:
    """What one MoE layer saw over the whole batch: scores normalised per token, and how often each expert was chosen."""

    def __init__(self):
        self.scores, self.counts, self.tokens, self.min_gap = [], 0, 0, float("inf")

    def add(self, normalised, chosen, gap):
        self.scores.append(normalised)
        self.counts = self.counts + chosen.sum(0)
        self.tokens += chosen.shape[0]
        self.min_gap = min(self.min_gap, gap)

    def balance(self, top_k):
        p = torch.cat(self.scores).mean(0)
        f = self.counts.to(p.dtype) * (p.numel() / (top_k * self.tokens))  # a count: carries no gradient
        return (f * p).sum()


def choose(select, groups, per_group):
    """Boolean mask [T, N] of the best `per_group` of each contiguous group, and the smallest winner-loser gap."""
    T, N = select.shape
    ranked = select.detach().reshape(T, groups, N // groups)
    order = ranked.argsort(-1, descending=True)
    mask = torch.zeros_like(ranked, dtype=torch.bool).scatter_(-1, order[..., :per_group], True)
    by_rank = ranked.gather(-1, order)
    gap = (by_rank[..., per_group - 1] - by_rank[..., per_group]).min().item() if per_group < N // groups else float("inf")
    return mask.reshape(T, N), gap


def keep_groups(select, groups, kept):
    """DeepSeek-V3: -inf for experts outside the `kept` groups whose best two sum highest, and the gap of that decision."""
    T, N = select.shape
    by_group = select.detach().reshape(T, groups, N // groups).topk(2, -1).values.sum(-1)
    mask, gap = choose(by_group, 1, kept)
    return select.masked_fill(~mask.repeat_interleave(N // groups, 1), float("-inf")), gap


def ultra_route(x, params, name, c, stats):
    """Sigmoid scores, top-k of score (+ bias), weights = chosen scores / sum * routed_scaling_factor."""
    s = torch.sigmoid(linear(x, params, name + ".gate"))
    bias = params.get(name + ".e_score_correction_bias", params.get(name + ".gate.e_score_correction_bias"))
    select, group_gap = s if bias is None else s + bias, float("inf")
    if c.get("n_group", 1) > 1:
        select, group_gap = keep_groups(select, c.n_group, c.topk_group)
    mask, gap = choose(select, 1, c.num_experts_per_tok)
    gap = min(gap, group_gap)
    if stats is not None:
        stats.add(s / s.sum(-1, keepdim=True), mask, gap)
    w = s * mask
    if c.get("norm_topk_prob", True):
        w = w / (w.sum(-1, keepdim=True) + 1e-20)
    return w * c.get("routed_scaling_factor", 1.0), gap


def moge_route(x, params, name, c, stats):
    """Softmax over all experts, the same number from each contiguous group, times router_scale, not renormalised."""
    s = torch.softmax(linear(x, params, name + ".gate"), -1)
    groups = c.get("num_groups", c.num_experts_per_tok)
    mask, gap = choose(torch.log(s), groups, c.num_experts_per_tok // groups)  # log: small probabilities, relative gap
    if stats is not None:
        stats.add(s, mask, gap)
    return s * mask * params[name + ".router_scale"].reshape(-1), gap


def moe(x, params, name, weights, shared):
    """shared(x) + sum over chosen experts of weight * expert(x), token by token. weights [T, N], 0 = not chosen."""
    rows = []
    for t in range(x.shape[0]):
        y = swiglu(x[t], params, f"{name}.{shared}")
        for e in weights[t].nonzero().flatten().tolist():
            y = y + weights[t, e] * swiglu(x[t], params, f"{name}.experts.{e}")
        rows.append(y)
    return torch.stack(rows)

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- decoder layers
class Model:
    """One checkpoint: params and config. `stats[l]` collects the trunk's routing, `min_gap` the closest decision of every
    router, `index_gap` that of every indexer."""

    def __init__(self, config, params):
        self.c, self.p = Config(config), params
        arch = self.c.architecture
        self.v2 = arch == "OpenPanguV2ForCausalLM"
        self.ultra = self.v2 or arch in ("PanguUltraMoEForCausalLM", "PanguProMoEV2ForCausalLM", "DeepseekV3ForCausalLM")
        self.moge = arch == "PanguProMoEForCausalLM"
        if not (self.ultra or self.moge or arch in ("PanguEmbeddedForCausalLM", "LlamaForCausalLM")):
            raise ValueError("unknown architecture " + arch)
        self.heads = self.c.get("num_nextn_predict_layers", 0) if self.ultra else 0
        self.reset()

    def reset(self):
        self.stats, self.min_gap, self.index_gap = {}, float("inf"), float("inf")

    def norm(self, x, name):
        return rms_norm(x, self.p[name + ".weight"], self.c.rms_norm_eps)

    def mlp(self, x, layer):
        """Dense or MoE feed-forward of a layer; layers >= num_hidden_layers are MTP heads and give no balance term."""
        name, trunk = f"model.layers.{layer}.mlp", layer < self.c.num_hidden_layers
        dense = not (self.ultra or self.moge) or (self.ultra and layer < self.c.first_k_dense_replace)
        if dense:
            return swiglu(x, self.p, name)
        stats = self.stats.setdefault(layer, RouterStats()) if trunk else None
        route, shared = (ultra_route, "shared_experts") if self.ultra else (moge_route, "shared_expert")
        weights, gap = route(x, self.p, name, self.c, stats)
        self.min_gap = min(self.min_gap, gap)
        return moe(x, self.p, name, weights, shared)

    def layer(self, x, index):
        if self.v2:
            return openpangu_v2.plain_layer(self, x, index)
        name = f"model.layers.{index}"
        attention = mla if self.ultra else gqa
        if self.c.architecture == "PanguProMoEV2ForCausalLM":
            attention = sink_gqa
        a = attention(self.norm(x, name + ".input_layernorm"), self.p, name + ".self_attn", self.c)
        if self.ultra and self.c.get("sandwich_norm", False):
            x = x + self.norm(a, name + ".post_attention_layernorm")
            m = self.mlp(self.norm(x, name + ".pre_mlp_layernorm"), index)
            return x + self.norm(m, name + ".post_mlp_layernorm")
        x = x + a
        return x + self.mlp(self.norm(x, name + ".post_attention_layernorm"), index)  # here: the pre-MLP norm

    def trunk(self, x):
        if self.v2:
            return openpangu_v2.trunk(self, x)
        for index in range(self.c.num_hidden_layers):
            x = self.layer(x, index)
        return x

    def lm_head(self, h):
        tied = self.c.get("tie_word_embeddings", False)
        return h @ self.p["model.embed_tokens.weight" if tied else "lm_head.weight"].T

    def sequence(self, tokens):
        """Logits [T, V] of the trunk and a list, per MTP head k, of logits [max(T-k, 0), V]."""
        tokens = torch.tensor(tokens)
        embed = self.p["model.embed_tokens.weight"]
        h = self.norm(self.trunk(embed[tokens]), "model.norm")
        logits, mtp = self.lm_head(h), []
        for k in range(1, self.heads + 1):
            n = max(len(tokens) - k, 0)
            if n == 0:
                mtp.append(logits[:0])
                continue
            name = f"model.layers.{self.c.num_hidden_layers + k - 1}"
            u = torch.cat((self.norm(embed[tokens[k:]], name + ".enorm"), self.norm(h[:n], name + ".hnorm")), -1)
            h = self.layer(linear(u, self.p, name + ".eh_proj"), self.c.num_hidden_layers + k - 1)
            mtp.append(self.lm_head(self.norm(h, name + ".shared_head.norm")))
        return logits, mtp

    def batch(self, sequences):
        self.reset()
        return [self.sequence(s) for s in sequences]

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- losses
    def losses(self, outputs, sequences, mtp_weight, balance_weight):
        """The four scalars of `debug grads`."""
        zero = self.p["model.embed_tokens.weight"].new_zeros(())

        def mean_ce(logits_of, shift):
            """Mean over the batch of -log p(token[t+shift] | logits row t)."""
            terms = []
            for (out, s) in zip(outputs, sequences):
                logp = torch.log_softmax(logits_of(out), -1)
                terms += [-logp[t, s[t + shift]] for t in range(len(s) - shift)]
            return torch.stack(terms).mean() if terms else zero

        lm = mean_ce(lambda out: out[0], 1)
        heads = [mean_ce(lambda out, k=k: out[1][k - 1], k + 1) for k in range(1, self.heads + 1)]
        mtp = torch.stack(heads).mean() if heads else zero
        per_layer = [s.balance(self.c.num_experts_per_tok) for s in self.stats.values()]
        balance = torch.stack(per_layer).mean() if per_layer else zero
        total = lm + mtp_weight * mtp + balance_weight * balance
        return {"total": total, "lm": lm, "mtp": mtp, "balance": balance}


def run(config, arrays, sequences, mtp_weight, balance_weight, dtype=torch.float64):
    """Everything `debug logits` and `debug grads` write, as {name: float tensor}, and the model for its statistics."""
    params = {n: torch.tensor(a, dtype=dtype, requires_grad=True) for n, a in arrays.items() if not n.endswith("inv_freq")}
    model = Model(config, params)
    outputs = model.batch(sequences)
    losses = model.losses(outputs, sequences, mtp_weight, balance_weight)
    losses["total"].backward()
    result = {"loss." + n: v.detach() for n, v in losses.items()}
    for i, (logits, mtp) in enumerate(outputs):
        result[f"logits.{i}"] = logits.detach()
        for k, head in enumerate(mtp, 1):
            result[f"mtp.{k}.logits.{i}"] = head.detach()
    for name, p in params.items():
        result["grad." + name] = torch.zeros_like(p) if p.grad is None else p.grad
    return result, model
