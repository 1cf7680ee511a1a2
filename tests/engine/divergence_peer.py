"""What divergence.h and base_file.h define, computed with numpy from their definitions, for divergence_test.cc.

Standard input: {"context", "vocab", "tokens": [chunks * context], "base": [rows][vocab], "model": [rows][vocab]},
logits of the scored places. Standard output: {"file": hex of the base file, "report": figures as to_json names
them, against the file}.  Exit code 77: numpy is missing.
"""
import json
import struct
import sys

try:
    import numpy as np
except ImportError:
    sys.exit(77)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def file_row(logits):
    """f32 scale and least, u16 codes, zeros up to a multiple of four bytes."""
    least = max(logits.min(), logits.max() - 16)
    scale = np.float32((logits.max() - least) / 65535)
    log_least = least - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    codes = np.zeros(len(logits))
    if scale > 0:
        codes = np.rint(np.clip((logits - least) / np.float64(scale), 0, 65535))
    row = struct.pack("<ff", scale, log_least) + codes.astype("<u2").tobytes()
    return row + bytes(-len(row) % 4)


def read_rows(data, vocab, rows):
    stride = 8 + 2 * vocab + 2 * (vocab % 2)
    table = np.frombuffer(data, np.uint8).reshape(rows, stride)
    head = table[:, :8].copy().view("<f4").astype(np.float64)
    codes = table[:, 8:8 + 2 * vocab].copy().view("<u2").astype(np.float64)
    return head[:, :1] * codes + head[:, 1:]


def estimate(x):
    return {"value": x.mean(), "uncertainty": np.sqrt((np.mean(x * x) - x.mean() ** 2) / (len(x) - 1))}


def spread(x):
    out = {"mean": estimate(x), "min": x.min(), "median": np.median(x), "max": x.max()}
    for at in (0.1, 1, 5, 10, 25, 75, 90, 95, 99, 99.9):
        out[f"p{at:g}"] = np.percentile(x, at)
    return out


def through(of, f, slope):
    return {"value": f(of["value"]), "uncertainty": slope(of["value"]) * of["uncertainty"]}


def divergence(p, q):
    weighed = np.where(p > -16, np.exp(p) * (p - q), 0)
    return weighed.sum(axis=1)


def report(p, q, targets):
    at = np.arange(len(targets)), np.array(targets)
    base_nats, nats = -p[at], -q[at]
    a, b = estimate(nats), estimate(base_nats)
    covariance = (np.mean(nats * base_nats) - nats.mean() * base_nats.mean()) / (len(nats) - 1)
    ratio = {"value": a["value"] - b["value"],
             "uncertainty": np.sqrt(a["uncertainty"] ** 2 + b["uncertainty"] ** 2 - 2 * covariance)}
    delta = np.exp(q[at]) - np.exp(p[at])
    same = np.mean(p.argmax(axis=1) == q.argmax(axis=1))
    return {"tokens": len(targets), "perplexity": through(a, np.exp, np.exp),
            "base_perplexity": through(b, np.exp, np.exp), "log_ratio": ratio, "ratio": through(ratio, np.exp, np.exp),
            "correlation": covariance / (a["uncertainty"] * b["uncertainty"]),
            "kl": spread(divergence(p, q)), "reverse_kl": spread(divergence(q, p)), "delta_p": spread(delta),
            "rms_delta_p": through(estimate(delta ** 2), np.sqrt, lambda x: 0.5 / np.sqrt(x)),
            "same_top": {"value": same, "uncertainty": np.sqrt(same * (1 - same) / (len(targets) - 1))}}


request = json.load(sys.stdin)
context, vocab, tokens = request["context"], request["vocab"], request["tokens"]
base, model = (np.array(request[side], np.float32).astype(np.float64) for side in ("base", "model"))
chunks = len(tokens) // context
data = b"".join(file_row(row) for row in base)
header = b"_logits_" + struct.pack("<iii", context, vocab, chunks) + np.array(tokens, "<i4").tobytes()
targets = [tokens[c * context + t + 1] for c in range(chunks) for t in range(context // 2, context - 1)]
found = report(read_rows(data, vocab, len(base)), log_softmax(model), targets)
json.dump({"file": (header + data).hex(), "report": found}, sys.stdout, default=float)
