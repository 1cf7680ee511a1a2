"""Ids and texts by transformers' AutoTokenizer, for tokenizer_layout_test.cc.

Standard input: {"jobs": [{"directory": ..., "texts": [...]}]}.
Standard output: [{"class": ..., "ids": [[...]], "ends": [...], "kept": [...]}]: what the texts encode to
without BOS and EOS, the first text with them, and what the ids decode to with special tokens; or
[{"error": ...}] where it refuses. Exit code 77: a package is missing.
"""
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
try:
    import google.protobuf  # noqa: F401
    import sentencepiece  # noqa: F401
    from transformers import AutoTokenizer, __version__
except ImportError:
    sys.exit(77)
if int(__version__.split(".")[0]) < 5:
    sys.exit(77)

replies = []
for job in json.load(sys.stdin)["jobs"]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(job["directory"])
    except Exception as error:
        replies.append({"error": f"{type(error).__name__}: {error}"[:200]})
        continue
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in job["texts"]]
    replies.append({
        "class": type(tokenizer).__name__,
        "ids": ids,
        "ends": tokenizer(job["texts"][0])["input_ids"],
        "kept": [tokenizer.decode(line, skip_special_tokens=False) for line in ids],
    })
json.dump(replies, sys.stdout)
