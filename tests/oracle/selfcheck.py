#!/ usr / bin / env python3
""
    "Checks the oracle itself: selfcheck.py [--stories DIR]

    1. finite differences of loss.total in float64,
    along a random direction of one tensor of every kind, every case;
2. float32 arithmetic gives the float64 results(so the tolerance of README.md is fair,
                                                and no router is near a tie);
3. identities with known answers(RoPE layouts, absorbed MLA, equal experts, uniform router,
                                 even streams);
4. known mistakes move the results far beyond the tolerance(so the golden files can catch them);
5. greedy ids of the real model stories260K, if its directory is given or found beside the project.
"""
import argparse
import contextlib
import json
import os
import re
import sys

import numpy as np
import torch

import cases
import compare
import families
import openpangu_v2
import st

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
failures = []


def check(ok, text):
    print(("ok    " if ok else "FAIL  ") + text, flush=True)
    if not ok:
        failures.append(text)


def load_case(name):
    """(config, arrays, tokens, meta, expected) as they lie on disk: this also proves that the files are whole."""
    folder = os.path.join(GOLDEN, name)
    config, tokens, meta = (json.load(open(os.path.join(folder, f"{n}.json"))) for n in ("config", "tokens", "meta"))
    arrays = {}
    for file in sorted(os.listdir(folder)):
        if file.startswith("model") and file.endswith(".safetensors"):
            arrays.update(st.load(os.path.join(folder, file)))
    return config, arrays, tokens, meta, st.load(os.path.join(folder, "expected.safetensors"))


def run(case, dtype=torch.float64, config=None, arrays=None):
    base, weights, tokens, meta, _ = case
    result, _ = families.run(
        {**base, **(config or {})}, arrays or weights, tokens, meta["mtp_weight"], meta["balance_weight"], dtype
    )
    return {
n: v.numpy() for n, v in result.items()
}

def worst(want, got, prefix=""):
    return max((compare.error(want[n], got[n]), n) for n in want if n.startswith(prefix))

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- checks
def finite_differences(name, case):
    config, arrays, tokens, meta, expected = case
    rng = np.random.default_rng(7)

    def total(params):
        with torch.no_grad():
            model = families.Model(config, {
n: torch.tensor(a) for n, a in params.items()})
            out = model.batch(tokens)
            return float(model.losses(out, tokens, meta["mtp_weight"], meta["balance_weight"])["total"])

    exact = run(case)
    wide = {n: a.astype(np.float64) for n, a in arrays.items() if "inv_freq" not in n}
    kinds = {re.sub(r"\d+", "N", n): n for n in sorted(wide)}  # one tensor of each kind, the last layer's
#The correction bias is in a step function : its gradient is zero by definition.
    kinds = {kind: n for kind, n in kinds.items() if not kind.endswith("e_score_correction_bias")}
    bad, h = (0.0, ""), 2e-6
    for tensor in kinds.values():
        d = rng.standard_normal(wide[tensor].shape)
        ends = [total({**wide, tensor: wide[tensor] + s * h * d}) for s in (1, -1)]
        numeric, analytic = (ends[0] - ends[1]) / (2 * h), float((exact["grad." + tensor] * d).sum())
        scale = np.abs(exact["grad." + tensor]).max() + 1e-3
        bad = max(bad, (abs(numeric - analytic) / scale, tensor))
    check(bad[0] < 1e-6, f"{name}: finite differences of {len(kinds)} kinds of tensor, worst {bad[0]:.1e} ({bad[1]})")


def precision(name, case):
    stored, single = case[4], run(case, torch.float32)
    err, where = worst(stored, {
n: v.astype(np.float64) for n, v in run(case).items()})
    check(err < 1e-6, f"{name}: stored results are those of today's code, worst {err:.1e} ({where})")
    err, where = worst(stored, single)
    check(err < 3e-5, f"{name}: float32 arithmetic agrees, worst {err:.1e} ({where})")


def identities(loaded):
#Half - rotate RoPE = \
    interleaved RoPE after moving channel 2j to j and 2j + 1 to j + R / 2 in the weights.
    case = loaded["ultra_v1"]
    config, arrays = case[0], dict(case[1])
    heads, nope, rot = config["num_attention_heads"], config["attention_qk_dim"], config["attention_qk_rope_dim"]
    latent = config["attention_kv_lora_dim"]
    order = np.concatenate((np.arange(0, rot, 2), np.arange(1, rot, 2)))
    for n in list(arrays):
        if n.endswith("q_b_proj.weight"):
            w = arrays[n].reshape(heads, nope + rot, -1).copy()
            w[:, nope:] = w[:, nope + order]
            arrays[n] = w.reshape(arrays[n].shape)
        elif n.endswith("kv_a_proj_with_mqa.weight"):
            w = arrays[n].copy()
            w[latent:] = w[latent + order]
            arrays[n] = w
    err, _ = worst(run(case), run(case, config={"rope_interleave": False}, arrays=arrays), "logits")
    check(err < 1e-12, f"the two RoPE layouts are one permutation apart, {err:.1e}")

#Absorbed MLA = naive MLA.
    with patched(families, "mla", absorbed_mla):
        got = run(case)
    err, where = worst(run(case), got)
    check(err < 1e-9, f"absorbed MLA = naive MLA, gradients too, {err:.1e} ({where})")

#Equal experts, normalised weights, scale 1 : the MoE is shared expert + that one expert, \
    whatever the router does.
    c = families.Config({**config, "routed_scaling_factor": 1.0})
    p = {n: torch.tensor(a.astype(np.float64)) for n, a in case[1].items()}
    m = "model.layers.1.mlp"
    for n in list(p):
        if n.startswith(m + ".experts."):
            p[n] = p[re.sub(r"experts\.\d+", "experts.0", n)]
    x = torch.tensor(np.random.default_rng(3).standard_normal((5, config["hidden_size"])))
    w, _ = families.ultra_route(x, p, m, c, None)
    y = families.moe(x, p, m, w, "shared_experts")
    z = families.swiglu(x, p, m + ".shared_experts") + families.swiglu(x, p, m + ".experts.0")
    check(float((y - z).abs().max()) < 1e-12, "equal experts with normalised weights are one dense MLP")

#MoGE takes the largest of each pair of neighbours and keeps its plain probability times \
    router_scale.
    pro, n = loaded["pro_moe"], "model.layers.0.mlp"
    p = {k: torch.tensor(a.astype(np.float64)) for k, a in pro[1].items()}
    x = torch.tensor(np.random.default_rng(4).standard_normal((6, pro[0]["hidden_size"])))
    w, _ = families.moge_route(x, p, n, families.Config(pro[0]), None)
    e = torch.exp(x @ p[n + ".gate.weight"].T)
    s = e / e.sum(1, keepdim=True)
    want = torch.zeros_like(s)
    for t in range(6):
        for g in range(0, 8, 2):
            best = g if s[t, g] > s[t, g + 1] else g + 1
            want[t, best] = s[t, best] * p[n + ".router_scale"][0, best]
    check(float((w - want).abs().max()) < 1e-12, "MoGE by hand")

#A router without an opinion : p_i = 1 / N, so the balance term is exactly 1 whatever was chosen.
    for name in ("ultra_v1", "pro_moe"):
        flat = {n: a * 0 if n.endswith("mlp.gate.weight") else a for n, a in loaded[name][1].items()}
        value = float(run(loaded[name], arrays=flat)["loss.balance"])
        check(abs(value - 1) < 1e-12, f"{name}: balance of a uniform router is 1 ({value:.12f})")


def absorbed_mla(x, params, name, c):
    """The decode form of MLA (docs/mla.md): keys and values stay latent."""
    T, H = x.shape[0], c.num_attention_heads
    nope, rot, vd, latent = c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim, c.kv_lora_rank
    pairs, eps = c.get("rope_interleave", True), families.LATENT_EPS
    up = params[name + ".kv_b_proj.weight"].reshape(H, nope + vd, latent)
    cq = families.rms_norm(x @ params[name + ".q_a_proj.weight"].T, params[name + ".q_a_layernorm.weight"], eps)
    q = (cq @ params[name + ".q_b_proj.weight"].T).reshape(T, H, nope + rot)
    kv = x @ params[name + ".kv_a_proj_with_mqa.weight"].T
    lat = families.rms_norm(kv[:, :latent], params[name + ".kv_a_layernorm.weight"], eps)
    k_rot = families.rope(kv[:, None, latent:], c.rope_theta, pairs)[:, 0]
    q_lat = torch.einsum("thn,hnl->thl", q[..., :nope], up[:, :nope])
    q_rot = families.rope(q[..., nope:], c.rope_theta, pairs)
    score = (torch.einsum("thl,sl->hts", q_lat, lat) + torch.einsum("thr,sr->hts", q_rot, k_rot)) * (nope + rot) ** -0.5
    prob = torch.softmax(score + torch.full((T, T), float("-inf"), dtype=x.dtype).triu(1), -1)
    o = torch.einsum("thl,hvl->thv", torch.einsum("hts,sl->thl", prob, lat), up[:, nope:])
    return o.reshape(T, -1) @ params[name + ".o_proj.weight"].T


@contextlib.contextmanager
def patched(owner, name, value):
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


def mistakes(loaded):
    """Each known trap, made on purpose, must move a checked result by at least 10 tolerances (1e-3)."""

    def expect(text, name, got, prefix=""):
        err, where = worst(loaded[name][4], got, prefix)
        check(err > 1e-3, f"caught: {text} moves {name} by {err:.1e} ({where})")

    def scaled(name, part, factor):
        return {
  n: a * factor if part in n else a for n, a in loaded[name][1].items()
  }

    for name in ("ultra_v1", "ultra_deepseek_spelling", "ultra_half_rope"):
        flip = not loaded[name][0].get("rope_interleave", True)
        expect("other RoPE pairing", name, run(loaded[name], config={"rope_interleave": flip}), "logits")
        expect("no renormalisation", name, run(loaded[name], config={"norm_topk_prob": False}), "logits")
        expect("no routed scaling", name, run(loaded[name], config={"routed_scaling_factor": 1.0}), "logits")
    with patched(families, "LATENT_EPS", 1e-3):
        expect("latent norms with rms_norm_eps", "ultra_v1", run(loaded["ultra_v1"]), "logits")
    for name in ("ultra_v1", "pro_moe", "embedded", "llama_tied"):
        expect("rms_norm_eps 1e-6", name, run(loaded[name], config={"rms_norm_eps": 1e-6}))
    with patched(families, "causal_attention", lambda q, k, v: families_attention_scaled(q, k, v)):
        expect("wrong softmax scale", "ultra_v1", run(loaded["ultra_v1"]), "logits")
    expect("router_scale ignored", "pro_moe", run(loaded["pro_moe"], arrays=ones(loaded["pro_moe"][1], "router_scale")), "logits")
    expect("plain top-4 for MoGE", "pro_moe", run(loaded["pro_moe"], config={"num_groups": 1}), "logits")
    expect("biases dropped", "embedded", run(loaded["embedded"], arrays=scaled("embedded", ".bias", 0)), "logits")
    expect("o_proj bias dropped", "embedded", run(loaded["embedded"], arrays=scaled("embedded", "o_proj.bias", 0)), "logits")

    original = families.Model.norm
    for part, prefix in (("model.norm", "mtp.1"), ("model.layers.4.enorm", "mtp.2"), ("model.layers.3.shared_head.norm", "mtp.1")):

        def skipped(self, x, name, part=part):
            return x if name == part else original(self, x, name)

        with patched(families.Model, "norm", skipped):
            expect(part + " skipped", "ultra_deepseek_spelling", run(loaded["ultra_deepseek_spelling"]), prefix)
    with patched(families.RouterStats, "balance", lambda self, k: balance_unnormalised_count(self, k)):
        expect("balance without the 1/K", "ultra_v1", run(loaded["ultra_v1"]), "loss.balance")


def families_attention_scaled(q, k, v):
    return _attention(q * 1.05, k, v)


def balance_unnormalised_count(self, top_k):
    return _balance(self, 1)


_attention, _balance = families.causal_attention, families.RouterStats.balance


def ones(arrays, part):
    return {
      n: np.ones_like(a) if part in n else a for n, a in arrays.items()
      }

#-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- openPangu - \
    2.0
def v2_identities(loaded):
    case = loaded["openpangu_v2"]
    config, arrays, tokens = case[:3]
    wide = {n: torch.tensor(a.astype(np.float64)) for n, a in arrays.items()}
#No token sees a later one, whatever window, choice or convolution says.
    with torch.no_grad():
        model = families.Model(config, wide)
        whole = model.sequence(tokens[0])[0]
        err = max(float((model.sequence(tokens[0][:n])[0] - whole[:n]).abs().max()) for n in (1, 2, 3, 7, 15))
    check(err < 1e-11, f"openPangu-2.0: the logits of a beginning are the beginning of the logits, {err:.1e}")

#Windows, choices and lists that leave nothing out are none.
    long = {"sliding_window_list": [20, 99, 20, 99], "index_topk": 20}
    off = {"swa_layers": [], "dsa_layers": []}
    err, where = worst(run(case, config=long), run(case, config=off))
    check(err < 1e-12, f"openPangu-2.0: windows and choices of everything change nothing, {err:.1e} ({where})")

#Streams that all get the same and are mixed evenly are one residual(up to the 1e-6s of mHC).
    S, h = config["mhc_num_stream"], config["hidden_size"]
    even, single = dict(arrays), dict(arrays)
    pre = np.full(S, -np.log(S - 1.0))
    for n in arrays:
        if "branch_alpha" in n:
            even[n] = arrays[n] * 0
        elif n.endswith("branch_beta_pre"):
            even[n] = pre
        elif n.endswith("branch_beta"):
            even[n] = np.concatenate((pre, np.zeros(S + S * S)))
        elif n.endswith("block_post_layernorm.weight"):
            single[n] = arrays[n][:h]
            even[n] = np.tile(single[n], S)
    err, where = worst(run(case, config={"use_mhc": False}, arrays=single), run(case, arrays=even), "logits")
    check(err < 3e-4, f"openPangu-2.0: even streams are one residual, {err:.1e} ({where})")

    rng = np.random.default_rng(5)
    m = openpangu_v2.sinkhorn(torch.tensor(rng.standard_normal((9, 4, 4))), 20)
    err = max(float((m.sum(d) - 1).abs().max()) for d in (1, 2))
    check(err < 1e-5, f"20 rounds make rows and columns sum to 1, {err:.1e}")

#The convolution is PyTorch's, but for the first two rows.
    x, c = torch.tensor(rng.standard_normal((11, config["q_lora_rank"]))), families.Config(config)
    name = "model.layers.2.self_attn.qa_conv"
    y = x + torch.nn.functional.conv1d(torch.nn.functional.pad(x.T, (2, 0)), wide[name + ".weight"], groups=x.shape[1]).T
    y[:2] = x[:2]
    err = float((y - openpangu_v2.convolved(x, wide, name, c)).abs().max())
    check(err < 1e-12, f"the convolution is PyTorch's conv1d, {err:.1e}")


def v2_mistakes(loaded):
    """Each must move logits (or the named results) by at least 10 tolerances."""
    v2, full, bare, other = openpangu_v2, "openpangu_v2", "openpangu_v2_plain", "openpangu_v2_nogamma"

    def expect(text, name, prefix="logits", config=None, arrays=None, **patches):
        with contextlib.ExitStack() as stack:
            for function, value in patches.items():
                stack.enter_context(patched(v2, function, value))
            got = run(loaded[name], config=config, arrays=arrays)
        err, where = worst(loaded[name][4], got, prefix)
        check(err > 1e-3, f"caught: {text} moves {name} by {err:.1e} ({where})")

    def changed(name, part, f):
        return {
n: f(a) if part in n else a for n, a in loaded[name][1].items()
}

    def padded(x, params, name, c):  # a full convolution of zeros and x
        w, k = params[name + ".weight"], c.router_sliding_window
        return x + torch.nn.functional.conv1d(torch.nn.functional.pad(x.T, (k - 1, 0)), w, groups=x.shape[1]).T

    for name in (full, other):
        expect("convolution of the first rows", name, convolved=padded)
        expect("convolution of the first rows", name, "mtp.1", convolved=padded)
        for conv in ("qa_conv", "compresskv_conv", "o_conv"):
            expect(conv + " dropped", name, arrays=changed(name, conv, lambda a: a * 0))
            expect(conv + " backwards", name, arrays=changed(name, conv, lambda a: a[..., ::-1].copy()))
    expect("convolution in spite of use_mome", bare, arrays=with_convolutions(loaded[bare]), config={"use_mome": True})

    window, best, turned, post, scores = v2.window, v2.best_keys, v2.first_channels_turned, v2.post, v2.index_scores

    def last_channels_turned(x, c):
        return turned(x.roll(c.qk_rope_head_dim, -1), c)

    for name, prefix in ((full, "logits"), (full, "mtp.1"), (full, "mtp.2"), (bare, "logits"), (other, "mtp.1")):
        for by in (-1, 1):
            expect(f"window off by {by}", name, prefix, window=lambda i, c, by=by: window(i, c) and window(i, c) + by)
    expect("sliding_window before the list", full, config={"sliding_window_list": None})
    expect("sliding_window before the list", full, "mtp.2", config={"sliding_window_list": None})

    for name in (full, other):
        for by in (-1, 1):
            expect(f"top-k off by {by}", name, best_keys=lambda s, k, by=by: best(s, k + by))
        expect("every key chosen", name, best_keys=lambda s, k: best(s, 99))
        expect("indexer without rotation", name, first_channels_turned=lambda x, c: x)
        expect("indexer turns its last channels", name, first_channels_turned=last_channels_turned)
        expect("index scores without ReLU", name, index_scores=without_relu(scores))
        expect("indexer's key without norm", name, arrays=changed(name, "indexer.k_norm", lambda a: a * 0 + 1))
        expect("sinks dropped", name, config={"param_sink_number": 0})
        expect("matrix of the streams transposed", name, post=lambda R, y, p, m: post(R, y, p, m.transpose(1, 2)))
        expect("streams' weights not doubled", name, post=lambda R, y, p, m: post(R, y, p / 2, m))
        expect("a softmax for a Sinkhorn", name, sinkhorn=lambda m, n: torch.softmax(m, -1))
        expect("channel-major streams", name, arrays=channel_major(loaded[name]))
        expect("streams averaged at the end", name, merge=lambda R, p, c: R.reshape(len(R), c.mhc_num_stream, -1).mean(1))
        swapped = changed(name, "branch_alpha", lambda a: a[[1, 0, 2]] if len(a) == 3 else a)
        expect("alphas of pre and post exchanged", name, arrays=swapped)
    expect("indexer with interleaved pairs", other, first_channels_turned=interleaved_first)
    expect("columns first", other, sinkhorn=lambda m, n: v2_sinkhorn(m.transpose(1, 2), n).transpose(1, 2))
    expect("one round fewer", other, sinkhorn=lambda m, n: v2_sinkhorn(m, n - 1))
    expect("gamma dropped", full, arrays=changed(full, "norm_gamma", lambda a: a * 0 + 1))

    for name in (full, bare, other):
        expect("other RoPE pairing", name, config={"rope_interleave": not loaded[name][0].get("rope_interleave", False)})
        raw = v2.sinks

        def rotated(params, n, c):
            k_pe = n + ".param_sink_k_pe"
            return raw({**params, k_pe: families.rope(params[k_pe][:, None], c.rope_theta, False)[:, 0]}, n, c)

        expect("sinks' keys rotated", name, sinks=rotated)
        expect("sinks' latents not normed", name, sinks=sinks_without_norm)
        with patched(families, "LATENT_EPS", 1e-3):
            expect("latent norms with rms_norm_eps", name)
    for name in (full, bare):
        original = families.Model.norm
        for text, norm in (("skipped", lambda self, x, n: x), ("of each stream", norm_per_stream)):
            if name == bare and text != "skipped":
                continue

            def other_norm(self, x, n, norm=norm):
                return norm(self, x, n) if "block_post" in n else original(self, x, n)

            with patched(families.Model, "norm", other_norm):
                expect("block_post_layernorm " + text, name)


v2_sinkhorn = openpangu_v2.sinkhorn


def norm_per_stream(self, x, name):
    S, gain = self.c.mhc_num_stream, self.p[name + ".weight"]
    return families.rms_norm(x.reshape(len(x), S, -1), gain.reshape(S, -1), self.c.rms_norm_eps).reshape(x.shape)


def interleaved_first(x, c):
    r = c.qk_rope_head_dim
    return torch.cat((families.rope(x[..., :r], c.rope_theta, True), x[..., r:]), -1)


def without_relu(scores):
    def linear_scores(*args):
        with patched(torch, "relu", lambda x: x):
            return scores(*args)

    return linear_scores


def sinks_without_norm(params, name, c):
    return openpangu_v2.expanded(params[name + ".param_sink_compressed_kv"], params[name + ".param_sink_k_pe"], params, name, c)


def channel_major(case):
    """Weights that make the code treat flat channel h*S + s as stream s (all streams start equal, so only these differ)."""
    S, h = case[0]["mhc_num_stream"], case[0]["hidden_size"]
    order = np.arange(S * h).reshape(h, S).T.reshape(-1)
    parts = ("phi.weight", "norm_gamma", "block_post_layernorm.weight")
    return {
    n: a[..., order].copy() if n.endswith(parts) else a for n, a in case[1].items()
    }

    def with_convolutions(case)
        : c,
          rng = families.Config({**case[0], "use_mome" : True}),
          np.random.default_rng(6) return {
    n: case[1].get(n, 0.5 * rng.standard_normal(shape)) for n, shape in cases.shapes(c).items()}


def stories(folder):
    config, want = (json.load(open(os.path.join(folder, f))) for f in ("config.json", "expected.json"))
    arrays = st.load(os.path.join(folder, "model.safetensors"))
    model = families.Model(config, {
  n: torch.tensor(a) for n, a in arrays.items()})
    ids = list(want["prompt"])
    with torch.no_grad():
        first = model.sequence(ids)[0][-1][: len(want["first_logits"])].tolist()
        for _ in want["greedy"]:
            ids.append(int(model.sequence(ids)[0][-1].argmax()))
    err = max(abs(a - b) for a, b in zip(first, want["first_logits"]))
    check(err < 1e-4, f"stories260K: first logits, worst difference {err:.1e}")
    check(ids[len(want["prompt"]) :] == want["greedy"], f"stories260K: {len(want['greedy'])} greedy ids")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--stories", default=os.path.join(HERE, "..", "..", "..", "shared", "models", "stories260K"))
    args = ap.parse_args()
    torch.set_num_threads(1)
    loaded = {name: load_case(name) for name in cases.CASES}
    for name, case in loaded.items():
        precision(name, case)
        finite_differences(name, case)
    identities(loaded)
    mistakes(loaded)
    v2_identities(loaded)
    v2_mistakes(loaded)
    if os.path.isdir(args.stories):
        stories(args.stories)
    else:
        print(f"skip  stories260K: no directory {args.stories}")
    sys.exit(f"{len(failures)} checks failed" if failures else 0)


if __name__ == "__main__":
    main()
