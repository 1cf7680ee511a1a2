#!/usr/bin/env python3
"""Compares two safetensors files: compare.py EXPECTED GOT [--tol 1e-4] [--only PREFIX] [--top 10]

Error of a tensor = max|expected - got| / max|expected|; where expected is all zero, max|got| itself counts (an unused
expert's gradient must be zero). Exit 1 if any error is above --tol or not finite, a shape differs, or a name is missing.
Missing tensors without elements are fine. Names only in GOT are reported and ignored.
"""
import argparse
import sys

import numpy as np

import st


def error(want, got):
    """Relative error, or inf where the tensors cannot be compared."""
    if want.shape != got.shape or not np.isfinite(got).all():
        return float("inf")
    if want.size == 0:
        return 0.0
    want, got = want.astype(np.float64), got.astype(np.float64)
    return float(np.abs(want - got).max() / (np.abs(want).max() or 1.0))


def describe(want, got):
    if got is None:
        return "missing"
    if want.shape != got.shape:
        return f"shape {got.shape}, expected {want.shape}"
    if not np.isfinite(got).all():
        return "not finite"
    return f"shape {want.shape}, max |expected| {np.abs(want).max(initial=0):.3e}"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("expected")
    ap.add_argument("got")
    ap.add_argument("--tol", type=float, default=1e-4)
    ap.add_argument("--only", default="", help="compare only names with this prefix, such as logits. or grad.")
    ap.add_argument("--top", type=int, default=10, help="how many of the worst to print")
    args = ap.parse_args()

    expected = {n: a for n, a in st.load(args.expected).items() if n.startswith(args.only)}
    got = st.load(args.got)
    if not expected:
        sys.exit(f"{args.expected}: no tensor begins with '{args.only}'")
    rows = []
    for name, want in expected.items():
        other = got.get(name)
        if other is None and want.size == 0:
            continue
        rows.append((float("inf") if other is None else error(want, other), name, describe(want, other)))
    rows.sort(reverse=True)
    for err, name, text in rows[: args.top]:
        print(f"{err:10.3e}  {name}  ({text})")
    extra = sorted(n for n in got if n.startswith(args.only) and n not in expected)
    if extra:
        print(f"only in {args.got}: {len(extra)} names, such as {extra[0]}")
    bad = sum(err > args.tol for err, _, _ in rows)
    print(f"{len(rows) - bad} of {len(rows)} tensors within {args.tol:g}; worst {rows[0][0]:.3e}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
